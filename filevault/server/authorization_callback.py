"""AuthorizationCallback: receives the answer of an authorization server from a browser, once.

It is the loopback redirection of RFC 8252 §7.3: the literal 127.0.0.1, a port of the kernel's
choice, one path, GET only, exactly this Host. A request whose `state` is another one is refused
and does not end the wait (RFC 6749 §10.12).
"""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING, Self

from filevault.server.loopback import LoopbackRequest, LoopbackServer
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 600.0
"""Seconds for signing in in the browser; the AWS CLI waits as long."""

PATH = "/oauth/callback"
_POLL_INTERVAL = 0.5  # seconds between two calls of `tick`
_MAX_PARAMETERS = 16


class Authorization(Record):
    """The answer of an authorization server: a `code`, or the `error` that it reports instead."""

    _secret = ("code",)

    code: str | None
    error: str | None = None


class AuthorizationCallback:
    """A listener for one answer at `redirect_uri`; a context manager.

    `state` is the unguessable text that the answer must repeat.
    """

    def __init__(self, state: str) -> None:
        self._state = state
        self._found: Authorization | None = None
        self._doubtful: str | None = None
        self._doubted = False
        # The state is what proves a request; root can read it anyway.
        self._server = LoopbackServer(allow_root=True)

    @property
    def redirect_uri(self) -> str:
        """The URL to which the browser is sent at the end."""
        return f"http://{self._server.host}{PATH}"

    def wait(
        self,
        *,
        timeout: float = TIMEOUT,
        tick: Callable[[float], None] = lambda _left: None,
        doubt: Callable[[str], None] = lambda _error: None,
    ) -> Authorization | None:
        """Wait for the browser; return the answer, None when the time is up.

        Args:
            timeout: seconds.
            tick: called about twice a second, with the seconds left.
            doubt: called once, with the first error that a request reports without the state. It
                may be forged, so the wait goes on.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            tick(left)
            for _ in self._server.serve(min(left, _POLL_INTERVAL), self._answer):
                pass
            # The code counts even if the browser did not take the page.
            if self._found is not None:
                return self._found
            if self._doubtful is not None and not self._doubted:
                self._doubted = True
                doubt(self._doubtful)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def _answer(self, request: LoopbackRequest) -> bytes | None:
        path, _, query = request.target.partition(b"?")
        if request.method != b"GET" or path != PATH.encode("ascii"):
            return None
        values = _parameters(query)
        if values is None:
            return _REFUSED
        error = values.get("error")
        state = values.get("state", "")
        if not hmac.compare_digest(state.encode("utf-8"), self._state.encode("utf-8")):
            if error and not state:
                self._doubtful = self._doubtful or error
            return _REFUSED
        code = values.get("code")
        if self._found is None and (code or error):
            self._found = Authorization(None, error) if error else Authorization(code)
        if self._found is None:
            return _REFUSED
        return _DONE if self._found.error is None else _FAILED


def _parameters(query: bytes) -> dict[str, str] | None:
    """Return the parameters of a query, None for one that is malformed or repeats one."""
    from urllib.parse import parse_qsl

    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        return None
    values = dict(pairs)
    return values if len(values) == len(pairs) else None


def _page(status: str, text: str) -> bytes:
    """Return a response with a page that has no script and loads nothing."""
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>filevault</title>'
        f"<p>{text}</p></html>\n"
    ).encode("ascii")
    head = (
        f"HTTP/1.1 {status}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


_DONE = _page("200 OK", "filevault has the answer. You can close this window.")
_FAILED = _page("200 OK", "The sign-in was refused; filevault says why. You can close this window.")
_REFUSED = _page(
    "400 Bad Request", "This is not the sign-in that filevault waits for. It waits on."
)
