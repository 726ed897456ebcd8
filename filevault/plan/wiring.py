"""A plan becomes nested providers, each step wrapped in the session cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import check_url
from filevault.plan.cached import Cached
from filevault.plan.steps import (
    FederationToken,
    SessionToken,
    StoredKey,
    calls,
    session_name,
    source_names,
    stored_key,
)
from filevault.sessions import AS_SOURCE, MinimumLife
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filevault.aws.clients import Clients
    from filevault.credentials import AccessKey
    from filevault.mfa.token_code import TokenCode
    from filevault.plan.planner import Plan
    from filevault.plan.steps import Call, Step
    from filevault.sessions import SessionCache, SessionName
    from filevault.sessions.lock_wait import LockWait
    from filevault.sources.protocols import CredentialProvider, KeySource

    Share = Callable[[SessionToken, CredentialProvider], CredentialProvider]


def build(
    plan: Plan,
    keys: KeySource,
    cache: SessionCache | None,
    token_code: TokenCode,
    clock: Callable[[], float],
    waiting: LockWait,
    warn: Callable[[str], None],
    *,
    refresh: bool = False,
    min_ttl: int | None = None,
    cache_roles: bool = True,
    allow_http: bool = False,
    share: Share | None = None,
) -> CredentialProvider:
    """Wire a plan.

    Args:
        plan: what to do.
        keys: where the long-term key is; its item is read for the cache's sake, but decrypted
            only when a call is made with it.
        cache: None keeps nothing and finds nothing.
        token_code: answers where a call carries MFA.
        clock: Unix seconds.
        waiting: how long to wait for another process that obtains the same session.
        warn: told where AWS grants less than was asked for.
        refresh: pass over kept sessions, all along the chain; new ones are kept.
        min_ttl: seconds that what is handed out must live on, None for the rule.
        cache_roles: keep sessions of roles too.
        allow_http: let endpoint URLs be plain http beyond the loopback interface.
        share: lets the user's session serve several plans of a run.

    Raises:
        ConfigError: for an unsafe endpoint.
        ItemNotFoundError: if the stored key is gone.
    """
    for call in calls(plan.step):
        if call.endpoint.url is not None:
            check_url(call.endpoint.url, allow_http=allow_http)
    wiring = _Wiring(
        plan, keys, cache, token_code, clock, waiting, warn, refresh, cache_roles, allow_http, share
    )
    return wiring.provider(plan.step, MinimumLife(min_ttl))


class _Wiring:
    """Makes the providers of one plan; those behind a cache only once they are missed."""

    def __init__(
        self,
        plan: Plan,
        keys: KeySource,
        cache: SessionCache | None,
        token_code: TokenCode,
        clock: Callable[[], float],
        waiting: LockWait,
        warn: Callable[[str], None],
        refresh: bool,
        cache_roles: bool,
        allow_http: bool,
        share: Share | None,
    ) -> None:
        self._plan = plan
        self._warn = warn
        self._keys = keys
        self._cache = cache
        self._token_code = token_code
        self._clock = clock
        self._waiting = waiting
        self._refresh = refresh
        self._cache_roles = cache_roles
        self._allow_http = allow_http
        self._share = share
        self._clients: Clients | None = None
        self._digest = ""
        if cache is not None and not isinstance(plan.step, StoredKey):
            self._digest = keys.item_digest(stored_key(plan.step).profile)

    def provider(self, step: Step, minimum: MinimumLife) -> CredentialProvider:
        """Return the provider of a step, its sources included."""
        if isinstance(step, StoredKey):
            from filevault.sources.stored import StoredProvider

            return StoredProvider(step, self._keys)
        if self._cache is None or not (self._cache_roles or isinstance(step, SessionToken)):
            return self._calling(step)
        cache, name = self._cache, session_name(step, self._digest)

        def others() -> Iterable[SessionName]:
            return source_names(step, self._digest, cache.lives(name))

        return Cached(
            lambda: self._calling(step),
            cache,
            name,
            minimum,
            self._waiting,
            refresh=self._refresh,
            others=tuple if step is self._plan.step else others,
        )

    def _calling(self, step: Call) -> CredentialProvider:
        if not isinstance(step.source, StoredKey):
            return self._call(step, self.provider(step.source, AS_SOURCE))
        from filevault.sources.stored import Learning, StoredProvider

        stored = StoredProvider(step.source, self._keys, lambda key: self._account(step, key))
        call = self._call(step, stored)
        return Learning(call, stored, tells=isinstance(step, FederationToken))

    def _account(self, step: Call, key: AccessKey) -> str:
        """Ask AWS, at the endpoint of a call, for the account of the key that signs it."""
        from filevault.aws.sts import get_caller_identity
        from filevault.credentials import Credentials

        signing = Credentials(key.access_key_id, key.secret_access_key)
        subject = self._subject(step)
        found = get_caller_identity(self._opened(), step.endpoint, signing, subject=subject)
        return found.account

    def _opened(self) -> Clients:
        if self._clients is None:
            from filevault.aws.clients import Clients

            self._clients = Clients(profile=self._plan.profile, allow_http=self._allow_http)
        return self._clients

    def _call(self, step: Call, source: CredentialProvider) -> CredentialProvider:
        clients = self._opened()
        subject = self._subject(step)
        if isinstance(step, SessionToken):
            from filevault.calls.get_session_token import SessionTokenProvider

            made = SessionTokenProvider(
                step, source, clients, self._token_code, self._clock, subject
            )
            return made if self._share is None else self._share(step, made)
        if isinstance(step, FederationToken):
            from filevault.calls.get_federation_token import FederationTokenProvider

            return FederationTokenProvider(step, source, clients, self._clock, subject)
        from filevault.calls.assume_role import AssumeRoleProvider
        from filevault.sources.stored import StoredProvider

        return AssumeRoleProvider(
            step,
            source,
            StoredProvider(stored_key(step), self._keys, lambda key: self._account(step, key)),
            clients,
            self._token_code,
            self._clock,
            subject,
            self._warn,
        )

    def _subject(self, step: Call) -> str:
        """Return whom a call is for, and which one of the chain it is, for messages about it."""
        made = len(calls(self._plan.step))
        subject = f"profile {printable(step.profile)!r}"
        if made == 1:
            return subject
        number = len(calls(step))
        return f"{subject} (call {number} of {made} for {printable(self._plan.profile)!r})"
