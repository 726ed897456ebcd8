"""Hands a secret link to a browser without any argument list ever holding it.

The browser is given a loopback address that nobody can guess. It answers one request with a
redirection to the link, only to a process of our own user, and only for a minute.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

from filevault.server.peer_uid import peer_uid

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 60.0
"""Seconds for which the link can be fetched."""

_HOST = "127.0.0.1"
_PAUSE = 0.1  # seconds between two looks at whether the browser failed to start
_LONGEST_HEAD = 16 << 10
_MOST_CONNECTIONS = 32
_SLOWEST_CLIENT = 5.0


class OneTimeLink:
    """One link, waiting to be fetched once at `address`; a context manager.

    Args:
        link: where the browser is sent.
        clock: seconds that never go back.
    """

    def __init__(self, link: str, clock: Callable[[], float] = time.monotonic) -> None:
        import secrets

        self._link = link
        self._clock = clock
        self._path = f"/{secrets.token_urlsafe(32)}"
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((_HOST, 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._heads: dict[socket.socket, bytes] = {}
        self._name = f"{_HOST}:{self._listener.getsockname()[1]}"

    @property
    def address(self) -> str:
        """What the browser is told to open."""
        return f"http://{self._name}{self._path}"

    def serve(self, given_up: Callable[[], bool], patience: float = TIMEOUT) -> bool:
        """Wait for the browser; tell whether it was sent on.

        Ends early once `given_up`, which is asked again and again, says so.
        """
        deadline = self._clock() + patience
        while self._clock() < deadline and not given_up():
            for key, _ in self._selector.select(_PAUSE):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and self._serve(key.fileobj):
                    return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._heads):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._heads) >= _MOST_CONNECTIONS or not _is_ours(connection):
            connection.close()
            return
        connection.setblocking(False)
        self._heads[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _serve(self, connection: socket.socket) -> bool:
        """Read what came; tell whether the link was given out."""
        try:
            part = connection.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        head = self._heads[connection] + part
        if not part or len(head) > _LONGEST_HEAD:
            self._drop(connection)
            return False
        self._heads[connection] = head
        if b"\r\n\r\n" not in head:
            return False
        right = self._is_the_one(head)
        # The process that sent this may have got the connection from another one.
        answer = _redirection(self._link) if right and _is_ours(connection) else _NOT_HERE
        sent = False
        try:
            connection.settimeout(_SLOWEST_CLIENT)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            sent = answer is not _NOT_HERE
        except OSError:
            pass
        self._drop(connection)
        return sent

    def _is_the_one(self, head: bytes) -> bool:
        import hmac

        lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        words = lines[0].split(b" ")
        hosts = [line[5:].strip() for line in lines[1:] if line[:5].lower() == b"host:"]
        return (
            len(words) == 3
            and words[0] == b"GET"
            and hmac.compare_digest(words[1], self._path.encode("ascii"))
            and hosts == [self._name.encode("ascii")]
        )

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._heads[connection]
        connection.close()


def _is_ours(connection: socket.socket) -> bool:
    try:
        return peer_uid(connection) == os.geteuid()
    except OSError:  # it has gone
        return False


def _redirection(link: str) -> bytes:
    return (
        "HTTP/1.1 303 See Other\r\n"
        f"Location: {link}\r\n"
        "Cache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "Content-Length: 0\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")


_NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
