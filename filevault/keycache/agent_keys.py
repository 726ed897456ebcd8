"""The keys in an agent's memory: each is forgotten at its deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.keycache.cached_key import ANSWER_TYPES, MAX_KEY_SIZE
from filevault.keycache.locked_memory import LockedMemory
from filevault.keycache.protocol import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable


class _Entry:
    __slots__ = ("deadline", "mark", "size", "slot")

    def __init__(self, slot: int, request: Request) -> None:
        self.slot = slot
        self.size = len(request.key)
        self.mark = request.mark
        self.deadline = request.deadline


class AgentKeys:
    """The keys, by state id and type.

    Args:
        boottime: as `filevault.system.times.boottime`.
    """

    def __init__(self, boottime: Callable[[], float]) -> None:
        self._boottime = boottime
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._memory = LockedMemory(MAX_KEY_SIZE)

    def answer(self, request: Request) -> Answer:
        """Carry out a request and return its answer."""
        self.expire()
        if request.op == "lock":
            return Answer(ok=True, count=self.forget(request.state, request.key_type))
        name = (request.state, request.key_type)
        if request.op == "put":
            return Answer(ok=self._put(name, request))
        found = self._entries.get(name)
        if found is None:
            return Answer(ok=False)
        if request.op == "status":
            return Answer(ok=True, mark=found.mark, deadline=found.deadline)
        key = self._memory.read(found.slot, found.size)
        return Answer(ok=True, key=key, mark=found.mark, deadline=found.deadline)

    def _put(self, name: tuple[str, str], request: Request) -> bool:
        self._remove(name)
        slot = self._memory.write(request.key)
        if slot is None and request.key_type not in ANSWER_TYPES:
            for answer in [each for each in self._entries if each[1] in ANSWER_TYPES]:
                self._remove(answer)  # answers give way to any other key
            slot = self._memory.write(request.key)
        if slot is None:
            return False
        self._entries[name] = _Entry(slot, request)
        return True

    def forget(self, state: str = "", key_type: str = "") -> int:
        """Forget the keys of a vault, or one type of them, or all; return how many there were.

        Answers are not counted.
        """
        names = [
            name for name in self._entries if state in ("", name[0]) and key_type in ("", name[1])
        ]
        for name in names:
            self._remove(name)
        return sum(name[1] not in ANSWER_TYPES for name in names)

    def expire(self) -> float | None:
        """Forget the keys past their deadline.

        Returns the seconds until the next deadline, None without any key.
        """
        now = self._boottime() * 1000
        for name in [name for name, entry in self._entries.items() if entry.deadline <= now]:
            self._remove(name)
        deadlines = [entry.deadline for entry in self._entries.values()]
        return (min(deadlines) - now) / 1000 if deadlines else None

    def _remove(self, name: tuple[str, str]) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._memory.wipe(entry.slot)
