"""What a place where keys can be held must be able to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.errors import FilevaultError
    from filevault.keycache import Held


class KeyStore(Protocol):
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

    def lock(self, state_id: str | None, kind: str | None = None) -> int:
        """Forget the keys of a vault, or one kind of them; all with None. Return how many.

        Raises BackendError if it cannot be known that they are gone; as many as can be are.
        """
        ...

    def keep_last(self, state_id: str, kind: str, *, took: bool) -> int:
        """Forget a kind of key but for the one that was put last, if this place took it.

        Returns and raises as `lock`.
        """
        ...

    def last_error(self) -> FilevaultError | None:
        """Return why the place did not answer in this run, if it should have."""
        ...


def merge_errors(errors: Sequence[FilevaultError]) -> BackendError:
    """Return what went wrong in several places as one error."""
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return BackendError("; ".join(error.message for error in errors), hint="; ".join(hints) or None)
