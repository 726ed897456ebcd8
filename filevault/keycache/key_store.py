"""Protocol of a store for cached keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.errors import FilevaultError
    from filevault.keycache.cached_key import CachedKey, KeyType


class KeyStore(Protocol):
    """A store for cached keys: the kernel keyring, or the agents of the user."""

    name: str
    """The name for messages."""

    def get(self, state_id: str, key_type: KeyType) -> CachedKey | None:
        """Return a key, None if there is none or the store does not answer."""
        ...

    def status(self, state_id: str, key_type: KeyType) -> tuple[str, int] | None:
        """Return mark and deadline of a key, None as `get`."""
        ...

    def put(self, state_id: str, key_type: KeyType, cached: CachedKey, seconds: int) -> bool:
        """Cache a key for `seconds`; return whether the store took it."""
        ...

    def forget(self, state_id: str | None, key_type: KeyType | None = None) -> int:
        """Forget the keys of a vault, or one type of them; all with None. Return how many.

        Raises BackendError, after trying all, if a key may be left.
        """
        ...

    def forget_older(self, state_id: str, key_type: KeyType, *, took_last: bool) -> int:
        """Forget all keys of a type but the last one, which this store took if `took_last`.

        Returns and raises as `forget`.
        """
        ...

    def last_error(self) -> FilevaultError | None:
        """Return why the store did not answer in this run, None if it did or does not exist."""
        ...


def merge_errors(errors: Sequence[FilevaultError]) -> BackendError:
    """Return the errors of several stores as one error."""
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return BackendError("; ".join(error.message for error in errors), hint="; ".join(hints) or None)
