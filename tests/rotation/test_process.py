"""`rotate` as a process: what a terminal shows, and signals at the wrong moment."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time

import pytest

from filevault.vault.rotation_fields import RotationFields
from tests.fakes.faults import stall
from tests.worlds.machine import TIMEOUT, TypedAnswer
from tests.worlds.rotation import RotationMachine

SERIAL = "arn:aws:iam::123456789012:mfa/jon"


def shown_on_a_terminal(scene: RotationMachine, *argv: str) -> tuple[int, str, str]:
    """Run `rotate` with a terminal for stderr; returns status, stdout and what it showed."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*scene.machine.launcher, "rotate", *argv],
        env=scene.machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        start_new_session=True,
        cwd=scene.machine.home,
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # nobody has the other side any more
                break
            shown += part
        out, _ = process.communicate(timeout=TIMEOUT)
    os.close(master)
    return process.returncode, out.decode(), shown.decode()


def test_a_terminal_shows_each_step_a_countdown_and_the_result(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.aws.delay_new_keys(attempts=3)
    status, out, shown = shown_on_a_terminal(rotating, "jon")
    new = rotating.item("jon").key.access_key_id
    assert (status, out) == (0, f"jon: {new} takes the place of {user.access_key_id} (in jon)\n")
    steps = [
        "asking AWS whose key it is",
        "making a new key",
        "waiting until AWS knows the new key",
        "storing the new key",
        "deactivating the old key",
        "deleting the old key",
    ]
    places = [shown.index(f"filevault: jon: {step}\r\n") for step in steps]
    assert places == sorted(places)
    for left in (120, 119, 118, 117, 116, 115, 114):
        assert f"waiting for AWS to know the new key, at most {left}s more\x1b[K" in shown
    assert "at most 113s" not in shown
    for secret in rotating.aws.issued_secrets():
        assert secret not in shown + out


def test_debug_tells_the_steps_and_no_secret(rotating: RotationMachine) -> None:
    rotating.user()
    assert "jon: making a new key" in rotating.rotate("jon", "--debug").err
    rotating.user("ann", denied=["iam:CreateAccessKey"])
    assert "filevault.rare_errors.AwsError" in rotating.rotate("ann", "--debug", status=8).err


def test_a_person_is_asked_for_one_code(rotating: RotationMachine) -> None:
    user = rotating.user(mfa_serial=SERIAL)
    rotating.config(f"[profile jon]\nmfa_serial = {SERIAL}\n")
    result = rotating.machine.on_terminal(
        "rotate", "jon", answers=[TypedAnswer("MFA code of", user.totp(SERIAL))]
    )
    assert result.status == 0, result
    assert result.tty.count("MFA code of") == 1
    rotating.check_rotated(user, "jon")


def test_without_a_person_the_missing_code_changes_nothing(rotating: RotationMachine) -> None:
    user = rotating.user(mfa_serial=SERIAL)
    rotating.config(f"[profile jon]\nmfa_serial = {SERIAL}\n")
    result = rotating.machine.run("rotate", "jon")
    assert result.status == 5
    assert "--mfa-token -" in result.err
    assert rotating.item("jon").key.access_key_id == user.access_key_id
    given = rotating.machine.run("rotate", "jon", "-t", "-", stdin=user.totp(SERIAL) + "\n")
    assert given.status == 0, given
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_signal_while_the_key_is_made_waits_until_it_is_stored(
    rotating: RotationMachine, number: signal.Signals, status: int
) -> None:
    user = rotating.user()
    rotating.aws.arm(stall(TIMEOUT, "after"), action="CreateAccessKey")
    process = rotating.machine.popen("rotate", "jon")
    deadline = time.monotonic() + TIMEOUT
    while len(user.keys) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    time.sleep(0.1)  # it would end it at once
    assert process.poll() is None
    rotating.aws.faults.release()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status, err
    assert (b"is finished by the next filevault rotate" in err) == (status == 130)
    new = rotating.rotation("jon").next
    assert new is not None
    assert {user.access_key_id, new.access_key_id} == set(user.keys)
    rotating.machine.ok("rotate", "jon")
    rotating.check_rotated(user, "jon")


def test_two_processes_at_once_make_one_key(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.aws.arm(stall(TIMEOUT, "after"), action="CreateAccessKey")
    first = rotating.machine.popen("rotate", "jon")
    deadline = time.monotonic() + TIMEOUT
    while len(user.keys) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    second = rotating.machine.run("rotate", "--all")
    assert second.status == 5
    assert "another rotation of this vault is under way" in second.err
    rotating.aws.faults.release()
    first.communicate(timeout=TIMEOUT)
    assert first.returncode == 0
    rotating.check_rotated(user, "jon")


def test_a_state_directory_that_cannot_be_written_stops_it(rotating: RotationMachine) -> None:
    user = rotating.user()
    blocked = rotating.machine.home / "file"
    blocked.write_text("")
    result = rotating.machine.run("rotate", "jon", env={"XDG_STATE_HOME": str(blocked)})
    assert result.status == 7
    assert "XDG_STATE_HOME" in result.err
    assert (rotating.rotation("jon"), list(user.keys)) == (RotationFields(), [user.access_key_id])
