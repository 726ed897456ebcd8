from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from filevault.errors import NotCommittedError, NotFoundError, UsageError
from filevault.git.passthrough import passthrough
from filevault.system.files import Folder
from tests.worlds.git_store import GitStore


@pytest.fixture
def store(tmp_path: Path) -> GitStore:
    return GitStore(tmp_path / "store")


def passed(store: GitStore, *arguments: str, **more: str) -> int:
    with Folder.open(str(store.path)) as folder:
        return passthrough(folder, arguments, store.runner(**more))


def test_init_commits_what_the_store_holds(store: GitStore) -> None:
    store.write("a.fv", b"one\r\n")
    store.write(".filevault/vault.json", b"{}")
    store.write(".fv-0123456789abcdef.tmp", b"a crash left it")
    assert passed(store, "init", "--quiet") == 0
    assert store.history() == ["Add current contents of password store."]
    tracked = store.git("ls-tree", "-r", "--name-only", "HEAD").split()
    assert tracked == [".filevault/vault.json", "a.fv"]
    assert store.status() == ""
    assert "*.fv -text" in (store.path / ".git/info/attributes").read_text()


def test_init_of_an_empty_store_commits_nothing(store: GitStore) -> None:
    assert passed(store, "init", "--quiet") == 0
    assert store.history() == []
    store.save("a.fv", b"one")
    assert store.history() == ["save a.fv"]


def test_an_init_that_could_not_commit_commits_when_it_is_repeated(store: GitStore) -> None:
    store.write("a.fv", b"one")
    (store.path.parent / "nobody").mkdir()
    (store.path.parent / "nobody/.gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    nobody = {"HOME": str(store.path.parent / "nobody")}
    with pytest.raises(NotCommittedError):
        passed(store, "init", "--quiet", **nobody)
    assert store.history() == []
    assert passed(store, "init", "--quiet") == 0
    assert store.history() == ["Add current contents of password store."]
    assert store.status() == ""


def test_init_of_what_has_a_history_already_commits_nothing(store: GitStore) -> None:
    store.init()
    store.save("a.fv", b"one")
    store.write("mine", b"x")
    assert passed(store, "init", "--quiet") == 0
    assert store.status() == "?? mine\n"


def test_init_inside_a_dotfiles_repository_makes_one_of_the_stores_own(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "dotfiles/store")
    store.git("init", "--quiet", at=tmp_path / "dotfiles")
    store.write("a.fv", b"one")
    assert passed(store, "init", "--quiet") == 0
    assert store.find() == str(store.path)
    assert store.history(at=tmp_path / "dotfiles") == []


def test_an_init_that_fails_has_gits_status(store: GitStore) -> None:
    assert passed(store, "init", "--no-such-option") == 129
    assert not (store.path / ".git").exists()


@pytest.mark.parametrize("words", [("--separate-git-dir={}/elsewhere",), ("{}/other",)])
def test_an_init_of_a_repository_that_is_not_used_fails(
    store: GitStore, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with pytest.raises(NotFoundError, match="none in which the items of") as caught:
        passed(store, "init", "--quiet", *(word.format(tmp_path) for word in words))
    assert "without --separate-git-dir" in (caught.value.hint or "")


def test_an_init_in_the_folder_of_the_items_commits_them(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "store", ".gpg", ("aws",))
    store.write("aws/a.gpg", b"one")
    assert passed(store, "init", "--quiet", "aws") == 0
    assert store.history(at=store.path / "aws") == ["Add current contents of password store."]


def test_gits_status_is_ours(store: GitStore) -> None:
    store.init()
    store.save("a.fv", b"one")
    assert passed(store, "diff", "--quiet") == 0
    store.write("a.fv", b"two")
    assert passed(store, "diff", "--quiet") == 1
    assert passed(store, "no-such-command") == 1
    assert passed(store, "rev-parse", "--no-such") == 0


def test_a_command_runs_at_the_top_of_the_repository_of_the_items(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "store", ".gpg", ("aws",))
    store.init()
    store.init("aws")
    assert passed(store, "config", "filevault.was", "here") == 0
    assert store.git("config", "filevault.was", at=store.path / "aws") == "here\n"
    assert store.git("config", "--local", "filevault.was", check=False) == ""


def test_without_a_repository_the_way_to_one_is_named(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "dotfiles/store")
    store.git("init", "--quiet", at=tmp_path / "dotfiles")
    with pytest.raises(NotFoundError, match="no git repository of its own") as caught:
        passed(store, "status")
    assert caught.value.hint == "filevault git init"


def test_a_broken_configuration_can_still_be_repaired(store: GitStore) -> None:
    store.init()
    with (store.path / ".git/config").open("a") as file:
        file.write("[broken\n")
    assert passed(store, "status") == 128


def test_git_has_our_input_and_output(store: GitStore) -> None:
    store.init()
    script = (
        "import sys\nfrom filevault.backends.file import FILE\n"
        "from filevault.git.passthrough import passthrough\n"
        "from filevault.git.program import Git\n"
        "from filevault.git.trusted_repositories import TrustedRepositories\n"
        "from filevault.system.files import Folder\n"
        "from tests.worlds.git_store import RememberedRepositories\n"
        "trusted = TrustedRepositories(RememberedRepositories(), everything=True)\n"
        f"git = Git({store.environment!r}, FILE, trusted=trusted, sleep=print, warn=print)\n"
        f"with Folder.open({str(store.path)!r}) as store:\n"
        "    sys.exit(passthrough(store, sys.argv[1:], git))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "hash-object", "--stdin"],
        input=b"typed\n",
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"ed2e23ca72a0e4bb3c41c7dc5e42ffc5a35ac1ca\n" or len(done.stdout) == 41


def test_variables_of_git_are_not_obeyed(store: GitStore, tmp_path: Path) -> None:
    store.init()
    other = tmp_path / "other"
    store.git("init", "--quiet", str(other))
    assert passed(store, "config", "filevault.was", "here", GIT_DIR=str(other / ".git")) == 0
    assert store.git("config", "filevault.was") == "here\n"


@pytest.mark.parametrize("folder", ["origin", "origin.git", "origin/.git"])
def test_a_folder_in_the_place_of_a_remote_gets_no_push_by_its_name(
    store: GitStore, folder: str
) -> None:
    """git takes a word for a path if there is no remote of that name, and runs the hooks there."""
    store.init()
    store.save("a.fv", b"one")
    store.git("init", "--quiet", "--bare", str(store.path / folder))
    mark = store.path.parent / "ran"
    hook = store.path / folder / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    for words in (("push", "origin", "HEAD:x"), ("-c", "a.b=c", "push", "--repo=origin")):
        with pytest.raises(UsageError, match="'origin' is a repository in a folder of the store"):
            passed(store, *words)
    assert not mark.exists()
    if folder == "origin":
        assert passed(store, "push", "--quiet", "./origin", "HEAD:x") == 0
        assert mark.exists()  # so that the test would notice it
