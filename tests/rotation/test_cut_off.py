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
    scene: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals wait meanwhile."""
    scene.user()
    monkeypatch.setattr(clients, "_SHORT_READ_TIMEOUT", 0.2)
    scene.aws.arm(stall(3), action="CreateAccessKey")
    assert "did not answer in time" in scene.rotate("jon", status=9).err


def test_no_signal_waits_for_the_questions_after_a_failure(scene: RotationMachine) -> None:
    scene.user()
    scene.aws.arm(drop("after"), action="CreateAccessKey")
    scene.aws.arm(stall(TIMEOUT), action="ListAccessKeys", nth=2)
    process = scene.machine.popen("rotate", "jon")
    deadline = time.monotonic() + TIMEOUT
    while "CreateAccessKey" not in scene.aws.actions() or not scene.aws.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)  # the call itself would last longer
    assert process.returncode == -signal.SIGTERM
    scene.aws.faults.release()


def test_a_wrong_clock_is_no_sign_that_the_old_key_is_gone(scene: RotationMachine) -> None:
    user = scene.user()
    scene.aws.arm(server_error(), action="GetCallerIdentity", nth=2, times=1000)
    scene.aws.arm(server_error(), action="DeleteAccessKey", times=1000)
    scene.rotate("jon", status=None)
    scene.aws.faults.clear()
    assert scene.rotation("jon").next is not None
    scene.aws.arm(error("SignatureDoesNotMatch", SKEWED, 403), action="GetCallerIdentity")
    ended = scene.rotate("jon", status=8)
    assert "the clock of this machine is" in ended.err
    assert scene.aws.actions() == ["GetCallerIdentity"]
    assert scene.item("jon").key.access_key_id == user.access_key_id
    scene.rotate("jon")
    scene.check_rotated(user, "jon")
