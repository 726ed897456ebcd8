"""HTTP on the loopback interface for processes of this user only.

A request is passed on only if the kernel says that this user owns the other end of the connection,
and if it has exactly the Host header of the listener.
"""

from __future__ import annotations

import os
import selectors
import socket
from typing import TYPE_CHECKING, Self

from filevault.server.peer_uid import peer_uid
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOST = "127.0.0.1"
_MAX_HEAD = 16 << 10  # bytes
_MAX_CONNECTIONS = 32
_SEND_TIMEOUT = 5.0  # seconds

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LoopbackRequest(Record):
    """The first line of a request with the right Host header."""

    method: bytes
    target: bytes

    def is_get(self, path: str) -> bool:
        """Return whether this is a GET of a path, compared in constant time."""
        import hmac

        return self.method == b"GET" and hmac.compare_digest(self.target, path.encode("ascii"))


class LoopbackServer:
    """A listener on a free port of 127.0.0.1; a context manager.

    One thread serves all connections, so that a slow client delays no other. With `allow_root`
    processes of root may connect too: on WSL 2 its relay of loopback connections runs as root.
    """

    def __init__(self, *, allow_root: bool = False) -> None:
        self._allowed = {os.geteuid(), 0} if allow_root else {os.geteuid()}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((_HOST, 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._heads: dict[socket.socket, bytes] = {}
        self.host = f"{_HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._heads):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def serve(
        self, timeout: float, respond: Callable[[LoopbackRequest], bytes | None]
    ) -> Iterator[bytes]:
        """Wait up to `timeout` seconds for connections and requests, and answer requests.

        `respond` returns the response, None for 404. Each response except 404 is yielded after it
        was sent completely; the connection is closed then.
        """
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._heads:
                head = self._read(key.fileobj)
                if head is None:
                    continue
                request = self._parse(head)
                # The process that sent the request may have got the connection from another one.
                allowed = request is not None and self._is_allowed(key.fileobj)
                response = respond(request) if request is not None and allowed else None
                if self._send(key.fileobj, response or NOT_FOUND) and response is not None:
                    yield response

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if not self._is_allowed(connection):
            connection.close()
            return
        if len(self._heads) >= _MAX_CONNECTIONS:
            # The oldest: a browser sends its request at once, and a page that opens connections
            # without one must not keep it out.
            self._drop(next(iter(self._heads)))
        connection.setblocking(False)
        self._heads[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> bytes | None:
        """Return the head of a request once it is complete, else None."""
        try:
            part = connection.recv(_MAX_HEAD)
        except BlockingIOError:
            return None
        except OSError:
            part = b""
        head = self._heads[connection] + part
        if not part or len(head) > _MAX_HEAD:
            self._drop(connection)
            return None
        self._heads[connection] = head
        return head if b"\r\n\r\n" in head else None

    def _parse(self, head: bytes) -> LoopbackRequest | None:
        lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        words = lines[0].split(b" ")
        hosts = [line[5:].strip() for line in lines[1:] if line[:5].lower() == b"host:"]
        if len(words) != 3 or hosts != [self.host.encode("ascii")]:
            return None
        return LoopbackRequest(words[0], words[1])

    def _send(self, connection: socket.socket, response: bytes) -> bool:
        """Send a response and close the connection; return whether it was sent completely."""
        try:
            connection.settimeout(_SEND_TIMEOUT)
            connection.sendall(response)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        else:
            return True
        finally:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._heads[connection]
        connection.close()

    def _is_allowed(self, connection: socket.socket) -> bool:
        """Return whether a user who may connect owns the other end of a connection."""
        try:
            return peer_uid(connection) in self._allowed
        except OSError:  # it has been closed
            return False
