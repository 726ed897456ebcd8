"""What a place where keys can be held must be able to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filevault.keycache import Held


class Place(Protocol):
    """Where keys can be held."""

    name: str
    """What messages call it."""

    def get(self, state_id: str, kind: str) -> Held | None:
        """Return what is held, None if there is nothing or the place does not answer."""
        ...

    def status(self, state_id: str, kind: str) -> tuple[str, int] | None:
        """Return mark and deadline of what is held, None as `get`."""
        ...

    def put(self, state_id: str, kind: str, held: Held, seconds: int) -> bool:
        """Hold a key, for `seconds` from now; tell whether the place took it."""
        ...

    def lock(self, state_id: str | None) -> int:
        """Forget the keys of a vault, or all with None; return how many there were.

        Raises BackendError if it cannot be known that they are gone.
        """
        ...
