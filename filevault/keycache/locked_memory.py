"""What an agent holds: keys in memory that does not reach the swap, each until its deadline."""

from __future__ import annotations

import contextlib
import mmap
from typing import TYPE_CHECKING

from filevault.keycache import LIMIT
from filevault.keycache.protocol import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS = 64


class _Room:
    """Memory for so many keys, none of it moved or copied.

    Only these pages are locked, when they are used first: an ordinary user may lock 8 MiB, with
    older kernels 64 KiB (getrlimit(2), RLIMIT_MEMLOCK), which a whole process does not fit into.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _KEYS * LIMIT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._free = list(range(0, _KEYS * LIMIT, LIMIT))

    def take(self, key: bytes) -> int | None:
        """Store a key; return where, None if all is full."""
        if not self._free:
            return None
        place = self._free.pop(0)
        with contextlib.suppress(ImportError, OSError):  # best effort
            from filevault.system.libc import function, writable

            function("mlock")(writable(self._memory, place), LIMIT)
        self._memory[place : place + len(key)] = key
        return place

    def read(self, place: int, size: int) -> bytes:
        """Return a key."""
        return self._memory[place : place + size]

    def wipe(self, place: int) -> None:
        """Overwrite a key; its room is free again."""
        self._memory[place : place + LIMIT] = bytes(LIMIT)
        self._free.insert(0, place)


class _Key:
    __slots__ = ("deadline", "mark", "place", "size")

    def __init__(self, place: int, request: Request) -> None:
        self.place = place
        self.size = len(request.key)
        self.mark = request.mark
        self.deadline = request.deadline


class Keys:
    """What is held.

    Args:
        boottime: as `filevault.system.times.boottime`.
    """

    def __init__(self, boottime: Callable[[], float]) -> None:
        self._boottime = boottime
        self._keys: dict[tuple[str, str], _Key] = {}
        self._room = _Room()

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for."""
        self.expire()
        if request.op == "lock":
            return Answer(ok=True, count=self.lock(request.state, request.kind))
        name = (request.state, request.kind)
        if request.op == "put":
            return Answer(ok=self._put(name, request))
        found = self._keys.get(name)
        if found is None:
            return Answer(ok=False)
        if request.op == "status":
            return Answer(ok=True, mark=found.mark, deadline=found.deadline)
        key = self._room.read(found.place, found.size)
        return Answer(ok=True, key=key, mark=found.mark, deadline=found.deadline)

    def _put(self, name: tuple[str, str], request: Request) -> bool:
        self._forget(name)
        place = self._room.take(request.key)
        if place is None:
            return False
        self._keys[name] = _Key(place, request)
        return True

    def lock(self, state: str = "", kind: str = "") -> int:
        """Forget the keys of a vault, or one kind of them, or all; return how many there were."""
        names = [name for name in self._keys if state in ("", name[0]) and kind in ("", name[1])]
        for name in names:
            self._forget(name)
        return len(names)

    def expire(self) -> float | None:
        """Forget what is over; return the seconds until the next key is, None without any."""
        now = self._boottime() * 1000
        for name in [name for name, key in self._keys.items() if key.deadline <= now]:
            self._forget(name)
        deadlines = [key.deadline for key in self._keys.values()]
        return (min(deadlines) - now) / 1000 if deadlines else None

    def _forget(self, name: tuple[str, str]) -> None:
        key = self._keys.pop(name, None)
        if key is not None:
            self._room.wipe(key.place)
