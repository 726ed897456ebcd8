"""OneTimeLink: gives a secret link to a browser without putting it into an argument list.

The browser gets a loopback address that cannot be guessed. It answers a single request, from a
process of this user and within a minute, by a redirection to the link.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from filevault.server.loopback import LoopbackRequest, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 60.0
"""Seconds for which the link can be fetched."""

_POLL_INTERVAL = 0.1  # seconds between two checks whether the browser failed to start


class OneTimeLink:
    """A link that can be fetched once at `address`; a context manager.

    The browser is redirected to `link`.
    """

    def __init__(self, link: str) -> None:
        import secrets

        self._link = link
        self._path = f"/{secrets.token_urlsafe(32)}"
        self._server = LoopbackServer()

    @property
    def address(self) -> str:
        """The URL for the browser."""
        return f"http://{self._server.host}{self._path}"

    def serve(self, given_up: Callable[[], bool], timeout: float = TIMEOUT) -> bool:
        """Wait for the browser; return whether it was redirected.

        `given_up` is called repeatedly, and ends this early by returning True.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not given_up():
            for _ in self._server.serve(_POLL_INTERVAL, self._answer):
                return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def _answer(self, request: LoopbackRequest) -> bytes | None:
        return _redirection(self._link) if request.is_get(self._path) else None


def _redirection(link: str) -> bytes:
    return (
        "HTTP/1.1 303 See Other\r\n"
        f"Location: {link}\r\n"
        "Cache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "Content-Length: 0\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")
