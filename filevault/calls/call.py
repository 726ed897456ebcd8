"""Base classes of the calls to AWS STS that return temporary credentials."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from filevault import errors
from filevault.sources.source import CredentialProvider, Step
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.call import Caller
    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials
    from filevault.mfa.request import MfaRequest
    from filevault.mfa.token_code import TokenCode
    from filevault.sources.source import Source, SourceDependencies

_UNKNOWN_KEY = frozenset(
    {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class CallDependencies(Record):
    """The arguments of the provider of a call.

    `clock` returns Unix seconds; `warn` prints a warning; `subject` names the profile in messages;
    `source_provider` returns the provider of the credential source that the plan begins
    with; `sources` are the arguments of credential sources.
    """

    clients: Clients
    token_code: TokenCode
    clock: Callable[[], float]
    warn: Callable[[str], None]
    subject: str
    source_provider: Callable[[], CredentialProvider]
    sources: SourceDependencies

    def caller(self, endpoint: Endpoint, credentials: Credentials | None) -> Caller:
        """Return what makes a call at an endpoint; `credentials` sign it, if it is signed."""
        from filevault.aws.call import Caller

        return Caller(self.clients, endpoint, credentials, self.subject)


class Call(Step):
    """A step that calls AWS, signed with the credentials of its parent, or with its token."""

    if TYPE_CHECKING:

        @property
        def parent(self) -> Step:
            """The step whose credentials sign the call, or whose token it carries."""
            ...

        @property
        def duration(self) -> int:
            """How long the session lives, in seconds."""
            ...

        @property
        def endpoint(self) -> Endpoint:
            """Where the call goes."""
            ...

        @property
        def mfa(self) -> MfaRequest | None:
            """The token code that the call carries."""
            ...

    @property
    def source(self) -> Source:
        """The credential source that the plan begins with."""
        return self.parent.source

    @property
    def proof(self) -> str:
        """How the call names the caller, in `--explain`."""
        return "signed by"

    def request_identity(self, parent: str) -> dict[str, object]:
        """Return everything that determines the answer of the call."""
        return {
            **super().request_identity(parent),
            **self.endpoint.identity,
            "mfa_serial": self.mfa.serial if self.mfa else None,
            "duration": self.duration,
        }

    @abstractmethod
    def provider(
        self, parent: CredentialProvider, dependencies: CallDependencies
    ) -> CredentialProvider:
        """Return the provider that makes the call each time that it is asked."""


def calls_of(step: Step) -> tuple[Call, ...]:
    """Return the calls up to a step, in the order in which they are made."""
    return (*calls_of(step.parent), step) if isinstance(step, Call) else ()


class CallProvider(CredentialProvider):
    """Base class of the providers of calls."""

    __slots__ = ("_parent", "_run")

    def __init__(self, parent: CredentialProvider, dependencies: CallDependencies) -> None:
        self._parent = parent
        self._run = dependencies

    def _granted(self, made: Credentials, duration: int) -> Credentials:
        """Return a session as AWS granted it. Raises AwsError for one that has ended already."""
        from filevault.calls.granted_life import checked_life

        return checked_life(made, duration, self._run.clock(), self._run.subject)


def signed_by(
    parent: CredentialProvider,
    credentials: Credentials,
    call: Callable[[Credentials], Credentials],
) -> Credentials:
    """Make a call with credentials, a second time if the stored key was replaced since.

    A stored key that AWS does not know may have been replaced since it was read. AWS refuses
    such a call before it looks at a token code, so the same code serves. Raises what `call` does.
    """
    try:
        return call(credentials)
    except errors.AwsError as error:
        if error.code not in _UNKNOWN_KEY:
            raise
        replacement = parent.replacement(credentials)
        if replacement is None:
            raise
    return call(replacement)
