"""The services of CI systems that give a job its identity token: GitHub's and Buildkite's."""

from __future__ import annotations

import json
import secrets
from urllib.parse import parse_qs

from tests.fakes.identity_provider import IdentityProvider
from tests.fakes.server import FakeServer
from tests.fakes.wire import HttpAnswer, HttpRequest

GITHUB = "/run/idtoken"
JOB = "0183c4e6-c88c-xxxx-b15e-7801077a9181"


class FakeCi(FakeServer):
    """A loopback server; `subject` is the job's identity, `secret` what lets the job ask."""

    def __init__(self, provider: IdentityProvider, subject: str) -> None:
        super().__init__(self._respond)
        self.provider = provider
        self.subject = subject
        self.secret = secrets.token_urlsafe(24)
        self.requests: list[HttpRequest] = []
        self.statuses: list[int] = []
        """Answers that come first, without a body."""
        self.raw: bytes | None = None
        """Is answered in place of a token, if set."""

    def github(self) -> dict[str, str]:
        """Return the variables that GitHub Actions sets."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}{GITHUB}?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.secret,
        }

    def buildkite(self) -> dict[str, str]:
        """Return the variables that Buildkite's agent sets."""
        return {
            "BUILDKITE_AGENT_ENDPOINT": f"{self.url}/v3",
            "BUILDKITE_JOB_ID": JOB,
            "BUILDKITE_AGENT_ACCESS_TOKEN": self.secret,
        }

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        if self.statuses:
            return _json(self.statuses.pop(0), {})
        if request.path == GITHUB:
            wanted, field, method = f"bearer {self.secret}", "value", "GET"
            query = parse_qs(request.target.partition("?")[2], strict_parsing=True)
            audience = query.get("audience", [""])[0]
            if query.get("api-version") != ["2.0"]:
                return _json(400, {"message": "the query of the URL is lost"})
        elif request.path == f"/v3/jobs/{JOB}/oidc/tokens":
            wanted, field, method = f"Token {self.secret}", "token", "POST"
            audience = json.loads(request.body).get("audience", "")
            if request.header("Content-Type") != "application/json":
                return _json(415, {})
        else:
            return _json(404, {})
        if request.method != method:
            return _json(405, {})
        if request.header("Authorization") != wanted:
            return _json(401, {"message": "not this job"})
        if self.raw is not None:
            return HttpAnswer(200, self.raw, "application/json")
        return _json(200, {field: self.provider.issue(self.subject, audience), "count": 1})


def _json(status: int, document: object) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(document).encode(), "application/json")
