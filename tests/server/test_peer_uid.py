"""Which user is at the other end of a connection."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from filevault.server import peer_uid
from filevault.system import netlink
from tests.conditions.other_user import NOBODY, needs_root


@contextlib.contextmanager
def connected(family: int, address: str, *, device: bytes = b"") -> Iterator[socket.socket]:
    """Connect a client to a listener; yield the listener's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(family) as client:
        if device:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        client.connect((address, listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            yield accepted


def refuse(*_values: object) -> bytes:
    raise FileNotFoundError("the kernel has no such answer")


@pytest.fixture(params=["kernel", "table"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to ask: each must work alone."""
    if request.param == "table":
        monkeypatch.setattr(netlink, "ask", refuse)
    else:
        monkeypatch.setattr(peer_uid, "_TABLES", ("/nowhere", "/nowhere"))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET6, "::ffff:7f00:1"),  # a client with an IPv6 socket
    ],
)
def test_the_peer_is_found_by_its_exact_address(
    monkeypatch: pytest.MonkeyPatch, family: int, address: str
) -> None:
    """A uid that stands for others is none."""
    with connected(family, address) as accepted:
        assert peer_uid.peer_uid(accepted) == os.geteuid()
        monkeypatch.setattr(peer_uid, "_unmapped", os.geteuid)
        assert peer_uid.peer_uid(accepted) is None
        assert not peer_uid.can_find_peers()


@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("device", [b"", b"lo"])
def test_the_peer_is_the_user_who_made_the_socket(device: bytes) -> None:
    uid = os.geteuid()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.seteuid(NOBODY)
        try:
            client = socket.socket()
        finally:
            os.seteuid(uid)
        with client:
            if device:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                assert peer_uid.peer_uid(accepted) == NOBODY


@pytest.mark.usefixtures("way")
def test_a_peer_that_has_hung_up_is_unknown_and_not_the_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            client.close()
            assert peer_uid.peer_uid(accepted) is None


def test_how_long_it_takes_does_not_depend_on_other_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another user could open thousands: the table of them all is not read."""
    monkeypatch.setattr(peer_uid, "_from_table", refuse)
    with connected(socket.AF_INET, "127.0.0.1") as accepted:
        assert peer_uid.peer_uid(accepted) == os.geteuid()
