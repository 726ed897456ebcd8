"""MetadataEndpoint: the part of the EC2 instance metadata service that gives credentials to SDKs.

Requests need a token of the service's own (IMDSv2); see "Use the Instance Metadata Service" in the
Amazon EC2 User Guide. The protocol knows no other secret, so the user at the other end of the
connection is looked up.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING

from filevault.server.container_endpoint import new_token
from filevault.server.http_request import accepted_hosts
from filevault.server.http_response import respond, respond_error, respond_json
from filevault.server.peer_uid import peer_uid
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.server.http_request import HttpRequest
    from filevault.server.http_response import HttpResponse
    from filevault.server.http_server import Connection
    from filevault.server.renewals import Renewals
    from filevault.server.served_credentials import ServedCredentials

ROLE = "filevault"
"""The name of the role that clients are told; it appears in paths only."""
RELIED_ON = 11 * 60
"""The seconds of life that clients rely on.

botocore (1.44) takes what has less than 17 to 25 minutes left for the work of a failing service,
and asks again only 2 to 10 minutes later, whatever the expiry. A minute more is for the renewal.
"""
_TOKEN_PATH = b"/latest/api/token"
_TTL = "x-aws-ec2-metadata-token-ttl-seconds"
_LONGEST_TTL = 21600
_MOST_TOKENS = 1024
_LISTING = b"/latest/meta-data/iam/security-credentials"
_EXTENDED = b"/latest/meta-data/iam/security-credentials-extended"
_REFUSED_HEADERS = (b"origin", b"sec-fetch-mode", b"sec-fetch-site", b"x-forwarded-for")

_NO_HOST = respond_error(403, "the Host header does not name this endpoint")
_FROM_BROWSER = respond_error(403, "this endpoint does not answer browsers and proxies")
_OTHER_USER = respond_error(403, "this endpoint does not answer this user, or not this machine")
_NO_TOKEN = respond_error(401, "the request has no valid token: ask for one at /latest/api/token")
_NO_TTL = respond_error(400, f"{_TTL} is not a number from 1 to {_LONGEST_TTL}")
_NO_PATH = respond_error(404, "there is nothing at this path")
_NO_METHOD = respond_error(405, "this endpoint answers GET, and PUT for a token")


class Instance(Record):
    """What clients are told about the machine; None where nothing is known."""

    region: str | None
    account_id: str | None


class MetadataEndpoint:
    """Answers requests as the metadata service does; see `filevault.server.http_server.Respond`.

    Args:
        host: the address that it listens at, with the port.
        renewals: keeps the credentials fresh.
        served: the credentials.
        instance: returns what is known about the machine.
        any_user: answer processes of other users of the machine, too, but never of another one.
        version_1: answer requests without a token.
    """

    def __init__(
        self,
        host: str,
        renewals: Renewals,
        served: ServedCredentials,
        instance: Callable[[], Instance],
        *,
        any_user: bool = False,
        version_1: bool = False,
    ) -> None:
        self._hosts = accepted_hosts(host)
        self._renewals = renewals
        self._served = served
        self._instance = instance
        self._any_user = any_user
        self._version_1 = version_1
        self._tokens: dict[bytes, float] = {}

    def __call__(self, request: HttpRequest, connection: Connection) -> HttpResponse | None:
        """Answer a request at once."""
        headers = request.headers
        if headers.get(b"host") not in self._hosts:
            return _NO_HOST
        if any(name in headers for name in _REFUSED_HEADERS):
            return _FROM_BROWSER
        if not (_is_of_this_machine(connection) if self._any_user else _is_own(connection)):
            return _OTHER_USER
        # The JavaScript SDK v2 appends its path to the slash at the end of the address.
        target = (
            request.target.removeprefix(b"/") if request.target[1:2] == b"/" else request.target
        )
        if request.method == b"PUT" and target == _TOKEN_PATH:
            return self._new_token(headers.get(_TTL.encode("ascii"), b""))
        if request.method != b"GET":
            return _NO_METHOD
        if not self._is_allowed(headers.get(b"x-aws-ec2-metadata-token")):
            return _NO_TOKEN
        # SDKs of all ages are served: some ask with the closing slash, some without.
        return self._at(target.removesuffix(b"/"))

    def _new_token(self, ttl: bytes) -> HttpResponse:
        if not ttl.isdigit() or len(ttl) > 5 or not 1 <= int(ttl) <= _LONGEST_TTL:
            return _NO_TTL
        now = monotonic()
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens = {each: end for each, end in self._tokens.items() if end > now}
        while len(self._tokens) >= _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]  # the oldest; its client asks again
        token = new_token()
        self._tokens[token.encode("ascii")] = now + int(ttl)
        return respond(200, token.encode("ascii"), "text/plain", {_TTL: str(int(ttl))})

    def _is_allowed(self, token: bytes | None) -> bool:
        if token is None:
            return self._version_1
        # A look-up by hash: how long it takes says nothing about a token that is nearly right.
        return self._tokens.get(token, 0.0) > monotonic()

    def _at(self, path: bytes) -> HttpResponse:
        name = b"/" + ROLE.encode("ascii")
        if path in (_LISTING, _EXTENDED):
            return respond(200, ROLE.encode("ascii"), "text/plain")
        if path in (_LISTING + name, _EXTENDED + name):
            return self._credentials(extended=path.startswith(_EXTENDED))
        instance = self._instance()
        region = instance.region or ""
        texts = {
            b"/latest/meta-data/placement/region": region,
            b"/latest/meta-data/placement/availability-zone": f"{region}a" if region else "",
        }
        if texts.get(path):
            return respond(200, texts[path].encode("ascii", "replace"), "text/plain")
        if path == b"/latest/dynamic/instance-identity/document" and region:
            document = {"region": region, "availabilityZone": f"{region}a"}
            if instance.account_id is not None:
                document["accountId"] = instance.account_id
            return respond_json(200, document)
        return _NO_PATH

    def _credentials(self, *, extended: bool) -> HttpResponse:
        """Return the credentials; expired ones never: some SDKs use those for 25 minutes more."""
        served = self._served
        if not self._renewals.ask(served) or served.credentials is None:
            reason = served.failure or "they are being obtained"
            return respond_error(503, f"there are no credentials: {reason}"[:1000])
        credentials = served.credentials
        values = {
            "Code": "Success",  # the Go and Rust SDKs insist on it
            "LastUpdated": format_time(served.obtained),
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": format_time(credentials.expiration or 0),
        }
        if extended and served.account_id is not None:
            values["AccountId"] = served.account_id
        return respond_json(200, values)


def _is_of_this_machine(connection: Connection) -> bool:
    """Return whether the other end has the same address, which no packet from elsewhere has."""
    try:
        theirs, ours = connection.socket.getpeername()[0], connection.socket.getsockname()[0]
    except OSError:  # it has been closed
        return False
    return bool(theirs == ours or theirs.startswith("127."))


def _is_own(connection: Connection) -> bool:
    """Return whether this user owns the other end of a connection, looked up once."""
    if connection.peer_is_own is None:
        try:
            connection.peer_is_own = peer_uid(connection.socket) == os.geteuid()
        except OSError:  # it has been closed
            return False
    return connection.peer_is_own
