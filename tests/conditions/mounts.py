"""File systems that filevault alone sees mounted, such as a read-only one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.worlds.machine import Machine

MOUNT_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift'


def mounting(machine: Machine, script: str, *words: str) -> Machine:
    """Start filevault after a script of mounts, in its own mount namespace.

    The script shifts `words` away. Skips where this process may not mount.
    """
    probe = subprocess.run([tool("unshare"), "-m", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("this process may not mount anything")
    machine.launcher = (
        *("unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh"),
        *words,
        *machine.launcher,
    )
    return machine


def read_only(machine: Machine, *paths: Path) -> Machine:
    """Let filevault see these folders or files on a read-only file system."""
    for path in paths:
        mounting(machine, MOUNT_READ_ONLY, str(path))
    return machine
