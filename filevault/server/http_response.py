"""HttpResponse: the bytes of a response, ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_CODES = {
    401: "Unauthorized",
    403: "AccessDenied",
    404: "NotFound",
    405: "MethodNotAllowed",
    503: "CredentialsUnavailable",
}


class HttpResponse(Record):
    """A response: `kept` for a connection that stays open, `closing` for one that ends."""

    _secret = ("kept", "closing")

    status: int
    kept: bytes
    closing: bytes


def respond(
    status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return a response; no cache may keep it, no browser may guess its type."""
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Bad Request')}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    head = "\r\n".join(lines).encode("ascii")
    return HttpResponse(
        status, head + b"\r\n\r\n" + body, head + b"\r\nConnection: close\r\n\r\n" + body
    )


def respond_json(status: int, value: object) -> HttpResponse:
    """Return a response with a JSON object."""
    import json

    return respond(status, json.dumps(value).encode("ascii"), "application/json")


def respond_error(status: int, message: str) -> HttpResponse:
    """Return an error as SDKs show it: both `code` and `message` are required by some."""
    import json

    body = {"code": _CODES.get(status, "BadRequest"), "message": message}
    headers = {"Allow": "GET"} if status == 405 else None
    return respond(status, json.dumps(body).encode("ascii"), "application/json", headers)
