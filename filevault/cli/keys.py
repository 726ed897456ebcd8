"""What the key cache holds for the vault of this run, and when something is put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.keycache import SESSION, VAULT, open_cache
from filevault.keycache.places import folders, of_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.cli.context import Context
    from filevault.keycache import KeyCache

IDENTITIES = "a6e1"
"""The mark of age identities: they belong to a person, and open whatever they open."""


class VaultKeys:
    """The keys of one vault; see `filevault.vault.session_key.HeldSessionKey`.

    Args:
        cache: where they are held.
        state_id: which vault it is.
        seconds: tells for how long the session key is held after an unlocking; 0 for not at all.
        asked: tells whether a person was asked for what opened the vault. What opens by itself
            does not need to be held.
        fresh: open the vault, whatever is held.
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
        self._opened: tuple[str, bytes] | None = None

    def session_key(self, mark: str) -> bytes | None:
        """Return the session key of the file with this digest, if it is held."""
        key = None if self._fresh else self._cache.get(self._state_id, SESSION, mark)
        return key if key is not None and len(key) == 32 else None

    def opened(self, mark: str, key: bytes) -> None:
        """Hold the session key from now on if a person was asked for what opened it."""
        self._opened = (mark, key)
        if not self._fresh and self._asked():
            self._cache.put(self._state_id, SESSION, key, mark, self._seconds())

    def vault_key(self, mark: str) -> bytes | None:
        """Return what opens the vault itself, if it is held."""
        return None if self._fresh else self._cache.get(self._state_id, VAULT, mark)

    def hold_session_key(self, seconds: int) -> str | None:
        """Hold the session key that was opened in this run; return where, None if nowhere."""
        if self._opened is None:
            return None
        mark, key = self._opened
        return self._cache.put(self._state_id, SESSION, key, mark, seconds)

    def hold_vault_key(self, key: bytes, mark: str, seconds: int) -> str | None:
        """Hold what opens the vault itself; return where, None if nowhere."""
        return self._cache.put(self._state_id, VAULT, key, mark, seconds)


def open_places(context: Context) -> KeyCache:
    """Return where keys are held; for a job with an agent of its own that is this one alone."""
    get, runtime = context.settings.get, context.runtime
    places = runtime.places if of_job(get) is None else ("agent",)
    return open_cache(places, folders(get), runtime.boottime)


def open_keys(context: Context, asked: Callable[[], bool], *, fresh: bool) -> VaultKeys:
    """Return the keys of the vault of this run; `asked` and `fresh` as VaultKeys has them."""
    return VaultKeys(
        open_places(context),
        context.choice.state_id,
        seconds=lambda: context.settings.config.cache_ttl,
        asked=asked,
        fresh=fresh,
    )
