"""The token of a Buildkite job, from the endpoint of its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.identity_tokens.fetched import fetched, required
from filevault.identity_tokens.way import TokenWay

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.identity_tokens.way import TokenRequest

_ENDPOINT = "BUILDKITE_AGENT_ENDPOINT"
_JOB = "BUILDKITE_JOB_ID"
_SECRET = "BUILDKITE_AGENT_ACCESS_TOKEN"  # noqa: S105 - the name of a variable


class BuildkiteToken(TokenWay):
    """A token for an audience, fetched for each call: it lives for minutes only."""

    audience: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token of Buildkite for {self.audience}"

    def mark(self, settings: Settings) -> tuple[str, ...]:
        """Return the id of the job."""
        return (settings.get(_JOB) or "",)

    def token(self, request: TokenRequest) -> str:
        """Ask as `buildkite-agent oidc request-token` does."""
        from urllib.parse import quote

        found = required(
            request, (_ENDPOINT, _JOB, _SECRET), "these are set in a job of Buildkite's agent"
        )
        job = quote(found[_JOB], safe="")
        return fetched(
            request,
            "POST",
            f"{found[_ENDPOINT].rstrip('/')}/jobs/{job}/oidc/tokens",
            f"Token {found[_SECRET]}",
            field="token",
            setting=_ENDPOINT,
            service="Buildkite",
            body={"audience": self.audience},
        )
