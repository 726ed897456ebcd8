from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filevault.backends import BACKENDS
from filevault.backends.definition import SEALED
from filevault.system.files import Folder
from tests.backends.contract import *  # noqa: F403 - the contract's tests run here
from tests.backends.contract import HEADER
from tests.samples import EXAMPLE_ITEM
from tests.worlds.file_vault import PASSPHRASE, GivenSecrets, make, parts, reopen

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.protocols import OpenBackend


@pytest.fixture
def backend(tmp_path: Path) -> OpenBackend:
    make(tmp_path / "vault")
    return reopen(tmp_path / "vault", GivenSecrets(PASSPHRASE))


@pytest.fixture
def stranger(tmp_path: Path) -> OpenBackend:
    return make(tmp_path / "other")


def test_backend_reached_by_its_name_is_this_one(tmp_path: Path) -> None:
    made = make(tmp_path)
    data = made.encrypt(HEADER, EXAMPLE_ITEM)
    with Folder.open(str(tmp_path)) as root:
        backend = BACKENDS["file"].opener(parts(root, GivenSecrets(PASSPHRASE)))
        assert backend.family == SEALED
        assert backend.decrypt(HEADER.kind, HEADER.name, data) == EXAMPLE_ITEM
        assert (backend.vault_id, backend.commitment, backend.opened_slot) == (
            made.vault_id,
            made.commitment,
            made.opened_slot,
        )
    assert backend.suffix == BACKENDS["file"].suffix == ".fv"
