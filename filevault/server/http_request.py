"""HttpRequest: the head of a request, read by h11 and more strictly than HTTP demands."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEAD = 16 << 10
"""The longest head in bytes."""
END_OF_HEAD = b"\r\n\r\n"


class HttpError(Exception):
    """A request that is not answered as it asks: `status`, and the reason as a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class HttpRequest(Record):
    """The head of a request without a body.

    The names in `headers` are in lower case. `keep_alive` is False if the connection ends with the
    response.
    """

    _secret = ("headers",)

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    keep_alive: bool


def accepted_hosts(host: str) -> frozenset[bytes]:
    """Return the Host headers that name an address with its port, which is 80 if none is given.

    The clients of AWS's Common Runtime (awscrt 0.38) leave the port out. No name is accepted, so
    that a page in a browser reaches no server under a name of its own.
    """
    address, _, port = host.partition(":")
    return frozenset({address.encode("ascii"), f"{address}:{port or 80}".encode("ascii")})


# A client that stays connected sends the same bytes again and again.
@functools.lru_cache(maxsize=128)
def parse_head(head: bytes) -> HttpRequest:
    """Return the request with a head, which ends with an empty line.

    Refused besides what RFC 9112 forbids: a line that ends with a line feed alone, folded and
    repeated headers, a body, and targets that are not in origin form. Raises HttpError.
    """
    import h11

    if head.count(b"\n") != head.count(END_OF_HEAD[:2]) or head.count(b"\r") != head.count(b"\n"):
        raise HttpError(400, "a line of the request does not end with CR and LF")
    if b"\n " in head or b"\n\t" in head:
        raise HttpError(400, "the request has a folded header")
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        reader.receive_data(head)
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise HttpError(error.error_status_hint, "the request is not valid HTTP") from error
    if not isinstance(event, h11.Request):
        raise HttpError(400, "the request is not valid HTTP")
    headers = dict(event.headers)
    if len(headers) != len(event.headers):
        raise HttpError(400, "the request has the same header twice")
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        raise HttpError(400, "the request has a body")
    if event.http_version not in (b"1.1", b"1.0"):
        raise HttpError(505, "the request is not HTTP/1.1")
    if not event.target.startswith(b"/"):
        raise HttpError(400, "the target of the request is not a path")
    closes = b"close" in headers.get(b"connection", b"").lower()
    return HttpRequest(
        event.method, event.target, headers, event.http_version == b"1.1" and not closes
    )
