"""ContainerEndpoint: the container credentials endpoint of the SDKs, as ECS and EKS have it.

A client sends GET with a token in the Authorization header, without a scheme, and gets JSON
("Container credential provider" in the AWS SDKs and Tools Reference Guide).
"""

from __future__ import annotations

import binascii
import os
from _operator import _compare_digest as compare_digest  # of hmac, which loads OpenSSL
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from filevault.server.http_request import accepted_hosts
from filevault.server.http_response import respond_error, respond_json
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.credentials import Credentials
    from filevault.server.event_loop import EventLoop
    from filevault.server.http_request import HttpRequest
    from filevault.server.http_response import HttpResponse
    from filevault.server.http_server import Connection
    from filevault.server.renewals import Renewals
    from filevault.server.served_credentials import ServedCredentials

_LONGEST_WAIT = 1.5  # seconds; botocore waits two, and asks three times
_TOKEN_BYTES = 32
_URL_SAFE = str.maketrans("+/", "-_")  # RFC 4648 §5; the module secrets loads OpenSSL
_BROWSER_HEADERS = (b"origin", b"sec-fetch-mode", b"sec-fetch-site", b"x-forwarded-for")

_NO_HOST = respond_error(403, "the Host header does not name this endpoint")
_FROM_BROWSER = respond_error(403, "this endpoint does not answer browsers and proxies")
_NO_TOKEN = respond_error(401, "the Authorization header does not have the endpoint's token")
_NO_PATH = respond_error(404, "there are no credentials at this path")
_NO_METHOD = respond_error(405, "this endpoint answers GET only")
_NOT_YET = respond_error(503, "the credentials are being obtained")
_HEALTHY = respond_json(200, {"status": "ok"})
_UNHEALTHY = respond_error(503, "not all credentials are there")


def new_token() -> str:
    """Return a random token of 256 bits."""
    text = binascii.b2a_base64(os.urandom(_TOKEN_BYTES), newline=False).decode("ascii")
    return text.rstrip("=").translate(_URL_SAFE)


class TokenPaths(Record):
    """A token, and the credentials that it gives access to, by path.

    `find` is asked for a path that is not among them, and returns None for one that does not
    exist.
    """

    _secret = ("token",)

    token: bytes
    paths: dict[bytes, ServedCredentials]
    find: Callable[[bytes], ServedCredentials | None] = lambda _target: None


class _Waiting(Record):
    """A client that waits for credentials which are being obtained."""

    connection: Connection
    served: ServedCredentials
    until: float


class ContainerEndpoint:
    """Answers requests for credentials; see `filevault.server.http_server.Respond`.

    Args:
        host: the address that it listens at, with the port.
        renewals: keeps the credentials fresh.
        tokens: who may have which credentials.
        health: a path that is answered without a token, with nothing but a status.
    """

    def __init__(
        self,
        host: str,
        renewals: Renewals,
        tokens: Sequence[TokenPaths],
        health: bytes | None = None,
    ) -> None:
        self._hosts = accepted_hosts(host)
        self._renewals = renewals
        self._tokens = tokens
        self._health = health
        self._prepared: WeakKeyDictionary[ServedCredentials, tuple[Credentials, HttpResponse]]
        self._prepared = WeakKeyDictionary()  # those of a role go with it
        self._waiting: list[_Waiting] = []
        renewals.on_change.append(self._answer_waiting)

    def run_in(self, loop: EventLoop) -> None:
        """End waits that take too long."""
        loop.add_timer(self._expire)

    def __call__(self, request: HttpRequest, connection: Connection) -> HttpResponse | None:
        """Answer a request at once; only credentials that were never obtained are waited for."""
        headers = request.headers
        if headers.get(b"host") not in self._hosts:
            return _NO_HOST
        for name in _BROWSER_HEADERS:
            if name in headers:
                return _FROM_BROWSER
        if request.target == self._health and request.method == b"GET":
            return _HEALTHY if self._renewals.is_healthy() else _UNHEALTHY
        given = headers.get(b"authorization", b"")
        allowed = None
        for each in self._tokens:  # all of them, so that the time does not depend on which one fits
            if compare_digest(each.token, given):
                allowed = each
        if allowed is None:
            return _NO_TOKEN
        served = allowed.paths.get(request.target) or allowed.find(request.target)
        if served is None:
            return _NO_PATH
        if request.method != b"GET":
            return _NO_METHOD
        return self._credentials(served, connection)

    def _credentials(
        self, served: ServedCredentials, connection: Connection
    ) -> HttpResponse | None:
        if self._renewals.ask(served) and served.credentials is not None:
            prepared = self._prepared.get(served)
            if prepared is None or prepared[0] is not served.credentials:
                prepared = served.credentials, _body(served.credentials, served.account_id)
                self._prepared[served] = prepared
            return prepared[1]
        if served.is_renewing and served.failure is None:
            self._waiting.append(_Waiting(connection, served, monotonic() + _LONGEST_WAIT))
            return None
        return _unavailable(served)

    def _answer_waiting(self, served: ServedCredentials) -> None:
        waiting = [each for each in self._waiting if each.served is served]
        self._waiting = [each for each in self._waiting if each.served is not served]
        for each in waiting:
            response = self._credentials(served, each.connection) or _NOT_YET
            each.connection.answer(response)

    def _expire(self) -> float:
        now = monotonic()
        for each in self._waiting:
            if each.until <= now:
                each.connection.answer(_NOT_YET)
        self._waiting = [each for each in self._waiting if each.until > now]
        return min((each.until - now for each in self._waiting), default=_LONGEST_WAIT * 100)


def _body(credentials: Credentials, account_id: str | None) -> HttpResponse:
    values = {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": format_time(credentials.expiration or 0),
    }
    if account_id is not None:
        values["AccountId"] = account_id
    return respond_json(200, values)


def _unavailable(served: ServedCredentials) -> HttpResponse:
    reason = served.failure or "they have expired"
    return respond_error(503, f"there are no credentials of {served.name}: {reason}"[:1000])
