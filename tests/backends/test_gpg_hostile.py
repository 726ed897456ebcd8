"""Messages that somebody crafted, or that lost some bytes."""

from __future__ import annotations

import bz2
import time
import zlib
from typing import TYPE_CHECKING

import pytest

from filevault.errors import DamagedError, FilevaultError, LockedError, TamperedError
from tests.backends.gpghomes import TEXT
from tests.backends.gpghomes import scene as scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.backends.gpghomes import Scene

SECOND = 1.0


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag]) + b"\xff" + len(body).to_bytes(4, "big") + body


def literal(text: bytes) -> bytes:
    return packet(11, b"b\x00\x00\x00\x00\x00" + text)


def compressed(data: bytes, algorithm: int) -> bytes:
    if algorithm == 3:
        return packet(8, b"\x03" + bz2.compress(data))
    engine = zlib.compressobj(9, zlib.DEFLATED, -15 if algorithm == 1 else 15)
    return packet(8, bytes([algorithm]) + engine.compress(data) + engine.flush())


def wrap(scene: Scene, packets: bytes) -> bytes:
    """Encrypt packets as they are, instead of a text."""
    return scene.home.encrypt(packets, scene.keys["alice"], options=["--no-literal", "-z", "0"])


def unencrypted(_scene: Scene) -> bytes:
    return literal(TEXT)


def unencrypted_bomb(_scene: Scene) -> bytes:
    return compressed(literal(bytes(256 << 20)), 3)


def signed_only(scene: Scene) -> bytes:
    return scene.home.gpg("-u", scene.keys["alice"], "--sign", data=TEXT).stdout


def clear_signed(scene: Scene) -> bytes:
    return scene.home.gpg("-u", scene.keys["alice"], "--clear-sign", data=TEXT).stdout


def symmetric(scene: Scene) -> bytes:
    options = ("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "65536", "-c")
    return scene.home.gpg(*options, data=TEXT).stdout


def symmetric_too(scene: Scene) -> bytes:
    return scene.home.gpg(
        *("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "65536"),
        *("--trust-model", "always", "-c", "-e", "-r", scene.keys["alice"]),
        data=TEXT,
    ).stdout


def two_messages(scene: Scene) -> bytes:
    return scene.home.encrypt(TEXT, scene.keys["alice"]) * 2


def appended_text(scene: Scene) -> bytes:
    return scene.home.encrypt(TEXT, scene.keys["alice"]) + literal(b"more")


def two_texts(scene: Scene) -> bytes:
    return wrap(scene, literal(TEXT) + literal(b"more"))


def no_text(scene: Scene) -> bytes:
    return wrap(scene, packet(10, b"PGP"))


def nested(scene: Scene) -> bytes:
    return wrap(scene, scene.home.encrypt(TEXT, scene.keys["alice"]))


@pytest.mark.parametrize(
    ("craft", "message"),
    [
        (unencrypted, "it is not encrypted"),
        (unencrypted_bomb, "it is not encrypted"),
        (signed_only, "it is not encrypted"),
        (symmetric, "it can be opened with a passphrase that is nobody's key"),
        (symmetric_too, "it can be opened with a passphrase that is nobody's key"),
        (two_messages, "something follows the encrypted message"),
        (appended_text, "something follows the encrypted message"),
        (two_texts, "it does not hold exactly one text"),
        (no_text, "it does not hold exactly one text"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_message_that_is_not_one_encrypted_text_is_refused_quickly(
    scene: Scene, craft: Callable[[Scene], bytes], message: str
) -> None:
    data = craft(scene)
    scene.home.gpg("--list-secret-keys")  # the agent's start is not what is timed
    begun = time.monotonic()
    with pytest.raises(TamperedError) as caught:
        scene.backend().decrypt("credentials", "prod", data)
    assert time.monotonic() - begun < SECOND
    assert caught.value.message == f"item 'prod' is refused: {message}"
    assert caught.value.exit_status == 6


@pytest.mark.parametrize("craft", [clear_signed, nested], ids=["clear_signed", "nested"])
def test_other_odd_messages_give_no_plaintext(
    scene: Scene, craft: Callable[[Scene], bytes]
) -> None:
    with pytest.raises(FilevaultError) as caught:
        scene.backend().decrypt("credentials", "prod", craft(scene))
    assert caught.value.exit_status == 6


@pytest.mark.parametrize("algorithm", [1, 2, 3])
def test_compression_bomb_is_refused_quickly(scene: Scene, algorithm: int) -> None:
    bomb = compressed(literal(bytes(512 << 20 if algorithm == 3 else 64 << 20)), algorithm)
    if algorithm == 3:
        bomb = compressed(bomb, 3)
    data = wrap(scene, bomb)
    assert len(data) < 1 << 20
    begun = time.monotonic()
    with pytest.raises(TamperedError) as caught:
        scene.backend().decrypt("credentials", "prod", data)
    assert time.monotonic() - begun < SECOND
    assert (
        caught.value.message == "item 'prod' is refused: decrypted, it is longer than 1048576 bytes"
    )


def test_file_over_a_mebibyte_is_refused_unread(scene: Scene) -> None:
    data = scene.home.encrypt(bytes(1 << 20), scene.keys["alice"], options=["-z", "0"])
    assert len(data) > 1 << 20
    with pytest.raises(DamagedError, match="it is longer than 1048576 bytes"):
        scene.backend().decrypt("credentials", "prod", data)


def test_partial_plaintext_of_a_cut_file_is_never_returned(scene: Scene) -> None:
    text = TEXT * 500
    data = scene.home.encrypt(text, scene.keys["alice"], options=["-z", "0"])
    backend = scene.backend()
    for length in (*range(0, 140, 9), len(data) // 2, len(data) - 22, len(data) - 1):
        with pytest.raises(DamagedError):
            backend.decrypt("credentials", "prod", data[:length])
    # Cut inside and given a whole frame again: only the integrity check can tell.
    start = data.index(b"\xd2")
    body = data[-300:]
    whole = data[:start] + packet(18, b"\x01" + body)
    with pytest.raises(DamagedError, match="its content is not what was encrypted"):
        backend.decrypt("credentials", "prod", whole)


def test_flipped_bits_give_no_other_plaintext(scene: Scene) -> None:
    scene.write_ids("alice")
    backend = scene.backend()
    data = scene.home.encrypt(TEXT, scene.keys["alice"], options=["-z", "0"])
    for where in range(0, len(data), 5):
        changed = bytearray(data)
        changed[where] ^= 1 << where % 8
        try:
            # Some bits, such as a length that is spelt twice, mean nothing.
            assert backend.decrypt("credentials", "prod", bytes(changed)) == TEXT
        except LockedError:
            assert 2 < where < 12  # the key id: the item looks like somebody else's
        except FilevaultError as error:
            assert error.exit_status == 6


def test_changed_text_is_found_where_gpg_conf_ignores_it(scene: Scene) -> None:
    (scene.home.path / "gpg.conf").write_text("ignore-mdc-error\n")
    data = bytearray(scene.home.encrypt(TEXT, scene.keys["alice"], options=["-z", "0"]))
    assert scene.backend().decrypt("credentials", "prod", bytes(data)) == TEXT
    data[-30] ^= 1
    with pytest.raises(DamagedError, match="its content is not what was encrypted"):
        scene.backend().decrypt("credentials", "prod", bytes(data))


def test_message_without_integrity_check_is_refused(scene: Scene) -> None:
    data = scene.home.encrypt(
        TEXT, scene.keys["alice"], options=["--rfc2440", "--cipher-algo", "CAST5"]
    )
    start = data.index(b"\xd2")
    old = data[:start] + packet(9, data[start + 3 :])
    with pytest.raises(TamperedError, match="its encryption has no integrity check"):
        scene.backend().decrypt("credentials", "prod", old)


def test_error_about_a_crafted_name_is_one_clean_line(scene: Scene) -> None:
    with pytest.raises(TamperedError) as caught:
        scene.backend().decrypt("credentials", "a\x1b[2J\nb", literal(TEXT))
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
