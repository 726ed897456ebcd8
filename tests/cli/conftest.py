"""Fixtures of the command-line tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.tools import tool
from tests.fakes import FakeAws, User
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.key_cache import KeyCacheMachine, key_cache_machine
from tests.worlds.leak_check import LeakCheck
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome
from tests.worlds.team import Team
from tests.worlds.warm import locked_at_the_end, warmed


@pytest.fixture
def scene(machine: Machine, aws: FakeAws) -> AwsMachine:
    """An account and a machine; nothing is stored yet."""
    return AwsMachine(machine, aws)


@pytest.fixture
def ready(scene: AwsMachine) -> AwsMachine:
    """A machine with vault, key and config; role `admin` needs an MFA code."""
    return scene.configure().store()


@pytest.fixture
def plain(scene: AwsMachine) -> AwsMachine:
    """The same without any MFA: `jonsmith` gets a session without a code."""
    return scene.configure(mfa=False).store()


@pytest.fixture
def watch(scene: AwsMachine) -> Iterator[LeakCheck]:
    """A machine on which every helper program is recorded, and every secret looked for."""
    watch = LeakCheck(scene)
    scene.configure().store()
    config = scene.machine.config
    config.write_text(
        config.read_text().replace("mfa_process = ", f"mfa_process = {watch.recorder} ")
    )
    command = watch.recorded(f"cat {watch.passphrase_file}")
    scene.machine.env.pop("FILEVAULT_PASSPHRASE")
    scene.machine.env |= {"FILEVAULT_PASSPHRASE_COMMAND": command, "FILEVAULT_DEBUG": "1"}
    yield watch
    watch.check_files()


@pytest.fixture(scope="module")
def keyrings() -> Iterator[GpgHomes]:
    """The gpg homes of a test module."""
    rings = GpgHomes()
    yield rings
    rings.close()


@pytest.fixture(params=["pass", "age"])
def team(request: pytest.FixtureRequest, tmp_path: Path, keyrings: GpgHomes) -> Team:
    """A team's vault of each kind that has recipients."""
    return Team(request.param, tmp_path / "home", keyrings)


@pytest.fixture(params=KINDS)
def keeper(request: pytest.FixtureRequest, tmp_path: Path, keyrings: GpgHomes) -> BackendMachine:
    """A machine with an empty vault of each backend."""
    return BackendMachine(request.param, tmp_path / "home", keyrings)


@pytest.fixture
def file_keeper(tmp_path: Path) -> BackendMachine:
    """A machine with an empty `file` vault."""
    return BackendMachine("file", tmp_path / "home")


@pytest.fixture(params=[pytest.param("kernel", marks=needs_kernel_keyring), "agent"])
def empty_desk(
    request: pytest.FixtureRequest, machine: Machine, aws: FakeAws
) -> Iterator[KeyCacheMachine]:
    """A machine without a vault, for each key cache."""
    with key_cache_machine(machine, aws, request.param) as desk:
        yield desk


@pytest.fixture
def jon(desk: KeyCacheMachine) -> User:
    """The user `jon` of the AWS account of a `desk`."""
    return desk.aws.directory.users["123456789012", "jon"]


@pytest.fixture
def mfa_user(aws: FakeAws) -> User:
    return aws.add_user("jonsmith", mfa=True)


@pytest.fixture
def warm(machine: Machine, aws: FakeAws, mfa_user: User) -> Machine:
    """A machine with a key-file slot and a cached role session; AWS is gone afterwards."""
    key_file = machine.home / "key"
    machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
    return warmed(machine, aws, mfa_user)


@pytest.fixture(params=["pass", "age"])
def shared_machine(
    request: pytest.FixtureRequest, tmp_path: Path, aws: FakeAws, mfa_user: User
) -> Iterator[Machine]:
    """A machine with a shared vault, a cached role session, and nothing that opens the vault."""
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = request.param
    machine.places = "kernel"
    tool(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "pass":
            gpg = GpgHome()
            stack.callback(gpg.close)
            gpg.make_key("jon@example.com")
            machine.env |= gpg.env()
            machine.ok("init", "--recipient", "jon@example.com")
        else:
            machine.ok("init", "--no-passphrase")
        warmed(machine, aws, mfa_user)
        machine.ok("unlock")
        stack.enter_context(locked_at_the_end(machine))
        (machine.home / "bin").mkdir()
        machine.env["PATH"] = str(machine.home / "bin")  # no gpg, no age
        if request.param == "pass":
            machine.env["GNUPGHOME"] = str(machine.home / "no-keys")
        else:
            (machine.home / ".config/filevault/identities").unlink()
        assert machine.run("export", "work", "-n").status in (5, 7)
        yield machine
