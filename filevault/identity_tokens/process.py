"""The token that `web_identity_token_process` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.identity_tokens.way import TokenWay, checked

if TYPE_CHECKING:
    from filevault.identity_tokens.way import TokenRequest

_SETTING = "web_identity_token_process"
_TIMEOUT = 120.0  # seconds; it may ask a person


class ProcessToken(TokenWay):
    """The token that a shell command prints, as AWS Vault defines it; it may use the terminal."""

    _secret = ("command",)

    command: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token that {_SETTING} prints"

    def token(self, request: TokenRequest) -> str:
        """Run the command.

        Raises ProviderError if it fails, ProgramError if it is too slow, ProfileLoopError if it
        would run itself.
        """
        from filevault.config.program_chain import chained_environment
        from filevault.system import programs

        result = programs.run(
            ("/bin/sh", "-c", self.command),
            chained_environment(request.settings.program_environment(), request.profile, _SETTING),
            origin=_SETTING,
            timeout=_TIMEOUT,
            terminal=True,
            tell=request.tell,
        )
        if result.status != 0:
            reason = f": {result.complaint}" if result.complaint else ""
            raise ProviderError(
                f"{_SETTING} of {request.subject} failed with status {result.status}{reason}"
            )
        return checked(result.output.decode("ascii", "replace"), f"what {_SETTING} printed")
