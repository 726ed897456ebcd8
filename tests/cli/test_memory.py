"""How often a secret lies in the memory of a running filevault: counted and told."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.other_user import needs_root
from tests.worlds.aws_machine import AwsMachine

# Python gives small pieces of memory away again at once, and what is in them is lost by chance.
PASSPHRASE = "correct horse battery staple " * 30
ENDED = 9


def _copies(pid: int, needle: bytes) -> int:
    """Count a text in all memory of a process that can be written."""
    found = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, mode = line.split()[:2]
            first, last = (int(number, 16) for number in area.split("-"))
            if mode.startswith("rw"):
                memory.seek(first)
                try:
                    found += memory.read(last - first).count(needle)
                except OSError:
                    continue  # [vvar] and the like
    return found


@pytest.fixture
def started(scene: AwsMachine) -> Path:
    """A vault, and a file that appears when a token code is awaited."""
    machine = scene.configure(mfa_process=False).machine
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init")
    scene.store()
    del machine.env["FILEVAULT_PASSPHRASE"]
    (machine.home / "passphrase").write_text(PASSPHRASE + "\n")
    (machine.home / "passphrase").chmod(0o600)
    started = machine.home / "started"
    waiting = f"mfa_process = touch {started}; sleep 60\nmfa_serial"
    machine.config.write_text(machine.config.read_text().replace("mfa_serial", waiting))
    return started


@contextlib.contextmanager
def awaiting_a_code(scene: AwsMachine, started: Path, source: str) -> Iterator[int]:
    """Run an export that a passphrase from a source opens, as far as the question for a code."""
    machine = scene.machine
    path = str(machine.home / "passphrase")
    master, slave = pty.openpty()
    with open(path, "rb") as file:
        variables = {
            "variable": {"FILEVAULT_PASSPHRASE": PASSPHRASE},
            "file": {"FILEVAULT_PASSPHRASE_FILE": path},
            "descriptor": {"FILEVAULT_PASSPHRASE_FD": str(file.fileno())},
            "command": {"FILEVAULT_PASSPHRASE_COMMAND": f"cat {path}"},
        }
        process = subprocess.Popen(
            ["setsid", "-c", *machine.launcher, "export", "jonsmith"],
            env=machine.environment(variables.get(source)),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(file.fileno(),),
        )
    os.close(slave)
    try:
        if source == "terminal":
            assert b"Passphrase for" in os.read(master, 4096)
            os.write(master, PASSPHRASE.encode() + b"\n")
        deadline = time.monotonic() + 60
        while not started.exists():
            assert process.poll() is None, os.read(master, 4096)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process.pid
    finally:
        os.killpg(process.pid, ENDED)
        process.wait()
        os.close(master)


@needs_root
@pytest.mark.parametrize("source", ["file", "descriptor", "command", "terminal"])
def test_a_passphrase_that_was_read_is_overwritten_once_it_has_served(
    scene: AwsMachine, started: Path, source: str
) -> None:
    """When a token code is awaited, which can take a person a minute, no copy is left."""
    with awaiting_a_code(scene, started, source) as pid:
        assert _copies(pid, PASSPHRASE.strip().encode()) == 0


@needs_root
def test_copies_of_other_secrets_in_memory_are_told(
    scene: AwsMachine, started: Path, record_property: pytest.FixtureRequest
) -> None:
    """A text cannot be overwritten, and the key is one that is in use."""
    with awaiting_a_code(scene, started, "variable") as pid:
        counts = {
            "passphrase from a variable": _copies(pid, PASSPHRASE.strip().encode()),
            "secret access key": _copies(pid, scene.user.secret_access_key.encode()),
        }
    for what, count in counts.items():
        print(f"copies of the {what} while a token code is awaited: {count}")
        record_property(what, count)  # type: ignore[operator]
