"""Fixtures of the command-line tests."""

from __future__ import annotations

import pytest

from tests.cli.scene import Scene
from tests.fakes import FakeAws
from tests.machine import Machine


@pytest.fixture
def scene(machine: Machine, aws: FakeAws) -> Scene:
    """An account and a machine; nothing is stored yet."""
    return Scene(machine, aws)


@pytest.fixture
def ready(scene: Scene) -> Scene:
    """A machine with vault, key and config; role `admin` needs an MFA code."""
    return scene.configure().store()


@pytest.fixture
def plain(scene: Scene) -> Scene:
    """The same without any MFA: `jonsmith` gets a session without a code."""
    return scene.configure(mfa=False).store()
