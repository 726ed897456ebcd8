"""Protocol of a store of long-term keys, such as a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.credentials import AccessKey


class KeySource(Protocol):
    """A store of long-term keys."""

    def access_key(
        self, name: str, ask_account: Callable[[AccessKey], str] | None = None
    ) -> AccessKey:
        """Decrypt a key; raises ItemNotFoundError, LockedError and the vault's other errors.

        `ask_account` asks AWS for the account of a key; None in a run that makes no calls.
        """
        ...

    def needs_account(self, name: str, key_id: str) -> bool:
        """Return whether AWS must be asked for the account of a key: its id does not have it."""
        ...

    def record_account(self, names: Sequence[str], key_id: str, account: str) -> None:
        """Remember the account of a key, as AWS returned it."""
        ...

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of the item's file in hex; it is read, never decrypted."""
        ...
