"""Machines on which a command cannot do what it is asked to: it says so first, with a way out."""

from __future__ import annotations

import sys

import pytest

from tests.conditions.mounts import read_only
from tests.worlds.age_store import new_identity
from tests.worlds.agent import short_folder
from tests.worlds.in_process import InProcess
from tests.worlds.machine import Machine

NO_PYRAGE = (
    "import runpy, sys; sys.modules['pyrage'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def test_unlock_asks_for_nothing_where_nothing_can_be_kept(machine: Machine) -> None:
    machine.with_vault()
    env = {"XDG_STATE_HOME": "/proc/nothing", "FILEVAULT_PASSPHRASE": "not the passphrase"}
    ended = InProcess({**machine.env, **env}).run("unlock")
    assert ended.status == 7
    assert "the state directory cannot be written, so no session is kept" in ended.err
    assert "hint: set HOME or XDG_STATE_HOME to a folder of yours that can be written" in ended.err


def test_an_agent_without_a_place_says_where_it_could_be(machine: Machine) -> None:
    ended = []
    with short_folder() as root:
        (root / "tmp").mkdir()
        machine.root = str(root)
        machine.places = "agent"
        read_only(machine, root / "tmp")
        for argv in (("agent",), ("agent", "--foreground")):
            ended.append(machine.run(*argv))
    for done in ended:
        assert done.status == 7
        lines = done.err.splitlines()
        assert "/tmp/filevault-" in lines[0]
        assert "read-only file system" in lines[0]
        assert lines[0].count("error: ") == 1
        assert lines[1:] == [
            "filevault: hint: set XDG_RUNTIME_DIR to a folder of yours that can be written"
        ]


@pytest.mark.parametrize("folder", ["/proc/nothing", "/proc"])
def test_an_agent_of_a_job_names_tmpdir(machine: Machine, folder: str) -> None:
    ended = InProcess({**machine.env, "TMPDIR": folder}).run("agent", "--", "true")
    assert ended.status == 7
    assert "hint: set TMPDIR to a folder of yours that can be written" in ended.err


def test_an_age_vault_looks_for_pyrage_before_it_asks(machine: Machine) -> None:
    machine.launcher = (sys.executable, "-c", NO_PYRAGE, *machine.launcher[1:])
    for option in ("--no-passphrase", "--generate", "--allow-weak"):
        done = machine.run("--backend", "age", "init", option)
        assert (done.status, done.out) == (7, ""), done
        assert "needs the Python package pyrage" in done.err
        assert not machine.vault.exists()


@pytest.mark.parametrize("option", [(), ("--no-passphrase",)], ids=["plain", "no passphrase"])
def test_an_init_that_was_killed_goes_on_with_its_identity(
    machine: Machine, option: tuple[str, ...]
) -> None:
    inside = InProcess({**machine.env, "FILEVAULT_BACKEND": "age"})
    identity = machine.home / ".config/filevault/identities"
    assert inside.run("--vault", str(machine.home / "first"), "init", "--no-passphrase").status == 0
    text = identity.read_bytes()
    second = machine.home / "second"
    again = inside.run("--vault", str(second), "init", *option)
    assert again.status == 0
    assert f"no identity is made: the one in {identity} is used" in again.err
    assert "identity:" not in again.out
    assert identity.read_bytes() == text
    recipient = text.decode().split("public key: ")[1].split()[0]
    assert (second / ".age-recipients").read_text() == f"{recipient}\n"


def test_init_says_that_an_identity_is_not_noted(machine: Machine) -> None:
    inside = InProcess({**machine.env, "FILEVAULT_BACKEND": "age"})
    assert inside.run("--vault", str(machine.home / "first"), "init", "--no-passphrase").status == 0
    identity = machine.home / "my keys"
    (machine.home / ".config/filevault/identities").rename(identity)
    second = ("--vault", str(machine.home / "second"))
    made = inside.run(*second, "init", "--identity", str(identity))
    assert made.status == 0
    assert f"export FILEVAULT_AGE_IDENTITY_FILE='{identity}'" in made.err
    adopted = inside.run(*second, "init", "--identity", str(identity))
    assert f"give --identity '{identity}' to each command" in adopted.err


def test_a_removal_that_is_given_again_says_that_it_is_done(machine: Machine) -> None:
    inside = InProcess({**machine.env, "FILEVAULT_BACKEND": "age"})
    other = new_identity(machine.home / "other")
    assert inside.run("init", "--no-passphrase").status == 0
    assert inside.run("recipients", "add", other).status == 0
    assert inside.run("recipients", "remove", other).status == 0
    again = inside.run("recipients", "remove", other)
    assert again.status == 2
    assert "where a removal was interrupted, nothing of it is left to do" in again.err
