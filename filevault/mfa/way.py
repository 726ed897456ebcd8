"""Interface of a way to get an MFA token code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filevault.mfa.request import MfaRequest


class TokenCodeSource(Protocol):
    """One way to get a token code."""

    def serves(self, request: MfaRequest) -> bool:
        """Return whether this way is the one to use for a request."""
        ...

    def code(self, request: MfaRequest, profile: str) -> str:
        """Return a code; white space around it is removed by the caller.

        Raises MfaError, NoTerminalError, ProgramError.
        """
        ...

    def origin(self, profile: str) -> str:
        """Return the name of the code in error messages."""
        ...

    def retry(self, reason: str) -> bool:  # noqa: ARG002
        """Show why the last code was wrong; return whether `code` may be called again."""
        return False
