"""A container endpoint in a thread of the test's process, and raw connections to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from filevault.credentials import Credentials
from filevault.server.container_endpoint import ContainerEndpoint, TokenPaths, new_token
from filevault.server.event_loop import EventLoop
from filevault.server.http_server import HttpServer, Respond
from filevault.server.metadata_endpoint import Instance, MetadataEndpoint
from filevault.server.renewals import Renewals
from filevault.server.renewing_process import Obtained, Order, Outcome, RenewingProcess
from filevault.server.served_credentials import ServedCredentials

SECRET = "the-secret-of-the-endpoint"
KEY_ID = "ASIAENDPOINT12345678"
TIMEOUT = 20.0


class _Work:
    """Obtains the same credentials each time."""

    def obtain(self, order: Order) -> Obtained:
        credentials = Credentials(KEY_ID, SECRET, "token", int(time.time()) + 3600)
        return Obtained(Outcome(order.served, credentials, "123456789012"))

    def keep(self, _keys: object) -> None:
        pass

    def reload(self) -> None:
        pass


class HttpReply(NamedTuple):
    """What came back: the status of the first response, 0 without one, and all bytes."""

    status: int
    data: bytes


class Endpoint:
    """A running container endpoint; a context manager.

    `path` is that of the credentials, `token_header` the header with the token.
    """

    path = "/"
    token_header = "Authorization"

    def __init__(self) -> None:
        self._process = RenewingProcess(_Work())
        renewals = Renewals(self._process, time.time, lambda _text: None)
        served = renewals.add(ServedCredentials("test", 3600), 0)
        assert renewals.first(served) is not None
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.token = new_token()
        self.log: list[str] = []
        self.loop = EventLoop()
        endpoint = self._endpoint(renewals, served)
        self.server = HttpServer(self.loop, listener, endpoint, self.log.append)
        renewals.run_in(self.loop)
        self._wake, wake = socket.socketpair()
        self.loop.watch(wake.fileno(), self._on_wake)
        self._held = wake
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _endpoint(self, renewals: Renewals, served: ServedCredentials) -> Respond:
        tokens = [TokenPaths(self.token.encode(), {b"/": served})]
        return ContainerEndpoint(self.host, renewals, tokens)

    def _on_wake(self, _events: int) -> None:
        if b"x" in self._held.recv(100):
            self._stop.set()

    def wake(self) -> None:
        """Let the loop look at its timers."""
        self._wake.send(b".")

    def _run(self) -> None:
        while not self._stop.is_set():
            self.loop.turn()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wake.send(b"x")
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        self.server.close()
        self.loop.__exit__()
        self._wake.close()
        self._held.close()
        self._process.close()

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def head(self, request_line: str = "", **headers: str | None) -> bytes:
        """Return a good request, or one with other headers; None leaves one out."""
        request_line = request_line or f"GET {self.path} HTTP/1.1"
        given = {"Host": self.host, self.token_header: self.token, **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value]
        return "\r\n".join([request_line, *lines, "", ""]).encode("latin-1")

    def send(self, data: bytes, *, ends: bool = True) -> HttpReply:
        """Send bytes and return what comes back until the server closes the connection.

        With `ends` this side says that nothing follows.
        """
        with self.connect() as connection:
            received = b""
            try:
                connection.sendall(data)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(1 << 16):
                    received += part
            except ConnectionError:
                pass
        status = int(received.split(b" ")[1]) if received.startswith(b"HTTP/1.1 ") else 0
        return HttpReply(status, received)

    def is_answering(self) -> bool:
        """Return whether a good request gets the credentials."""
        reply = self.send(self.head())
        body = json.loads(reply.data.partition(b"\r\n\r\n")[2])
        return reply.status == 200 and body["SecretAccessKey"] == SECRET


class MetadataEndpointWorld(Endpoint):
    """A running metadata endpoint that asks for no user: only what is sent counts."""

    path = "/latest/meta-data/iam/security-credentials/filevault"
    token_header = "X_aws_ec2_metadata_token"

    def _endpoint(self, renewals: Renewals, served: ServedCredentials) -> Respond:
        nowhere = Instance(None, None)
        return MetadataEndpoint(self.host, renewals, served, lambda: nowhere, any_user=True)

    def __enter__(self) -> Self:
        super().__enter__()
        life = {"X_aws_ec2_metadata_token_ttl_seconds": "21600"}
        reply = self.send(self.head("PUT /latest/api/token HTTP/1.1", **life))
        self.token = reply.data.rpartition(b"\r\n")[2].decode()
        return self
