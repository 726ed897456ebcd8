"""The session cache around any provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filevault.credentials import Credentials
    from filevault.sessions import MinimumLife, SessionCache, SessionName
    from filevault.sessions.lock_wait import LockWait
    from filevault.sources.protocols import CredentialProvider


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
        others: names other sessions that serve as well; asked after a miss.
    """

    __slots__ = (
        "_cache",
        "_kept",
        "_minimum",
        "_name",
        "_others",
        "_refresh",
        "_waiting",
        "_wire",
    )

    def __init__(
        self,
        wire: Callable[[], CredentialProvider],
        cache: SessionCache,
        name: SessionName,
        minimum: MinimumLife,
        waiting: LockWait,
        *,
        refresh: bool,
        others: Callable[[], Iterable[SessionName]] = tuple,
    ) -> None:
        self._wire = wire
        self._cache = cache
        self._name = name
        self._minimum = minimum
        self._waiting = waiting
        self._refresh = refresh
        self._others = others
        # The name of the kept session that was returned last.
        self._kept: SessionName | None = None

    def retrieve(self) -> Credentials:
        """Look, lock, look again, ask, keep."""
        found = self._find()
        if found is None:
            return self._obtain()
        self._kept, credentials = found
        return credentials

    @property
    def is_kept(self) -> bool:
        """Whether the session that was returned last had been kept by an earlier run."""
        return self._kept is not None

    def renewed(self, refused: Credentials) -> Credentials | None:
        """Return others in place of kept credentials that AWS refused, which are forgotten.

        None where the refused ones were obtained by this very run: others would fare no better.
        """
        if self._kept is None:
            return None
        self._cache.forget(self._kept, refused)
        self._kept = None
        return self._obtain(refused)

    def _obtain(self, refused: Credentials | None = None) -> Credentials:
        source = self._wire()
        with self._cache.lock(self._name, self._waiting):
            found = self._find()
            if found is not None and found[1] != refused:
                return found[1]
            fresh = source.retrieve()
            self._cache.store(self._name, fresh)
            return fresh

    def _find(self) -> tuple[SessionName, Credentials] | None:
        if self._refresh:
            return None
        for name in self._names():
            found = self._cache.find(name, self._minimum)
            if found is not None:
                return name, found
        return None

    def _names(self) -> Iterator[SessionName]:
        yield self._name
        yield from self._others()  # a hit never asks for them


def renewed(provider: CredentialProvider, refused: Credentials) -> Credentials | None:
    """Return other credentials than kept ones that AWS refused, None if there can be none.

    Once for each provider: whoever calls again does so with what this returns.
    """
    return provider.renewed(refused) if isinstance(provider, Cached) else None


def is_kept(provider: CredentialProvider) -> bool:
    """Tell whether what a provider returned last is a session of an earlier run."""
    return isinstance(provider, Cached) and provider.is_kept
