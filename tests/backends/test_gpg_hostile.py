"""Messages that somebody crafted, or that lost some bytes."""

from __future__ import annotations

import bz2
import contextlib
import zlib
from typing import TYPE_CHECKING

import pytest

from filevault.errors import DamagedError, IntegrityError, LockedError, TamperedError
from tests.conditions.work_limits import at_most
from tests.samples import EXAMPLE_ITEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worlds.gpg_store import GpgStore


def refused(scene: GpgStore, data: bytes) -> TamperedError:
    """Return the refusal, which must cost less than a second, here and in gpg."""
    scene.home.gpg("--list-secret-keys")  # the agent's start is not what is counted
    with at_most(1), pytest.raises(TamperedError) as caught:
        scene.backend().decrypt("credentials", "prod", data)
    return caught.value


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag]) + b"\xff" + len(body).to_bytes(4, "big") + body


def literal(text: bytes) -> bytes:
    return packet(11, b"b\x00\x00\x00\x00\x00" + text)


def compressed(data: bytes, algorithm: int) -> bytes:
    if algorithm == 3:
        return packet(8, b"\x03" + bz2.compress(data))
    engine = zlib.compressobj(9, zlib.DEFLATED, -15 if algorithm == 1 else 15)
    return packet(8, bytes([algorithm]) + engine.compress(data) + engine.flush())


def bomb(algorithm: int, tag: int = 11) -> bytes:
    """Four gigabytes of zeros in one packet, compressed twice."""
    mebibytes = 4095
    head = bytes([0xC0 | tag]) + b"\xff" + (mebibytes << 20).to_bytes(4, "big")
    head += b"b\x00\x00\x00\x00\x00" if tag == 11 else b""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = engine.compress(head) + engine.flush(zlib.Z_FULL_FLUSH)
    block = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    return compressed(packet(8, b"\x01" + first + block * mebibytes + engine.flush()), algorithm)


def wrap(scene: GpgStore, packets: bytes) -> bytes:
    """Encrypt packets as they are, instead of a text."""
    return scene.home.encrypt(packets, scene.keys["alice"], options=["--no-literal", "-z", "0"])


def unencrypted(_scene: GpgStore) -> bytes:
    return literal(EXAMPLE_ITEM)


def unencrypted_bomb(_scene: GpgStore) -> bytes:
    return bomb(1)


def signed_only(scene: GpgStore) -> bytes:
    return scene.home.gpg("-u", scene.keys["alice"], "--sign", data=EXAMPLE_ITEM).stdout


def clear_signed(scene: GpgStore) -> bytes:
    return scene.home.gpg("-u", scene.keys["alice"], "--clear-sign", data=EXAMPLE_ITEM).stdout


def symmetric(scene: GpgStore) -> bytes:
    options = ("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "65536", "-c")
    return scene.home.gpg(*options, data=EXAMPLE_ITEM).stdout


def symmetric_too(scene: GpgStore) -> bytes:
    return scene.home.gpg(
        *("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "65536"),
        *("--trust-model", "always", "-c", "-e", "-r", scene.keys["alice"]),
        data=EXAMPLE_ITEM,
    ).stdout


def two_messages(scene: GpgStore) -> bytes:
    return scene.home.encrypt(EXAMPLE_ITEM, scene.keys["alice"]) * 2


def appended_text(scene: GpgStore) -> bytes:
    return scene.home.encrypt(EXAMPLE_ITEM, scene.keys["alice"]) + literal(b"more")


def two_texts(scene: GpgStore) -> bytes:
    return wrap(scene, literal(EXAMPLE_ITEM) + literal(b"more"))


def no_text(scene: GpgStore) -> bytes:
    return wrap(scene, packet(10, b"PGP"))


def nested(scene: GpgStore) -> bytes:
    return wrap(scene, scene.home.encrypt(EXAMPLE_ITEM, scene.keys["alice"]))


@pytest.mark.parametrize(
    ("craft", "message"),
    [
        (unencrypted, "it is not encrypted"),
        (unencrypted_bomb, "it is not encrypted"),
        (signed_only, "it is not encrypted"),
        (symmetric, "it can be opened with a passphrase"),
        (symmetric_too, "it can be opened with a passphrase"),
        (two_messages, "something follows the encrypted message"),
        (appended_text, "something follows the encrypted message"),
        (two_texts, "it does not contain exactly one text"),
        (no_text, "it does not contain exactly one text"),
        (nested, "it does not contain exactly one text"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_message_that_is_not_one_encrypted_text_is_refused_quickly(
    gpg_store: GpgStore, craft: Callable[[GpgStore], bytes], message: str
) -> None:
    data = craft(gpg_store)
    error = refused(gpg_store, data)
    assert error.message == f"item 'prod' is refused: {message}"
    assert error.exit_status == 6


def test_clear_text_with_a_signature_is_no_item(gpg_store: GpgStore) -> None:
    with pytest.raises(DamagedError):
        gpg_store.backend().decrypt("credentials", "prod", clear_signed(gpg_store))


@pytest.mark.parametrize("algorithm", [1, 2, 3])
def test_compression_bomb_is_refused_quickly(gpg_store: GpgStore, algorithm: int) -> None:
    data = wrap(gpg_store, bomb(algorithm))
    assert len(data) < 1 << 20
    message = "item 'prod' is refused: decrypted, it is longer than 983040 bytes"
    assert refused(gpg_store, data).message == message


def test_message_that_costs_time_without_a_text_is_given_up_quickly(gpg_store: GpgStore) -> None:
    """A packet of a type that gpg skips: it would take some ten seconds, here and in gpg."""
    data = wrap(gpg_store, bomb(1, tag=60))
    gpg_store.home.gpg("--list-secret-keys")
    with at_most(1), pytest.raises(TamperedError, match="it takes too long to decrypt"):
        gpg_store.backend().decrypt("credentials", "prod", data)


def test_file_over_a_mebibyte_is_refused_unread(gpg_store: GpgStore) -> None:
    data = gpg_store.home.encrypt(bytes(1 << 20), gpg_store.keys["alice"], options=["-z", "0"])
    assert len(data) > 1 << 20
    with pytest.raises(DamagedError, match="it is longer than 1048576 bytes"):
        gpg_store.backend().decrypt("credentials", "prod", data)


def test_partial_plaintext_of_a_cut_file_is_never_returned(gpg_store: GpgStore) -> None:
    text = EXAMPLE_ITEM * 500
    data = gpg_store.home.encrypt(text, gpg_store.keys["alice"], options=["-z", "0"])
    backend = gpg_store.backend()
    for length in (*range(0, 140, 9), len(data) // 2, len(data) - 22, len(data) - 1):
        with pytest.raises(DamagedError):
            backend.decrypt("credentials", "prod", data[:length])
    # Cut inside and given a whole frame again: only the integrity check can tell.
    start = 2 + data[1]
    body = data[-300:]
    whole = data[:start] + packet(18, b"\x01" + body)
    with pytest.raises(DamagedError, match="its content is not what was encrypted"):
        backend.decrypt("credentials", "prod", whole)


def test_flipped_bits_give_no_other_plaintext(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    backend = gpg_store.backend()
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"], options=["-z", "0"])
    for where in range(0, len(data), 5):
        changed = bytearray(data)
        changed[where] ^= 1 << where % 8
        # Some bits, such as a length that is spelt twice, mean nothing. With those of the key id
        # changed the item looks like somebody else's.
        errors = (IntegrityError, LockedError) if 2 < where < 12 else (IntegrityError,)
        with contextlib.suppress(*errors):
            assert backend.decrypt("credentials", "prod", bytes(changed)) == EXAMPLE_ITEM


def test_changed_text_is_found_where_gpg_conf_ignores_it(gpg_store: GpgStore) -> None:
    (gpg_store.home.path / "gpg.conf").write_text("ignore-mdc-error\n")
    data = bytearray(
        gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"], options=["-z", "0"])
    )
    assert gpg_store.backend().decrypt("credentials", "prod", bytes(data)) == EXAMPLE_ITEM
    data[-30] ^= 1
    with pytest.raises(DamagedError, match="its content is not what was encrypted"):
        gpg_store.backend().decrypt("credentials", "prod", bytes(data))


def test_message_without_integrity_check_is_refused(gpg_store: GpgStore) -> None:
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"], options=["--rfc2440"])
    with pytest.raises(TamperedError, match="its encryption has no integrity check"):
        gpg_store.backend().decrypt("credentials", "prod", data)


def test_error_about_a_crafted_name_is_one_clean_line(gpg_store: GpgStore) -> None:
    with pytest.raises(TamperedError) as caught:
        gpg_store.backend().decrypt("credentials", "a\x1b[2J\nb", literal(EXAMPLE_ITEM))
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
