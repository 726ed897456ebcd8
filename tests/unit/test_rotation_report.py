"""What a rotation reports: the same JSON as `json.dumps` writes, and one line of text."""

from __future__ import annotations

import json

import pytest

from filevault.errors import AwsError, NotCommittedError, ProviderError
from filevault.rotation.outcome import Outcome
from filevault.rotation.report import exit_status, json_text, line
from filevault.system.times import format_time

OUTCOMES = [
    Outcome("a", "young"),
    Outcome('a"é', "failed", "i", ("x", "y\n"), error=AwsError("m\n", hint="h")),
    Outcome("a", "waiting", "a", ("a",), "jon", "OLD", "NEW", "inactive", 5, 1_795_470_313),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_json_is_that_of_the_standard_library(outcome: Outcome) -> None:
    data = outcome._asdict()
    error = data.pop("error")
    for moment in ("created", "until"):
        data[moment] = None if data[moment] is None else format_time(data[moment])
    data["error"], data["hint"] = (error.message, error.hint) if error else (None, None)
    assert json_text(outcome) == json.dumps(data, indent=2)
    assert f"[\n{json_text(outcome, '  ')}\n]" == json.dumps([data], indent=2)


def test_the_items_that_share_a_key_are_named_once() -> None:
    items = ("a", "b")
    assert (
        line(Outcome("a", "planned", "a", items, old_key="K")) == "a: K would be replaced (in a, b)"
    )
    same = Outcome("b", "same", "a", items, same_as="a")
    assert line(same) == "b: has the key of a, which is done already"


FAILED = Outcome("a", "failed", error=ProviderError("no"))
UNCOMMITTED = Outcome("b", "rotated", error=NotCommittedError("no commit"))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], 0),
        ([Outcome("a", "rotated"), Outcome("b", "young")], 0),
        ([FAILED, Outcome("b", "young")], 8),
        ([FAILED, Outcome("b", "rotated")], 12),
        ([FAILED, Outcome("b", "partly", error=ProviderError("no"))], 12),
        ([UNCOMMITTED, UNCOMMITTED], 11),
        ([UNCOMMITTED, FAILED], 12),
    ],
)
def test_the_exit_status_of_several_rotations(outcomes: list[Outcome], status: int) -> None:
    assert exit_status(outcomes) == status
