"""Turn a plan into nested credential providers, each step wrapped in the session cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.calls.call import Call, CallDependencies, calls_of
from filevault.sessions import AS_PARENT, MinimumLife
from filevault.sessions.cached_provider import CachedProvider
from filevault.sessions.session_hash import equivalent_names, session_name
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filevault.aws.clients import Clients
    from filevault.credentials import AccessKey
    from filevault.mfa.token_code import TokenCode
    from filevault.plan.planner import Plan
    from filevault.sessions import SessionName
    from filevault.sessions.cached_provider import Caching
    from filevault.sources.source import CredentialProvider, SourceDependencies, Step

    Share = Callable[[Step, CredentialProvider], CredentialProvider]


class Dependencies(Record):
    """The arguments that the providers of a run share.

    Args:
        sources: the arguments of credential sources.
        token_code: returns what gives the token codes of calls with MFA.
        clock: Unix seconds.
        warn: prints a warning where AWS grants less than was asked for.
        allow_http: let endpoint URLs be plain http beyond the loopback interface.
    """

    sources: SourceDependencies
    token_code: Callable[[], TokenCode]
    clock: Callable[[], float]
    warn: Callable[[str], None]
    allow_http: bool = False


def build(
    plan: Plan,
    dependencies: Dependencies,
    caching: Caching | None,
    share: Share | None = None,
) -> CredentialProvider:
    """Return the provider of a plan's credentials; nothing is called yet.

    Args:
        plan: the plan.
        dependencies: as in the class.
        caching: None keeps no session and finds none.
        share: wraps the provider of the user's session, so that it serves several plans of a run.

    Raises:
        ConfigError: for an unsafe endpoint.
        ItemNotFoundError: if the stored key is gone.
    """
    for call in calls_of(plan.step):
        if call.endpoint.url is not None:
            from filevault.aws.endpoint import check_url

            check_url(call.endpoint.url, allow_http=dependencies.allow_http)
    identity = ""
    if caching is not None and plan.step.operation is not None:
        identity = plan.step.source.identity(dependencies.sources)
    providers = _Providers(plan, dependencies, caching, share, identity)
    return providers.provider(plan.step, MinimumLife(None if caching is None else caching.min_ttl))


def is_kept(step: Step, *, cache_roles: bool) -> bool:
    """Return whether the session of a step is kept, where sessions are kept at all."""
    return step.operation is not None and (cache_roles or step.is_user_session)


class _Providers:
    """Makes the providers of one plan; those behind a cache only once they are missed."""

    def __init__(
        self,
        plan: Plan,
        dependencies: Dependencies,
        caching: Caching | None,
        share: Share | None,
        source_identity: str,
    ) -> None:
        self._plan = plan
        self._dependencies = dependencies
        self._caching = caching
        self._share = share
        self._source_identity = source_identity
        self._clients: Clients | None = None

    def provider(
        self, step: Step, minimum: MinimumLife, signs: Call | None = None
    ) -> CredentialProvider:
        """Return the provider of a step, its parents included.

        `minimum` is the life that a kept session must have left, `signs` the call that the
        credentials sign, None if they are issued.
        """
        caching, identity = self._caching, self._source_identity
        if caching is None or not is_kept(step, cache_roles=caching.cache_roles):
            return self._uncached(step, signs)
        name = session_name(step, identity)

        def equivalents() -> Iterable[SessionName]:
            return equivalent_names(step, identity, caching.cache.lives(name))

        return CachedProvider(
            lambda: self._uncached(step, signs),
            caching,
            name,
            minimum,
            tuple if signs is None else equivalents,
            may_be_users=step.may_be_users,
        )

    def _uncached(self, step: Step, signs: Call | None) -> CredentialProvider:
        if not isinstance(step, Call):
            return self._source(step, signs)
        parent = self.provider(step.parent, AS_PARENT, signs=step)
        dependencies = CallDependencies(
            clients=self._opened(),
            token_code=self._dependencies.token_code(),
            clock=self._dependencies.clock,
            warn=self._dependencies.warn,
            subject=self._subject(step),
            source_provider=lambda: self._source(step, step),
            sources=self._dependencies.sources,
        )
        made = step.provider(parent, dependencies)
        return made if self._share is None or not step.is_user_session else self._share(step, made)

    def _source(self, step: Step, signs: Call | None) -> CredentialProvider:
        """Return the provider of the source of a step, whose credentials sign a call."""
        dependencies = self._dependencies.sources
        if signs is not None:
            dependencies = dependencies._replace(identify=lambda key: self._account(signs, key))
        return step.source.provider(dependencies)

    def _account(self, call: Call, key: AccessKey) -> str:
        """Ask AWS, at the endpoint of a call, for the account of the key that signs it."""
        from filevault.aws.call import Caller
        from filevault.aws.sts import get_caller_identity
        from filevault.credentials import Credentials

        signing = Credentials(key.access_key_id, key.secret_access_key)
        caller = Caller(self._opened(), call.endpoint, signing, self._subject(call))
        return get_caller_identity(caller).account

    def _opened(self) -> Clients:
        if self._clients is None:
            from filevault.aws.clients import Clients

            self._clients = Clients(
                profile=self._plan.profile, allow_http=self._dependencies.allow_http
            )
        return self._clients

    def _subject(self, step: Call) -> str:
        """Return the profile of a call, with its number in the chain, for messages."""
        made = len(calls_of(self._plan.step))
        subject = f"profile {printable(step.profile)!r}"
        if made == 1:
            return subject
        number = len(calls_of(step))
        return f"{subject} (call {number} of {made} for {printable(self._plan.profile)!r})"
