"""How often a secret lies in the memory of a running filevault: counted and told, not promised."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.scene import Scene, needs_root
from tests.machine import PASSPHRASE


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


@needs_root
def test_copies_of_a_passphrase_in_memory_are_told(
    scene: Scene, record_property: pytest.FixtureRequest
) -> None:
    """At the time when a token code is awaited, which can take a person a minute."""
    scene.configure(mfa_process=False).store()
    config, machine = scene.machine.config, scene.machine
    started = machine.home / "started"
    waiting = f"mfa_process = touch {started}; sleep 60\nmfa_serial"
    config.write_text(config.read_text().replace("mfa_serial", waiting))
    (machine.home / "passphrase").write_text(PASSPHRASE)
    (machine.home / "passphrase").chmod(0o600)
    machine.env.pop("FILEVAULT_PASSPHRASE")
    machine.env["FILEVAULT_PASSPHRASE_FILE"] = str(machine.home / "passphrase")
    process = subprocess.Popen(
        [*machine.launcher, "export", "jonsmith"],
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not started.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        counts = {
            "passphrase": _copies(process.pid, PASSPHRASE.encode()),
            "secret access key": _copies(process.pid, scene.user.secret_access_key.encode()),
        }
    finally:
        os.killpg(process.pid, 9)
        process.communicate()
    for what, count in counts.items():
        print(f"copies of the {what} while a token code is awaited: {count}")
        record_property(what, count)  # type: ignore[operator]
