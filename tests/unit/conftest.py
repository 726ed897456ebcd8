"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.trap import Trap


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """A program that must not be run."""
    return Trap(tmp_path)
