"""Where thousands of runs are made: in memory, where there is a folder for that."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.machine import Machine

_MEMORY = "/dev/shm"


@pytest.fixture
def quick_machine(tmp_path: Path) -> Iterator[Machine]:
    """A fresh home of a fresh user; no disk slows it down."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place, prefix="filevault-") as folder:
        yield Machine(Path(folder) / "home")
