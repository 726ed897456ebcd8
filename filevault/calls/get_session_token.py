"""Call: GetSessionToken, a session of the IAM user whose long-term key signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.calls.call import Call, CallProvider, signed_by

if TYPE_CHECKING:
    from filevault.aws.endpoint import Endpoint
    from filevault.aws.sts import TokenCodeFor
    from filevault.calls.call import CallDependencies
    from filevault.credentials import Credentials
    from filevault.mfa.request import MfaRequest
    from filevault.sources.source import CredentialProvider, Source


class SessionToken(Call):
    """GetSessionToken for `profile`; durations are in seconds.

    `exact` is True if the user asked for this duration: a session of another duration is then not
    reused.
    """

    profile: str
    parent: Source
    duration: int
    endpoint: Endpoint
    mfa: MfaRequest | None = None
    exact: bool = False

    @property
    def owner(self) -> str:
        """The profile whose key signs."""
        return self.parent.owner

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "get-session-token"

    @property
    def is_user_session(self) -> bool:
        """True."""
        return True

    @property
    def carried_mfa(self) -> str | None:
        """The serial of the MFA device of the call."""
        return None if self.mfa is None else self.mfa.serial

    @property
    def takes_token_code(self) -> bool:
        """True."""
        return True

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "session token"

    @property
    def description(self) -> str:
        """The text for the call in `--explain`."""
        return "GetSessionToken"

    def request_identity(self, parent: str) -> dict[str, object]:
        """Return everything that determines the answer; the duration only where it is exact."""
        duration = self.duration if self.exact else None
        return {**super().request_identity(parent), "duration": duration}

    def provider(
        self, parent: CredentialProvider, dependencies: CallDependencies
    ) -> SessionTokenProvider:
        """Return the provider that calls GetSessionToken."""
        return SessionTokenProvider(self, parent, dependencies)


class SessionTokenProvider(CallProvider):
    """Calls GetSessionToken each time that it is asked."""

    __slots__ = ("_step",)

    def __init__(
        self, step: SessionToken, parent: CredentialProvider, dependencies: CallDependencies
    ) -> None:
        super().__init__(parent, dependencies)
        self._step = step

    def retrieve(self) -> Credentials:
        """Get the key, then a token code where one is needed, then call."""
        key = self._parent.retrieve()

        def call(mfa: TokenCodeFor | None) -> Credentials:
            return signed_by(self._parent, key, lambda signer: self._call(signer, mfa))

        made = self._run.token_code.present(self._step.mfa, self._step.profile, call)
        self._parent.learn_account(None)
        return made

    def _call(self, key: Credentials, mfa: TokenCodeFor | None) -> Credentials:
        from filevault.aws import sts

        step = self._step
        caller = self._run.caller(step.endpoint, key)
        made = sts.get_session_token(caller, duration=step.duration, mfa=mfa)
        return self._granted(made, step.duration)
