"""Fixtures of the fake, for conftest to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.aws import FakeAws
from tests.launch import botocore_data


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """Serve a strict fake of AWS, and fail the test if the fake itself broke."""
    botocore_data.keep()  # for tests that call it from this process
    with FakeAws() as fake:
        yield fake
    assert not fake.defects, fake.defects
