"""Fixtures of the rotation's tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome
from tests.worlds.rotation import RotationMachine

_MEMORY = "/dev/shm"


@pytest.fixture
def scene(tmp_path: Path, aws: FakeAws) -> Iterator[RotationMachine]:
    """A vault in memory, and AWS."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place, prefix="filevault-") as folder:
        yield RotationMachine(Machine(Path(folder) / "home"), aws)


@pytest.fixture(scope="module")
def gpg() -> Iterator[GpgHome]:
    """A keyring of a test module, whose key has no passphrase."""
    tool("gpg")
    home = GpgHome()
    home.make_key("jon@example.com")
    yield home
    home.close()
