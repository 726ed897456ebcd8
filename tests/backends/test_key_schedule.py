from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.sealing import key_schedule

THIRTY_TWO = st.binary(min_size=32, max_size=32)
SIXTEEN = st.binary(min_size=16, max_size=16)


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 in the standard library's words: the oracle."""
    extracted = hmac.digest(salt or bytes(32), key, hashlib.sha256)
    block, output = b"", b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        output += block
        counter += 1
    return output[:length]


def test_oracle_agrees_with_rfc_5869() -> None:
    # RFC 5869, appendix A.1 and A.3.
    assert (
        hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42).hex()
        == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert (
        hkdf(b"\x0b" * 22, b"", b"", 42).hex()
        == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


@given(master=THIRTY_TWO, vault=SIXTEEN)
def test_every_key_of_a_vault_is_the_formats(master: bytes, vault: bytes) -> None:
    name = vault.hex()
    assert key_schedule.item_key(master, name) == hkdf(master, vault, b"filevault/1 items", 32)
    assert (
        key_schedule.item_key_id(master, name)
        == hkdf(master, vault, b"filevault/1 items id", 8).hex()
    )
    assert (
        key_schedule.commitment(master, name)
        == hkdf(master, vault, b"filevault/1 commit", 32).hex()
    )
    session = hkdf(master, vault, b"filevault/1 sessions id", 8)
    assert key_schedule.session_key_id(master, name) == session.hex()


@given(key=THIRTY_TWO, salt=st.binary(min_size=16, max_size=64), vault=SIXTEEN)
def test_key_of_a_keyfile_slot_is_the_formats(key: bytes, salt: bytes, vault: bytes) -> None:
    kek = key_schedule.keyfile_kek(key, salt, vault.hex())
    assert kek == hkdf(key, salt, b"filevault/1 keyfile" + vault, 64)


def test_new_keys_and_ids_are_fresh_and_of_their_size() -> None:
    for make in (key_schedule.new_master, key_schedule.new_session_key):
        assert len(make()) == 32
        assert make() != make()
    assert len(key_schedule.new_vault_id()) == 32
    assert key_schedule.new_vault_id() != key_schedule.new_vault_id()
