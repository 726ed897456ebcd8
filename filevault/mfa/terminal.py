"""The token code that a person types on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import MfaError, NoTerminalError
from filevault.mfa.way import TokenCodeSource
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.mfa.request import MfaRequest
    from filevault.unlock.prompt import Prompter


class TerminalCode(TokenCodeSource):
    """Asks for a code on the terminal, unless `--prompt none` is set."""

    __slots__ = ("_prompter", "_settings")

    def __init__(self, settings: Settings, prompter: Prompter) -> None:
        self._settings = settings
        self._prompter = prompter

    def serves(self, request: MfaRequest) -> bool:  # noqa: ARG002
        """Return True: this is the last way."""
        return True

    def code(self, request: MfaRequest, profile: str) -> str:
        """Return the answer. Raises NoTerminalError without a terminal, MfaError if empty."""
        forbidden = self._settings.prompt == "none"
        shown, serial = printable(profile), printable(request.serial)
        if forbidden or not self._prompter.present:
            why = "--prompt none is set" if forbidden else "there is no terminal"
            raise NoTerminalError(
                f"profile {shown!r} needs a code of {serial}, and {why}",
                hint="give it with --mfa-token - on stdin, set mfa_process in the AWS config, or "
                "run it once on a terminal: the session is kept",
            )
        answer = self._prompter.line(f"MFA code of {serial} for {shown}: ")
        if not answer:
            raise MfaError("no MFA code was given")
        return answer

    def origin(self, profile: str) -> str:  # noqa: ARG002
        """Return the name of the code in error messages."""
        return "the answer"

    def retry(self, reason: str) -> bool:
        """Show the reason; return True."""
        self._prompter.say(reason)
        return True
