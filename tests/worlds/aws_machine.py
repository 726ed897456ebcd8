"""A machine and an AWS account: user, role and config, as most tests of commands need them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fakes import FakeAws, Role, User
from tests.worlds.machine import PASSPHRASE, Machine

REMOTE = str(Path(__file__).resolve().parents[1] / "fakes" / "remote.py")
REGION = "eu-west-1"
SERIAL = "arn:aws:iam::123456789012:mfa/jonsmith"


class AwsMachine:
    """A user `jonsmith` with an MFA device, a role `admin` that requires it, and a config.

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

    def configure(
        self, *, mfa: bool = True, mfa_process: bool = True, more: str = ""
    ) -> AwsMachine:
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

    def store(self, profile: str = "jonsmith") -> AwsMachine:
        """Make the vault and store the key."""
        if not self.machine.vault.exists():
            self.machine.with_vault()
        self.machine.add(profile, self.user.access_key_id, self.user.secret_access_key)
        return self

    def secrets(self) -> set[str]:
        """Return everything that must never be seen."""
        return {*self.aws.issued_secrets(), PASSPHRASE}
