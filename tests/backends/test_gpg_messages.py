from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.gpg import openpgp
from filevault.errors import DamagedError, IntegrityError, TamperedError
from tests.samples import EXAMPLE_ITEM

if TYPE_CHECKING:
    from tests.worlds.gpg_store import GpgStore

ID = "8255B2A8C9B16504"


def packet(tag: int, body: bytes) -> bytes:
    assert len(body) < 192
    return bytes([0xC0 | tag, len(body)]) + body


def session_key(key_id: str = ID) -> bytes:
    return packet(1, b"\x03" + bytes.fromhex(key_id) + b"\x12" + bytes(20))


PROTECTED = packet(18, b"\x01" + bytes(30))
LITERAL = packet(11, b"b\x00\x00\x00\x00\x00text")


def test_recipients_are_read_in_order() -> None:
    message = openpgp.parse(session_key() + session_key("0" * 16) + PROTECTED, "item 'a'")
    assert message.key_ids == (ID, openpgp.HIDDEN)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LITERAL, "it is not encrypted"),
        (packet(8, b"\x00" + LITERAL), "it is not encrypted"),
        (packet(4, bytes(13)) + LITERAL, "it is not encrypted"),
        (PROTECTED, "it is not encrypted"),
        (packet(3, bytes(13)) + PROTECTED, "it can be opened with a passphrase"),
        (session_key() + packet(3, bytes(13)) + PROTECTED, "it can be opened with a passphrase"),
        (session_key() + packet(9, bytes(30)), "its encryption has no integrity check"),
        (session_key() + LITERAL, "it is not encrypted"),
        (session_key() + PROTECTED + LITERAL, "something follows the encrypted message"),
        (session_key() + PROTECTED + PROTECTED, "something follows the encrypted message"),
        (packet(10, b"PGP") + session_key() + PROTECTED, "it is not encrypted"),
        (session_key() + session_key() + PROTECTED, "it names a recipient again and again"),
        (session_key("0" * 16) * 17 + PROTECTED, "it names a recipient again and again"),
        (
            b"".join(session_key(f"{n:016x}") for n in range(1, 258)) + PROTECTED,
            "it has more than 256 recipients",
        ),
    ],
)
def test_message_that_no_item_can_be_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(TamperedError) as caught:
        openpgp.parse(data, "item 'a'")
    assert caught.value.message.startswith(f"item 'a' is refused: {reason}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has been cut short"),
        (session_key(), "it has been cut short"),
        (session_key()[:-1], "it has been cut short"),
        (session_key() + PROTECTED[:-1], "it has been cut short"),
        (session_key() + b"\xd2", "it has been cut short"),
        (session_key() + b"\xd2\xff\x00\x00", "it has been cut short"),
        (session_key() + b"\xd2\xe5" + bytes(32), "it has been cut short"),
        (packet(1, b"\x03" + bytes(5)) + PROTECTED, "a recipient in it cannot be read"),
        (b"hello", "it is no OpenPGP message"),
        (bytes((1 << 20) + 1), "it is longer than 1048576 bytes"),
        (b"-----BEGIN PGP MESSAGE-----\n\nAAAA\n", "its armor is not that of a message"),
        (
            b"-----BEGIN PGP MESSAGE-----\n\nA?==\n-----END PGP MESSAGE-----",
            "its armor cannot be decoded",
        ),
        (
            b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----",
            "its armor is not that of a message",
        ),
    ],
)
def test_what_is_no_whole_message_is_damaged(data: bytes, reason: str) -> None:
    with pytest.raises(DamagedError) as caught:
        openpgp.parse(data, "item 'a'")
    assert caught.value.message == f"item 'a' is damaged: {reason}"


@given(st.binary(max_size=400))
def test_any_bytes_give_a_message_or_an_integrity_error(data: bytes) -> None:
    for prefix in (b"", session_key()):
        try:
            message = openpgp.parse(prefix + data, "it")
        except IntegrityError:
            continue
        assert message.key_ids


@given(st.integers(0, 3000), st.booleans())
def test_lengths_are_read_in_every_form(size: int, old: bool) -> None:
    body = b"\x01" + bytes(size)
    if old:  # the old form has no room for tag 18, so the session key shows it
        body = session_key()[2:]
        data = b"\x85" + len(body).to_bytes(2, "big") + body + PROTECTED
    else:
        parts = b""
        while len(body) > 512:
            parts += b"\xe9" + body[:512]
            body = body[512:]
        data = session_key() + b"\xd2" + parts + b"\xff" + len(body).to_bytes(4, "big") + body
    assert openpgp.parse(data, "it").key_ids == (ID,)
    with pytest.raises(DamagedError):
        openpgp.parse(data[:-1], "it")


@pytest.mark.parametrize("size", [0, 10, 600, 9000, 100_000])
@pytest.mark.parametrize("options", [(), ("--armor",), ("-z", "9"), ("--throw-keyids",)])
def test_messages_of_gpg_are_understood_as_gpg_understands_them(
    gpg_store: GpgStore, size: int, options: tuple[str, ...]
) -> None:
    data = gpg_store.home.encrypt(
        EXAMPLE_ITEM * (size // len(EXAMPLE_ITEM)),
        gpg_store.keys["alice"],
        gpg_store.keys["bob"],
        options=options,
    )
    message = openpgp.parse(data, "it")
    said = gpg_store.home.gpg("--status-fd", "1", "--list-only", "-d", data=data).stdout.decode()
    told = [line.split()[2] for line in said.splitlines() if " ENC_TO " in line]
    assert list(message.key_ids) == told
    assert message.data.startswith(bytes([0x84])) or message.data[0] & 0x80
    assert ("-----BEGIN" in repr(message)) is False


def test_signatures_are_told_from_other_messages(gpg_store: GpgStore) -> None:
    alice = gpg_store.keys["alice"]
    detached = gpg_store.home.gpg("-u", alice, "--detach-sign", data=b"x").stdout
    armored = gpg_store.home.gpg("-u", alice, "--armor", "--detach-sign", data=b"x").stdout
    assert openpgp.signature(detached, "it") == detached
    assert openpgp.signature(armored, "it")[0] & 0x80
    signed = gpg_store.home.gpg("-u", alice, "-z", "0", "--sign", data=b"x").stdout
    for other in (signed, detached + LITERAL, b"", b"text", gpg_store.home.encrypt(b"x", alice)):
        with pytest.raises(DamagedError):
            openpgp.signature(other, "it")
