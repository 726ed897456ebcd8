"""The session cache around any provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import Credentials
    from filevault.providers import CredentialProvider
    from filevault.sessions import MinimumLife, SessionCache, SessionName
    from filevault.sessions.waiting import Waiting


class Cached:
    """Returns a kept session where one serves, else obtains and keeps a new one.

    Of many processes that miss at the same time one calls; the others wait and then read.

    Args:
        wire: makes the provider that is asked on a miss; not called on a hit.
        cache: where sessions are kept.
        name: whose session this is.
        minimum: how long it must live on.
        waiting: how long to wait for another process.
        refresh: pass over what is kept.
    """

    __slots__ = ("_cache", "_kept", "_minimum", "_name", "_refresh", "_waiting", "_wire")

    def __init__(
        self,
        wire: Callable[[], CredentialProvider],
        cache: SessionCache,
        name: SessionName,
        minimum: MinimumLife,
        waiting: Waiting,
        *,
        refresh: bool,
    ) -> None:
        self._wire = wire
        self._cache = cache
        self._name = name
        self._minimum = minimum
        self._waiting = waiting
        self._refresh = refresh
        self._kept = False

    def retrieve(self) -> Credentials:
        """Look, lock, look again, ask, keep."""
        found = self._find()
        if found is not None:
            self._kept = True
            return found
        return self._obtain()

    def renewed(self, refused: Credentials) -> Credentials | None:
        """Return others in place of kept credentials that AWS refused, which are forgotten.

        None where the refused ones were obtained by this very run: others would fare no better.
        """
        if not self._kept:
            return None
        self._kept = False
        self._cache.forget(self._name, refused)
        return self._obtain(refused)

    def _obtain(self, refused: Credentials | None = None) -> Credentials:
        source = self._wire()
        with self._cache.lock(self._name, self._waiting):
            found = self._find()
            if found is not None and found != refused:
                return found
            fresh = source.retrieve()
            self._cache.store(self._name, fresh)
            return fresh

    def _find(self) -> Credentials | None:
        return None if self._refresh else self._cache.find(self._name, self._minimum)


def renewed(provider: CredentialProvider, refused: Credentials) -> Credentials | None:
    """Return other credentials than kept ones that AWS refused, None if there can be none.

    Once for each provider: whoever calls again does so with what this returns.
    """
    return provider.renewed(refused) if isinstance(provider, Cached) else None
