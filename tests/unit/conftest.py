"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeAws, User
from tests.fakes.clients import client_of
from tests.samples import NOW
from tests.worlds.trap import Trap


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """A program that must not be run."""
    return Trap(tmp_path)


@pytest.fixture
def user(aws: FakeAws) -> User:
    """The user `jonsmith` with an MFA device, at the time NOW."""
    aws.clock.freeze(NOW)
    return aws.add_user("jonsmith", mfa=True)


@pytest.fixture
def sts(aws: FakeAws, user: User) -> Any:
    """The STS client of the user."""
    return client_of("sts", aws.url, user)
