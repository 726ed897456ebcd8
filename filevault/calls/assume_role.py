"""A role's session: AssumeRole, signed by whatever comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws import sts
from filevault.aws.errors import is_denied
from filevault.calls.lifetime import held_to
from filevault.errors import AwsError, LockedError, MfaError, TooLongError
from filevault.plan.cached import is_kept, renewed
from filevault.sources.stored import signed_by
from filevault.system.printable import printable
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.clients import Clients
    from filevault.credentials import Credentials
    from filevault.mfa.request import MfaRequest
    from filevault.mfa.token_code import TokenCode
    from filevault.plan.steps import AssumeRole
    from filevault.sources.protocols import CredentialProvider

_ALWAYS_ALLOWED = 3600
"""No role can be set to a maximum below this (IAM API reference, MaxSessionDuration)."""

_NO_LONGER_TAKEN = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class AssumeRoleProvider:
    """Calls AssumeRole each time it is asked.

    Without a name of its own the session is called after the moment, which CloudTrail shows. A
    kept session that AWS takes no longer to sign with is renewed, once. Where AWS denies the role
    to a kept session with MFA, a policy may ask for a fresh code (`aws:MultiFactorAuthAge`): the
    call is made with the stored key and a code of its own, once. A duration over the
    role's maximum, which only AWS knows, becomes an hour, unless the call carried a token code:
    that one is spent.
    """

    __slots__ = (
        "_clients",
        "_clock",
        "_key",
        "_source",
        "_step",
        "_subject",
        "_token_code",
        "_warn",
    )

    def __init__(
        self,
        step: AssumeRole,
        source: CredentialProvider,
        key: CredentialProvider,
        clients: Clients,
        token_code: TokenCode,
        clock: Callable[[], float],
        subject: str,
        warn: Callable[[str], None],
    ) -> None:
        self._step = step
        self._source = source
        self._key = key
        self._clients = clients
        self._token_code = token_code
        self._clock = clock
        self._subject = subject
        self._warn = warn

    def retrieve(self) -> Credentials:
        """Ask the source, then for a token code where one is needed, then call."""
        credentials = self._source.retrieve()
        mfa = self._step.mfa
        try:
            return self._assume(self._source, credentials, mfa)
        except AwsError as error:
            if self._step.fresh_mfa is not None and is_denied(error) and is_kept(self._source):
                return self._with_fresh_code(self._step.fresh_mfa, error)
            if error.code not in _NO_LONGER_TAKEN:
                raise
            others = renewed(self._source, credentials)
            if others is None:
                raise
        return self._assume(self._source, others, mfa)

    def _with_fresh_code(self, mfa: MfaRequest, refused: AwsError) -> Credentials:
        self._warn(
            f"AWS denies the role of profile {printable(self._step.profile)!r} to the cached "
            "session: a policy may ask for a fresh MFA code, so one is presented"
        )
        try:
            return self._assume(self._key, self._key.retrieve(), mfa)
        except (LockedError, MfaError) as error:
            hint = f"{error.message}: a policy of the role may ask for a fresh MFA code"
            refused.hint = f"{refused.hint}; {hint}" if refused.hint else hint
            raise refused from error

    def _assume(
        self, source: CredentialProvider, credentials: Credentials, device: MfaRequest | None
    ) -> Credentials:
        step = self._step
        request = sts.RoleRequest(
            role_arn=step.role_arn,
            session_name=step.session_name or f"filevault-{int(self._clock() * 1_000_000_000)}",
            duration=step.duration,
            external_id=step.external_id,
            tags=step.tags,
            transitive_tags=step.transitive_tags,
            source_identity=step.source_identity,
        )

        def call(mfa: sts.TokenCodeFor | None) -> Credentials:
            return signed_by(source, credentials, lambda signer: self._call(signer, request, mfa))

        try:
            return self._token_code.present(device, step.profile, call)
        except TooLongError:
            if device is not None or request.duration <= _ALWAYS_ALLOWED:
                raise
        shorter = self._call(credentials, request._replace(duration=_ALWAYS_ALLOWED), None)
        self._warn(
            f"AWS grants the role of profile {printable(step.profile)!r} no session of "
            f"{format_duration(request.duration)}: this one lives "
            f"{format_duration(_ALWAYS_ALLOWED)}"
        )
        return shorter

    def _call(
        self, credentials: Credentials, request: sts.RoleRequest, mfa: sts.TokenCodeFor | None
    ) -> Credentials:
        made = sts.assume_role(
            self._clients,
            self._step.endpoint,
            credentials,
            request,
            mfa=mfa,
            subject=self._subject,
        )
        return held_to(made, request.duration, self._clock(), self._subject)
