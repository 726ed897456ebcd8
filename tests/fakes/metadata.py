"""The metadata service of an EC2 instance (version 2 only) and a container's endpoint, strict."""

from __future__ import annotations

import json
import secrets

from tests.fakes.clock import Clock, iso
from tests.fakes.identities import Session
from tests.fakes.server import FakeServer
from tests.fakes.wire import HttpAnswer, HttpRequest

_EXTENDED = "/latest/meta-data/iam/security-credentials-extended/"
_PLAIN = "/latest/meta-data/iam/security-credentials/"
_TTL = "x-aws-ec2-metadata-token-ttl-seconds"


class FakeMetadata(FakeServer):
    """A loopback server that is both; `session` has the credentials that it gives.

    `role` is the role's name, `extended` whether the newer path is there, `authorization` what
    requests to the container's endpoint must present. `overrides` answers a path with a status.
    """

    def __init__(self, session: Session, clock: Clock) -> None:
        super().__init__(self._respond, clock=clock)
        self.session = session
        self.role = "machine"
        self.extended = True
        self.authorization = ""
        self.overrides: dict[str, int] = {}
        self.code = "Success"
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()

    @property
    def container(self) -> str:
        """Return the address of the container's credentials."""
        return f"{self.url}/v2/credentials/4a1b"

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append((request.method, request.path))
        status = self.overrides.get(request.path)
        if status is not None:
            return _text(status, "")
        if request.path == "/v2/credentials/4a1b":
            return self._container(request)
        if request.header("X-Forwarded-For"):
            return _text(403, "")
        if request.path == "/latest/api/token":
            return self._new_token(request)
        if request.method != "GET":
            return _text(405, "")
        if request.header("X-aws-ec2-metadata-token") not in self.tokens:
            return _text(401, "")
        for path in (_EXTENDED, _PLAIN):
            if path == _EXTENDED and not self.extended:
                continue
            if request.path == path:
                return _text(200, f"{self.role}\n")
            if request.path == path + self.role:
                return self._instance(with_account=path == _EXTENDED)
        return _text(404, "")

    def _new_token(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "PUT":
            return _text(405, "")
        life = request.header(_TTL)
        if not (life.isdigit() and 1 <= int(life) <= 21600):
            return _text(400, "")
        token = secrets.token_urlsafe(40)
        self.tokens.add(token)
        return _text(200, token)

    def _instance(self, *, with_account: bool) -> HttpAnswer:
        document = {
            "Code": self.code,
            "LastUpdated": iso(self.clock()),
            "Type": "AWS-HMAC",
            "AccessKeyId": self.session.access_key_id,
            "SecretAccessKey": self.session.secret_access_key,
            "Token": self.session.session_token,
            "Expiration": iso(self.session.expiration),
            **({"AccountId": self._account} if with_account else {}),
        }
        return _text(200, json.dumps(document))

    def _container(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "GET" or request.header("X-aws-ec2-metadata-token"):
            return _text(405, "")
        if request.header("Authorization") != self.authorization:
            return _text(403, json.dumps({"message": "unknown token"}))
        document = {
            "RoleArn": "",
            "AccessKeyId": self.session.access_key_id,
            "SecretAccessKey": self.session.secret_access_key,
            "Token": self.session.session_token,
            "Expiration": iso(self.session.expiration),
            "AccountId": self._account,
        }
        return _text(200, json.dumps(document))

    @property
    def _account(self) -> str:
        role = self.session.role
        return "" if role is None else role.account


def _text(status: int, text: str) -> HttpAnswer:
    return HttpAnswer(status, text.encode(), "text/plain")
