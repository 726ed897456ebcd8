"""Answers that AWS never gives, as faults for any call: dates, structure, size, time, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.fakes.faults import Fault, error, raw, rewrite

LARGEST = 32 << 20
"""Bytes after which a flood ends by itself."""

DATES = {
    "inf": "inf",
    "minus inf": "-inf",
    "beyond floats": "1e400",
    "no number": "NaN",
    "empty": "",
    "year 1 without zone": "0001-01-01T00:00:00",
    "year 1": "0001-01-01T00:00:00Z",
    "year 1 in the east": "0001-01-01T00:00:00+23:59",
    "year 9999": "9999-12-31T23:59:59Z",
    "year 9999 in the west": "9999-12-31T23:59:59-23:59",
    "1970": "1970-01-01T00:00:00Z",
    "no such day": "2026-02-30T00:00:00Z",
    "no such zone": "2026-02-20T00:00:00+99:99",
    "many digits": "9" * 5000,
    "letters": "tomorrow",
}
SOUND_DATES = ("year 9999", "1970")
"""Those that are dates: the key or identity beside them is a good one."""


def dated(value: str) -> Fault:
    """Put a value in the place of every date."""
    tag = rb"(<(?:Expiration|CreateDate|LastUsedDate)>)[^<]*"
    return rewrite(lambda body: re.sub(tag, rb"\g<1>" + value.encode(), body))


def _nested(levels: int) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        return re.sub(rb"(<\w+Result>)", rb"\g<1>" + b"<a>" * levels + b"</a>" * levels, body)

    return change


def _emptied(body: bytes) -> bytes:
    """Leave nothing in the members of the result."""
    return re.sub(rb">[^<>]+<", b"><", body)


def _bomb(body: bytes) -> bytes:
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n + 1, b"&e%d;" % n * 10) for n in range(9))
    return b'<!DOCTYPE x [<!ENTITY e0 "x">' + entities + b"]>" + body.replace(b"AKIA", b"&e9;")


def _declared(encoding: bytes, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Let a text name an encoding that it does not have."""
    return lambda body: b'<?xml version="1.0" encoding="%s"?>' % encoding + change(body)


def _head(length: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n" + length + b"\r\n"


class Flood:
    """Endless pieces; counts what the caller took before it hung up."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.sent = 0
        self._head = head
        self._piece = piece

    def __call__(self, _body: bytes) -> Iterator[bytes]:
        yield self._head
        while self.sent < LARGEST:
            yield self._piece
            self.sent += len(self._piece)


def flood_of_body() -> Flood:
    """Send a body without end."""
    return Flood(_head(), b" " * 65536)


def flood_of_chunk_size() -> Flood:
    """Send one line of a chunk's size without end."""
    return Flood(_head(b"Transfer-Encoding: chunked\r\n"), b"0;" + b"a" * 65534)


def flood_of_headers() -> Flood:
    """Send header lines without end."""
    return Flood(b"HTTP/1.1 200 OK\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(5000)))


def flood_of_continues() -> Flood:
    """Send provisional answers without end, a little of each second's work."""
    return Flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)


def dripping(wait: Callable[[float], None], *, whole: bool = False) -> Fault:
    """Send the answer a byte at a time; with `whole` from the first header on."""

    def wire(body: bytes) -> Iterator[bytes]:
        head = _head(b"Content-Length: %d\r\n" % (len(body) + 10**6))
        if not whole:
            yield head + body[: len(body) // 2]
        for byte in (head if whole else body[len(body) // 2 :]) + b" " * 10**6:
            wait(0.05)
            yield bytes([byte])

    return raw(wire)


STRUCTURES: dict[str, Fault] = {
    "5,000 levels": rewrite(_nested(5000)),
    "60,000 levels": rewrite(_nested(30_000)),
    "5,000 levels of UTF-16": rewrite(_declared(b"UTF-16", _nested(5000))),
    "5,000 levels of no encoding": rewrite(_declared(b"x-none", _nested(5000))),
    "entities": rewrite(_bomb),
    "entities of UTF-16": rewrite(_declared(b"UTF-16", _bomb)),
    "nothing": rewrite(lambda _: b""),
    "members empty": rewrite(_emptied),
    "a page": rewrite(lambda _: b"<html><body><p>Sign in<br></body></html>"),
    "JSON": rewrite(lambda _: b'{"a":' * 3000),
    "NULs": rewrite(lambda body: body + b"\0" * 100),
    "no UTF-8": rewrite(lambda body: body.replace(b"</", b"\xff\xfe</", 3)),
    "cut short": rewrite(lambda body: body[: len(body) * 2 // 3]),
    "result twice": rewrite(
        lambda body: re.sub(rb"(?s)(<\w+Result>.*</\w+Result>)", rb"\1\1", body)
    ),
    "members twice": rewrite(lambda body: re.sub(rb"(<(\w+)>[^<]*</\2>)", rb"\1\1", body)),
    "a text for the result": rewrite(
        lambda body: re.sub(rb"(?s)(<(\w+Result)>).*(</\2>)", rb"\1text\3", body)
    ),
    "another document": rewrite(lambda _: b"<a><b/></a>"),
    "2 MiB": rewrite(lambda body: body + b" " * (2 << 20)),
    "escape sequences": rewrite(lambda body: re.sub(rb">(\w)", b">\xc2\x9b\\1", body)),
    "an error of status 200": rewrite(
        lambda _: b"<ErrorResponse><Error><Code>Odd</Code></Error></ErrorResponse>"
    ),
}


def _failure(inside: bytes) -> Fault:
    return rewrite(lambda _: b"<ErrorResponse>" + inside + b"</ErrorResponse>", 400)


ERRORS: dict[str, Fault] = {
    "arns": error("AccessDenied", "arn:" * 60_000),
    "arns that go on": error("AccessDenied", "arn:x is not authorized to " * 9000),
    "letters": error("ValidationError", "a" * 240_000),
    "times": error("SignatureDoesNotMatch", "20260101T000000Z is " + "later " * 40_000),
    "colons": error("ValidationError", "a:" * 120_000),
    "a code that is long": error("X" * 240_000, "no"),
    "two errors": _failure(b"<Error><Code>A</Code></Error><Error><Code>B</Code></Error>"),
    "an error that is a text": _failure(b"<Error>text</Error>"),
    "a code with members": _failure(b"<Error><Code><A>x</A></Code></Error>"),
    "errors that are a text": _failure(b"<Errors>text</Errors><RequestID>1</RequestID>"),
    "deep": _failure(b"<Error>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</Error>"),
    "nothing, 500": rewrite(lambda _: b"", 500),
    "nothing, 400": rewrite(lambda _: b"", 400),
    "a page, 503": rewrite(lambda _: b"<html>busy", 503),
    "a status of its own": rewrite(lambda body: body, 299),
}
