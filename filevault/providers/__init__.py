"""Where credentials come from: each provider asks its source, and knows nothing beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filevault.credentials import AccessKey, Credentials


class CredentialProvider(Protocol):
    """One step of a plan, wired to its source."""

    def retrieve(self) -> Credentials:
        """Return credentials that are valid now; raises FilevaultError."""
        ...


class KeySource(Protocol):
    """Where long-term keys are stored: a vault."""

    def access_key(self, name: str) -> AccessKey:
        """Decrypt a key; raises ItemNotFoundError, LockedError and the vault's other errors."""
        ...

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of the item's file in hex; it is read, never decrypted."""
        ...
