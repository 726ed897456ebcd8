"""ProcessMemory: a key store in the memory of this process, which ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.keycache.cached_key import CachedKey

if TYPE_CHECKING:
    from filevault.errors import FilevaultError
    from filevault.keycache.cached_key import KeyType

_FOREVER = 1 << 53  # milliseconds: longer than any machine runs


class ProcessMemory:
    """Keys that `keep` was called with; no other key gets here. A `KeyStore`."""

    name = "the memory of a server"

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], CachedKey] = {}

    def keep(self, state_id: str, key_type: str, mark: str, key: bytes) -> None:
        """Keep a key as long as this process runs."""
        self._keys[state_id, key_type] = CachedKey(key, mark, _FOREVER)

    def get(self, state_id: str, key_type: KeyType) -> CachedKey | None:
        """Return a key, None if there is none."""
        return self._keys.get((state_id, key_type))

    def status(self, state_id: str, key_type: KeyType) -> tuple[str, int] | None:
        """Return mark and deadline of a key, None if there is none."""
        found = self.get(state_id, key_type)
        return None if found is None else (found.mark, found.deadline)

    def put(self, _state_id: str, _key_type: KeyType, _cached: CachedKey, _seconds: int) -> bool:
        """Return False: this run's keys are cached elsewhere."""
        return False

    def forget(self, _state_id: str | None, _key_type: KeyType | None = None) -> int:
        """Return 0: the keys go with the process."""
        return 0

    def forget_older(self, _state_id: str, _key_type: KeyType, *, took_last: bool) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def last_error(self) -> FilevaultError | None:
        """Return None."""
        return None
