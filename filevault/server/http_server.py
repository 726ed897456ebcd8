"""HttpServer: connections of many clients, each with limits of bytes and time.

A client that sends or reads slowly delays no other, and no client can use up the connections:
the one that has been idle longest is closed for a new one.
"""

from __future__ import annotations

import contextlib
import select
import socket
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from filevault.server.http_request import END_OF_HEAD, MAX_HEAD, HttpError, parse_head
from filevault.server.http_response import respond_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.server.event_loop import EventLoop
    from filevault.server.http_request import HttpRequest
    from filevault.server.http_response import HttpResponse

_MAX_CONNECTIONS = 256
_LEAST_CONNECTIONS = 4
_OTHER_FILES = 32
"""Files that this process opens besides connections, modules that it imports among them."""
_ACCEPTED_AT_ONCE = 16
_HEAD_TIMEOUT = 5.0  # seconds from the first byte of a request to its last
_SEND_TIMEOUT = 5.0
_IDLE_TIMEOUT = 60.0
_ANSWER_TIMEOUT = 30.0  # an answer that is not there by then never comes
_LINGER = 1.0  # seconds in which a client can read why it was refused
_CHECK_INTERVAL = 1.0
_OF_KNOWN_PATHS = frozenset({200, 405, 503})


class Respond(Protocol):
    """Answer a request."""

    def __call__(self, request: HttpRequest, connection: Connection, /) -> HttpResponse | None:
        """Return the response; None if `connection.answer` is called with it later."""
        ...


class Connection:
    """The connection of one client."""

    __slots__ = (
        "_server",
        "closing",
        "deadline",
        "events",
        "inbound",
        "outbound",
        "peer_is_own",
        "socket",
        "waiting",
    )

    def __init__(self, server: HttpServer, accepted: socket.socket) -> None:
        self._server = server
        self.socket = accepted
        self.inbound = b""
        self.outbound = b""
        self.deadline = monotonic() + _HEAD_TIMEOUT
        self.events = select.EPOLLIN
        self.closing = False
        self.peer_is_own: bool | None = None
        """Whether this user owns the other end; None if that was not looked up."""
        self.waiting: HttpRequest | None = None
        """The request that is to be answered later."""

    @property
    def is_idle(self) -> bool:
        """Whether the client waits for nothing."""
        return not self.outbound and self.waiting is None

    def answer(self, response: HttpResponse) -> None:
        """Send the response to the request that waits, if the client is still there."""
        request, self.waiting = self.waiting, None
        if request is not None:
            self._server.complete(self, request, response)


class HttpServer:
    """A server on one listener, driven by an event loop.

    Args:
        loop: calls it.
        listener: a listening socket, which it closes at the end.
        respond: answers requests.
        log: called with a line about each request: method, target, status. None for no log.
    """

    def __init__(
        self,
        loop: EventLoop,
        listener: socket.socket,
        respond: Respond,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._respond = respond
        self._log = log
        self._connections: dict[int, Connection] = {}
        self._most = _most_connections()
        self._checked = monotonic()
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)
        loop.add_timer(self._expire)

    def stop(self) -> None:
        """Close the listener, and the connections that wait for nothing."""
        if self._listener.fileno() >= 0:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
        for connection in list(self._connections.values()):
            if connection.is_idle:
                self._drop(connection)

    @property
    def is_busy(self) -> bool:
        """Whether a client waits for an answer."""
        return any(not each.is_idle for each in self._connections.values())

    def close(self) -> None:
        """Close the listener and every connection."""
        self.stop()
        for connection in list(self._connections.values()):
            self._drop(connection)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the client is gone, or no descriptor is left
                self._drop_idle()
                return
            if len(self._connections) >= self._most and not self._drop_idle():
                accepted.close()
                continue
            accepted.setblocking(False)
            with contextlib.suppress(OSError):  # a Unix socket has no such option
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, accepted)
            fd = accepted.fileno()
            self._connections[fd] = connection
            self._loop.watch(fd, self._watcher(connection))
            self._read(connection)  # mostly the request has arrived already

    def _watcher(self, connection: Connection) -> Callable[[int], None]:
        return lambda _events: self._on_event(connection)

    def _on_event(self, connection: Connection) -> None:
        if connection.outbound:
            self._write(connection)
            self._process(connection)
        elif connection.waiting is not None:  # its client has hung up
            self._drop(connection)
        else:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            part = connection.socket.recv(MAX_HEAD)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._drop(connection)
            return
        if connection.closing:  # what follows the last request is not read
            return
        if not connection.inbound:
            connection.deadline = monotonic() + _HEAD_TIMEOUT
        connection.inbound += part
        self._process(connection)

    def _process(self, connection: Connection) -> None:
        """Answer the requests that have arrived, one after the other."""
        while connection.inbound and connection.is_idle and not connection.closing:
            end = connection.inbound.find(END_OF_HEAD) + len(END_OF_HEAD)
            if end < len(END_OF_HEAD) and len(connection.inbound) <= MAX_HEAD:
                # The beginning may have come with the request before, and then has its time too.
                connection.deadline = min(connection.deadline, monotonic() + _HEAD_TIMEOUT)
                return
            if not len(END_OF_HEAD) <= end <= MAX_HEAD:
                message = f"the head of the request is longer than {MAX_HEAD} bytes"
                self._send(connection, respond_error(431, message), keep_alive=False)
                return
            head, connection.inbound = connection.inbound[:end], connection.inbound[end:]
            self._handle(connection, head)

    def _handle(self, connection: Connection, head: bytes) -> None:
        try:
            request = parse_head(head)
        except HttpError as error:
            response = respond_error(error.status, error.reason)
            self._note(None, response)
            self._send(connection, response, keep_alive=False)
            return
        answer = self._respond(request, connection)
        if answer is None:
            connection.waiting = request
            self._wait_for(connection, select.EPOLLRDHUP, _ANSWER_TIMEOUT)
            return
        self._note(request, answer)
        self._send(connection, answer, keep_alive=request.keep_alive)

    def complete(
        self, connection: Connection, request: HttpRequest, response: HttpResponse
    ) -> None:
        """Send the response to a request that has waited, and go on."""
        self._note(request, response)
        self._send(connection, response, keep_alive=request.keep_alive)
        self._process(connection)

    def _note(self, request: HttpRequest | None, response: HttpResponse) -> None:
        """Log a request. A path that does not exist is not shown: it may contain a secret."""
        if self._log is None:
            return
        what = "a request that is not valid"
        if request is not None:
            known = response.status in _OF_KNOWN_PATHS
            path = printable(request.target.decode("latin-1"), 300) if known else "an unknown path"
            what = f"{printable(request.method.decode('latin-1'), 20)} {path}"
        self._log(f"{what}: {response.status}")

    def _send(self, connection: Connection, response: HttpResponse, *, keep_alive: bool) -> None:
        """Send a response; close the connection after it unless `keep_alive`."""
        connection.closing = not keep_alive
        data = response.kept if keep_alive else response.closing
        connection.outbound = data
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.outbound)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.outbound = connection.outbound[sent:]
        if connection.outbound:
            self._wait_for(connection, select.EPOLLOUT, _SEND_TIMEOUT)
        elif connection.closing:
            # A close with unread bytes would reset the connection before the client has read why.
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            self._wait_for(connection, select.EPOLLIN, _LINGER)
        else:
            self._wait_for(connection, select.EPOLLIN, _IDLE_TIMEOUT)

    def _wait_for(self, connection: Connection, events: int, timeout: float) -> None:
        connection.deadline = monotonic() + timeout
        if connection.events != events:
            connection.events = events
            self._loop.change(connection.socket.fileno(), events)

    def _expire(self) -> float:
        """Close the connections whose time is over."""
        now = monotonic()
        if now - self._checked >= _CHECK_INTERVAL:
            self._checked = now
            for connection in list(self._connections.values()):
                if connection.deadline < now:
                    self._drop(connection)
        return _CHECK_INTERVAL if self._connections else _IDLE_TIMEOUT

    def _drop_idle(self) -> bool:
        """Close the connection that has been idle longest; return False if none is."""
        idle = [each for each in self._connections.values() if each.is_idle]
        if idle:
            self._drop(min(idle, key=lambda each: each.deadline))
        return bool(idle)

    def _drop(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        if fd >= 0 and self._connections.pop(fd, None) is not None:
            self._loop.unwatch(fd)
            connection.socket.close()
            connection.waiting = None
            connection.inbound = b""


def _most_connections() -> int:
    """Return how many connections there may be where this process may open few files."""
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(_LEAST_CONNECTIONS, min(files - _OTHER_FILES, _MAX_CONNECTIONS))
