"""What a cached `exec` does and does not do: network, keys, modules, files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from filevault.backends.file.backend import FileBackend
from filevault.cli import main
from tests.bench.vaults import Bench
from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.launch import launcher
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.warm import locked_at_the_end

FORBIDDEN = (
    "argon2",
    "argparse",
    "asyncio",
    "base64",
    "boto3",
    "botocore",
    "configparser",
    "ctypes",
    "dataclasses",
    "datetime",
    "gnupg",
    "pyrage",
    "hashlib",
    "http",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "random",
    "secrets",
    "shlex",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "tomllib",
    "unicodedata",
    "urllib",
    "uuid",
)
OURS_COLD = frozenset(
    {
        # Protocols are for type checkers; a class of them takes 0.1 ms to define.
        "filevault.backends.protocols",
        "filevault.cli.protocols",
        "filevault.keycache.key_store",
        "filevault.mfa.way",
        # Errors that no run without a failure names.
        "filevault.rare_errors",
        # Only what opens the vault, asks or writes needs these.
        "filevault.backends.file.new_vault",
        "filevault.calls.assume_role_with_web_identity",
        "filevault.calls.get_federation_token",
        "filevault.cli.log_mask",
        "filevault.identity_tokens",
        "filevault.sources.machine",
        "filevault.sources.process",
        "filevault.sources.web_identity",
        "filevault.mfa.token_code",
        "filevault.sessions.lock_wait",
        "filevault.system.atomic_write",
        "filevault.system.locks",
        "filevault.system.new_folders",
        "filevault.system.permissions",
        "filevault.aws.clients",
        "filevault.aws.sts",
        "filevault.cli.commands.add",
        "filevault.cli.new_file_vault",
        "filevault.system.programs",
        "filevault.unlock.prompt",
        "filevault.vault.account_check",
        "filevault.vault.item",
        "filevault.vault.item_memory",
        "filevault.vault.lost_vault",
        "filevault.vault.rollback_check",
    }
)
OPENING = frozenset(
    {
        "filevault.backends.file.keyslots",
        "filevault.backends.file.unlock",
        "filevault.backends.kdf",
        "filevault.backends.values",
        "filevault.keycache.agent_folders",
        "filevault.system.secret_buffer",
        "filevault.system.secret_files",
        "filevault.unlock.secret_sources",
        "filevault.unlock.unlocker",
    }
)
"""What reads a secret and unwraps a key: not needed with the session key in the key cache."""
MOST_MODULES = 103
"""How many modules of filevault a cached `exec` of a role may import; each takes 0.1 ms or more."""
EXEC = ("exec", "admin", "--", "/usr/bin/env")
AGENT = {
    "_socket",
    "ctypes",
    "filevault.keycache.agent",
    "filevault.keycache.client",
    "filevault.keycache.protocol",
}


def test_a_cached_exec_imports_only_what_it_needs(warm: Machine) -> None:
    # An agent of the user who runs the tests would be asked for a key.
    warm.env["FILEVAULT_AGENT_DIR"] = str(warm.home)
    assert not imported(warm) & AGENT


def imported(machine: Machine, cold: frozenset[str] = OURS_COLD) -> set[str]:
    """Return what a cached `exec` imports without the hot lane, after a look for what none may."""
    printed, modules = run_and_imports(machine, *EXEC)
    assert "AWS_SESSION_TOKEN=" in printed
    assert "filevault.sessions.cache" in modules
    assert not beginning_with(FORBIDDEN, modules)
    assert modules & cold == set()
    return modules


def run_and_imports(machine: Machine, *words: str) -> tuple[str, set[str]]:
    """Return what a run without the hot lane prints, and the modules that it imports."""
    done = subprocess.run(
        [*(sys.executable, "-X", "importtime", "-m", "filevault"), *words],
        env=machine.environment({"LAUNCH": None, "FILEVAULT_NO_LANE": "1"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=machine.home,
        start_new_session=True,
        check=True,
    )
    return done.stdout, set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE))


def beginning_with(packages: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Return the modules that are, or are in, one of the packages."""
    return [
        name
        for name in modules
        for package in packages
        if name == package or name.startswith(package + ".")
    ]


def test_a_listing_imports_neither_a_cipher_nor_what_plans_a_profile(warm: Machine) -> None:
    printed, modules = run_and_imports(warm, "list")
    assert "work" in printed
    cold = (
        *("cryptography", "filevault.plan", "filevault.calls", "filevault.issued"),
        *("filevault.rare_errors", "filevault.sources", "filevault.sessions.token_store"),
    )
    assert not beginning_with((*FORBIDDEN, *cold, "argparse", "enum", "re", "typing"), modules)


@needs_kernel_keyring
def test_a_cached_exec_with_a_held_key_imports_no_more(warm: Machine) -> None:
    """The real program and the real keyring: the agent is not even looked for."""
    warm.places = "kernel"
    warm.ok("unlock")
    del warm.env["FILEVAULT_KEY_FILE"]
    with locked_at_the_end(warm):
        modules = imported(warm, OURS_COLD | OPENING)
    assert {"filevault.keycache.kernel", "filevault.system.libc"} <= modules
    assert not modules & AGENT
    ours = [name for name in modules if name.partition(".")[0] == "filevault"]
    assert len(ours) <= MOST_MODULES, sorted(ours)


@needs_kernel_keyring
def test_a_cached_exec_of_a_shared_vault_imports_neither_gpg_nor_age(
    shared_machine: Machine,
) -> None:
    # Opening a backend needs these small modules of filevault, not what they would import to run.
    modules = imported(
        shared_machine,
        OURS_COLD
        - {"filevault.rare_errors", "filevault.system.programs", "filevault.unlock.prompt"},
    )
    assert "filevault.keycache.kernel" in modules
    assert not modules & AGENT


@needs_kernel_keyring
def test_a_cached_exec_of_a_shared_vault_starts_one_program(shared_machine: Machine) -> None:
    trace = shared_machine.home / "trace"
    argv = [tool("strace"), "-f", "-o", str(trace), "-e", "trace=execve,clone,clone3,fork,vfork"]
    done = subprocess.run(
        [*argv, sys.executable, "-m", "filevault", *EXEC],
        env=shared_machine.environment({"LAUNCH": None}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=shared_machine.home,
        start_new_session=True,
        check=True,
    )
    assert "AWS_SESSION_TOKEN=" in done.stdout
    calls = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    assert calls == ["execve", "execve"]  # ours, and the command in its place


def test_a_cached_exec_needs_no_network(warm: Machine) -> None:
    result = warm.ok("exec", "admin", "--", "env")
    assert "AWS_SESSION_TOKEN=" in result.out
    assert (
        warm.run("export", "admin", "--refresh", "-t", "123456").status == 9
    )  # nothing answers there indeed


class ImportRecord:
    """What a run in this process decrypted, opened and became."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decrypted: list[str] = []
        self.opened: list[str] = []
        self.became: list[tuple[list[str], dict[str, str]]] = []
        decrypt = FileBackend.decrypt
        real_open = os.open

        def recording_decrypt(backend: FileBackend, kind: str, name: str, data: bytes) -> bytes:
            self.decrypted.append(kind)
            return decrypt(backend, kind, name, data)

        def recording_open(path: str, *args: int, **options: int) -> int:
            self.opened.append(str(path))
            return real_open(path, *args, **options)

        def become(_: str, argv: list[str], env: dict[str, str]) -> NoReturn:
            self.became.append((argv, env))
            raise SystemExit(0)

        monkeypatch.setattr(FileBackend, "decrypt", recording_decrypt)
        monkeypatch.setattr(os, "open", recording_open)
        monkeypatch.setattr(os, "execve", become)
        for name, value in machine.environment().items():
            monkeypatch.setenv(name, value)

    def run(self, *argv: str) -> int:
        """Run filevault in this process."""
        return main(list(argv), launcher.runtime(json.loads(os.environ["LAUNCH"])))

    def check(self) -> None:
        """The item is read for its digest; nothing but the session key is decrypted."""
        assert self.decrypted == ["session-key"]
        assert [Path(path).suffix for path in self.opened].count(".fvs") == 1
        assert self.opened.count("work.fv") == 1
        assert not [path for path in self.opened if path.endswith("credentials")]


def test_a_cached_export_decrypts_no_key_and_opens_one_session_file(
    warm: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    record = ImportRecord(warm, monkeypatch)
    assert record.run("export", "admin", "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)["SessionToken"]
    record.check()


def test_a_cached_exec_decrypts_no_key_and_opens_one_session_file(
    warm: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ImportRecord(warm, monkeypatch)
    with pytest.raises(SystemExit):
        record.run("exec", "admin", "--", "/bin/echo", "hello")
    ((argv, env),) = record.became
    assert argv == ["/bin/echo", "hello"]
    assert env["AWS_SESSION_TOKEN"]
    record.check()


def test_exec_works_among_a_thousand_profiles_and_items(machine: Machine, aws: FakeAws) -> None:
    bench = Bench(aws)
    env = bench.user(machine.home / "large", profiles=1000, items=1000, sessions=0)
    for name in ("p0", "p999"):
        result = machine.ok("exec", name, "--", "env", env=env)
        assert f"AWS_VAULT={name}\n" in result.out
        assert "AWS_SESSION_TOKEN=" in result.out
    assert aws.actions() == ["GetSessionToken"] * 2


def test_a_cached_exec_writes_nothing(warm: Machine) -> None:
    warm.ok("exec", "admin", "--", "true")
    before = {path: path.stat().st_mtime_ns for path in warm.home.rglob("*")}
    warm.ok("exec", "admin", "--", "true")
    assert {path: path.stat().st_mtime_ns for path in warm.home.rglob("*")} == before


def test_a_completion_imports_no_more_than_it_needs(warm: Machine) -> None:
    """It is asked for at each Tab, in 60 ms: no cryptography, no AWS, nothing that asks."""
    done = subprocess.run(
        [*(sys.executable, "-X", "importtime", "-m", "filevault"), *COMPLETE],
        env=warm.environment({"LAUNCH": None}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=warm.home,
        check=True,
    )
    assert "admin" in done.stdout.split()
    modules = set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE))
    forbidden = {*FORBIDDEN, "cryptography", "json", "difflib", "filevault.unlock.prompt"}
    forbidden -= {"argparse"}  # whose parser says what may stand where
    if sys.version_info >= (3, 14):
        forbidden -= {"dataclasses", "inspect"}  # argparse loads them, for colours
    assert not {
        name for name in modules if name.partition(".")[0] in forbidden or name in forbidden
    }
    assert len([name for name in modules if name.startswith("filevault")]) <= MOST_MODULES


COMPLETE = ("__complete", "zsh", "exec", "")


@pytest.mark.torture
@pytest.mark.timed
@pytest.mark.parametrize("items", [1, 10_000])
def test_a_completion_takes_less_than_60_milliseconds(tmp_path: Path, items: int) -> None:
    """Of processor time. The names are files of which none is opened."""
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init")
    (machine.vault / "team").mkdir(mode=0o700)
    for number in range(items):
        (machine.vault / f"team/p{number}.fv").touch()
    machine.write_config("[profile admin]\n")

    def seconds() -> float:
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "filevault", *COMPLETE],
            env=machine.environment({"LAUNCH": None}),
            cwd=machine.home,
            check=True,
            capture_output=True,
        )
        after = os.times()
        assert done.stdout.count(b"\n") == items + 2
        return after.children_user + after.children_system - before[2] - before[3]

    assert min(seconds() for _ in range(10)) < 0.06
