"""Fixtures that several backends' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.system.files import Folder
from tests.worlds.file_vault import make
from tests.worlds.gpg_store import gpg_store

__all__ = ["gpg_store"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Folder]:
    """The open folder of a `file` vault with the passphrase PASSPHRASE."""
    make(tmp_path)
    with Folder.open(str(tmp_path)) as folder:
        yield folder
