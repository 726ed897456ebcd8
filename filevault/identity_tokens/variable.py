"""The token in an environment variable: `web_identity_token_env`, GitLab, CircleCI, Bitbucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.identity_tokens.claims import mark_of
from filevault.identity_tokens.way import TokenWay, checked

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.identity_tokens.way import TokenRequest


class VariableToken(TokenWay):
    """The token in the first of some variables that is set; `hint` says how a job gets one."""

    names: tuple[str, ...]
    hint: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token in {' or '.join(self.names)}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables."""
        return self.names

    def mark(self, settings: Settings) -> tuple[str, ...]:
        """Return the claims of the token."""
        name = self._found(settings)
        return () if name is None else mark_of(settings.environ[name].strip())

    def token(self, request: TokenRequest) -> str:
        """Return the value of the variable."""
        name = self._found(request.settings)
        if name is None:
            raise ProviderError(
                f"{request.subject} takes its web identity token from "
                f"{' or '.join(self.names)}, which is not set",
                hint=self.hint,
            )
        return checked(request.settings.environ[name], f"the token in {name}")

    def _found(self, settings: Settings) -> str | None:
        return next((name for name in self.names if settings.get(name)), None)
