from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filevault.backends import SUFFIXES, open_backend
from filevault.errors import VaultChoiceError
from filevault.system.files import Folder
from tests.backends.contract import *  # noqa: F403 - the contract's tests run here
from tests.backends.contract import HEADER, TEXT
from tests.backends.vaults import CHEAP, PASSPHRASE, Source, make, reopen

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends import Backend


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    make(tmp_path / "vault")
    return reopen(tmp_path / "vault", Source(PASSPHRASE))


@pytest.fixture
def stranger(tmp_path: Path) -> Backend:
    return make(tmp_path / "other")


def test_backend_reached_by_its_name_is_this_one(tmp_path: Path) -> None:
    made = make(tmp_path)
    data = made.encrypt(HEADER, TEXT)
    with Folder.open(str(tmp_path)) as root:
        backend = open_backend("file", root, Source(PASSPHRASE), CHEAP)
        assert backend.decrypt(HEADER.kind, HEADER.name, data) == TEXT
        assert (backend.vault_id, backend.commit, backend.master_id, backend.opened_slot) == (
            made.vault_id,
            made.commit,
            made.master_id,
            made.opened_slot,
        )
    assert backend.suffix == SUFFIXES["file"] == ".fv"


def test_unknown_backend_is_refused_by_name(tmp_path: Path) -> None:
    with Folder.open(str(tmp_path)) as root, pytest.raises(VaultChoiceError) as caught:
        open_backend("keychain\n", root, Source(), CHEAP)
    assert caught.value.message == r"there is no backend 'keychain\\n'"
