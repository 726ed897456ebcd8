"""The sign-in service: credentials are exchanged for a token, and the token for a console session.

Rules are those of the IAM User Guide's page on custom identity broker access. It is strict where
a careless client would leak: credentials in an address are refused, and every refusal repeats
what it was sent, as error pages do.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from tests.fakes.clock import Clock
from tests.fakes.directory import Directory
from tests.fakes.identities import Session, caller_of, new_token
from tests.fakes.refusal import Refusal
from tests.fakes.wire import HttpAnswer, HttpRequest, Intent

LINK_LIFE = 900
FORM = "application/x-www-form-urlencoded"


class Issued(NamedTuple):
    """A sign-in token: whose it is, until when it serves, and what duration was asked for."""

    arn: str
    expiration: float
    duration: int | None


class Signin:
    """Give sign-in tokens for sessions of roles and federated users, and take each one once."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self.issued: dict[str, Issued] = {}
        self.signed_in: list[tuple[str, str]] = []
        """Who came with a link, and where it sent them."""

    def identify(self, request: HttpRequest) -> Intent:
        """Read the action; the record gets everything but the credentials."""
        values = self._values(request)
        action = values.pop("Action", "")
        session = _session(values.pop("Session", ""))
        return Intent(action, "signin", "", str(session.get("sessionId", "")), values)

    def perform(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        """Do what is asked; raises `Refusal`."""
        if intent.action == "getSigninToken":
            return self._token(request, intent)
        if intent.action == "login":
            return self._sign_in(request, intent)
        raise _refused(request, "no such action")

    def refuse(self, intent: Intent, refusal: Refusal) -> HttpAnswer:  # noqa: ARG002
        """Write an error page with everything in it."""
        page = f"<html><body><h1>{refusal.code}</h1>{html.escape(refusal.message)}</body></html>"
        return HttpAnswer(refusal.status, page.encode(), "text/html")

    def _token(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        if request.method != "POST" or "?" in request.target:
            raise _refused(request, "credentials in an address")
        if request.header("Content-Type") != FORM:
            raise _refused(request, "no form")
        given = _session(self._values(request).get("Session", ""))
        session = self._directory.sessions.get(intent.access_key_id)
        if (
            session is None
            or given.keys() != {"sessionId", "sessionKey", "sessionToken"}
            or given["sessionKey"] != session.secret_access_key
            or given["sessionToken"] != session.session_token
            or self._clock() >= session.expiration
        ):
            raise _refused(request, "credentials that are not valid")
        if session.kind == "session-token":
            raise _refused(request, "a session of GetSessionToken")
        token = new_token()
        self._directory.secrets.add(token)
        self.issued[token] = Issued(
            caller_of(session).arn,
            self._clock() + LINK_LIFE,
            _duration(request, session, intent.parameters.get("SessionDuration")),
        )
        return HttpAnswer(200, json.dumps({"SigninToken": token}).encode(), "application/json")

    def _sign_in(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        values = intent.parameters
        issued = self.issued.pop(values.get("SigninToken", ""), None)
        if request.method != "GET" or issued is None or self._clock() >= issued.expiration:
            raise _refused(request, "a link that is not valid")
        if not values.get("Issuer") or "Destination" not in values:
            raise _refused(request, "an incomplete link")
        self.signed_in.append((issued.arn, values["Destination"]))
        return HttpAnswer(200, f"welcome, {issued.arn}\n".encode(), "text/plain")

    def _values(self, request: HttpRequest) -> dict[str, str]:
        query = request.target.partition("?")[2]
        text = f"{query}&{request.body.decode('utf-8', 'replace')}"
        return dict(parse_qsl(text, keep_blank_values=True))


def _session(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _duration(request: HttpRequest, session: Session, asked: str | None) -> int | None:
    if asked is None:
        return None
    if not asked.isdigit() or not 900 <= int(asked) <= 43200:
        raise _refused(request, "a SessionDuration outside its bounds")
    if session.kind != "role" or session.chain_depth > 1:
        raise _refused(request, "a SessionDuration for such a session")
    return int(asked)


def _refused(request: HttpRequest, why: str) -> Refusal:
    sent = request.target + " " + request.body.decode("utf-8", "replace")
    return Refusal("Bad Request", f"{why}: {sent}", 400)
