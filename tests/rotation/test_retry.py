"""How long a rotation waits for AWS, what it says meanwhile, and whom it keeps waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from filevault.aws import clients
from filevault.errors import AwsError, FilevaultError, NetworkError
from filevault.rotation.retry import TIMEOUT, Retry
from tests.conditions.work_limits import within
from tests.fakes.faults import stall
from tests.samples import EXAMPLE_ID
from tests.worlds.machine import TIMEOUT as REAL
from tests.worlds.rotation import RotationMachine


class LockedStoreWait:
    """Time that passes by pauses and calls, and somebody who watches."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[tuple[str, float]] = []
        self.calls = 0
        self.retry = Retry(self.sleep, lambda: self.now, self)

    def sleep(self, seconds: float) -> None:
        # A pause is counted by what was asked for: machines that stand still count none.
        del seconds

    def step(self, text: str) -> None:
        raise AssertionError(text)

    def waiting(self, event: str, left: float) -> None:
        self.said.append((event, left))

    def failing(self, error: FilevaultError, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.calls += 1
            self.now += seconds
            raise error

        return call


def test_the_time_that_calls_take_counts() -> None:
    waiting = LockedStoreWait()
    with pytest.raises(NetworkError):
        waiting.retry.until("x", waiting.failing(NetworkError("slow"), 20))
    assert waiting.now + len(waiting.said) <= TIMEOUT + 20
    assert waiting.calls == 6


def test_a_clock_that_goes_back_does_not_draw_it_out() -> None:
    waiting = LockedStoreWait()
    with pytest.raises(NetworkError):
        waiting.retry.until("x", waiting.failing(NetworkError("down"), -1000))
    assert len(waiting.said) == TIMEOUT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AwsError("", code="InvalidClientTokenId"), "AWS to know the new key"),
        (NetworkError(""), "AWS to be reached"),
        (AwsError("", code="Throttling"), "AWS to take more calls"),
        (AwsError("", code="InternalFailure"), "AWS to recover"),
    ],
)
def test_the_countdown_names_the_real_cause(error: FilevaultError, reason: str) -> None:
    waiting = LockedStoreWait()
    with pytest.raises(type(error)):
        waiting.retry.until("AWS to know the new key", waiting.failing(error, 50))
    assert {said for said, _ in waiting.said} == {reason}
    assert waiting.said[0] == (reason, TIMEOUT - 50)


@pytest.mark.timed
@pytest.mark.parametrize("action", ["UpdateAccessKey", "DeleteAccessKey"])
def test_another_writer_waits_for_one_short_call_only(
    rotating: RotationMachine, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """A call that gets no answer is given up soon, and the lock with it."""
    monkeypatch.setattr(clients, "_SHORT_READ_TIMEOUT", 1.0)
    user = rotating.user()
    rotating.aws.arm(stall(REAL), action=action)
    added = threading.Event()

    def add() -> None:
        while not (rotating.aws.in_flight and rotating.aws.actions().count(action)):
            time.sleep(0.01)
        with within(REAL / 4):
            rotating.machine.add("ann", EXAMPLE_ID, "A" * 40, "--no-config")
        added.set()

    writer = threading.Thread(target=add)
    writer.start()
    rotating.rotate("jon")
    writer.join(REAL)
    assert added.is_set()
    rotating.check_rotated(user, "jon")
