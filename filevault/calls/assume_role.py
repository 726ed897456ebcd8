"""Call: AssumeRole, signed with a long-term key or a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.calls.call import Call, CallProvider, signed_by
from filevault.errors import LockedError
from filevault.system.printable import printable
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filevault.aws.endpoint import Endpoint
    from filevault.aws.sts import RoleRequest, TokenCodeFor
    from filevault.calls.call import CallDependencies
    from filevault.credentials import Credentials
    from filevault.mfa.request import MfaRequest
    from filevault.sources.source import CredentialProvider, Step

_ALWAYS_ALLOWED = 3600
"""No role can be set to a maximum below this (IAM API reference, MaxSessionDuration)."""

_NO_LONGER_ACCEPTED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class AssumeRole(Call):
    """AssumeRole for `profile`; a `session_name` of None is generated for each call.

    `fresh_mfa` is the device for a new code, if AWS refuses the MFA of the parent's session as
    too old.
    """

    profile: str
    parent: Step
    role_arn: str
    duration: int
    endpoint: Endpoint
    mfa: MfaRequest | None = None
    external_id: str | None = None
    session_name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None
    fresh_mfa: MfaRequest | None = None

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "assume-role"

    @property
    def assumed_role(self) -> str:
        """The ARN of the role."""
        return self.role_arn

    @property
    def carried_mfa(self) -> str | None:
        """The serial of the device of the first call: the sessions after it carry its MFA."""
        return self.parent.carried_mfa if self.mfa is None else self.mfa.serial

    @property
    def takes_token_code(self) -> bool:
        """True."""
        return True

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return f"role {printable(self.role_arn)}"

    @property
    def description(self) -> str:
        """The text for the call in `--explain`."""
        return f"AssumeRole {printable(self.role_arn)}"

    def request_identity(self, parent: str) -> dict[str, object]:
        """Return everything that determines the answer, except a generated session name."""
        return {
            **super().request_identity(parent),
            "role_arn": self.role_arn,
            "external_id": self.external_id,
            "session_name": self.session_name,
            "tags": [list(tag) for tag in self.tags],
            "transitive_tags": list(self.transitive_tags),
            "source_identity": self.source_identity,
        }

    def equivalents(self, lives: Iterable[int]) -> Iterator[AssumeRole]:
        """Return other calls whose kept session serves as well to assume the next role.

        These are the same call with each of `lives` as its duration, and the same call signed by
        the stored key with a token code, instead of by a session with MFA.
        """
        for seconds in lives:
            same = self._replace(duration=seconds)
            yield same
            if self.fresh_mfa is not None:
                yield same._replace(parent=self.source, mfa=self.fresh_mfa)

    def provider(
        self, parent: CredentialProvider, dependencies: CallDependencies
    ) -> AssumeRoleProvider:
        """Return the provider that calls AssumeRole."""
        return AssumeRoleProvider(self, parent, dependencies)


class AssumeRoleProvider(CallProvider):
    """Calls AssumeRole each time that it is asked.

    - Without a configured name the session gets the present time as its name, for CloudTrail.
    - A cached session of the parent that AWS no longer accepts is renewed, once.
    - Where AWS denies the role to a cached session with MFA, a policy may ask for a fresh code
      (`aws:MultiFactorAuthAge`): the call is made with the stored key and a new code, once.
    - A duration over the role's maximum, which only AWS knows, becomes an hour, unless the call
      carried a token code: then it is not repeated, because the code is spent.
    """

    __slots__ = ("_step",)

    def __init__(
        self, step: AssumeRole, parent: CredentialProvider, dependencies: CallDependencies
    ) -> None:
        super().__init__(parent, dependencies)
        self._step = step

    def retrieve(self) -> Credentials:
        """Get the parent's credentials, then a token code where one is needed, then call."""
        made = self._made()
        self._parent.learn_account(None)  # a role may belong to another account
        return made

    def _made(self) -> Credentials:
        from filevault.aws.errors import is_denied

        step, parent = self._step, self._parent
        credentials = parent.retrieve()
        try:
            return self._assume(parent, credentials, step.mfa)
        except errors.AwsError as error:
            if step.fresh_mfa is not None and is_denied(error) and parent.from_cache:
                return self._with_fresh_code(step.fresh_mfa, error)
            if error.code not in _NO_LONGER_ACCEPTED:
                raise
            renewed = parent.renew(credentials)
            if renewed is None:
                raise
        return self._assume(parent, renewed, step.mfa)

    def _with_fresh_code(self, mfa: MfaRequest, refused: errors.AwsError) -> Credentials:
        self._run.warn(
            f"AWS denies the role of profile {printable(self._step.profile)!r} to the cached "
            "session: a policy may ask for a fresh MFA code, so one is presented"
        )
        key = self._run.source_provider()
        try:
            return self._assume(key, key.retrieve(), mfa)
        except (LockedError, errors.MfaError) as error:
            hint = f"{error.message}: a policy of the role may ask for a fresh MFA code"
            raise refused.add_context(
                hint=f"{refused.hint}; {hint}" if refused.hint else hint
            ) from error

    def _assume(
        self, signer: CredentialProvider, credentials: Credentials, device: MfaRequest | None
    ) -> Credentials:
        from filevault.aws.sts import RoleRequest

        step = self._step
        request = RoleRequest(
            role_arn=step.role_arn,
            session_name=step.session_name or f"filevault-{int(self._run.clock() * 1_000_000_000)}",
            duration=step.duration,
            external_id=step.external_id,
            tags=step.tags,
            transitive_tags=step.transitive_tags,
            source_identity=step.source_identity,
        )

        def call(mfa: TokenCodeFor | None) -> Credentials:
            return signed_by(signer, credentials, lambda key: self._call(key, request, mfa))

        try:
            return self._run.token_code.present(device, step.profile, call)
        except errors.TooLongError:
            if device is not None or request.duration <= _ALWAYS_ALLOWED:
                raise
        shorter = self._call(credentials, request._replace(duration=_ALWAYS_ALLOWED), None)
        self._run.warn(
            f"AWS grants the role of profile {printable(step.profile)!r} no session of "
            f"{format_duration(request.duration)}: this one lives "
            f"{format_duration(_ALWAYS_ALLOWED)}"
        )
        return shorter

    def _call(
        self, credentials: Credentials, request: RoleRequest, mfa: TokenCodeFor | None
    ) -> Credentials:
        from filevault.aws import sts

        caller = self._run.caller(self._step.endpoint, credentials)
        made = sts.assume_role(caller, request, mfa=mfa)
        return self._granted(made, request.duration)
