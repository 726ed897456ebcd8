"""What clients send that are none: the right status, no credential, and others are served."""

from __future__ import annotations

import os
import random
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from filevault.server import http_server
from filevault.server.http_request import MAX_HEAD
from tests.worlds.endpoint import SECRET, TIMEOUT, Endpoint, MetadataEndpointWorld

CRLF = "\r\n"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def metadata() -> Iterator[Endpoint]:
    with MetadataEndpointWorld() as running:
        yield running


class Abuse(NamedTuple):
    """Bytes, and the status with which they are refused; 0 for no response."""

    name: str
    status: int
    make: Callable[[Endpoint], bytes]


def _line(text: str) -> Callable[[Endpoint], bytes]:
    return lambda endpoint: endpoint.head(text)


def _headers(**headers: str | None) -> Callable[[Endpoint], bytes]:
    return lambda endpoint: endpoint.head("", **headers)


def _replaced(old: str, new: str) -> Callable[[Endpoint], bytes]:
    """Return a change of a good head, in which TOKEN stands for the header of the token."""

    def make(endpoint: Endpoint) -> bytes:
        name = endpoint.token_header.replace("_", "-")
        before, after = (each.replace("TOKEN", name).encode("latin-1") for each in (old, new))
        return endpoint.head().replace(before, after, 1)

    return make


def _token(change: Callable[[str], str]) -> Callable[[Endpoint], bytes]:
    return lambda endpoint: endpoint.head(Authorization=change(endpoint.token))


def _host(change: Callable[[int], str]) -> Callable[[Endpoint], bytes]:
    return lambda endpoint: endpoint.head(Host=change(endpoint.port))


ABUSES = (
    Abuse("no token", 401, _headers(Authorization=None)),
    Abuse("another token", 401, _headers(Authorization="x" * 43)),
    Abuse("half a token", 401, _token(lambda token: token[:20])),
    Abuse("a token and more", 401, _token(lambda token: token + "x")),
    Abuse("two tokens", 401, _token(lambda token: f"{token}, {token}")),
    Abuse("a scheme", 401, _token(lambda token: f"Bearer {token}")),
    Abuse("another case", 401, _token(str.swapcase)),
    Abuse("a very long token", 401, _token(lambda token: token * 200)),
    Abuse("a token beyond ASCII", 401, _headers(Authorization="\xe9" * 43)),
    Abuse("a token in two headers", 400, _headers(Authorization="x", authorization="y")),
    Abuse("a host name (DNS rebinding)", 403, _host(lambda port: f"attacker.example:{port}")),
    Abuse("localhost", 403, _host(lambda port: f"localhost:{port}")),
    Abuse("another port", 403, _host(lambda port: f"127.0.0.1:{port ^ 1}")),
    Abuse("an empty port", 403, _host(lambda _port: "127.0.0.1:")),
    Abuse("another spelling of the address", 403, _host(lambda port: f"127.1:{port}")),
    Abuse("a name before the address", 403, _host(lambda port: f"x@127.0.0.1:{port}")),
    Abuse("no host", 400, _headers(Host=None)),
    Abuse("two hosts", 400, lambda each: each.head(host=each.host)),
    Abuse("a page's origin", 403, _headers(Origin="https://attacker.example")),
    Abuse("the origin null", 403, _headers(Origin="null")),
    Abuse("the endpoint's own origin", 403, lambda each: each.head(Origin=f"http://{each.host}")),
    Abuse("a browser's fetch", 403, _headers(Sec_Fetch_Site="same-origin")),
    Abuse("a proxy", 403, _headers(X_Forwarded_For="10.0.0.1")),
    Abuse(
        "a preflight",
        403,
        lambda each: each.head(
            "OPTIONS / HTTP/1.1",
            Origin="https://attacker.example",
            Access_Control_Request_Headers="authorization",
            Authorization=None,
        ),
    ),
    *(
        Abuse(f"the method {method}", 405, _line(f"{method} / HTTP/1.1"))
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "G")
    ),
    *(
        Abuse(f"the path {path}", 404, _line(f"GET {path} HTTP/1.1"))
        for path in (
            *("//", "/.", "/..", "/./", "/../", "/a/..", "/%2e%2e/", "/%2f", "/%00", "/?", "/?x=1"),
            *("/;", "/#", "/creds", "/creds/", "/creds/%74est", "/role-arn/", "/latest/api/token"),
            *("/\\", "/creds/../", "/healthcheck", "/%", "/index.html", "/" + "a" * 4000),
        )
    ),
    Abuse("an absolute target", 400, lambda each: each.head(f"GET http://{each.host}/ HTTP/1.1")),
    Abuse("an absolute target elsewhere", 400, _line("GET http://attacker.example/ HTTP/1.1")),
    Abuse("a target without a slash", 400, _line("GET x HTTP/1.1")),
    Abuse("the target *", 400, _line("OPTIONS * HTTP/1.1")),
    Abuse("CONNECT", 400, lambda each: each.head(f"CONNECT {each.host} HTTP/1.1")),
    Abuse("no version", 400, _line("GET /")),
    Abuse("HTTP/2.0", 505, _line("GET / HTTP/2.0")),
    Abuse("HTTP/0.9", 505, _line("GET / HTTP/0.9")),
    Abuse("a version that is none", 400, _line("GET / HTTP/1.1x")),
    Abuse("two blanks", 400, _line("GET  / HTTP/1.1")),
    Abuse("a blank in the target", 400, _line("GET / x HTTP/1.1")),
    Abuse("a tab in the target", 400, _line("GET /\t HTTP/1.1")),
    Abuse("a NUL in the target", 400, _line("GET /\0 HTTP/1.1")),
    Abuse("a body", 400, lambda each: each.head(Content_Length="5") + b"hello"),
    Abuse("a body that never comes", 400, _headers(Content_Length="5")),
    Abuse("a negative length", 400, _headers(Content_Length="-1")),
    Abuse("a length that is none", 400, _headers(Content_Length="0x0")),
    Abuse("two lengths", 400, _headers(Content_Length="0", content_length="44")),
    Abuse("a huge length", 400, _headers(Content_Length="9" * 400)),
    Abuse("chunks", 400, lambda each: each.head(Transfer_Encoding="chunked") + b"0\r\n\r\n"),
    Abuse("chunks and a length", 400, _headers(Transfer_Encoding="chunked", Content_Length="4")),
    Abuse("another transfer encoding", 501, _headers(Transfer_Encoding="gzip, chunked")),
    Abuse("a folded header", 400, _replaced("\r\nTOKEN", "\r\n folded\r\nTOKEN")),
    Abuse("a folded first header", 400, _replaced("\r\nHost", "\r\n\tHost")),
    Abuse("a blank before the colon", 400, _replaced("Host:", "Host :")),
    Abuse("a header without a name", 400, _replaced("\r\nTOKEN", "\r\n: x\r\nTOKEN")),
    Abuse("a header without a colon", 400, _replaced("\r\nTOKEN", "\r\nx\r\nTOKEN")),
    Abuse("a header with a NUL", 400, _replaced("\r\nTOKEN", "\r\nX: \0\r\nTOKEN")),
    Abuse("a line that ends with LF", 400, _replaced("HTTP/1.1\r\n", "HTTP/1.1\n")),
    Abuse("a line with a CR in it", 400, _replaced("\r\nTOKEN", "\r\nX: a\rb\r\nTOKEN")),
    Abuse("lines that end with CR CR LF", 400, _replaced("HTTP/1.1\r\n", "HTTP/1.1\r\r\n")),
    Abuse("64 KiB of headers", 431, _headers(X="x" * (64 << 10))),
    Abuse("64 KiB in many headers", 431, lambda each: each.head()[:-2] + b"X: y\r\n" * 11_000),
    Abuse("64 KiB of target", 431, _line(f"GET /{'a' * (64 << 10)} HTTP/1.1")),
    Abuse("64 KiB of nothing", 431, lambda _each: b"\0" * (64 << 10)),
    Abuse("TLS", 0, lambda _each: bytes.fromhex("1603010200010001fc0303") + b"x" * 60),
    Abuse("half a request", 0, lambda each: each.head()[:-2]),
    Abuse("nothing", 0, lambda _each: b""),
    Abuse("empty lines", 400, lambda each: b"\r\n\r\n" + each.head()),
)


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.name)
def test_what_is_no_request_of_a_client_gets_no_credential(
    endpoint: Endpoint, abuse: Abuse
) -> None:
    reply = endpoint.send(abuse.make(endpoint))
    assert reply.status == abuse.status, reply
    assert SECRET.encode() not in reply.data
    assert b"Access-Control" not in reply.data
    assert endpoint.is_answering()


# What is wrong with the path or the token is in the tables of `test_exec_metadata.py`.
_OF_TOKEN_OR_PATH = ("token", "path", "a scheme", "another case")
_OF_ANY_ENDPOINT = [
    each for each in ABUSES if not any(word in each.name for word in _OF_TOKEN_OR_PATH)
]


@pytest.mark.parametrize("abuse", _OF_ANY_ENDPOINT, ids=lambda abuse: abuse.name)
def test_what_is_no_request_for_metadata_gets_no_credential(
    metadata: Endpoint, abuse: Abuse
) -> None:
    reply = metadata.send(abuse.make(metadata))
    assert 400 <= reply.status < 600 or reply.status == abuse.status == 0, reply
    assert SECRET.encode() not in reply.data
    assert b"Access-Control" not in reply.data
    assert metadata.is_answering()


def test_a_refusal_has_a_code_and_a_message(endpoint: Endpoint) -> None:
    import json

    for data in (endpoint.head(Authorization=None), endpoint.head("GET /x HTTP/1.1"), b"\r\n\r\n"):
        head, _, body = endpoint.send(data).data.partition(CRLF.encode() * 2)
        assert json.loads(body).keys() == {"code", "message"}
        assert b"Content-Type: application/json" in head


def test_a_refusal_does_not_open_the_next_request(endpoint: Endpoint) -> None:
    """A request without a token is refused whatever came before it on the connection."""
    good, bad = endpoint.head(), endpoint.head(Authorization=None)
    reply = endpoint.send(good + bad + good + bad)
    statuses = [part[:3] for part in reply.data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"401", b"200", b"401"]


def test_what_is_smuggled_behind_a_body_is_not_read(endpoint: Endpoint) -> None:
    smuggled = endpoint.head()
    for first in (
        endpoint.head(Content_Length=str(len(smuggled))),
        endpoint.head(Transfer_Encoding="chunked", Content_Length="3") + b"0\r\n\r\n",
        endpoint.head(Transfer_Encoding="\x0bchunked"),
        endpoint.head(Content_Length="+0"),
    ):
        reply = endpoint.send(first + smuggled)
        assert reply.status == 400
        assert reply.data.count(b"HTTP/1.1 ") == 1
        assert SECRET.encode() not in reply.data


def test_http_1_0_and_close_are_answered_and_end_the_connection(endpoint: Endpoint) -> None:
    for head in (endpoint.head("GET / HTTP/1.0"), endpoint.head(Connection="close")):
        reply = endpoint.send(head + endpoint.head(), ends=False)
        assert reply.status == 200
        assert b"Connection: close" in reply.data
        assert reply.data.count(b"HTTP/1.1 ") == 1


def test_the_address_without_its_port_is_accepted(endpoint: Endpoint) -> None:
    """The clients of AWS's Common Runtime send that."""
    assert endpoint.send(endpoint.head(Host="127.0.0.1")).status == 200


def test_a_request_in_single_bytes_is_answered(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in endpoint.head():
            connection.send(bytes([byte]))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.torture)])
def test_idle_and_half_open_clients_keep_no_one_out(endpoint: Endpoint, count: int) -> None:
    """More of them than there may be connections: the oldest ones are closed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[0] < count + 1000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 1000, before[1]), before[1]))
    clients = []
    for number in range(count):
        client = endpoint.connect()
        clients.append(client)
        if number % 2:
            client.send(b"GET / HTTP/1.1\r\nHost: ")
    assert endpoint.is_answering()
    assert len(endpoint.server._connections) <= http_server._MAX_CONNECTIONS
    for client in clients:
        client.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_hour_of_clients_that_leave_no_request_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten thousand connections, idle or with half a request, some of which never hang up."""
    now, rounds, clients = [time.monotonic()], 60, 167
    monkeypatch.setattr(http_server, "monotonic", lambda: now[0])
    monkeypatch.setattr(http_server, "_CHECK_INTERVAL", 1.0)
    with Endpoint() as endpoint:

        def connections() -> int:
            deadline = time.monotonic() + TIMEOUT
            while endpoint.server._connections and time.monotonic() < deadline:
                endpoint.wake()
                time.sleep(0.001)
            return len(endpoint.server._connections)

        used: list[tuple[int, int]] = []
        for _ in range(rounds):
            opened = [endpoint.connect() for _ in range(clients)]
            for client in opened[::2]:
                client.send(b"GET / HTTP/1.1\r\nHost: ")
            for client in opened[::3]:
                client.close()
            assert endpoint.is_answering()
            assert len(endpoint.server._connections) <= http_server._MAX_CONNECTIONS
            now[0] += 3600 / rounds + 1
            assert connections() == 0
            for client in opened:
                client.close()
            del client, opened
            used.append((len(os.listdir("/proc/self/fd")), sys.getallocatedblocks()))
    # The first rounds fill the caches.
    assert max(fds for fds, _ in used[10:]) == used[9][0]
    assert max(blocks for _, blocks in used[-5:]) <= used[9][1] + 500


def test_a_client_that_reads_nothing_keeps_nobody_out(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection:
        connection.setblocking(False)
        request = endpoint.head() * 50
        for _ in range(10_000):
            try:
                connection.send(request)
            except BlockingIOError:
                break
        else:
            raise AssertionError("it read all of that")
        assert endpoint.is_answering()


def test_a_slow_client_is_closed_in_time(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(http_server, "_HEAD_TIMEOUT", 0.05)
    assert endpoint.is_answering()  # the loop takes the shorter interval from here on
    for start in (b"", endpoint.head()[:30], endpoint.head() + endpoint.head()[:30]):
        with endpoint.connect() as connection:
            connection.sendall(start)
            while connection.recv(1000):
                pass


def test_the_log_has_no_secret(endpoint: Endpoint) -> None:
    endpoint.send(endpoint.head())
    endpoint.send(endpoint.head(f"GET /{endpoint.token} HTTP/1.1", Authorization=None))
    assert any("200" in line for line in endpoint.log)
    assert not [line for line in endpoint.log if SECRET in line or endpoint.token in line]


def _mutated(random_source: random.Random, head: bytes) -> bytes:
    data = bytearray(head)
    for _ in range(random_source.choice((1, 1, 1, 2, 3, 8))):
        at = random_source.randrange(len(data) + 1)
        match random_source.randrange(5):
            case 0:
                data[at:at] = bytes([random_source.randrange(256)])
            case 1:
                del data[at : at + random_source.choice((1, 2, 20))]
            case 2:
                data[at : at + 1] = random_source.choice((b"\r", b"\n", b"\0", b" ", b":", b"/"))
            case 3:
                data[at : at + 1] = bytes([random_source.randrange(256)])
            case _:
                start = random_source.randrange(len(data) + 1)
                data[at:at] = data[start : start + 40]
    return bytes(data)


@pytest.mark.parametrize(
    "count", [1500, pytest.param(100_000, marks=pytest.mark.torture)], ids=["sample", "all"]
)
def test_a_changed_request_gets_credentials_only_with_token_and_host(
    endpoint: Endpoint, count: int
) -> None:
    _answers_changed_requests_only_with_token_and_host(endpoint, count)


@pytest.mark.parametrize(
    "count", [400, pytest.param(50_000, marks=pytest.mark.torture)], ids=["sample", "all"]
)
def test_a_changed_request_for_metadata_gets_them_only_with_token_and_host(
    metadata: Endpoint, count: int
) -> None:
    _answers_changed_requests_only_with_token_and_host(metadata, count)


def _answers_changed_requests_only_with_token_and_host(endpoint: Endpoint, count: int) -> None:
    source = random.Random(count)
    head = endpoint.head(User_Agent="Boto3/1.44", Accept="application/json")
    token, host = endpoint.token.encode(), b"127.0.0.1"
    for _ in range(count):
        data = _mutated(source, head)
        reply = endpoint.send(data)
        if SECRET.encode() in reply.data:
            assert token in data
            assert host in data
            assert data.startswith(b"GET /")
            assert endpoint.path.encode() in data
    assert endpoint.is_answering()


def test_a_head_of_the_longest_length_is_read(endpoint: Endpoint) -> None:
    rest = MAX_HEAD - len(endpoint.head(X="x")) + 1
    assert endpoint.send(endpoint.head(X="x" * rest)).status == 200
    assert endpoint.send(endpoint.head(X="x" * (rest + 1))).status == 431
