"""What most tests of commands start from: a machine with a vault, and an account at AWS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tool
from tests.fakes import FakeAws, Role, User
from tests.machine import PASSPHRASE, Machine

REMOTE = str(Path(__file__).resolve().parent.parent / "fakes" / "remote.py")
REGION = "eu-west-1"
SERIAL = "arn:aws:iam::123456789012:mfa/jonsmith"

MOUNT_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift'

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mounting(machine: Machine, script: str, *words: str) -> Machine:
    """Let filevault start after a script of mounts, which nobody else sees.

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


class Scene:
    """A user `jonsmith` with an MFA device, a role `admin` that demands it, and a config.

    Profiles: `jonsmith` has the key, `admin` the role; `mfa_process` answers for the device.
    """

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        self.machine = machine
        self.aws = aws
        self.user: User = aws.add_user("jonsmith", mfa=True)
        self.role: Role = aws.add_role("admin", require_mfa=True)

    @property
    def mfa_process(self) -> str:
        """A command that prints a token code."""
        return f'{sys.executable} {REMOTE} {self.aws.url} totp \'{{"serial": "{SERIAL}"}}\''

    def configure(self, *, mfa: bool = True, mfa_process: bool = True, more: str = "") -> Scene:
        """Write the AWS config."""
        serial = f"mfa_serial = {SERIAL}\n" if mfa else ""
        process = f"mfa_process = {self.mfa_process}\n" if mfa and mfa_process else ""
        common = f"region = {REGION}\nendpoint_url = {self.aws.url}\n{serial}{process}"
        self.machine.write_config(
            f"[profile jonsmith]\n{common}\n"
            f"[profile admin]\n{common}source_profile = jonsmith\nrole_arn = {self.role.arn}\n"
            f"\n{more}"
        )
        return self

    def store(self, profile: str = "jonsmith") -> Scene:
        """Make the vault and store the key."""
        if not self.machine.vault.exists():
            self.machine.with_vault()
        self.machine.add(profile, self.user.access_key_id, self.user.secret_access_key)
        return self

    def secrets(self) -> set[str]:
        """Return everything that must never be seen."""
        return {*self.aws.issued_secrets(), PASSPHRASE}
