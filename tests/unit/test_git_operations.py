"""Commits where no branch gets them, which variables git sees, and merges of items."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from filevault.errors import BackendError, NotCommittedError, NotPushedError
from filevault.git.commit import commit_files, require_commits
from filevault.git.environment import for_git
from filevault.git.operations import is_detached
from filevault.git.passthrough import passthrough
from filevault.system.files import Folder
from tests.worlds.git_store import GitStore


@pytest.fixture
def diverged(tmp_path: Path) -> GitStore:
    """A store with two branches that disagree, and a file of neither."""
    made = GitStore(tmp_path / "store")
    made.init()
    for name, data in (("a.fv", b"base"), ("b.fv", b"b")):
        made.write(name, data)
    made.git("add", ".")
    made.git("commit", "--quiet", "-m", "base")
    made.git("checkout", "--quiet", "-b", "other")
    made.write("a.fv", b"theirs")
    made.git("commit", "--quiet", "-a", "-m", "theirs")
    made.git("checkout", "--quiet", "main")
    made.write("a.fv", b"ours")
    made.git("commit", "--quiet", "-a", "-m", "ours")
    return made


def _do(*words: str) -> Callable[[GitStore], None]:
    def act(store: GitStore) -> None:
        store.git(*words, check=False)

    return act


def _bisect(store: GitStore) -> None:
    store.git("bisect", "start", "main", "main~1")


UNDER_WAY: dict[str, tuple[Callable[[GitStore], None], str]] = {
    "detached": (_do("checkout", "--quiet", "--detach"), "no branch is checked out in"),
    "a tag": (_do("checkout", "--quiet", "main~1"), "no branch is checked out in"),
    "merge": (_do("merge", "other"), "a merge is in progress in"),
    "rebase": (_do("rebase", "other"), "a rebase is in progress in"),
    "apply": (_do("rebase", "--apply", "other"), "a rebase or git am is in progress in"),
    "cherry-pick": (_do("cherry-pick", "other"), "a cherry-pick is in progress in"),
    "revert": (_do("revert", "--no-edit", "HEAD~1"), "a revert is in progress in"),
    "bisect": (_bisect, "a bisection is in progress in"),
}


@pytest.mark.parametrize("what", UNDER_WAY)
def test_a_commit_that_may_get_lost_is_told_and_refused_where_that_loses_a_key(
    diverged: GitStore, what: str
) -> None:
    act, said = UNDER_WAY[what]
    act(diverged)
    if what == "revert":
        diverged.git("reset", "--quiet", "--hard")
        (diverged.path / ".git/REVERT_HEAD").write_text(diverged.git("rev-parse", "HEAD"))
    with Folder.open(str(diverged.path)) as folder:
        with pytest.raises(BackendError, match=f"{said}.*so that a commit may get lost") as caught:
            require_commits(folder, ["b.fv"], diverged.runner())
        assert "filevault git switch" in (caught.value.hint or "")
        assert caught.value.exit_status == 7
        diverged.write("b.fv", b"new")
        # In some of these git takes no commit of one file.
        with contextlib.suppress(NotCommittedError):
            commit_files(folder, ["b.fv"], "saved", diverged.runner())
    assert [note for note in diverged.notes if said in note and "may get lost" in note]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("ref: refs/heads/main\n", False),
        ("0123456789abcdef0123456789abcdef01234567\n", True),
        ("ref: refs/heads/.invalid\n", None),  # as git 2.45 and later write it for a reftable
    ],
)
def test_a_branch_is_told_from_the_file_of_head(
    tmp_path: Path, head: str, *, found: bool | None
) -> None:
    (tmp_path / "HEAD").write_text(head)
    assert is_detached(str(tmp_path)) is found
    assert is_detached(str(tmp_path / "none")) is None


def test_on_a_branch_nothing_is_said(diverged: GitStore) -> None:
    with Folder.open(str(diverged.path)) as folder:
        (found,) = require_commits(folder, ["b.fv", "a.fv"], diverged.runner())
    assert found.path == str(diverged.path)
    assert diverged.notes == []


# git(1), "Environment variables"; `git rev-parse --local-env-vars`; git's documentation.
LEADS_ELSEWHERE = """GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_ATTR_SOURCE GIT_COMMON_DIR GIT_CONFIG
GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_KEY_12 GIT_CONFIG_PARAMETERS GIT_CONFIG_VALUE_0
GIT_DIR GIT_EDITOR GIT_EXEC_PATH GIT_EXTERNAL_DIFF GIT_GLOB_PATHSPECS GIT_GRAFT_FILE
GIT_ICASE_PATHSPECS GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE GIT_INDEX_VERSION GIT_LITERAL_PATHSPECS
GIT_NAMESPACE GIT_NOGLOB_PATHSPECS GIT_NO_REPLACE_OBJECTS GIT_OBJECT_DIRECTORY GIT_PAGER GIT_PREFIX
GIT_REPLACE_REF_BASE GIT_SEQUENCE_EDITOR GIT_SHALLOW_FILE GIT_TEMPLATE_DIR GIT_WORK_TREE"""
STAYS = """GIT_ALLOW_PROTOCOL GIT_ASKPASS GIT_ATTR_NOSYSTEM GIT_AUTHOR_DATE GIT_AUTHOR_EMAIL
GIT_AUTHOR_NAME GIT_CEILING_DIRECTORIES GIT_COMMITTER_DATE GIT_COMMITTER_EMAIL GIT_COMMITTER_NAME
GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_CONFIG_SYSTEM GIT_CURL_VERBOSE GIT_DEFAULT_HASH
GIT_DIFF_OPTS GIT_DISCOVERY_ACROSS_FILESYSTEM GIT_FLUSH GIT_HTTP_LOW_SPEED_LIMIT
GIT_HTTP_LOW_SPEED_TIME GIT_HTTP_USER_AGENT GIT_MERGE_AUTOEDIT GIT_MERGE_VERBOSITY
GIT_OPTIONAL_LOCKS GIT_PRINT_SHA1_ELLIPSIS GIT_PROTOCOL GIT_PROTOCOL_FROM_USER GIT_PROXY_COMMAND
GIT_PROXY_SSL_CAINFO GIT_PROXY_SSL_CERT GIT_REFLOG_ACTION GIT_REF_PARANOIA GIT_SSH GIT_SSH_COMMAND
GIT_SSH_VARIANT GIT_SSL_CAINFO GIT_SSL_CAPATH GIT_SSL_CERT GIT_SSL_CIPHER_LIST GIT_SSL_KEY
GIT_SSL_NO_VERIFY GIT_SSL_VERSION GIT_TERMINAL_PROMPT GIT_TRACE GIT_TRACE2 GIT_TRACE_CURL"""


@pytest.mark.parametrize(("names", "kept"), [(LEADS_ELSEWHERE, False), (STAYS, True)])
def test_git_gets_all_its_variables_but_those_that_lead_it_elsewhere(
    diverged: GitStore, names: str, *, kept: bool
) -> None:
    given = dict.fromkeys(names.split(), "/a value")
    assert for_git(given) == (given if kept else {})
    local = diverged.git("rev-parse", "--local-env-vars").split()
    assert set(local) - {"GIT_INTERNAL_SUPER_PREFIX"} <= set(LEADS_ELSEWHERE.split())


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("GIT_CONFIG_GLOBAL", "gitconfig", False),
        ("GIT_CONFIG_GLOBAL", "~/gitconfig", True),
        ("GIT_CONFIG_SYSTEM", "./gitconfig", False),
        ("GIT_SSH", "bin/ssh", False),
        ("GIT_SSH", "ssh", True),
        ("GIT_SSH_COMMAND", "./ssh -v", False),
        ("GIT_SSH_COMMAND", "ssh -i ./key", True),
        ("GIT_ASKPASS", "../ask", False),
        ("GIT_AUTHOR_NAME", "./jon", True),
        ("GIT_TRACE", "1", True),
    ],
)
def test_no_variable_leads_git_into_the_store(name: str, value: str, *, kept: bool) -> None:
    assert (name in for_git({name: value})) is kept


def test_an_author_that_only_variables_name_commits(diverged: GitStore) -> None:
    (diverged.home / ".gitconfig").unlink()
    who = {"NAME": "Ann", "EMAIL": "ann@example.com"}
    names = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    diverged.commit(diverged.write("b.fv", b"two"), subject="hers", **names)
    line = diverged.git("log", "-1", "--format=%an <%ae> %cn <%ce> %s")
    assert line == "Ann <ann@example.com> Ann <ann@example.com> hers\n"


@pytest.mark.parametrize("suffix", [".fv", ".age", ".gpg"])
def test_a_pulled_conflict_puts_no_markers_into_an_item(tmp_path: Path, suffix: str) -> None:
    """Items of lines, as armoured ones are, which git would merge by line."""
    store = GitStore(tmp_path / "store", suffix)
    store.init()
    store.save(f"a{suffix}", b"1\n2\n3\n")
    store.git("checkout", "--quiet", "-b", "other")
    store.save(f"a{suffix}", b"1\n2\ntheirs\n")
    store.git("checkout", "--quiet", "main")
    store.save(f"a{suffix}", b"1\n2\nours\n")
    store.git("merge", "other", check=False)
    assert (store.path / f"a{suffix}").read_bytes() == b"1\n2\nours\n"
    assert f"UU a{suffix}" in store.status()


def test_a_pull_of_branches_that_diverged_merges(diverged: GitStore, tmp_path: Path) -> None:
    other = tmp_path / "clone"
    diverged.git("clone", "--quiet", str(diverged.path), str(other))
    (other / "c.fv").write_bytes(b"c")
    diverged.git("add", ".", at=other)
    diverged.git("commit", "--quiet", "-m", "c", at=other)
    diverged.save("b.fv", b"two")
    with Folder.open(str(diverged.path)) as folder:
        words = ["pull", "--quiet", "--no-edit", str(other), "main"]
        assert passthrough(folder, words, diverged.runner()) == 0
        assert (diverged.path / "c.fv").exists()
        diverged.git("config", "pull.ff", "only")  # the user's choice goes first
        diverged.git("reset", "--quiet", "--hard", "HEAD~1")
        assert passthrough(folder, words, diverged.runner()) != 0


def test_a_push_goes_where_git_is_set_up_to_push(diverged: GitStore, tmp_path: Path) -> None:
    diverged.git("init", "--quiet", "--bare", str(tmp_path / "bare"))
    with Folder.open(str(diverged.path)) as folder:
        (found,) = require_commits(folder, ["a.fv"], diverged.runner())
    assert not found.has_remote()
    with pytest.raises(NotPushedError, match="git cannot push: fatal: ") as caught:
        found.push()
    assert "filevault git push -u" in (caught.value.hint or "")
    diverged.git("remote", "add", "origin", str(tmp_path / "bare"))
    diverged.git("push", "--quiet", "-u", "origin", "main")
    diverged.save("a.fv", os.urandom(8))
    with Folder.open(str(diverged.path)) as folder:
        (found,) = require_commits(folder, ["a.fv"], diverged.runner())
    assert found.has_remote()
    found.push(only_try=True)
    assert diverged.history(at=tmp_path / "bare")[0] == "ours"
    found.push()
    assert diverged.history(at=tmp_path / "bare")[0] == "save a.fv"
