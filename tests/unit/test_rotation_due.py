"""When a key is due, as a table over the item's age and what is asked for."""

from __future__ import annotations

import pytest

from filevault.credentials import AccessKey
from filevault.rotation.outcome import RotationOptions
from filevault.rotation.policy import FRESH, is_deletion_left, is_due, reason_to_wait
from filevault.rotation.stored_item import StoredItem
from filevault.system.times import format_time
from filevault.vault.item import LongTermItem
from filevault.vault.rotation_fields import RotationFields
from tests.samples import EXAMPLE_ID

NOW = 1_795_470_313
KEY = AccessKey(EXAMPLE_ID, "secret")
DAY = 86400


def stored(age: int | None, rotation: RotationFields = RotationFields(previous=KEY)) -> StoredItem:  # noqa: B008
    created = None if age is None else format_time(NOW - age)
    return StoredItem("jon", "", b"", LongTermItem(KEY, created=created), rotation)


@pytest.mark.parametrize(
    ("age", "older_than", "least", "due"),
    [
        (0, None, 0, True),
        (-60, None, 0, True),  # AWS's clock is ahead
        (-60, 0, 0, True),
        (DAY, None, FRESH, False),
        (FRESH, None, FRESH, True),
        (FRESH, 90 * DAY, FRESH, False),
        (90 * DAY - 1, 90 * DAY, 0, False),
        (90 * DAY, 90 * DAY, 0, True),
        (3600, 3600, FRESH, True),
        (None, 90 * DAY, 0, True),
    ],
)
def test_due(age: int | None, older_than: int | None, least: int, due: bool) -> None:
    assert is_due(stored(age), RotationOptions(older_than=older_than), NOW, least) == due


@pytest.mark.parametrize(
    ("age", "options", "answer"),
    [
        (0, RotationOptions(), None),
        (-60, RotationOptions(), None),
        (0, RotationOptions(grace=DAY), "waiting"),
        (-60, RotationOptions(grace=DAY), "waiting"),
        (DAY, RotationOptions(grace=DAY), None),
        (None, RotationOptions(grace=DAY), None),
        (0, RotationOptions(keep_old=True), None),
        (0, RotationOptions(keep_old=True, older_than=DAY), "young"),
        (DAY, RotationOptions(keep_old=True, older_than=DAY), None),
    ],
)
def test_an_old_key_that_stays(
    age: int | None, options: RotationOptions, answer: str | None
) -> None:
    assert reason_to_wait(stored(age), options, NOW) == answer


def test_only_the_deletion_is_deletion_left_without_a_start() -> None:
    assert is_deletion_left(stored(0))
    assert not is_deletion_left(stored(0, RotationFields("t", previous=KEY)))
    assert not is_deletion_left(stored(0, RotationFields("t", next=KEY)))
    assert not is_deletion_left(stored(0, RotationFields()))
