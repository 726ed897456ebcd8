"""A threaded HTTP/1.1 server on loopback, the one that every stand-in uses."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.fakes.wire import HttpAnswer, HttpRequest

LARGEST_BODY = 1 << 20

Respond = Callable[[HttpRequest], HttpAnswer | None]


class FakeServer(ThreadingHTTPServer):
    """Answers requests with `respond`, whose None drops the connection; a context manager.

    It serves from a thread between `start` and `close`. `defects` are the exceptions of
    `respond`: bugs of a test. With `tls` clients must speak TLS.
    """

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(
        self,
        respond: Respond,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.respond = respond
        self.clock = clock
        self.defects: list[BaseException] = []
        self._thread: threading.Thread | None = None
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> Self:
        """Serve from a thread."""
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name="fake-server", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving, and end every connection."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def server_bind(self) -> None:
        """Bind without the name look-up that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.socket.getsockname()[:2]
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection and give it a thread."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        with self._connections_lock:
            self._connections.discard(request)
        with contextlib.suppress(OSError):  # a client that is killed may have reset it
            super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and end the connections that clients keep alive."""
        super().server_close()
        with self._connections_lock:
            open_now = list(self._connections)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Report defects of the fake; clients that went away are none."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.defects.append(error)


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def version_string(self) -> str:
        return "fake"

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.clock() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        answer = self.server.respond(HttpRequest(self.command, self.path, self.headers, body))
        if answer is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer.raw is not None:
            self.close_connection = True
            for piece in answer.raw:
                self.wfile.write(piece)
                self.wfile.flush()
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.request_id:
            self.send_header("x-amzn-RequestId", answer.request_id)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST  # noqa: N815  the names that http.server looks for
