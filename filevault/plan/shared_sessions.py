"""Obtain a user's session once for several plans of a run: AWS takes each token code once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.sources.source import CredentialProvider

if TYPE_CHECKING:
    from filevault.credentials import Credentials
    from filevault.sources.source import Step


class SharedSessions:
    """The sessions that a run has obtained, and the errors where AWS refused one."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[Step, str], Credentials | errors.ProviderError] = {}

    def retrieve(self, step: Step, access_key_id: str, provider: CredentialProvider) -> Credentials:
        """Return the session that a key has obtained in a step, or obtain it now.

        An error of the first time is raised again: the token code is spent.
        """
        found = self._found.get((step, access_key_id))
        if found is None:
            try:
                found = provider.retrieve()
            except errors.ProviderError as error:
                self._found[step, access_key_id] = error
                raise
            self._found[step, access_key_id] = found
        if isinstance(found, errors.ProviderError):
            raise found
        return found


class SharedSessionProvider(CredentialProvider):
    """The provider of a user's session that is called once for several plans.

    Args:
        sessions: the sessions of the run.
        step: the call.
        access_key_id: the key that signs it; the profile may have another one later in the run.
        provider: makes the call.
    """

    __slots__ = ("_access_key_id", "_provider", "_sessions", "_step")

    def __init__(
        self,
        sessions: SharedSessions,
        step: Step,
        access_key_id: str,
        provider: CredentialProvider,
    ) -> None:
        self._sessions = sessions
        self._step = step
        self._access_key_id = access_key_id
        self._provider = provider

    def retrieve(self) -> Credentials:
        """Return the session of the run."""
        return self._sessions.retrieve(self._step, self._access_key_id, self._provider)
