"""Locking, and the agent that a command starts: what is forgotten, and what ends when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.keycache import SESSION, VAULT
from tests.agents import short_folder
from tests.cli.desk import Desk
from tests.fakes import FakeAws
from tests.machine import Machine, Result


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
