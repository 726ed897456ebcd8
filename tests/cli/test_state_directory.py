"""The state directory where it is odd: writable for others, read-only, on NFS, busy."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.samples import EXAMPLE_KEY
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import LAUNCHER, Machine

# NFS locks no directory and says EBADF; patched into the real program.
NFS = """
import errno, fcntl, os, runpy, stat, sys
real = fcntl.flock
def flock(fd, operation):
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real(fd, operation)
fcntl.flock = flock
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IMPATIENT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from filevault.system import locks
locks._TIMEOUT = 0.2
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def directory(machine: Machine) -> Path:
    (found,) = (path for path in machine.state.iterdir() if path.is_dir())
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("which", ["parent", "own"])
def test_one_that_others_can_write_is_closed_to_them_and_that_is_told(
    which: str, plain: AwsMachine
) -> None:
    machine = plain.machine
    path = machine.state if which == "parent" else directory(machine)
    path.chmod(0o777)
    assert machine.ok("list").err == ""
    path.chmod(0o770)
    result = machine.ok("--debug", "export", "jonsmith")
    assert f"others could write {path}; its mode is 0700 now" in result.err
    assert mode(path) == 0o700
    assert (directory(machine) / "sessions").exists()


@needs_root
def test_in_one_that_another_user_opened_to_all_no_session_is_kept(plain: AwsMachine) -> None:
    machine = plain.machine
    os.chown(machine.state, 12345, -1)
    machine.state.chmod(0o777)
    result = machine.ok("--debug", "export", "jonsmith")
    assert f"no session is kept: others can write {machine.state}" in result.err
    assert mode(machine.state) == 0o777
    assert not (directory(machine) / "sessions").exists()


@needs_root
def test_the_memory_of_another_user_is_none(machine: Machine) -> None:
    machine.with_vault()
    trust = directory(machine) / "trust.json"
    content = json.loads(trust.read_text())
    content["commit"] = "0" * 64
    trust.write_text(json.dumps(content))
    assert machine.run("list", "--credentials").status == 10
    os.chown(trust, 12345, -1)
    machine.ok("list", "--credentials")
    assert trust.stat().st_uid == os.geteuid()


def test_where_nothing_can_be_noted_down_a_script_hears_nothing(machine: Machine) -> None:
    machine.with_vault().add("jon", *EXAMPLE_KEY, "--no-config")
    (directory(machine) / "trust.json").unlink()
    read_only(machine, machine.state)
    result = machine.ok("export", "jon", "-n")
    assert result.err == ""
    assert "is read-only" in machine.ok("--debug", "export", "jon", "-n").err


def test_on_nfs_a_vault_is_made_written_and_read(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.launcher = (sys.executable, "-c", NFS, LAUNCHER)
    machine.add("new", *EXAMPLE_KEY)
    assert "[profile new]" in machine.config.read_text()
    assert machine.ok("export", "jonsmith").err == ""
    assert (directory(machine) / "sessions").exists()
    assert "new" in machine.ok("list", "--credentials").out
    machine.ok("remove", "new", "--force")
    made = machine.ok("init", "--vault", str(machine.home / "second"))
    assert made.err.count("warning") == 0


def test_a_memory_that_stays_busy_fails_no_command_that_stored_its_item(machine: Machine) -> None:
    machine.with_vault()
    root = str(Path(LAUNCHER).parents[2])
    machine.launcher = (sys.executable, "-c", IMPATIENT, root, LAUNCHER)
    busy = os.open(directory(machine) / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(busy, fcntl.LOCK_EX)
        stored = machine.run(
            "add", "jon", "--stdin", "--no-config", stdin="\n".join(EXAMPLE_KEY) + "\n"
        )
    finally:
        os.close(busy)
    assert (stored.status, stored.err) == (0, "")
    assert EXAMPLE_KEY[1] in machine.ok("export", "jon", "-n").out


def test_a_vault_that_stays_busy_is_a_failure_of_storage(machine: Machine) -> None:
    machine.with_vault()
    root = str(Path(LAUNCHER).parents[2])
    machine.launcher = (sys.executable, "-c", IMPATIENT, root, LAUNCHER)
    busy = os.open(machine.vault, os.O_RDONLY)
    try:
        fcntl.flock(busy, fcntl.LOCK_EX)
        refused = machine.run(
            "add", "jon", "--stdin", "--no-config", stdin="\n".join(EXAMPLE_KEY) + "\n"
        )
    finally:
        os.close(busy)
    assert refused.status == 7
    assert "another process has been writing" in refused.err
