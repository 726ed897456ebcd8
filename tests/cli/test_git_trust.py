"""Which git repository of a vault is used, and what becomes of commands where it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, OTHER_ID, OTHER_SECRET, SECRET
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import ON_STDERR, TypedAnswer
from tests.worlds.other_programs import OtherPrograms
from tests.worlds.trap import Trap

KEY = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
ADOPT = "filevault: hint: filevault git adopt shows what it would run"
UNKNOWN = "is not used: this machine was not told to use it"


class Planted:
    """A vault with a key for `work`, into which somebody can put a repository with a hook."""

    def __init__(self, kind: str, tmp_path: Path, keyrings: GpgHomes) -> None:
        self.keeper = BackendMachine(kind, tmp_path / "home", keyrings)
        self.machine = self.keeper.machine
        self.trap = Trap(tmp_path)
        self.keeper.add("work")

    def plant(self) -> None:
        tools = OtherPrograms(self.machine)
        tools.run("git", "init", "--quiet", str(self.keeper.store))
        for name in ("pre-commit", "post-index-change", "pre-push"):
            hook = self.keeper.store / ".git/hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(f"#!/bin/sh\nexec {self.trap.run} hook < /dev/null\n")
            hook.chmod(0o755)
        (self.keeper.store / ".git/objects/from-before").touch()

    def run(self, *argv: str, **env: str) -> InProcessResult:
        return InProcess({**self.machine.env, **env}).run(*argv)

    def add(self, name: str, **env: str) -> InProcessResult:
        return self.run("add", name, "--env", "--no-config", **KEY, **env)

    def commits(self) -> int:
        done = OtherPrograms(self.machine).run(
            "git", "-C", str(self.keeper.store), "rev-list", "--count", "--all"
        )
        return int(done.out)

    def memory(self) -> Path:
        (path,) = self.machine.state.glob("*/trust.json")
        return path

    def forget_repositories(self) -> None:
        """Leave what a filevault from before this rule would have remembered."""
        content = json.loads(self.memory().read_bytes())
        del content["repositories"]
        self.memory().write_text(json.dumps(content))


@pytest.fixture(params=KINDS)
def planted(request: pytest.FixtureRequest, tmp_path: Path, keyrings: GpgHomes) -> Planted:
    tool("age")
    return Planted(request.param, tmp_path, keyrings)


@pytest.fixture
def file_vault(tmp_path: Path, keyrings: GpgHomes) -> Planted:
    return Planted("file", tmp_path, keyrings)


def test_a_planted_repository_runs_nothing_until_it_is_adopted(planted: Planted) -> None:
    planted.plant()
    kind = planted.keeper.kind
    recipient = {
        "pass": ANN,
        "age": "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
    }
    before = planted.keeper.snapshot()
    refused: list[tuple[str, ...]] = [
        ("rotate", "work"),
        ("git", "status"),
        ("git", "init"),
        ("git", "push"),
    ]
    if kind == "file":
        refused.append(("rekey", "--drop-slots"))
    else:
        refused.append(("recipients", "add", recipient[kind]))
    for words in refused:
        ended = planted.run(*words)
        assert (ended.status, UNKNOWN in ended.err) == (10, True), (words, ended)
        assert ADOPT in ended.err
    assert planted.keeper.snapshot() == before
    stored = planted.add("new")
    assert (stored.status, "saved, but not committed" in stored.err) == (11, True), stored
    assert ADOPT in stored.err
    assert planted.keeper.show("new").startswith(SECRET.encode())
    clear = planted.machine.home / ".env"
    clear.write_text(f"AWS_ACCESS_KEY_ID={OTHER_ID}\nAWS_SECRET_ACCESS_KEY={OTHER_SECRET}\n")
    options = ("--name", "imported", "--yes", "--no-config")
    for words, done in (
        (("copy", "new", "second"), "Copied the key"),
        (("rename", "second", "third"), "Renamed the key"),
        (("remove", "third", "--force"), "Deleted the key"),
        (("import", str(clear), *options), "Stored and verified"),
        (("remove", "imported", "--force"), "Deleted the key"),
    ):
        ended = planted.run(*words)
        assert (ended.status, done in ended.out) == (11, True), (words, ended)
        assert ADOPT in ended.err
    removed = planted.run("remove", "new", "--force")
    assert (removed.status, "Deleted the key" in removed.out) == (11, True)
    assert not (planted.keeper.store / ".git/info/attributes").exists()
    assert planted.trap.sprung() == ""

    adopted = planted.run("git", "adopt")
    assert adopted.status == 0
    assert "  hook pre-commit = " in adopted.out
    assert adopted.out.endswith("It is used from now on.\n")
    attributes = (planted.keeper.store / ".git/info/attributes").read_text()
    assert f"*{planted.keeper.suffix} -text" in attributes
    assert "merge=binary" in attributes
    # Nothing was ever committed there, so that everything is now, with the user's hook.
    assert planted.commits() == 1
    assert "hook" in planted.trap.sprung()
    assert planted.add("newer").status == 0
    assert planted.commits() == 2
    assert planted.run("git", "adopt").out.endswith("is used already.\n")


def test_reading_runs_no_git_whatever_repository_there_is(planted: Planted) -> None:
    planted.plant()
    bin_folder = planted.machine.home / "bin"
    bin_folder.mkdir()
    (bin_folder / "git").symlink_to(planted.trap.run)
    path = {"PATH": f"{bin_folder}:{planted.machine.env['PATH']}"}
    for words in (
        ("list",),
        ("list", "--json"),
        ("export", "work", "-n"),
        ("recipients", "list"),
        ("status",),
    ):
        assert planted.run(*words, **path).status == 0, words
    assert planted.machine.run("exec", "work", "-n", "--", "true", env=path).status == 0
    # Nor does the first use, which remembers the repositories that are there.
    shutil.rmtree(planted.machine.state)
    ended = planted.run("export", "work", "-n", **path)
    assert ended.status == 0
    assert "trusted from now on: hook pre-commit = " in ended.err
    assert planted.trap.sprung() == ""


def test_what_is_there_at_the_first_use_is_used(file_vault: Planted) -> None:
    file_vault.plant()
    shutil.rmtree(file_vault.machine.state)
    assert file_vault.run("list", "--credentials").status == 0
    ended = file_vault.add("new")
    assert ended.status == 0
    assert "hook" in file_vault.trap.sprung()
    hook = file_vault.keeper.store / ".git/hooks/pre-commit"
    hook.write_text(hook.read_text() + "# more\n")
    changed = file_vault.add("newer")
    assert changed.status == 11
    assert "has changed: hook pre-commit (changed)" in changed.err


def test_a_vault_from_before_the_rule_is_asked_about_once(file_vault: Planted) -> None:
    machine = file_vault.machine
    file_vault.plant()
    file_vault.forget_repositories()
    unattended = file_vault.add("one")
    assert (unattended.status, UNKNOWN in unattended.err) == (11, True)
    words = ("add", "two", "--env", "--no-config")
    question = TypedAnswer("Use it from now on? (y|N)", "n")
    declined = machine.on_terminal(*words, env=KEY, answers=[question])
    assert declined.status == 11
    assert "hook pre-commit = " in declined.tty
    assert machine.on_terminal("add", "three", *words[2:], env=KEY).status == 11
    assert file_vault.trap.sprung() == ""
    file_vault.forget_repositories()
    agreed = machine.on_terminal("add", "four", *words[2:], env=KEY,
                                 answers=[question._replace(text="y")])  # fmt: skip
    assert agreed.status == 0
    assert file_vault.add("five").status == 0
    assert file_vault.commits() == 2


def test_a_person_sees_what_they_adopt_and_may_decline(file_vault: Planted) -> None:
    file_vault.plant()
    machine = file_vault.machine
    machine.launcher = (*ON_STDERR, *machine.launcher)
    answer = TypedAnswer("Use it from now on? (y|N)", "n")
    declined = machine.on_terminal("git", "adopt", answers=[answer])
    assert declined.status == 0
    assert "nothing was changed" in declined.tty
    assert file_vault.add("new").status == 11
    assert machine.on_terminal("git", "adopt", answers=[answer._replace(text="y")]).status == 0
    assert file_vault.add("new2").status == 0


def test_a_job_whose_state_is_thrown_away_says_so(file_vault: Planted) -> None:
    file_vault.plant()
    adopt = {"FILEVAULT_GIT": "adopt"}
    nowhere = {"XDG_STATE_HOME": "/proc/nowhere"}
    kept = file_vault.memory().read_bytes()
    assert file_vault.add("one", **nowhere).status == 11
    assert file_vault.add("other", **adopt, **nowhere).status == 0
    assert file_vault.add("two", **adopt).status == 0
    assert json.loads(kept)["repositories"] == {}
    assert json.loads(file_vault.memory().read_bytes())["repositories"] == {}
    assert file_vault.run("git", "adopt", **nowhere).status == 7
    assert file_vault.run("git", "log", **adopt).status == 0
    wrong = file_vault.add("three", FILEVAULT_GIT="yes")
    assert (wrong.status, "FILEVAULT_GIT is 'yes'" in wrong.err) == (2, True)


def test_an_init_in_a_repository_commits_to_it(tmp_path: Path, keyrings: GpgHomes) -> None:
    """It was there when this machine first pinned the store."""
    planted = Planted("pass", tmp_path, keyrings)
    shutil.rmtree(planted.keeper.store)
    shutil.rmtree(planted.machine.state)
    planted.plant()
    assert planted.run("init", "--recipient", JON).status == 0
    assert planted.commits() == 1
    assert planted.add("work").status == 0


def test_git_adopt_without_a_repository_names_the_way_to_one(file_vault: Planted) -> None:
    ended = file_vault.run("git", "adopt")
    assert ended.status == 4
    assert "filevault: hint: filevault git init" in ended.err
    assert file_vault.run("git", "adopt", "x").status == 2


def test_on_a_detached_head_a_rotation_is_refused_and_a_write_warned_of(
    file_vault: Planted,
) -> None:
    file_vault.run("git", "init", "--quiet")
    OtherPrograms(file_vault.machine).run(
        "git", "-C", str(file_vault.keeper.store), "checkout", "--quiet", "--detach"
    )
    for words in (("rotate", "work"), ("rekey", "--drop-slots")):
        ended = file_vault.run(*words)
        assert (ended.status, "detached HEAD" in ended.err) == (7, True), ended
        assert "filevault git switch" in ended.err
    ended = file_vault.add("new")
    assert ended.status == 0
    assert "warning: no branch is checked out" in ended.err
