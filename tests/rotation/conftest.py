"""Fixtures of the rotation's tests."""

from __future__ import annotations

import pytest

from tests.fakes import FakeAws
from tests.worlds.machine import Machine
from tests.worlds.rotation import RotationMachine


@pytest.fixture
def rotating(quick_machine: Machine, aws: FakeAws) -> RotationMachine:
    """A machine in memory with an empty vault, and an AWS account."""
    return RotationMachine(quick_machine, aws)
