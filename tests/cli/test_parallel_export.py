"""Many processes that miss the same session at the same time."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

from tests.launch import launcher
from tests.worlds.aws_machine import AwsMachine

PROCESSES = 64


@pytest.fixture
def by_key_file(scene: AwsMachine) -> AwsMachine:
    """A vault that a key file opens; each run of `mfa_process` leaves a line in `runs`."""
    machine = scene.machine
    key_file = machine.home / "key"
    machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
    scene.configure()
    counting = f"echo $$ >>{machine.home}/runs; {scene.mfa_process}"
    machine.write_config(machine.config.read_text().replace(scene.mfa_process, counting))
    machine.add("jonsmith", scene.user.access_key_id, scene.user.secret_access_key, "--no-config")
    return scene


def runs(scene: AwsMachine) -> int:
    """Count the runs of `mfa_process`."""
    return len((scene.machine.home / "runs").read_text().splitlines())


WAITING = "filevault: waiting for another filevault that is obtaining this session; Ctrl-C ends\n"


def test_64_cold_exports_make_one_call_with_one_code(by_key_file: AwsMachine) -> None:
    machine = by_key_file.machine
    started = [machine.popen("export", "jonsmith", "--format", "json") for _ in range(PROCESSES)]
    answers = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, answers
    (answer,) = {out for out, _ in answers}
    assert json.loads(answer)["SessionToken"]
    assert by_key_file.aws.actions() == ["GetSessionToken"]
    assert runs(by_key_file) == 1


def _hold(machine_state: Path, name: str) -> int:
    """Hold the lock of a session as a process does that asks a person."""
    (folder,) = machine_state.iterdir()
    (folder / "locks").mkdir(exist_ok=True)
    holder = os.open(folder / "locks" / name, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    return holder


def _session(scene: AwsMachine) -> str:
    """Return the name of the session's lock, by obtaining the session and deleting it."""
    scene.machine.ok("export", "jonsmith")
    (kept,) = scene.machine.state.glob("*/sessions/jonsmith/*.fvs")
    scene.machine.ok("clear")
    return kept.name.partition("@")[0]


def test_one_that_waits_says_so(by_key_file: AwsMachine) -> None:
    by_key_file.aws.clock.advance(60)  # another code than the first one's
    holder = _hold(by_key_file.machine.state, _session(by_key_file))
    by_key_file.aws.clock.advance(60)
    process = by_key_file.machine.popen("export", "jonsmith")
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    assert said == WAITING
    os.close(holder)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"AWS_SESSION_TOKEN=" in out


def test_one_that_nobody_watches_gives_up(by_key_file: AwsMachine) -> None:
    holder = _hold(by_key_file.machine.state, _session(by_key_file))
    program = (
        "import sys; from filevault.sessions import lock_wait; lock_wait.TIMEOUT = 1.5; "
        "sys.argv.pop(0); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    by_key_file.machine.launcher = (sys.executable, "-c", program, launcher.__file__)
    by_key_file.aws.reset_calls()
    try:
        result = by_key_file.machine.run("export", "jonsmith")
    finally:
        os.close(holder)
    assert (result.status, result.out) == (5, "")
    assert result.err.count("waiting for another filevault") == 1
    assert "--no-cache does not wait" in result.err
    assert by_key_file.aws.actions() == []
