"""The token of GitHub Actions, and of Forgejo and Gitea, which have the same service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.identity_tokens.fetched import fetched, required
from filevault.identity_tokens.way import TokenWay

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.identity_tokens.way import TokenRequest

_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
_SECRET = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the name of a variable


class GithubToken(TokenWay):
    """A token for an audience, fetched for each call: it lives for minutes only."""

    audience: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token of GitHub Actions for {self.audience}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables with which any process could get tokens."""
        return (_URL, _SECRET)

    def mark(self, settings: Settings) -> tuple[str, ...]:
        """Return the URL, which is another one in each job."""
        return (settings.get(_URL) or "",)

    def token(self, request: TokenRequest) -> str:
        """Ask the service of the job (GitHub: "OpenID Connect reference", "Requesting the token").

        The URL has a query already.
        """
        from urllib.parse import quote

        found = required(
            request,
            (_URL, _SECRET),
            "in GitHub Actions the job needs `permissions: id-token: write`",
        )
        joint = "&" if "?" in found[_URL] else "?"
        return fetched(
            request,
            "GET",
            f"{found[_URL]}{joint}audience={quote(self.audience, safe='')}",
            f"bearer {found[_SECRET]}",
            field="value",
            setting=_URL,
            service="GitHub Actions",
        )
