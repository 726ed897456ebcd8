"""Call: AssumeRoleWithWebIdentity, which a token makes instead of a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.calls.call import Call, CallProvider
from filevault.errors import AwsError, TooLongError
from filevault.system.printable import printable
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from filevault.aws.endpoint import Endpoint
    from filevault.calls.call import CallDependencies
    from filevault.credentials import Credentials
    from filevault.sources.source import CredentialProvider
    from filevault.sources.web_identity import WebIdentity

_ALWAYS_ALLOWED = 3600
"""No role can be set to a maximum below this (IAM API reference, MaxSessionDuration)."""
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})


class AssumeRoleWithWebIdentity(Call):
    """AssumeRoleWithWebIdentity for `profile`; a `session_name` of None is generated."""

    profile: str
    parent: WebIdentity
    role_arn: str
    duration: int
    endpoint: Endpoint
    session_name: str | None = None

    mfa = None

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "assume-role-with-web-identity"

    @property
    def assumed_role(self) -> str:
        """The ARN of the role."""
        return self.role_arn

    @property
    def proof(self) -> str:
        """How the call names the caller, in `--explain`."""
        return "with"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return f"role {printable(self.role_arn)}"

    @property
    def description(self) -> str:
        """The text for the call in `--explain`."""
        return f"AssumeRoleWithWebIdentity {printable(self.role_arn)}"

    def request_identity(self, parent: str) -> dict[str, object]:
        """Return everything that determines the answer, except a generated session name."""
        return {
            **super().request_identity(parent),
            "role_arn": self.role_arn,
            "session_name": self.session_name,
        }

    def provider(
        self,
        parent: CredentialProvider,
        dependencies: CallDependencies,
    ) -> AssumeRoleWithWebIdentityProvider:
        """Return the provider that makes the call."""
        return AssumeRoleWithWebIdentityProvider(self, parent, dependencies)


class AssumeRoleWithWebIdentityProvider(CallProvider):
    """Gets a token and calls, each time that it is asked.

    - If AWS says that the token has expired, it is read or fetched once more.
    - If AWS denies the role, the error names issuer, audience and subject of the token, which the
      role's trust policy is about.
    - A duration over the role's maximum, which only AWS knows, becomes an hour.
    """

    __slots__ = ("_step",)

    def __init__(
        self,
        step: AssumeRoleWithWebIdentity,
        parent: CredentialProvider,
        dependencies: CallDependencies,
    ) -> None:
        super().__init__(parent, dependencies)
        self._step = step

    def retrieve(self) -> Credentials:
        """Get a token, then call. Raises ProviderError, AwsError, NetworkError, ConfigError."""
        step = self._step
        token = self._token()
        try:
            return self._with(token, step.duration)
        except TooLongError:
            if step.duration <= _ALWAYS_ALLOWED:
                raise
        shorter = self._with(token, _ALWAYS_ALLOWED)
        self._run.warn(
            f"AWS grants the role of profile {printable(step.profile)!r} no session of "
            f"{format_duration(step.duration)}: this one lives {format_duration(_ALWAYS_ALLOWED)}"
        )
        return shorter

    def _token(self) -> str:
        return self._step.parent.token(self._run.sources)

    def _with(self, token: str, duration: int) -> Credentials:
        try:
            return self._call(token, duration)
        except AwsError as error:
            if error.code not in _EXPIRED:
                raise _with_claims(error, token) from error
        token = self._token()
        try:
            return self._call(token, duration)
        except AwsError as error:
            raise _with_claims(error, token) from error

    def _call(self, token: str, duration: int) -> Credentials:
        from filevault.aws import sts

        step = self._step
        name = step.session_name or f"filevault-{int(self._run.clock() * 1_000_000_000)}"
        request = sts.WebIdentityRequest(step.role_arn, name, token, duration)
        made = sts.assume_role_with_web_identity(self._run.caller(step.endpoint, None), request)
        return self._granted(made, duration)


def _with_claims(error: AwsError, token: str) -> AwsError:
    """Return the error with what the token says about itself; it never contains the token."""
    from filevault.identity_tokens.claims import shown_claims

    shown = shown_claims(token)
    return error.add_context(f"the token has {shown}" if shown else "")
