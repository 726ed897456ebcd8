"""`rotate --push`: the new key is elsewhere before the old one goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws, User
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import ON_STDERR, PASSPHRASE, Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity


class PushedVault:
    """A vault whose repository is pushed to a bare one, with a key of Jon's in it."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        tool("git")
        self.machine = machine
        self.tools = OtherPrograms(machine)
        self.bare = machine.home / "bare"
        commit_identity(machine)
        machine.env["AWS_ENDPOINT_URL"] = aws.url
        machine.write_config("[default]\nregion = eu-west-1\n")
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        self.user: User = aws.add_user("jon")
        self.ok("init")
        self.ok("git", "init", "--quiet")
        self.ok("add", "jon", "--env", "--no-config")
        self.git("init", "--quiet", "--bare", str(self.bare))
        self.ok("git", "remote", "add", "origin", str(self.bare))

    def run(self, *argv: str) -> InProcessResult:
        key = {
            "AWS_ACCESS_KEY_ID": self.user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.user.secret_access_key,
        }
        return InProcess({**self.machine.env, **key}).run(*argv)

    def ok(self, *argv: str) -> InProcessResult:
        ended = self.run(*argv)
        assert ended.status == 0, ended
        return ended

    def git(self, *argv: str, at: Path | None = None) -> str:
        return self.tools.run("git", "-C", str(at or self.machine.vault), *argv).out

    def connect(self) -> None:
        self.ok("git", "push", "--quiet", "-u", "origin", "main")

    def refuse_pushes(self) -> Path:
        """Let the other side refuse what it gets, as a protected branch does."""
        hook = self.bare / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
        hook.chmod(0o755)
        return hook

    def pushed(self) -> list[str]:
        return self.git("log", "--format=%H", "main", at=self.bare).split()

    def here(self) -> list[str]:
        return self.git("log", "--format=%H").split()

    def rotate(self, *words: str) -> tuple[InProcessResult, dict[str, object]]:
        ended = self.run("rotate", "jon", "--json", *words)
        (outcome,) = json.loads(ended.out)
        return ended, outcome


@pytest.fixture
def pushed(machine: Machine, aws: FakeAws) -> PushedVault:
    return PushedVault(machine, aws)


def test_both_ends_of_a_rotation_are_pushed(pushed: PushedVault) -> None:
    pushed.connect()
    before = len(pushed.pushed())
    result, outcome = pushed.rotate("--push")
    assert (result.status, outcome["result"], outcome["old_state"]) == (0, "rotated", "deleted")
    assert pushed.pushed() == pushed.here()
    # The new key with the old one, then the new one alone.
    assert len(pushed.pushed()) == before + 2


def test_what_cannot_be_pushed_is_not_begun(pushed: PushedVault) -> None:
    result, outcome = pushed.rotate("--push")
    assert (result.status, outcome["result"]) == (11, "failed")
    assert "nothing was changed, because git cannot push" in result.err
    assert "filevault git push -u" in result.err
    assert set(pushed.user.keys) == {pushed.user.access_key_id}
    pushed.connect()
    clone = pushed.machine.home / "clone"
    pushed.git("clone", "--quiet", str(pushed.bare), str(clone))
    pushed.git("commit", "--quiet", "--allow-empty", "-m", "more", at=clone)
    pushed.git("push", "--quiet", at=clone)
    result, outcome = pushed.rotate("--push")
    assert (result.status, outcome["result"]) == (11, "failed")
    assert set(pushed.user.keys) == {pushed.user.access_key_id}
    assert pushed.git("status", "--porcelain") == ""


def test_a_push_that_fails_leaves_the_old_key_active_and_is_made_up_for(
    pushed: PushedVault,
) -> None:
    pushed.connect()
    hook = pushed.refuse_pushes()
    result, outcome = pushed.rotate("--push")
    assert (result.status, outcome["result"], outcome["old_state"]) == (12, "partly", "active")
    assert "committed, but not pushed: git cannot push: " in result.err
    assert result.err.count("not pushed") == 1
    old, new = (pushed.user.keys[str(outcome[key])] for key in ("old_key", "new_key"))
    assert (old.status, new.status) == ("Active", "Active")
    assert new.access_key_id in pushed.ok("export", "jon", "-n").out
    assert pushed.git("status", "--porcelain") == ""
    again, _ = pushed.rotate("--push")
    assert again.status == 12
    assert set(pushed.user.keys) == {old.access_key_id, new.access_key_id}
    hook.unlink()
    result, outcome = pushed.rotate("--push", "--older-than", "1d")
    assert (result.status, outcome["result"], outcome["old_state"]) == (0, "finished", "deleted")
    assert set(pushed.user.keys) == {new.access_key_id}
    assert pushed.pushed() == pushed.here()


def test_without_push_a_person_is_told_of_the_other_clones(pushed: PushedVault) -> None:
    pushed.connect()
    before = pushed.pushed()
    pushed.machine.launcher = (*ON_STDERR, *pushed.machine.launcher)
    result = pushed.machine.on_terminal("rotate", "jon")
    assert result.status == 0
    assert "other clones of the vault use the old key" in result.tty
    assert "filevault git push here, then filevault git pull there" in result.tty
    assert pushed.pushed() == before


def test_push_without_a_repository_is_a_mistake(pushed: PushedVault) -> None:
    (pushed.machine.vault / ".git").rename(pushed.machine.home / "gone")
    ended = pushed.run("rotate", "jon", "--push")
    assert (ended.status, "filevault git init" in ended.err) == (2, True)
    assert pushed.run("rotate", "jon", "--push", "--dry-run").status == 2
    assert set(pushed.user.keys) == {pushed.user.access_key_id}
