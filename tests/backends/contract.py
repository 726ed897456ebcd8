"""What every backend promises, as tests that take a `backend` fixture.

A module that tests a backend imports these names and defines the fixtures `backend`, an unlocked
`OpenBackend`, and `stranger`, the same of another vault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filevault.backends import BACKENDS
from filevault.backends.definition import RECIPIENTS
from filevault.backends.item_header import ItemHeader
from filevault.errors import FilevaultError, IntegrityError
from tests.samples import EXAMPLE_ID, EXAMPLE_ITEM

if TYPE_CHECKING:
    from filevault.backends.protocols import OpenBackend

HEADER = ItemHeader("credentials", "work/prod", 1795470313, "2026-11-23T21:45:13Z", "add")

shared = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(
    "plaintext", [EXAMPLE_ITEM, b"", b"x", b"\x80\x00", bytes(1000), b"\xff\xfe\r\n"]
)
def test_what_was_encrypted_is_decrypted_byte_for_byte(
    backend: OpenBackend, plaintext: bytes
) -> None:
    data = backend.encrypt(HEADER, plaintext)
    assert backend.decrypt("credentials", "work/prod", data) == plaintext


@shared
@given(plaintext=st.binary(max_size=2000))
def test_any_bytes_survive(backend: OpenBackend, plaintext: bytes) -> None:
    data = backend.encrypt(HEADER, plaintext)
    assert backend.decrypt("credentials", "work/prod", data) == plaintext


def test_plaintext_is_not_in_the_file(backend: OpenBackend) -> None:
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    assert b"wJalrXUtnFEMI" not in data
    assert EXAMPLE_ID.encode() not in data


def test_same_item_twice_gives_different_files(backend: OpenBackend) -> None:
    assert backend.encrypt(HEADER, EXAMPLE_ITEM) != backend.encrypt(HEADER, EXAMPLE_ITEM)


def test_every_kind_of_item_is_kept(backend: OpenBackend) -> None:
    for kind, name in (("totp", "mfa/ops"), ("session-key", "0123456789abcdef" * 2)):
        header = ItemHeader(kind, name, 1, "2026-11-23T21:45:13Z")
        assert backend.decrypt(kind, name, backend.encrypt(header, EXAMPLE_ITEM)) == EXAMPLE_ITEM


def test_peek_says_nothing_or_what_was_said(backend: OpenBackend) -> None:
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    assert backend.family == RECIPIENTS or backend.peek(data) == HEADER


def test_cut_file_is_an_integrity_error_at_every_length(backend: OpenBackend) -> None:
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    for length in range(0, len(data), 7):
        with pytest.raises(IntegrityError):
            backend.decrypt("credentials", "work/prod", data[:length])


@shared
@given(where=st.integers(min_value=0), bit=st.integers(0, 7))
def test_flipped_bit_never_gives_another_plaintext(
    backend: OpenBackend, where: int, bit: int
) -> None:
    data = bytearray(backend.encrypt(HEADER, EXAMPLE_ITEM))
    data[where % len(data)] ^= 1 << bit
    with pytest.raises(FilevaultError) as caught:
        backend.decrypt("credentials", "work/prod", bytes(data))
    assert caught.value.exit_status in (3, 6)


@shared
@given(data=st.binary(max_size=600))
def test_any_other_file_is_an_integrity_error(backend: OpenBackend, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        backend.decrypt("credentials", "work/prod", data)


def test_item_of_another_vault_is_refused(backend: OpenBackend, stranger: OpenBackend) -> None:
    with pytest.raises(FilevaultError) as caught:
        backend.decrypt("credentials", "work/prod", stranger.encrypt(HEADER, EXAMPLE_ITEM))
    assert caught.value.exit_status in (5, 6)


def test_suffix_is_the_one_of_the_table(backend: OpenBackend) -> None:
    assert backend.suffix == BACKENDS[backend.name].suffix


def test_secrets_are_in_no_repr(backend: OpenBackend) -> None:
    assert "staple" not in repr(backend)
