"""A role's session: AssumeRole, signed by whatever comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws import sts
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.client import Clients
    from filevault.credentials import Credentials
    from filevault.providers import CredentialProvider
    from filevault.providers.mfa import TokenCode
    from filevault.providers.steps import AssumeRole


class AssumeRoleProvider:
    """Calls AssumeRole each time it is asked.

    Without a name of its own the session is called after the moment, which CloudTrail shows.
    """

    __slots__ = ("_clients", "_clock", "_source", "_step", "_token_code")

    def __init__(
        self,
        step: AssumeRole,
        source: CredentialProvider,
        clients: Clients,
        token_code: TokenCode,
        clock: Callable[[], float],
    ) -> None:
        self._step = step
        self._source = source
        self._clients = clients
        self._token_code = token_code
        self._clock = clock

    def retrieve(self) -> Credentials:
        """Ask the source, then for a token code where one is needed, then call."""
        step = self._step
        credentials = self._source.retrieve()
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
            return sts.assume_role(
                self._clients,
                step.endpoint,
                credentials,
                request,
                mfa=mfa,
                subject=f"profile {printable(step.profile)!r}",
            )

        return self._token_code.present(step.mfa, step.profile, call)
