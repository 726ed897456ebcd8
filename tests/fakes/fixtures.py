"""Fixtures of the fake, for conftest to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import botocoredata
from tests.fakes.aws import FakeAws


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """Serve a strict fake of AWS, and fail the test if the fake itself broke."""
    botocoredata.keep()  # for tests that call it from this process
    with FakeAws() as fake:
        yield fake
    assert fake.defects == []
