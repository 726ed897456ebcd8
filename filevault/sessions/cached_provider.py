"""The session cache around the provider of any step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.sources.source import CredentialProvider
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filevault.credentials import Credentials
    from filevault.sessions import MinimumLife, SessionCache, SessionName
    from filevault.sessions.lock_wait import LockWait


class Caching(Record):
    """How a run uses the session cache.

    Args:
        cache: where sessions are kept.
        lock_wait: returns how long to wait for another process that obtains the same session.
        refresh: ignore kept sessions, all along the chain; new ones are kept.
        min_ttl: seconds that the issued credentials must live on, None for the rule of
            `MinimumLife`.
        cache_roles: keep sessions of roles too.
    """

    cache: SessionCache
    lock_wait: Callable[[], LockWait]
    refresh: bool = False
    min_ttl: int | None = None
    cache_roles: bool = True


class CachedProvider(CredentialProvider):
    """Returns a kept session with enough life left, else obtains and keeps a new one.

    Of many processes that miss at the same time one calls; the others wait and then read.

    Args:
        wire: makes the provider that is asked on a miss; not called on a hit.
        caching: how the cache is used.
        name: where the session is kept.
        minimum: how much life it must have left.
        equivalents: names other sessions that serve as well; called after a miss.
        may_be_users: whether what is obtained may have no expiry, and so is not kept.
    """

    __slots__ = (
        *("_caching", "_equivalents", "_found", "_may_be_users", "_minimum", "_name"),
        "_wire",
    )

    def __init__(
        self,
        wire: Callable[[], CredentialProvider],
        caching: Caching,
        name: SessionName,
        minimum: MinimumLife,
        equivalents: Callable[[], Iterable[SessionName]] = tuple,
        *,
        may_be_users: bool = False,
    ) -> None:
        self._wire = wire
        self._caching = caching
        self._name = name
        self._minimum = minimum
        self._equivalents = equivalents
        self._may_be_users = may_be_users
        self._found: SessionName | None = None  # the kept session that was returned last

    def retrieve(self) -> Credentials:
        """Look, lock, look again, ask, keep."""
        found = self._find()
        if found is None:
            return self._obtain()
        self._found, credentials = found
        return credentials

    @property
    def from_cache(self) -> bool:
        """Whether the session that was returned last had been kept by an earlier run."""
        return self._found is not None

    def renew(self, refused: Credentials) -> Credentials | None:
        """Return new credentials for cached ones that AWS refused, which are deleted.

        None if this run has obtained the refused ones: new ones would be refused as well.
        """
        if self._found is None:
            return None
        self._caching.cache.forget(self._found, refused)
        self._found = None
        return self._obtain(refused)

    def _obtain(self, refused: Credentials | None = None) -> Credentials:
        provider = self._wire()
        with self._caching.cache.lock(self._name, self._caching.lock_wait()) as waited:
            found = self._find()
            if found is not None and found[1] != refused:
                return found[1]
            if not (waited and self._may_be_users):
                return self._obtained(provider, refused)
        # The other process kept nothing: what it got may have no expiry, so no wait is of use.
        return self._obtained(provider, refused)

    def _obtained(self, provider: CredentialProvider, refused: Credentials | None) -> Credentials:
        fresh = provider.retrieve()
        if fresh == refused:  # what a source keeps itself
            fresh = provider.renew(fresh) or fresh
        self._caching.cache.store(self._name, fresh)
        return fresh

    def _find(self) -> tuple[SessionName, Credentials] | None:
        if self._caching.refresh:
            return None
        for name in self._names():
            found = self._caching.cache.find(name, self._minimum)
            if found is not None:
                return name, found
        return None

    def _names(self) -> Iterator[SessionName]:
        yield self._name
        yield from self._equivalents()  # a hit never asks for them
