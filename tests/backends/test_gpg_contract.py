from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.errors import IntegrityError, LockedError
from tests.backends.contract import *  # noqa: F403 - the contract's tests run here
from tests.backends.contract import HEADER, shared
from tests.samples import EXAMPLE_ITEM

if TYPE_CHECKING:
    from filevault.backends.protocols import OpenBackend
    from tests.worlds.gpg_store import GpgStore


@pytest.fixture
def backend(gpg_store: GpgStore) -> OpenBackend:
    gpg_store.write_ids("alice", "bob")
    return gpg_store.backend()


@pytest.fixture
def stranger(gpg_store: GpgStore) -> OpenBackend:
    gpg_store.write_ids("jbob")
    backend = gpg_store.backend()
    backend.governing()
    gpg_store.write_ids("alice", "bob")
    return backend


@shared  # type: ignore[no-redef]
@given(where=st.integers(min_value=0), bit=st.integers(0, 7))
def test_flipped_bit_never_gives_another_plaintext(
    backend: OpenBackend, where: int, bit: int
) -> None:
    """A message names its recipients outside what is authenticated, and some bits mean nothing."""
    data = bytearray(backend.encrypt(HEADER, EXAMPLE_ITEM))
    data[where % len(data)] ^= 1 << bit
    with contextlib.suppress(IntegrityError, LockedError):
        assert backend.decrypt("credentials", "work/prod", bytes(data)) == EXAMPLE_ITEM


def test_item_of_another_vault_is_refused(  # type: ignore[no-redef]
    backend: OpenBackend, stranger: OpenBackend, gpg_store: GpgStore
) -> None:
    data = stranger.encrypt(HEADER, EXAMPLE_ITEM)
    gpg_store.home.forget_secret("J. Bob <jbob@example.com>")
    with pytest.raises(LockedError):
        backend.decrypt("credentials", "work/prod", data)


def test_suffix_is_the_one_of_the_table(backend: OpenBackend) -> None:  # type: ignore[no-redef]
    assert backend.suffix == ".gpg"
