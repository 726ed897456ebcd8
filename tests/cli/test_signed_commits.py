"""Commits in a repository whose owner has git sign them, with the real gpg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import JON, LINES
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.other_programs import commit_identity
from tests.worlds.pass_store import GpgHome

LOCKED = "locked@example.com"


@pytest.fixture(scope="module")
def signing_gpg() -> Iterator[GpgHome]:
    tool("gpg")
    home = GpgHome()
    home.make_key(JON)
    home.make_key(LOCKED, PASSPHRASE)
    yield home
    home.close()


@pytest.fixture
def signed_vault(tmp_path: Path, signing_gpg: GpgHome) -> Machine:
    """A file vault in a repository that signs its commits."""
    machine = Machine(tmp_path / "home").with_vault()
    machine.env |= signing_gpg.env()
    commit_identity(machine)
    machine.ok("git", "init")
    machine.ok("git", "config", "commit.gpgsign", "true")
    return machine


def add(machine: Machine, name: str, **env: str) -> tuple[int, str]:
    result = machine.run("add", name, "--stdin", "--no-config", stdin=LINES, env=env)
    return result.status, result.err


def test_git_signs_the_commits_that_its_user_wants_signed(signed_vault: Machine) -> None:
    signed_vault.ok("git", "config", "user.signingkey", JON)
    assert add(signed_vault, "work") == (0, "")
    assert signed_vault.ok("git", "log", "-1", "--format=%s %G?").out.strip()[-1] in "GU"


def test_a_locked_signing_key_without_a_terminal_stops_the_commit_alone_and_at_once(
    signed_vault: Machine, signing_gpg: GpgHome
) -> None:
    signed_vault.ok("git", "config", "user.signingkey", LOCKED)
    signing_gpg.forget_passphrases()
    status, err = add(signed_vault, "work", GPG_TTY="/dev/tty1")
    assert status == 11
    assert "saved, but not committed; git: error: gpg failed to sign the data" in err
    assert "the repository signs its commits" in err
    assert signed_vault.ok("list", "--credentials").out == "work\n"
