"""`rotate` where network, clock or a signal cuts it off: what it waits for, and how long."""

from __future__ import annotations

import signal
import time

import pytest

from filevault.aws import clients
from tests.fakes.faults import drop, error, server_error, stall
from tests.worlds.machine import TIMEOUT
from tests.worlds.rotation import RotationMachine

SKEWED = (
    "Signature expired: 20261124T000000Z is now earlier than 20261124T001000Z "
    "(20261124T001500Z - 5 min.)"
)


def test_a_key_is_made_with_little_patience(
    rotating: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals wait meanwhile."""
    rotating.user()
    monkeypatch.setattr(clients, "_SHORT_READ_TIMEOUT", 0.2)
    rotating.aws.arm(stall(3), action="CreateAccessKey")
    assert "did not answer in time" in rotating.rotate("jon", status=9).err


def test_no_signal_waits_for_the_questions_after_a_failure(rotating: RotationMachine) -> None:
    rotating.user()
    rotating.aws.arm(drop("after"), action="CreateAccessKey")
    rotating.aws.arm(stall(TIMEOUT), action="ListAccessKeys", nth=2)
    process = rotating.machine.popen("rotate", "jon")
    deadline = time.monotonic() + TIMEOUT
    while "CreateAccessKey" not in rotating.aws.actions() or not rotating.aws.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)  # the call itself would last longer
    assert process.returncode == -signal.SIGTERM
    rotating.aws.faults.release()


def test_a_wrong_clock_is_no_sign_that_the_old_key_is_gone(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.aws.arm(server_error(), action="GetCallerIdentity", nth=2, times=1000)
    rotating.aws.arm(server_error(), action="DeleteAccessKey", times=1000)
    rotating.rotate("jon", status=None)
    rotating.aws.faults.clear()
    assert rotating.rotation("jon").next is not None
    rotating.aws.arm(error("SignatureDoesNotMatch", SKEWED, 403), action="GetCallerIdentity")
    ended = rotating.rotate("jon", status=8)
    assert "the clock of this machine is" in ended.err
    assert rotating.aws.actions() == ["GetCallerIdentity"]
    assert rotating.item("jon").key.access_key_id == user.access_key_id
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")
