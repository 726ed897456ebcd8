from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from filevault.errors import NotCommittedError
from filevault.git import subjects
from filevault.git.commit import commit_files
from filevault.system.files import Folder
from filevault.system.locks import locked
from tests.worlds.git_store import GitStore


@pytest.fixture
def repository(tmp_path: Path) -> GitStore:
    made = GitStore(tmp_path / "store")
    made.init()
    return made


def hook(store: GitStore, name: str, script: str) -> None:
    file = store.path / ".git/hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_adding_replacing_and_removing_are_three_commits(repository: GitStore) -> None:
    repository.commit(repository.write("a/b.fv", b"one"), subject=subjects.added("a/b"))
    repository.commit(repository.write("a/b.fv", b"two"), subject=subjects.added("a/b"))
    assert repository.head("a/b.fv") == b"two"
    (repository.path / "a/b.fv").unlink()
    (repository.path / "a").rmdir()
    repository.commit("a/b.fv", subject=subjects.removed("a/b"))
    assert repository.history() == [
        "Remove a/b from store.",
        "Add given password for a/b to store.",
        "Add given password for a/b to store.",
    ]
    assert repository.status() == ""
    assert repository.git("ls-tree", "-r", "HEAD") == ""


def test_what_has_not_changed_makes_no_commit(repository: GitStore) -> None:
    repository.save("a.fv", b"one")
    repository.save("a.fv", b"one")
    repository.commit("never-there.fv")
    assert repository.history() == ["save a.fv"]


def test_several_files_are_one_commit(repository: GitStore) -> None:
    repository.save("gone.fv", b"x")
    (repository.path / "gone.fv").unlink()
    names = [
        repository.write("a.fv", b"1"),
        repository.write("sub/b.fv", b"2"),
        "gone.fv",
        "never.fv",
    ]
    repository.commit(*names, subject="all of it")
    assert repository.history() == ["all of it", "save gone.fv"]
    assert repository.git("ls-tree", "-r", "--name-only", "HEAD").split() == ["a.fv", "sub/b.fv"]


def test_what_the_user_has_staged_stays_staged(repository: GitStore) -> None:
    repository.save("a.fv", b"one")
    repository.write("notes", b"mine")
    repository.write("b.fv", b"also mine")
    repository.git("add", "notes", "b.fv")
    repository.save("a.fv", b"two")
    assert repository.status() == "A  b.fv\nA  notes\n"
    assert repository.git("show", "--name-only", "--format=", "HEAD").split() == ["a.fv"]


def test_a_store_without_a_repository_is_left_alone(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "store")
    store.commit(store.write("a.fv", b"one"), PATH="/nowhere")
    assert sorted(entry.name for entry in store.path.iterdir()) == ["a.fv"]


def test_the_innermost_repository_is_committed_to(repository: GitStore) -> None:
    repository.init("team")
    inner = repository.path / "team"
    names = (repository.write("team/deep/x.fv", b"inner"), repository.write("y.fv", b"outer"))
    repository.commit(*names, subject="both")
    assert repository.history(at=inner) == repository.history() == ["both"]
    assert repository.head("deep/x.fv", at=inner) == b"inner"
    assert repository.git("ls-tree", "-r", "--name-only", "HEAD").split() == ["y.fv"]


def test_a_surrounding_dotfiles_repository_is_never_committed_to(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "dotfiles/private/store")
    dotfiles = tmp_path / "dotfiles"
    store.git("init", "--quiet", at=dotfiles)
    store.save("a.fv", b"one")
    assert store.find() is None
    assert store.history(at=dotfiles) == []
    assert store.git("diff", "--cached", "--name-only", at=dotfiles) == ""
    assert not (dotfiles / ".git/info/attributes").exists()


def test_the_store_may_be_reached_by_a_link(repository: GitStore, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(repository.path)
    repository.write("a.fv", b"one")
    with Folder.open(str(link)) as folder:
        commit_files(folder, ["a.fv"], "through a link", repository.runner())
    assert repository.history() == ["through a link"]


def test_a_git_folder_that_is_a_link_is_refused(repository: GitStore, tmp_path: Path) -> None:
    (repository.path / ".git").rename(tmp_path / "elsewhere")
    (repository.path / ".git").symlink_to(tmp_path / "elsewhere")
    repository.save("a.fv", b"one")
    assert repository.history() == []
    assert len(repository.notes) == 1
    assert "it is a link" in repository.notes[0]


def test_a_refused_repository_is_not_stepped_over(repository: GitStore, tmp_path: Path) -> None:
    (repository.path / "sub").mkdir()
    (repository.path / "sub/.git").symlink_to(tmp_path)
    repository.save("sub/a.fv", b"one")
    assert repository.history() == []
    assert repository.notes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", [".git", "file"])
def test_a_repository_of_another_user_is_refused(repository: GitStore, what: str) -> None:
    if what == "file":
        (repository.path / "sub").mkdir()
        (repository.path / "sub/.git").write_text("gitdir: ../.git/modules/sub\n")
        os.chown(repository.path / "sub/.git", 1234, 1234)
    else:
        os.chown(repository.path / ".git", 1234, 1234)
    assert repository.find("sub") is None
    assert "belongs to another user" in repository.notes[0]


def test_an_empty_git_folder_is_no_repository(repository: GitStore) -> None:
    (repository.path / "sub/.git").mkdir(parents=True)
    assert repository.find("sub") == str(repository.path)
    assert repository.notes == []


def test_submodules_and_linked_work_trees_are_repositories(
    repository: GitStore, tmp_path: Path
) -> None:
    team = tmp_path / "team"
    repository.git("init", "--quiet", str(team))
    repository.git("commit", "--quiet", "--allow-empty", "-m", "first", at=team)
    repository.git("submodule", "--quiet", "add", str(team), "team")
    repository.git("commit", "--quiet", "-m", "a submodule")
    repository.git("worktree", "add", "--quiet", "tree")
    repository.save("team/a.fv", b"one")
    repository.save("tree/b.fv", b"two")
    assert repository.history(at=repository.path / "team") == ["save team/a.fv", "first"]
    assert repository.history(at=repository.path / "tree") == ["save tree/b.fv", "a submodule"]
    assert repository.history() == ["a submodule"]
    assert "*.fv " in (repository.path / ".git/modules/team/info/attributes").read_text()
    assert "*.fv " in (repository.path / ".git/info/attributes").read_text()


@pytest.mark.parametrize("text", ["gitdir: ../evil\n", "gitdir: .\n", "junk", "gitdir: x\0y\n", ""])
def test_a_git_file_that_leads_anywhere_else_is_refused(repository: GitStore, text: str) -> None:
    repository.git("init", "--quiet", "--bare", str(repository.path / "evil"))
    (repository.path / "sub").mkdir()
    (repository.path / "sub/.git").write_text(text)
    assert repository.find("sub") is None
    assert len(repository.notes) == 1


def test_a_git_file_that_leads_nowhere_is_refused(repository: GitStore) -> None:
    (repository.path / "sub").mkdir()
    (repository.path / "sub/.git").write_text("gitdir: ../.git/modules/none\n")
    assert repository.find("sub") is None
    assert "it leads nowhere" in repository.notes[0]


def test_commits_of_parallel_writers_under_the_lock_are_all_there(repository: GitStore) -> None:
    def write(number: int) -> None:
        with Folder.open(str(repository.path)) as folder, locked(folder):
            folder.write(f"item-{number}.fv", b"x" * number)
            commit_files(folder, [f"item-{number}.fv"], f"item {number}", repository.runner())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(16)))
    assert sorted(repository.history()) == sorted(f"item {number}" for number in range(16))
    assert repository.status() == ""
    assert repository.pauses == []


def test_another_git_at_work_is_waited_for(repository: GitStore) -> None:
    lock = repository.path / ".git/index.lock"
    lock.touch()
    repository.write("a.fv", b"one")

    class Patience(list[float]):
        def append(self, seconds: float) -> None:
            super().append(seconds)
            if len(self) == 3:
                lock.unlink()

    repository.pauses = Patience()
    repository.commit("a.fv", subject="at last")
    assert repository.history() == ["at last"]
    assert repository.pauses == sorted(repository.pauses)


def test_a_lock_that_nobody_removes_is_named(repository: GitStore) -> None:
    (repository.path / ".git/index.lock").touch()
    with pytest.raises(NotCommittedError, match="saved, but not committed.*index.lock") as caught:
        repository.save("a.fv", b"one")
    assert "delete the lock file" in (caught.value.hint or "")
    assert len(repository.pauses) == 5
    assert sum(repository.pauses) < 5


def test_a_hook_of_the_users_that_fails_leaves_the_file_saved(repository: GitStore) -> None:
    hook(repository, "pre-commit", "echo 'not on a Friday \x1b[31m' >&2; exit 1")
    with pytest.raises(NotCommittedError) as caught:
        repository.save("a.fv", b"one")
    assert caught.value.message == ("saved, but not committed; git: not on a Friday \\x1b[31m")
    assert "filevault git status" in (caught.value.hint or "")
    assert (repository.path / "a.fv").read_bytes() == b"one"
    assert repository.history() == []


def test_a_silent_refusal_has_a_reason_too(repository: GitStore) -> None:
    hook(repository, "commit-msg", "exit 1")
    with pytest.raises(NotCommittedError, match="a hook may have refused"):
        repository.save("a.fv", b"one")


def test_an_unknown_author_is_told_what_to_set(repository: GitStore) -> None:
    (repository.home / ".gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    with pytest.raises(NotCommittedError) as caught:
        repository.save("a.fv", b"one")
    hint = caught.value.hint or ""
    for setting in ("user.name", "user.email"):
        assert f"filevault git config {setting} " in hint


def test_a_missing_git_leaves_the_file_saved(repository: GitStore) -> None:
    repository.write("a.fv", b"one")
    with pytest.raises(NotCommittedError, match="there is no program 'git'"):
        repository.commit("a.fv", PATH="/nowhere")


def test_what_the_user_ignores_is_named_not_forced(repository: GitStore) -> None:
    repository.write(".gitignore", b"private/\n")
    with pytest.raises(NotCommittedError, match="ignored by one of your .gitignore"):
        repository.save("private/a.fv", b"one")
    assert repository.git("ls-files") == ""


def test_a_merge_in_progress_is_said(repository: GitStore) -> None:
    repository.save("a.fv", b"one")
    (repository.path / ".git/MERGE_HEAD").write_text(repository.git("rev-parse", "HEAD"))
    with pytest.raises(NotCommittedError, match="partial commit during a merge"):
        repository.save("a.fv", b"two")


def test_variables_of_git_are_not_obeyed(repository: GitStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    repository.git("init", "--quiet", str(other))
    repository.write("a.fv", b"one")
    repository.commit(
        "a.fv",
        subject="here",
        GIT_DIR=str(other / ".git"),
        GIT_WORK_TREE=str(other),
        GIT_INDEX_FILE=str(other / "index"),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="core.hooksPath",
        GIT_CONFIG_VALUE_0=str(other),
    )
    assert repository.history() == ["here"]
    assert repository.history(at=other) == []


@pytest.mark.parametrize(
    ("settings", "signed"),
    [
        ({}, False),
        ({"pass.signcommits": "true"}, True),
        ({"commit.gpgsign": "true"}, True),
        ({"commit.gpgsign": "true", "pass.signcommits": "false"}, True),
        ({"commit.gpgsign": "false", "pass.signcommits": "true"}, True),
    ],
)
def test_a_commit_is_signed_where_git_or_pass_is_told_to(
    repository: GitStore, tmp_path: Path, settings: dict[str, str], *, signed: bool
) -> None:
    signer = tmp_path / "signer"
    signer.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    signer.chmod(0o755)
    repository.git("config", "gpg.program", str(signer))
    for name, value in settings.items():
        repository.git("config", name, value)
    if signed:
        with pytest.raises(NotCommittedError, match="gpg failed to sign") as caught:
            repository.save("a.fv", b"one")
        assert "signs its commits" in (caught.value.hint or "")
    else:
        repository.save("a.fv", b"one")
    assert (tmp_path / "asked").exists() == signed


def test_what_git_writes_is_private(repository: GitStore) -> None:
    old = os.umask(0o022)
    try:
        repository.save("a.fv", b"one")
    finally:
        os.umask(old)
    blob = repository.git("rev-parse", "HEAD:a.fv").strip()
    file = repository.path / ".git/objects" / blob[:2] / blob[2:]
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def test_an_item_name_is_no_pattern(repository: GitStore) -> None:
    repository.write("axb.fv", b"mine")
    for name in ("a[x]b.fv", "-x.fv", "  .fv", "übung \udcff.fv"):
        repository.save(name, name.encode("utf-8", "surrogateescape"))
    assert repository.status() == "?? axb.fv\n"
    assert len(repository.history()) == 4


def test_a_subject_is_one_line_without_escapes(repository: GitStore) -> None:
    repository.commit(repository.write("a.fv", b"1"), subject=subjects.added("x\n\x1b[31m\u202e"))
    assert repository.history() == ["Add given password for x\\n\\x1b[31m\\u202e to store."]


def test_subjects_are_those_of_pass() -> None:
    assert subjects.replaced("aws/jon") == "Replace generated password for aws/jon."
    assert subjects.recipients_set("GPG id", ["A", "B"], "") == "Set GPG id to A, B."
    assert subjects.reencrypted("GPG id", ["A", "B"], "aws") == (
        "Reencrypt password store using new GPG id A, B (aws)."
    )


def test_attributes_are_added_once_and_others_kept(repository: GitStore) -> None:
    file = repository.path / ".git/info/attributes"
    file.parent.mkdir(exist_ok=True)
    file.write_text("*.md text")
    repository.save("a.fv", b"one")
    repository.save("a.fv", b"two")
    binary = "-text -diff -ident -filter -working-tree-encoding merge=binary"
    assert file.read_text() == f"*.md text\n*.fv {binary}\n.filevault/** {binary}\n"
    excluded = (repository.path / ".git/info/exclude").read_text().splitlines()
    assert excluded.count(".fv-*.tmp") == 1


def test_attributes_that_cannot_be_written_stop_the_commit(
    repository: GitStore, tmp_path: Path
) -> None:
    info = repository.path / ".git/info"
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    info.symlink_to(tmp_path)
    with pytest.raises(NotCommittedError, match="is a link"):
        repository.save("a.fv", b"one")
    assert repository.history() == []


@pytest.mark.parametrize("folder", ["aws", "my keys", 'a"b', "a\\b", "[a]*?", "#x", "!x", "tab\t"])
def test_in_a_shared_store_only_our_part_has_attributes(tmp_path: Path, folder: str) -> None:
    store = GitStore(tmp_path / "store", ".gpg", (folder,))
    store.init()
    store.write(".gitattributes", b"*.gpg diff=gpg filter=lfs text\n")
    names = [f"{folder}/a.gpg", f"{folder}/deep/er/b.gpg", "other/c.gpg", "d.gpg"]
    for name in names:
        store.write(name, b"x")
    store.commit(names[0], subject="ours")

    def attributes(name: str) -> list[str]:
        fields = store.git("check-attr", "-z", "filter", "text", "diff", "--", name).split("\0")
        return fields[2::3]

    assert [attributes(name) for name in names] == [
        ["unset", "unset", "gpg"],
        ["unset", "unset", "gpg"],
        ["lfs", "set", "gpg"],
        ["lfs", "set", "gpg"],
    ]


def test_a_repository_inside_our_part_has_attributes_at_its_top(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "store", ".age", ("aws",))
    store.init("aws/team")
    store.save("aws/team/x.age", b"x")
    text = (store.path / "aws/team/.git/info/attributes").read_text()
    assert text.splitlines() == [
        "*.age -text -ident -filter -working-tree-encoding merge=binary",
        ".age-recipients -text -ident -filter -working-tree-encoding",
    ]
