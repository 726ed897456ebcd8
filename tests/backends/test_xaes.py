from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.sealing import xaes

NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"


@pytest.mark.parametrize(
    ("key", "associated_data", "ciphertext"),
    [
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (
            b"\x03" * 32,
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ],
    ids=["top bit of L clear", "top bit of L set"],
)
def test_published_vector(key: bytes, associated_data: bytes, ciphertext: str) -> None:
    sealed = xaes.encrypt(key, NONCE, b"XAES-256-GCM", associated_data)
    assert sealed.hex() == ciphertext
    assert xaes.decrypt(key, NONCE, sealed, associated_data) == b"XAES-256-GCM"


def test_ten_thousand_rounds_give_the_published_hash() -> None:
    # The source is one SHAKE-128 stream, read in pieces whose lengths it decides itself.
    stream = hashlib.shake_128(b"").digest(10_000 * (32 + 24 + 2 + 2 * 255))
    used = 0

    def take(count: int) -> bytes:
        nonlocal used
        used += count
        return stream[used - count : used]

    heard = hashlib.shake_128()
    for _ in range(10_000):
        key, nonce = take(32), take(24)
        plaintext = take(take(1)[0])
        associated_data = take(take(1)[0])
        sealed = xaes.encrypt(key, nonce, plaintext, associated_data)
        assert xaes.decrypt(key, nonce, sealed, associated_data) == plaintext
        heard.update(sealed)
    assert heard.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=24, max_size=24),
    plaintext=st.binary(max_size=100),
    associated_data=st.binary(max_size=100),
    where=st.integers(min_value=0),
)
def test_any_change_is_noticed(
    key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes, where: int
) -> None:
    sealed = xaes.encrypt(key, nonce, plaintext, associated_data)
    inputs = [key, nonce, sealed, associated_data + b"."]
    which = where % 4
    changed = bytearray(inputs[which])
    changed[where % len(changed)] ^= 1 << where % 8
    inputs[3] = associated_data
    inputs[which] = bytes(changed)
    with pytest.raises(InvalidTag):
        xaes.decrypt(*inputs)


@pytest.mark.parametrize(("key", "nonce"), [(31, 24), (33, 24), (16, 24), (32, 12), (32, 25)])
def test_other_sizes_of_key_and_nonce_are_refused(key: int, nonce: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        xaes.encrypt(bytes(key), bytes(nonce), b"", b"")


def test_ciphertext_without_room_for_a_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="tag"):
        xaes.decrypt(bytes(32), bytes(24), bytes(15), b"")
