"""Fixtures of the fake, for conftest to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.aws import FakeAws


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """Serve a strict fake of AWS, and fail the test if the fake itself broke."""
    with FakeAws() as fake:
        yield fake
    assert fake.defects == []
