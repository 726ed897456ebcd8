from __future__ import annotations

import os
from pathlib import Path

import pytest

from filevault.git.passthrough import passthrough
from filevault.system.files import Folder
from tests.worlds.git_store import GitStore
from tests.worlds.trap import Trap

ALL_OF_OURS = ("*.fv", "*.gpg", "*.age", ".gpg-id", ".age-recipients", "*.json", "*.slot")
ATTRIBUTES = "* filter=lfs diff=evil\n[attr]text filter=evil\n[attr]filter filter=evil\n" + "".join(
    f"{pattern} filter text eol=crlf working-tree-encoding=UTF-16 ident merge=union\n"
    for pattern in ALL_OF_OURS
)
CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\tfsmonitor = {run}
\thooksPath = hooks
\tpager = {run}
\tsshCommand = {run}
[alias]
\tstatus = !{run}
[filter "evil"]
\tclean = {run}
\trequired = true
[diff "evil"]
\ttextconv = {run}
\tcommand = {run}
[gpg]
\tprogram = {run}
"""
ITEM = b"line\r\n$Id$\nline\n\x00\xff binary enough"
HOOKS = ("pre-commit", "post-commit", "commit-msg", "prepare-commit-msg", "post-index-change")


def bare_looking(folder: Path, trap: Trap) -> None:
    """Files that make a folder a repository to a git that discovers one from inside."""
    for name in ("objects", "refs/heads", "hooks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / ".keep").touch()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "config").write_text(CONFIG.format(run=trap.run))
    for name in HOOKS:
        (folder / "hooks" / name).write_text(f"#!/bin/sh\nexec {trap.run} hook\n")
        (folder / "hooks" / name).chmod(0o755)


def clone_of_hostile_remote(
    tmp_path: Path, trap: Trap, suffix: str, *, filters: bool = True
) -> GitStore:
    """Everything that a remote can put into a clone, cloned by the real git."""
    author = GitStore(tmp_path / "attacker")
    author.init()
    here = author.path
    other = GitStore(tmp_path / "submodule-source")
    other.init()
    other.write("README", b"x")
    other.git("add", ".")
    other.git("commit", "--quiet", "-m", "x")
    author.git("submodule", "--quiet", "add", str(other.path), "sub")
    bare_looking(here, trap)  # at the top beside .git
    bare_looking(here / "aws", trap)  # where items lie
    (here / ".githooks").mkdir()
    for name in HOOKS:
        (here / ".githooks" / name).write_text(f"#!/bin/sh\nexec {trap.run} hook\n")
        (here / ".githooks" / name).chmod(0o755)
    for name in ("git", "gpg", "git-lfs", "git-commit", "less"):
        (here / name).write_text(f"#!/bin/sh\nexec {trap.run} {name}\n")
        (here / name).chmod(0o755)
    for name in (".gitattributes", "aws/.gitattributes", ".filevault/.gitattributes"):
        author.write(name, ATTRIBUTES.encode())
    author.write(".lfsconfig", b"[lfs]\nurl = https://attacker.example\n")
    author.write(".gitconfig", CONFIG.format(run=trap.run).encode())
    author.write("aws/\x1b]0;owned\x07\x1b[2J\nname" + suffix, b"x")
    author.write("aws/evil\u202egnp" + suffix, b"x")
    (here / "aws/link").symlink_to("/etc")
    (here / f"aws/linked{suffix}").symlink_to("/etc/passwd")
    (here / ".git/info/attributes").write_text("* -text -filter -working-tree-encoding -ident\n")
    author.git("add", "--all", "--force")
    author.git("commit", "--quiet", "-m", "\x1b[2Jhello")
    store = GitStore(tmp_path / "store", suffix, () if suffix == ".fv" else ("aws",))
    store.path.rmdir()
    store.git("clone", "--quiet", "--recurse-submodules", str(here), str(store.path), at=tmp_path)
    with (store.home / ".gitconfig").open("a") as file:
        file.write("[core]\nhooksPath = .githooks\nautocrlf = true\n")
        if filters:
            # As after `git lfs install`: the attacker's attribute names what exists here.
            file.write(f'[filter "lfs"]\nclean = {trap.run} lfs-clean\nrequired = true\n')
            file.write(f'[filter "evil"]\nprocess = {trap.run} evil\nrequired = true\n')
            file.write(f'[diff "evil"]\ntextconv = {trap.run} textconv\n')
    assert trap.sprung() == ""
    return store


@pytest.mark.parametrize("suffix", [".fv", ".gpg", ".age"])
def test_a_hostile_clone_runs_nothing_and_changes_no_byte(
    tmp_path: Path, trap: Trap, suffix: str
) -> None:
    store = clone_of_hostile_remote(tmp_path, trap, suffix)
    path = f".::bin:{os.environ['PATH']}"
    names = [f"aws/new{suffix}", f"aws/deep/er/new{suffix}"]
    if suffix == ".fv":
        names += ["top.fv", ".filevault/vault.json", ".filevault/slots/a.slot"]
    else:
        names += [".gpg-id" if suffix == ".gpg" else ".age-recipients"]
    for name in names:
        store.commit(store.write(name, ITEM + name.encode()), PATH=path)
    store.commit(store.write(names[0], ITEM), PATH=path)
    (store.path / names[1]).unlink()
    store.commit(names[1], PATH=path)
    assert trap.sprung() == ""
    assert store.notes == []
    assert store.head(names[0]) == ITEM
    for name in names[2:]:
        assert store.head(name) == ITEM + name.encode() == (store.path / name).read_bytes()
    assert store.git("ls-tree", "--name-only", "HEAD", names[1]) == ""
    assert len(store.history()) == len(names) + 3


@pytest.mark.parametrize("suffix", [".fv", ".gpg"])
def test_the_users_own_status_and_log_run_nothing_either(
    tmp_path: Path, trap: Trap, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = clone_of_hostile_remote(tmp_path, trap, suffix, filters=False)
    store.save(f"aws/new{suffix}", ITEM)
    with Folder.open(str(store.path)) as folder:
        for arguments in (["log", "--format=%s", "-1"], ["commit", "--allow-empty", "-m", "mine"]):
            assert passthrough(folder, arguments, store.runner()) == 0
    assert trap.sprung() == ""
    assert "save aws/new" in capfd.readouterr().out


@pytest.mark.parametrize("filters", [True, False])
def test_the_trap_would_spring_where_nothing_is_done_about_it(
    tmp_path: Path, trap: Trap, *, filters: bool
) -> None:
    store = clone_of_hostile_remote(tmp_path, trap, ".fv", filters=filters)
    store.write("aws/new.fv", ITEM)
    store.write("aws/new", b"x")
    store.git("add", "aws/new.fv" if filters else "aws/new", check=False)
    assert ("run evil" if filters else "run hook") in trap.sprung()
    trap.mark.unlink()
    store.git("commit", "--quiet", "-m", "x", check=False)
    store.git("status", at=store.path / "aws", check=False)
    assert trap.sprung()


def test_a_folder_that_looks_like_a_bare_repository_is_none(tmp_path: Path, trap: Trap) -> None:
    store = GitStore(tmp_path / "store")
    bare_looking(store.path, trap)
    bare_looking(store.path / "aws", trap)
    store.save("aws/a.fv", b"one")
    assert store.find("aws") is None
    assert trap.sprung() == ""


def test_hooks_that_the_user_chose_for_this_repository_run(tmp_path: Path, trap: Trap) -> None:
    store = GitStore(tmp_path / "store")
    store.init()
    (store.path / "my-hooks").mkdir()
    (store.path / "my-hooks/pre-commit").symlink_to(trap.run)
    store.git("config", "core.hooksPath", "my-hooks")
    store.save("a.fv", b"one")
    assert "pre-commit" in trap.sprung()


@pytest.mark.parametrize("spelling", ["{home}/hooks", "~/hooks"])
def test_the_users_hooks_outside_the_store_run(tmp_path: Path, trap: Trap, spelling: str) -> None:
    store = GitStore(tmp_path / "store")
    store.init()
    (store.home / "hooks").mkdir()
    (store.home / "hooks/pre-commit").symlink_to(trap.run)
    with (store.home / ".gitconfig").open("a") as file:
        file.write(f"[core]\nhooksPath = {spelling.format(home=store.home)}\n")
    store.save("a.fv", b"one")
    assert "pre-commit" in trap.sprung()
