"""A role's session: AssumeRole, signed by whatever comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws import sts
from filevault.errors import AwsError, TooLongError
from filevault.printable import printable
from filevault.providers.cached import renewed
from filevault.providers.lifetime import held_to
from filevault.providers.stored import signed_by
from filevault.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.client import Clients
    from filevault.credentials import Credentials
    from filevault.providers import CredentialProvider
    from filevault.providers.mfa import TokenCode
    from filevault.providers.steps import AssumeRole

_ALWAYS_ALLOWED = 3600
"""No role can be set to a maximum below this (IAM API reference, MaxSessionDuration)."""

_NO_LONGER_TAKEN = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class AssumeRoleProvider:
    """Calls AssumeRole each time it is asked.

    Without a name of its own the session is called after the moment, which CloudTrail shows. A
    kept session that AWS takes no longer to sign with is renewed, once. A duration over the
    role's maximum, which only AWS knows, becomes an hour, unless the call carried a token code:
    that one is spent.
    """

    __slots__ = ("_clients", "_clock", "_source", "_step", "_subject", "_token_code", "_warn")

    def __init__(
        self,
        step: AssumeRole,
        source: CredentialProvider,
        clients: Clients,
        token_code: TokenCode,
        clock: Callable[[], float],
        subject: str,
        warn: Callable[[str], None],
    ) -> None:
        self._step = step
        self._source = source
        self._clients = clients
        self._token_code = token_code
        self._clock = clock
        self._subject = subject
        self._warn = warn

    def retrieve(self) -> Credentials:
        """Ask the source, then for a token code where one is needed, then call."""
        credentials = self._source.retrieve()
        try:
            return self._assume(credentials)
        except AwsError as error:
            if error.code not in _NO_LONGER_TAKEN:
                raise
            others = renewed(self._source, credentials)
            if others is None:
                raise
        return self._assume(others)

    def _assume(self, credentials: Credentials) -> Credentials:
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
            return signed_by(
                self._source, credentials, lambda signer: self._call(signer, request, mfa)
            )

        try:
            return self._token_code.present(step.mfa, step.profile, call)
        except TooLongError:
            if step.mfa is not None or request.duration <= _ALWAYS_ALLOWED:
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
