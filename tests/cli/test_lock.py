"""Locking, and the agent that a command starts: what is forgotten, and what ends when."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.keycache import SESSION, VAULT
from tests.agents import short_folder
from tests.cli.desk import Desk
from tests.fakes import FakeAws
from tests.machine import PASSPHRASE, Machine, Result


@pytest.fixture
def desk(machine: Machine, aws: FakeAws) -> Iterator[Desk]:
    """A vault whose keys an agent of its own holds."""
    with short_folder() as runtime:
        desk = Desk(machine, aws, "agent", runtime)
        desk.prepare("init")
        yield desk
        desk.leave()


def refused(result: Result, status: int, *texts: str) -> None:
    """One error line, at most one hint."""
    assert (result.status, result.out) == (status, ""), result
    lines = result.err.splitlines()
    assert lines[0].startswith("filevault: error: "), result.err
    assert len(lines) <= 2, result.err
    for text in texts:
        assert text in result.err


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_says_which_vault_is_locked(desk: Desk) -> None:
    desk.prepare("unlock")
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 0 keys forgotten.\n"


def test_a_mistyped_vault_is_not_called_locked(desk: Desk) -> None:
    desk.prepare("unlock")
    typo = desk.machine.home / "typo"
    refused(desk.machine.run("lock", "--vault", str(typo)), 4, "there is no vault", str(typo))
    assert desk.held() == [SESSION]


def test_the_keys_of_a_vault_that_is_gone_can_be_forgotten(desk: Desk) -> None:
    desk.prepare("unlock")
    desk.machine.vault.rename(desk.machine.home / "elsewhere")
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    assert desk.machine.run("lock").status != 0


def test_an_agent_that_cannot_be_asked_is_no_success(desk: Desk) -> None:
    desk.prepare("unlock")
    (folder,) = map(Path, desk.sockets)
    folder.chmod(0o755)
    refused(desk.machine.run("lock"), 7, str(folder), "others can open it", "chmod 700")
    folder.chmod(0o700)
    assert desk.held() == [SESSION]
    assert "1 key forgotten" in desk.machine.ok("lock").out


def test_unlocking_without_vault_key_ends_an_earlier_one_with_it(desk: Desk) -> None:
    desk.prepare("unlock", "--vault-key")
    assert desk.held() == [SESSION, VAULT]
    said = desk.prepare("unlock", "--ttl", "1h")
    assert desk.held() == [SESSION]
    assert "forgotten" in said.err
    assert desk.prepare("unlock").err == ""


# The agent of a job


def in_job(desk: Desk, script: str, **env: str) -> Result:
    """Run a shell script in a job with an agent of its own; `fv` in it is this program."""
    machine = desk.machine
    words = " ".join(map(shlex.quote, ("env", f"LAUNCH={machine.environment()['LAUNCH']}",
                                       *machine.launcher)))  # fmt: skip
    return machine.run("agent", "--", "sh", "-c", f'fv() {{ {words} "$@"; }}; {script}', env=env)


PASS = {"FILEVAULT_PASSPHRASE": PASSPHRASE}


def test_a_job_locks_what_its_user_has_unlocked(desk: Desk) -> None:
    desk.prepare("unlock", "--vault-key")
    said = in_job(desk, "fv unlock >&2; fv lock", **PASS)
    assert "; 3 keys forgotten" in said.out, said
    assert desk.held() == []


def test_no_agent_is_started_in_the_place_of_a_jobs_that_has_ended(desk: Desk) -> None:
    said = in_job(desk, "echo $FILEVAULT_AGENT_DIR")
    folder = Path(said.out.strip())
    wait_until(lambda: not folder.exists())
    env = {"FILEVAULT_AGENT_DIR": str(folder)}
    for argv in (("unlock",), ("agent",), ("agent", "--foreground")):
        refused(desk.machine.run(*argv, env={**PASS, **env}), 7, "has ended", str(folder))
        assert not folder.exists()
    desk.sockets.append(str(folder))
    assert desk.agents() == []


def test_a_job_whose_agent_cannot_start_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    said = in_job(desk, "echo started", TMPDIR=str(long))
    refused(said, 7, "too long for a socket")
    assert list(long.iterdir()) == []
    refused(in_job(desk, "echo started", TMPDIR="/nowhere"), 7, "'/nowhere'")
