"""Items of a later OpenPGP than gpg reads: whole, and told apart from damaged ones."""

from __future__ import annotations

import binascii
import subprocess
from pathlib import Path

import pytest

from filevault.backends.gpg import openpgp
from filevault.errors import IntegrityError, UnsupportedItemError
from tests.backends.test_gpg_hostile import packet

# Written by PySequoia 0.1.35 to a key of version 6.
SEQUOIA = bytes.fromhex((Path(__file__).parents[1] / "vectors/rfc9580.hex").read_text())
TO_RSA = packet(1, b"\x03" + b"RSAkeyid" + b"\x01" + bytes(40))
TO_X25519 = packet(1, b"\x03" + b"25519key" + b"\x19" + bytes(40))
OLD_DATA = packet(18, b"\x01" + bytes(60))

NEWER = {
    "as Sequoia writes it": SEQUOIA,
    "in armor": b"-----BEGIN PGP MESSAGE-----\n\n"
    + binascii.b2a_base64(SEQUOIA)
    + b"-----END PGP MESSAGE-----\n",
    "encrypted data of version 2": TO_RSA + packet(18, b"\x02\x09\x02\x06" + bytes(60)),
    "an algorithm that gpg has not": TO_X25519 + OLD_DATA,
    "with padding": TO_RSA + OLD_DATA + packet(21, bytes(20)),
    "with a passphrase of version 6": packet(3, b"\x06" + bytes(40)) + SEQUOIA,
}


@pytest.mark.parametrize("kind", NEWER)
def test_a_newer_message_is_whole(kind: str) -> None:
    with pytest.raises(UnsupportedItemError) as caught:
        openpgp.parse(NEWER[kind], "item 'work'")
    assert "damaged" not in caught.value.message
    assert "RFC 9580" in caught.value.message
    assert "filevault add --force --discard" in str(caught.value.hint)


@pytest.mark.parametrize("data", [TO_RSA + OLD_DATA, TO_RSA + TO_X25519 + OLD_DATA])
def test_what_gpg_may_read_is_left_to_gpg(data: bytes) -> None:
    assert openpgp.parse(data, "it").key_ids


def test_every_cut_of_a_newer_message_is_an_error_of_the_item() -> None:
    for length in range(len(SEQUOIA)):
        with pytest.raises(IntegrityError):
            openpgp.parse(SEQUOIA[:length], "it")


def test_gpg_itself_does_not_read_it(tmp_path: Path) -> None:
    """If this fails one day, the refusal above has to go."""
    tmp_path.chmod(0o700)
    argv = ("gpg", "--homedir", str(tmp_path), "--batch", "--list-packets")
    done = subprocess.run(argv, input=SEQUOIA, capture_output=True, check=False)
    assert b"unknown version" in done.stdout + done.stderr, done
