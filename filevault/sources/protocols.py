"""Where credentials come from: each provider asks its source, and knows nothing beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.credentials import AccessKey, Credentials


class CredentialProvider(Protocol):
    """One step of a plan, wired to its source."""

    def retrieve(self) -> Credentials:
        """Return credentials that are valid now; raises FilevaultError."""
        ...


class KeySource(Protocol):
    """Where long-term keys are stored: a vault."""

    def access_key(
        self, name: str, ask_account: Callable[[AccessKey], str] | None = None
    ) -> AccessKey:
        """Decrypt a key; raises ItemNotFoundError, LockedError and the vault's other errors.

        `ask_account` asks AWS for the account of a key; None in a run that makes no calls.
        """
        ...

    def needs_account(self, name: str, key_id: str) -> bool:
        """Tell whether a key's account is to be learned from AWS: its id does not tell it."""
        ...

    def record_account(self, names: Sequence[str], key_id: str, account: str) -> None:
        """Remember the account of a key, as AWS told it."""
        ...

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of the item's file in hex; it is read, never decrypted."""
        ...
