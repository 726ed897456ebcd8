"""The stored long-term key, decrypted only when something has to be signed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import Credentials

if TYPE_CHECKING:
    from filevault.providers import KeySource
    from filevault.providers.steps import StoredKey


class StoredProvider:
    """Hands out the key itself, which has no expiry."""

    __slots__ = ("_keys", "_step")

    def __init__(self, step: StoredKey, keys: KeySource) -> None:
        self._step = step
        self._keys = keys

    def retrieve(self) -> Credentials:
        """Decrypt the key."""
        key = self._keys.access_key(self._step.profile)
        return Credentials(key.access_key_id, key.secret_access_key)
