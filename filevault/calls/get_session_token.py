"""A user's session: GetSessionToken, signed with the long-term key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws import sts
from filevault.calls.lifetime import held_to
from filevault.sources.stored import signed_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.clients import Clients
    from filevault.credentials import Credentials
    from filevault.mfa.token_code import TokenCode
    from filevault.plan.steps import SessionToken
    from filevault.sources.protocols import CredentialProvider


class SessionTokenProvider:
    """Calls GetSessionToken each time it is asked."""

    __slots__ = ("_clients", "_clock", "_source", "_step", "_subject", "_token_code")

    def __init__(
        self,
        step: SessionToken,
        source: CredentialProvider,
        clients: Clients,
        token_code: TokenCode,
        clock: Callable[[], float],
        subject: str,
    ) -> None:
        self._step = step
        self._source = source
        self._clients = clients
        self._token_code = token_code
        self._clock = clock
        self._subject = subject

    def retrieve(self) -> Credentials:
        """Open the key, then ask for a token code where one is needed, then call."""
        step = self._step
        key = self._source.retrieve()

        def call(mfa: sts.TokenCodeFor | None) -> Credentials:
            return signed_by(self._source, key, lambda signer: self._call(signer, mfa))

        return self._token_code.present(step.mfa, step.profile, call)

    def _call(self, key: Credentials, mfa: sts.TokenCodeFor | None) -> Credentials:
        step = self._step
        made = sts.get_session_token(
            self._clients,
            step.endpoint,
            key,
            duration=step.duration,
            mfa=mfa,
            subject=self._subject,
        )
        return held_to(made, step.duration, self._clock(), self._subject)
