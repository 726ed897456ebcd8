"""The token of CircleCI for an audience; that for the organisation is in a variable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.identity_tokens.way import TokenWay, checked

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.identity_tokens.way import TokenRequest

NAMES = ("CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN")
"""The variables with a token whose audience is the organisation's id."""

_JOB = "CIRCLE_WORKFLOW_JOB_ID"
_PROGRAM = "circleci"
_TIMEOUT = 60.0  # seconds


class CircleciToken(TokenWay):
    """A token for an audience, which the program `circleci` of the job gets for each call."""

    audience: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token of CircleCI for {self.audience}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables with the tokens for the organisation."""
        return NAMES

    def mark(self, settings: Settings) -> tuple[str, ...]:
        """Return the id of the job."""
        return (settings.get(_JOB) or "",)

    def token(self, request: TokenRequest) -> str:
        """Run `circleci run oidc get`. Raises ProviderError if it fails, ProgramError."""
        from filevault.system import programs

        claims = json.dumps({"aud": self.audience}, separators=(",", ":"))
        result = programs.run(
            (_PROGRAM, "run", "oidc", "get", "--claims", claims),
            request.settings.program_environment(),
            origin="circleci run oidc get",
            timeout=_TIMEOUT,
            tell=request.tell,
        )
        if result.status != 0:
            reason = f": {result.complaint}" if result.complaint else ""
            raise ProviderError(
                f"circleci run oidc get for {request.subject} failed with status "
                f"{result.status}{reason}",
                hint="without web_identity_token_audience the token of the job is used",
            )
        return checked(result.output.decode("ascii", "replace"), "what circleci printed")
