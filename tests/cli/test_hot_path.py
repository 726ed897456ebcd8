"""What a cached `exec` does and does not do: network, keys, modules, files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from filevault.backends.passphrase import PassphraseBackend
from filevault.cli import main
from tests import launch
from tests.fakes import FakeAws, User
from tests.machine import Machine

FORBIDDEN = (
    "argon2",
    "asyncio",
    "base64",
    "boto3",
    "botocore",
    "configparser",
    "dataclasses",
    "datetime",
    "gnupg",
    "hashlib",
    "http",
    "importlib.metadata",
    "inspect",
    "logging",
    "pathlib",
    "random",
    "secrets",
    "shlex",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "tomllib",
    "unicodedata",
    "urllib",
    "uuid",
)
OURS_COLD = (
    "filevault.aws.client",
    "filevault.aws.sts",
    "filevault.cli.add",
    "filevault.cli.init",
    "filevault.programs",
    "filevault.prompt",
    "filevault.vault.items",
)


@pytest.fixture
def user(aws: FakeAws) -> User:
    return aws.add_user("jonsmith", mfa=True)


@pytest.fixture
def warm(machine: Machine, aws: FakeAws, user: User) -> Machine:
    """A machine with a key-file slot and a cached role session; AWS is gone afterwards."""
    role = aws.add_role("admin", trusts=[user])
    key_file = machine.home / "key"
    machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    machine.add("work", user.access_key_id, user.secret_access_key, "--no-config")
    machine.write_config(
        f"[profile work]\nregion=eu-west-1\nmfa_serial={user.mfa_serial}\n"
        f"[profile admin]\nregion=eu-west-1\nsource_profile=work\nrole_arn={role.arn}\n"
        f"mfa_serial={user.mfa_serial}\n"
    )
    machine.ok("export", "admin", "-t", user.totp())
    # Cached sessions depend on the endpoint: keep the address, take away what answers there.
    aws.__exit__(None, None, None)
    return machine


def test_a_cached_exec_imports_only_what_it_needs(warm: Machine) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "filevault", "exec", "admin", "--", "env"],
        env=warm.environment({"LAUNCH": None}),
        capture_output=True,
        text=True,
        cwd=warm.home,
        check=True,
    )
    assert "AWS_SESSION_TOKEN=" in done.stdout
    modules = set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE))
    assert "filevault.sessions.cache" in modules
    loaded = [
        name
        for name in modules
        for forbidden in FORBIDDEN
        if name == forbidden or name.startswith(forbidden + ".")
    ]
    assert not loaded
    assert not modules.intersection(OURS_COLD)


def test_a_cached_exec_needs_no_network(warm: Machine) -> None:
    result = warm.ok("exec", "admin", "--", "env")
    assert "AWS_SESSION_TOKEN=" in result.out
    assert (
        warm.run("export", "admin", "--refresh", "-t", "123456").status == 9
    )  # nothing answers there indeed


def test_a_cached_export_decrypts_no_key_and_opens_one_session_file(
    warm: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    decrypted: list[tuple[str, str]] = []
    opened: list[str] = []
    decrypt = PassphraseBackend.decrypt
    real_open = os.open

    def recording_decrypt(self: PassphraseBackend, kind: str, name: str, data: bytes) -> bytes:
        decrypted.append((kind, name))
        return decrypt(self, kind, name, data)

    def recording_open(path: str, *args: int, **options: int) -> int:
        opened.append(str(path))
        return real_open(path, *args, **options)

    monkeypatch.setattr(PassphraseBackend, "decrypt", recording_decrypt)
    monkeypatch.setattr(os, "open", recording_open)
    for name, value in warm.environment().items():
        monkeypatch.setenv(name, value)
    orders = json.loads(os.environ["LAUNCH"])
    status = main(["export", "admin", "--format", "json"], launch.runtime(orders))
    assert status == 0
    assert json.loads(capfd.readouterr().out)["SessionToken"]
    assert [kind for kind, _ in decrypted] == ["session-key"]
    assert [Path(path).suffix for path in opened].count(".fvs") == 1
    assert opened.count("work.fv") == 1
    assert not [path for path in opened if path.endswith("credentials")]


def test_a_cached_exec_writes_nothing(warm: Machine) -> None:
    warm.ok("exec", "admin", "--", "true")
    before = {path: path.stat().st_mtime_ns for path in warm.home.rglob("*")}
    warm.ok("exec", "admin", "--", "true")
    assert {path: path.stat().st_mtime_ns for path in warm.home.rglob("*")} == before
