"""The key cache: what opens a vault's sessions, held in memory for a time and never on a disk.

The Linux kernel's keyring is the first place, an agent of ours the second, where the kernel
refuses. A place that fails is as good as an empty one for whoever looks for a key; only
`lock` insists on an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SESSION = "session"
"""The session key: opens cached sessions, never a long-term key."""
VAULT = "vault"
"""What opens the vault itself: held only if asked for."""
KINDS = (SESSION, VAULT)
LIMIT = 2048
"""The longest key in bytes: in base64 it still fits into the agent's line."""


class Held(Value):
    """A key in the cache.

    `mark` says what the key belongs to, in hex digits: a key with another mark than the one
    asked for is none. `deadline` is in milliseconds of CLOCK_BOOTTIME, which nobody can set back
    and which goes on while the machine sleeps.
    """

    key: bytes
    mark: str
    deadline: int

    def __repr__(self) -> str:
        return f"Held(deadline={self.deadline!r}, ...)"


class Place(Protocol):
    """Where keys can be held."""

    name: str
    """What messages call it."""

    def get(self, state_id: str, kind: str) -> Held | None:
        """Return what is held, None if there is nothing or the place does not answer."""
        ...

    def status(self, state_id: str, kind: str) -> int | None:
        """Return the deadline of what is held, None as `get`."""
        ...

    def put(self, state_id: str, kind: str, held: Held, seconds: int) -> bool:
        """Hold a key, for `seconds` from now; tell whether the place took it."""
        ...

    def lock(self, state_id: str | None) -> int:
        """Forget the keys of a vault, or all with None; return how many there were.

        Raises BackendError if it cannot be known that they are gone.
        """
        ...


class Status(Value):
    """One key that is held: its kind, where, and for how many seconds more."""

    kind: str
    place: str
    seconds: float


class KeyCache:
    """The places, in the order in which they are asked.

    Args:
        places: where keys can be held.
        boottime: as `filevault.times.boottime`.
    """

    def __init__(self, places: Sequence[Place], boottime: Callable[[], float]) -> None:
        self._places = places
        self._boottime = boottime

    def get(self, state_id: str, kind: str, mark: str) -> bytes | None:
        """Return a vault's key of a kind if it is held for that mark and still valid."""
        for place in self._places:
            held = place.get(state_id, kind)
            if held is not None and held.mark == mark and self._left(held.deadline) > 0:
                return held.key
        return None

    def put(self, state_id: str, kind: str, key: bytes, mark: str, seconds: int) -> str | None:
        """Hold a key for some seconds from now on, replacing one that is held.

        Returns the name of the place that took it, None if none did or the key is too long.
        """
        if not 0 < len(key) <= LIMIT or seconds <= 0:
            return None
        held = Held(key, mark, int((self._boottime() + seconds) * 1000))
        for place in self._places:
            if place.put(state_id, kind, held, seconds):
                return place.name
        return None

    def lock(self, state_id: str | None = None) -> int:
        """Forget the keys of a vault, or all; return how many there were.

        Raises BackendError, after every place was asked, for one that may not have forgotten.
        """
        from filevault.errors import BackendError

        count = 0
        failed: BackendError | None = None
        for place in self._places:
            try:
                count += place.lock(state_id)
            except BackendError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return count

    def status(self, state_id: str) -> list[Status]:
        """Return what is held for a vault."""
        found = []
        for kind in KINDS:
            for place in self._places:
                deadline = place.status(state_id, kind)
                if deadline is not None and self._left(deadline) > 0:
                    found.append(Status(kind, place.name, self._left(deadline)))
        return found

    def _left(self, deadline: int) -> float:
        return deadline / 1000 - self._boottime()


def open_cache(
    names: Sequence[str], folders: Sequence[str], clock: Callable[[], float]
) -> KeyCache:
    """Return the cache of this user.

    Args:
        names: the places, `kernel` and `agent`, in the order in which they are asked.
        folders: where an agent's socket may lie, likeliest first.
        clock: as `filevault.times.boottime`.
    """
    places: list[Place] = []
    for name in names:
        if name == "kernel":
            from filevault.keycache.kernel import KernelKeyring

            places.append(KernelKeyring())
        else:
            from filevault.keycache.client import AgentClient

            places.append(AgentClient(folders))
    return KeyCache(places, clock)
