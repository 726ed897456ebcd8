"""A secret link reaches one browser of our own user, once; nobody else learns anything."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from filevault.server.one_time_link import OneTimeLink
from filevault.server.peer_uid import can_find_peers, peer_uid
from tests.conditions.other_user import needs_root

LINK = "https://signin.example/federation?SigninToken=secret"
NOBODY = 65534


class Serving:
    """A handover that is being served, and how that ended."""

    def __init__(self) -> None:
        self.handover = OneTimeLink(LINK)
        self.address = self.handover.address
        parts = urlsplit(self.address)
        self.name, self.path, self.port = parts.netloc, parts.path, parts.port
        self.given_up = threading.Event()
        self.sent_on: bool | None = None
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with self.handover:
            self.sent_on = self.handover.serve(self.given_up.is_set, 30.0)

    def start(self) -> None:
        self._thread.start()

    def ended(self) -> bool | None:
        """Wait for the end."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.sent_on

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, head: str) -> bytes:
        """Send a request and return all that comes back."""
        with self.connect() as connection:
            try:
                connection.sendall(head.encode())
                return _all(connection)
            except ConnectionError:
                return b""

    def get(self, path: str | None = None, host: str | None = None, method: str = "GET") -> bytes:
        path = self.path if path is None else path
        return self.ask(f"{method} {path} HTTP/1.1\r\nHost: {host or self.name}\r\n\r\n")


def _all(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(4096):
        found += part
    return found


@contextmanager
def serving() -> Iterator[Serving]:
    found = Serving()
    found.start()
    try:
        yield found
    finally:
        found.given_up.set()
        found.ended()


def as_nobody(act: Callable[[], bytes]) -> bytes:
    """Do something in a process of another user and return what it returned."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write, b"as %d: " % os.getuid() + act())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_the_first_request_is_sent_on_and_then_nobody_listens() -> None:
    with serving() as found:
        answer = found.get()
        assert answer.startswith(b"HTTP/1.1 303 ")
        assert f"\r\nLocation: {LINK}\r\n".encode() in answer
        assert b"no-store" in answer
        assert b"no-referrer" in answer
        assert found.ended() is True
        with pytest.raises(ConnectionRefusedError):
            found.connect()


def test_the_address_cannot_be_guessed_and_holds_nothing_of_the_link() -> None:
    with OneTimeLink(LINK) as one, OneTimeLink(LINK) as other:
        assert len(urlsplit(one.address).path) > 40
        assert urlsplit(one.address).path != urlsplit(other.address).path
        for part in ("secret", "signin", "Token"):
            assert part not in one.address


def test_whoever_asks_wrongly_gets_nothing_and_the_right_one_still_does() -> None:
    with serving() as found:
        wrong = [
            found.get("/"),
            found.get(found.path[:-1]),
            found.get(found.path + "x"),
            found.get(found.path + "?x=1"),
            found.get("/favicon.ico"),
            found.get(host="evil.example"),
            found.get(host=f"localhost:{found.port}"),
            found.get(method="HEAD"),
            found.get(method="POST"),
            found.ask(f"GET {found.path} HTTP/1.1\r\n\r\n"),
            found.ask(
                f"GET {found.path} HTTP/1.1\r\nHost: {found.name}\r\nHost: evil.example\r\n\r\n"
            ),
            found.ask("\r\n\r\n"),
            found.ask("x" * 40_000),
        ]
        assert {answer[:13] for answer in wrong} <= {b"HTTP/1.1 404 ", b""}
        assert not any(b"secret" in answer for answer in wrong)
        assert found.get().startswith(b"HTTP/1.1 303 ")
        assert found.ended() is True


def test_connections_that_say_nothing_or_little_hold_nobody_up() -> None:
    with serving() as found:
        silent = [found.connect() for _ in range(10)]
        for each in silent[:5]:
            each.sendall(b"GET ")
        with found.connect() as slow:
            for byte in f"GET {found.path} HTTP/1.1\r\nHost: {found.name}\r\n\r\n".encode():
                slow.sendall(bytes([byte]))
            assert b"303" in _all(slow)
        assert found.ended() is True
        for each in silent:
            each.close()


def test_it_ends_when_time_is_up_and_when_the_browser_failed() -> None:
    with OneTimeLink(LINK) as handover:
        assert handover.serve(lambda: False, timeout=0.2) is False
    with OneTimeLink(LINK) as handover:
        assert handover.serve(lambda: True) is False


@needs_root
def test_another_user_gets_nothing_even_with_the_right_address() -> None:
    with serving() as found:
        assert as_nobody(found.get) == b"as 65534: "
        assert found.get().startswith(b"HTTP/1.1 303 ")
        assert found.ended() is True


@needs_root
def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    assert can_find_peers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def uid_of(client: Callable[[], bytes]) -> int | None:
            seen: list[int | None] = []

            def accept() -> None:
                connection, _ = listener.accept()
                with connection:
                    seen.append(peer_uid(connection))

            thread = threading.Thread(target=accept)
            thread.start()
            client()
            thread.join(20)
            return seen[0]

        def over(family: socket.AddressFamily, host: str) -> Callable[[], bytes]:
            def connect() -> bytes:
                with socket.socket(family) as client:
                    client.connect((host, port))
                    client.recv(1)
                return b""

            return connect

        plain = over(socket.AF_INET, "127.0.0.1")
        assert uid_of(plain) == os.getuid()
        assert uid_of(over(socket.AF_INET6, "::ffff:127.0.0.1")) == os.getuid()
        assert uid_of(lambda: as_nobody(plain)) == NOBODY


def test_whoever_has_closed_already_is_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        assert peer_uid(connection) == os.getuid()
        client.close()
        with connection:
            assert peer_uid(connection) is None
