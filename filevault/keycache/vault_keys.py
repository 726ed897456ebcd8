"""The cached keys of one vault."""

from __future__ import annotations

from filevault.keycache.cached_key import SESSION, VAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.keycache.cache import FoundKey, KeyCache, PutResult


class VaultKeys:
    """The cached keys of one vault; see `filevault.vault.session_key_cache.SessionKeyCache`.

    Args:
        cache: the key cache.
        state_id: of the vault.
        seconds: returns how long to cache the session key after an unlock; 0 for not at all.
        asked: returns whether a person was asked for the secret that opened the vault. A secret
            that is always available needs no cache.
        fresh: ignore cached keys, so that the vault itself is opened.

    `found` is the cached session key that was used, None if none was.
    """

    def __init__(
        self,
        cache: KeyCache,
        state_id: str,
        *,
        seconds: Callable[[], int],
        asked: Callable[[], bool],
        fresh: bool,
    ) -> None:
        self._cache = cache
        self._state_id = state_id
        self._seconds = seconds
        self._asked = asked
        self._fresh = fresh
        self._unwrapped: tuple[str, bytes] | None = None
        self.found: FoundKey | None = None

    @property
    def unwrapped(self) -> tuple[str, bytes] | None:
        """The mark and the bytes of the session key, if it was decrypted in this run."""
        return self._unwrapped

    def session_key(self, mark: str) -> bytes | None:
        """Return the cached session key of the file with this digest."""
        found = None if self._fresh else self._cache.find(self._state_id, SESSION, mark)
        if found is None or len(found.cached.key) != 32:
            return None
        self.found = found
        return found.cached.key

    def on_unwrapped(self, mark: str, key: bytes) -> None:
        """Cache the session key if a person was asked for the secret that opened the vault."""
        self._unwrapped = (mark, key)
        if not self._fresh and self._asked():
            self._cache.put(self._state_id, SESSION, key, mark, self._seconds())

    def on_rewrapped(self, mark: str, new: str) -> None:
        """Give the cached session key the digest of its new file."""
        self._cache.move(self._state_id, SESSION, mark, new)

    def cache_if_asked(self, load: Callable[[], object]) -> None:
        """Cache the session key if a person was asked in this run and it was not loaded yet.

        `load` decrypts it, which calls `on_unwrapped`. Raises what `load` raises.
        """
        if not self._fresh and self._unwrapped is None and self._asked() and self._seconds() > 0:
            load()

    def cache_session_key(self, seconds: int) -> PutResult | None:
        """Cache the session key that was decrypted in this run; None if no store took it."""
        if self._unwrapped is None:
            return None
        mark, key = self._unwrapped
        return self._cache.replace(self._state_id, SESSION, key, mark, seconds)

    def has_session_key(self, mark: str | None) -> bool:
        """Return whether the session key of the file with this digest is cached and may be used."""
        entries = [] if self._fresh else self._cache.entries(self._state_id)
        return any(each.key_type == SESSION and each.mark == mark for each in entries)

    def vault_key(self, mark: str) -> bytes | None:
        """Return the cached key that opens the vault itself."""
        return None if self._fresh else self._cache.get(self._state_id, VAULT, mark)

    def cache_vault_key(self, key: bytes, mark: str, seconds: int) -> PutResult | None:
        """Cache the key that opens the vault itself; None if no store took it."""
        return self._cache.replace(self._state_id, VAULT, key, mark, seconds)

    def forget_vault_key(self) -> bool:
        """Forget the key that opens the vault; return whether it was cached.

        Raises BackendError.
        """
        return self._cache.forget_key(self._state_id, VAULT) > 0
