"""A repository that somebody put into a store, or changed there, runs nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from filevault.errors import NotCommittedError, StorageError, UnknownRepositoryError
from filevault.git.adoption import find_all
from filevault.git.commit import repositories_of, require_commits
from filevault.git.passthrough import passthrough
from filevault.git.trusted_repositories import TrustedRepositories
from filevault.system.files import Folder
from tests.worlds.git_store import GitStore
from tests.worlds.trap import Trap

# githooks(5)
HOOKS = (
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-prepare-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "post-index-change",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> GitStore:
    """A store with a history, made once."""
    made = GitStore(tmp_path_factory.mktemp("template") / "store")
    made.init()
    made.save("a.fv", b"one")
    return made


@pytest.fixture
def adopted(template: GitStore, tmp_path: Path) -> GitStore:
    """Another with the same, which this machine was told to use."""
    made = GitStore(tmp_path / "store")
    shutil.copytree(template.path, made.path, dirs_exist_ok=True)
    with (made.path / ".git/config").open("a") as file:
        file.write(f"[include]\n\tpath = {tmp_path}/included\n[core]\n\thooksPath = own-hooks\n")
        file.write("[include]\n\tpath = odd\n")
    (made.path / ".git/odd").write_text('[core] hooksPath = "odd-hooks" # of no plain form\n')
    made.adopt()
    return made


def _script(path: Path, trap: Trap) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec {trap.run} {path.name} < /dev/null\n")
    path.chmod(0o755)


def _config(store: GitStore, text: str) -> None:
    with (store.path / ".git/config").open("a") as file:
        file.write(text)


def _included(store: GitStore, trap: Trap) -> None:
    (store.path.parent / "included").write_text(f"[gpg]\n\tprogram = {trap.run}\n")


def _commondir(store: GitStore, trap: Trap) -> None:
    shutil.copytree(store.path / ".git", store.path / "evil")
    _script(store.path / "evil/hooks/pre-commit", trap)
    (store.path / ".git/commondir").write_text("../evil\n")


def _worktree_config(store: GitStore, trap: Trap) -> None:
    (store.path / ".git/config.worktree").write_text(f"[gpg]\n\tprogram = {trap.run}\n")


def _git_file(store: GitStore, trap: Trap) -> None:
    (store.path / ".git").rename(store.path / "moved")
    shutil.copytree(store.path / "moved", store.path / "x/.git/modules/evil")
    _script(store.path / "x/.git/modules/evil/hooks/pre-commit", trap)
    (store.path / ".git").write_text("gitdir: x/.git/modules/evil\n")


def _module(store: GitStore, trap: Trap) -> None:
    """`git submodule update` would check out there, and run that."""
    shutil.copytree(store.path / ".git", store.path / ".git/modules/sub")
    _script(store.path / ".git/modules/sub/hooks/post-checkout", trap)


def _linked_hooks(store: GitStore, trap: Trap) -> None:
    _script(store.path / "evil/pre-commit", trap)
    shutil.rmtree(store.path / ".git/hooks")
    (store.path / ".git/hooks").symlink_to("../evil")


def _linked_hook(store: GitStore, trap: Trap) -> None:
    (store.path / ".git/hooks/pre-commit").symlink_to(trap.run)


def _rebase(store: GitStore, trap: Trap) -> None:
    (store.path / ".git/rebase-merge").mkdir()
    (store.path / ".git/rebase-merge/git-rebase-todo").write_text(f"pick x\nexec {trap.run}\n")


def _strategy(store: GitStore, trap: Trap) -> None:
    """`git rebase --continue` would run git-merge-STRATEGY, here a file of the work tree."""
    _script(store.path / "git-merge-../evil", trap)
    (store.path / ".git/rebase-merge").mkdir()
    (store.path / ".git/rebase-merge/strategy").write_text("../evil\n")


def _sequencer(store: GitStore, _: Trap) -> None:
    (store.path / ".git/sequencer").mkdir()
    (store.path / ".git/sequencer/opts").write_text("[options]\n\tstrategy = ../evil\n")


def _link(place: str) -> Callable[[GitStore, Trap], None]:
    """Return what lets a path in the git folder lead to where the same lies outside the store."""

    def change(store: GitStore, _: Trap) -> None:
        path, outside = store.path / ".git" / place, store.path.parent / "outside"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(outside)
        path.symlink_to(outside)

    return change


LINKS = (
    "COMMIT_EDITMSG",
    "config.lock",
    "index",
    "info",
    "logs",
    "logs/HEAD",
    "logs/refs/heads/hooks",
    "modules",
    "modules/sub",
    "objects",
    "objects/17",
    "objects/info/commit-graph",
    "objects/pack",
    "refs",
    "refs/heads/hooks",
    "worktrees/x",
)
VECTORS: dict[str, Callable[[GitStore, Trap], None]] = {
    "hook pre-commit": lambda store, trap: _script(store.path / ".git/hooks/pre-commit", trap),
    "a file beside the hooks": lambda store, trap: _script(
        store.path / ".git/hooks/lib/common.sh", trap
    ),
    "a hook where core.hooksPath leads": lambda store, trap: _script(
        store.path / "own-hooks/pre-commit", trap
    ),
    "a setting": lambda store, trap: _config(store, f"[gpg]\n\tprogram = {trap.run}\n"),
    "a setting in another form": lambda store, trap: _config(
        store, f'[core] sshCommand = "{trap.run}"\n'
    ),
    "an included file": _included,
    "a further include": lambda store, _: _config(store, "[include]\n\tpath = ../evil\n"),
    "an include with a condition": lambda store, _: _config(
        store, '[includeIf "gitdir:/"]\n\tpath = ../evil\n'
    ),
    "commondir": _commondir,
    "config.worktree": _worktree_config,
    "a .git file": _git_file,
    "the git folder of a submodule": _module,
    "hooksPath in another form": lambda store, trap: _script(
        store.path / "odd-hooks/pre-commit", trap
    ),
    "the folder of hooks as a link": _linked_hooks,
    "a hook as a link": _linked_hook,
    "a remote in the old form": lambda store, _: _script(
        store.path / ".git/remotes/origin", Trap(store.path.parent)
    ),
    "a branch in the old form": lambda store, _: _script(
        store.path / ".git/branches/origin", Trap(store.path.parent)
    ),
    "commands of a rebase": _rebase,
    "strategy of a rebase": _strategy,
    "strategy of a cherry-pick": _sequencer,
    **{f"{place} as a link": _link(place) for place in LINKS},
}


def refuses(store: GitStore) -> UnknownRepositoryError:
    """Require that no way to this repository is open, and return why."""
    with pytest.raises(NotCommittedError, match="saved, but not committed: the git repo") as caught:
        store.save("a.fv", b"two")
    assert caught.value.exit_status == 11
    assert "filevault git adopt" in (caught.value.hint or "")
    with Folder.open(str(store.path)) as folder:
        with pytest.raises(UnknownRepositoryError) as refused:
            require_commits(folder, ["a.fv"], store.runner())
        for words in (["status"], ["init"], ["config", "x.y", "z"]):
            with pytest.raises(UnknownRepositoryError):
                passthrough(folder, words, store.runner())
    assert refused.value.exit_status == 10
    return refused.value


@pytest.mark.parametrize("vector", VECTORS)
def test_what_changes_in_a_repository_makes_it_unknown(
    adopted: GitStore, trap: Trap, vector: str
) -> None:
    before = adopted.history()
    adopted.save("b.fv", b"it is known")
    assert len(adopted.history()) == len(before) + 1
    VECTORS[vector](adopted, trap)
    refuses(adopted)
    assert trap.sprung() == ""
    assert (adopted.path / "a.fv").read_bytes() == b"two"
    adopted.adopt()
    with Folder.open(str(adopted.path)) as folder:
        for repository in repositories_of(folder, ["a.fv"], adopted.runner()):
            adopted.runner().trusted.require(repository)


def test_a_commit_would_write_through_a_link(adopted: GitStore) -> None:
    """What the links among the vectors are about, without the rule."""
    victim = adopted.path.parent / "victim"
    victim.write_text("precious\n")
    (adopted.path / ".git/COMMIT_EDITMSG").unlink()
    (adopted.path / ".git/COMMIT_EDITMSG").symlink_to(victim)
    with pytest.raises(NotCommittedError):
        adopted.save("a.fv", b"two")
    assert victim.read_text() == "precious\n"
    adopted.everything = True
    adopted.save("a.fv", b"three")
    assert victim.read_text() == "save a.fv\n"


def test_a_strategy_of_gits_own_does_not_count(adopted: GitStore) -> None:
    (adopted.path / ".git/rebase-merge").mkdir()
    (adopted.path / ".git/rebase-merge/strategy").write_text("ort\n")
    (adopted.path / ".git/sequencer").mkdir()
    (adopted.path / ".git/sequencer/opts").write_text("[options]\n\tstrategy = recursive\n")
    with Folder.open(str(adopted.path)) as folder:
        (repository,) = repositories_of(folder, ["a.fv"], adopted.runner())
        assert adopted.runner().trusted.contains(repository)


def test_what_was_shown_is_remembered_not_what_is_there_by_then(
    adopted: GitStore, trap: Trap
) -> None:
    """Somebody who watches the folder has all the time that a person takes to read and answer."""
    with Folder.open(str(adopted.path)) as folder:
        runner = adopted.runner()
        found = find_all(folder, runner)
        _script(adopted.path / ".git/hooks/pre-commit", trap)
        runner.trusted.add_shown({each.repository.relative_path: each.parts for each in found})
    refuses(adopted)
    assert trap.sprung() == ""


def test_every_hook_counts(adopted: GitStore, trap: Trap) -> None:
    for name in HOOKS:
        hook = adopted.path / ".git/hooks" / name
        _script(hook, trap)
        with pytest.raises(NotCommittedError, match=f"changed: hook {name}$"):
            adopted.commit("a.fv")
        hook.unlink()
    adopted.commit("a.fv")
    assert trap.sprung() == ""


@pytest.mark.parametrize("change", ["content", "mode", "gone"])
def test_a_hook_that_is_not_what_it_was_makes_it_unknown(
    adopted: GitStore, trap: Trap, change: str
) -> None:
    hook = adopted.path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o644 if change == "mode" else 0o755)
    adopted.adopt()
    adopted.save("b.fv", b"two")
    if change == "content":
        _script(hook, trap)
    elif change == "mode":
        hook.chmod(0o755)
    else:
        hook.unlink()
    reason = refuses(adopted).message
    assert f"hook pre-commit ({'changed' if change != 'gone' else 'gone'})" in reason
    assert trap.sprung() == ""


def test_a_program_of_the_store_that_a_setting_names_is_part_of_it(adopted: GitStore) -> None:
    (adopted.path / "sign.sh").write_text("#!/bin/sh\nexit 1\n")
    _config(adopted, "[gpg]\n\tprogram = ./sign.sh --now\n")
    adopted.adopt()
    adopted.save("b.fv", b"two")
    (adopted.path / "sign.sh").write_text("#!/bin/sh\nexit 2\n")
    assert "sign.sh (changed)" in refuses(adopted).message


@pytest.mark.parametrize("below", ["", "team", "deep/er"])
def test_a_repository_that_appears_is_not_used(
    adopted: GitStore, template: GitStore, trap: Trap, below: str
) -> None:
    shutil.rmtree(adopted.path / ".git")
    adopted.memory.places.clear()
    there = adopted.path / below / ".git"
    shutil.copytree(template.path / ".git", there)
    _script(there / "hooks/pre-commit", trap)
    name = f"{below}/x.fv".lstrip("/")
    with pytest.raises(NotCommittedError, match="this machine was not told to use it"):
        adopted.save(name, b"two")
    assert trap.sprung() == ""
    adopted.adopt()
    adopted.save(name, b"three")
    assert "pre-commit" in trap.sprung()


def test_a_nested_repository_keeps_git_from_the_one_around_it(
    adopted: GitStore, template: GitStore, trap: Trap, tmp_path: Path
) -> None:
    """`git status` goes into submodules, where it runs what their configuration names."""
    inner = adopted.path / "sub"
    shutil.copytree(template.path / ".git", inner / ".git")
    head = adopted.git("rev-parse", "HEAD").strip()
    adopted.git("update-index", "--add", "--cacheinfo", f"160000,{head},sub")
    with (inner / ".git/config").open("a") as file:
        file.write(f'[filter "evil"]\n\tclean = {trap.run}\n')
    (inner / ".git/info/attributes").write_text("* filter=evil\n")
    (inner / "a.fv").write_bytes(b"two")  # as long as what is committed, so that git looks into it
    adopted.save("a.fv", b"ours goes on")  # our own commits do not look into it
    with Folder.open(str(adopted.path)) as folder:
        for words in (["status"], ["add", "--all"], ["init"]):
            with pytest.raises(UnknownRepositoryError, match="store/sub"):
                passthrough(folder, words, adopted.runner())
    assert trap.sprung() == ""
    # Nor does a new repository around it, whose first commit has everything.
    fresh = GitStore(tmp_path / "fresh")
    fresh.everything = False
    shutil.copytree(inner, fresh.path / "sub")
    with Folder.open(str(fresh.path)) as folder:
        passthrough(folder, ["init", "--quiet"], fresh.runner())
    fresh.save("a.fv", b"x")
    assert trap.sprung() == ""
    adopted.git("-c", "core.fsmonitor=false", "status", "--short")  # the trap is one
    assert trap.sprung()


@pytest.mark.parametrize("vector", ["hook pre-commit", "commondir", "a setting"])
def test_the_traps_would_spring(adopted: GitStore, trap: Trap, vector: str) -> None:
    VECTORS[vector](adopted, trap)
    adopted.git("-c", "core.hooksPath=.git/hooks" if vector[0] == "h" else "x.y=z",
              *(("-c", "core.hooksPath=evil/hooks") if vector == "commondir" else ()),
              "commit", "--allow-empty", "-m", "x",
              *(("-S",) if vector == "a setting" else ()), check=False)  # fmt: skip
    assert trap.sprung()


def test_daily_use_keeps_a_repository_known(adopted: GitStore, tmp_path: Path) -> None:
    adopted.git("init", "--quiet", "--bare", str(tmp_path / "bare"))
    adopted.git("remote", "add", "origin", "https://git.example.com/vault")
    adopted.git("config", "remote.origin.url", "ssh://git@git.example.com/vault")
    adopted.git("push", "--quiet", str(tmp_path / "bare"), "main")
    adopted.git("config", "branch.main.remote", "origin")
    adopted.git("config", "branch.main.merge", "refs/heads/main")
    adopted.git("config", "user.name", "Ann")
    adopted.git("checkout", "--quiet", "-b", "other")
    adopted.git("gc", "--quiet")
    adopted.git("tag", "x")
    adopted.save("b.fv", b"two")
    assert adopted.history()[0] == "save b.fv"


def test_what_no_longer_counts_or_is_gone_without_harm_keeps_a_repository_known(
    adopted: GitStore,
) -> None:
    """Else an update, or the end of a remote, would end the use of a repository."""
    _config(adopted, '[remote "usb"]\n\turl = /media/usb/vault.git\n[gpg]\n\tprogram = gpg2\n')
    adopted.adopt()
    (digests,) = adopted.memory.places.values()
    adopted.memory.places["."] = {**digests, "user.name": "0" * 64, "branch.a b.merge": "0" * 64}
    adopted.git("config", "remote.usb.url", "git@git.example.com:jon/vault.git")
    adopted.save("b.fv", b"two")
    adopted.git("remote", "remove", "usb")
    adopted.save("b.fv", b"three")
    adopted.git("config", "--unset", "gpg.program")
    assert "changed: gpg.program (gone)" in refuses(adopted).message


def test_a_remote_at_a_local_path_is_refused_with_its_reason_and_without_its_address(
    adopted: GitStore,
) -> None:
    """A push there runs the hooks of what is there, which may be in the store itself."""
    for address in ("./evil.git", "file:///jon:secret@host/evil.git"):
        _config(adopted, f'[remote "usb"]\n\turl = {address}\n')
        refused = refuses(adopted)
        assert "changed: remote.usb.url" in refused.message
        assert address not in refused.message
        assert refused.hint == (
            "a push to a local path runs the hooks there; "
            "filevault git adopt shows all that changed, and accepts it"
        )


def test_what_filevault_git_changes_stays_known(adopted: GitStore, tmp_path: Path) -> None:
    with Folder.open(str(adopted.path)) as folder:
        for words in (
            ["config", "core.editor", "true"],
            ["remote", "add", "usb", str(tmp_path / "usb")],
            ["init", "--quiet"],
        ):
            assert passthrough(folder, words, adopted.runner()) == 0
            adopted.save("b.fv", os.urandom(8))
        # Another command is no word for what somebody changes meanwhile.
        _config(adopted, "[gpg]\n\tprogram = run\n")
        with pytest.raises(UnknownRepositoryError):
            passthrough(folder, ["status"], adopted.runner())


def test_init_tells_the_machine_to_use_what_it_made(tmp_path: Path) -> None:
    store = GitStore(tmp_path / "store")
    store.everything = False
    store.write("a.fv", b"one")
    with Folder.open(str(store.path)) as folder:
        assert passthrough(folder, ["init", "--quiet"], store.runner()) == 0
    store.save("a.fv", b"two")
    assert store.history() == ["save a.fv", "Add current contents of password store."]


def test_an_init_that_is_killed_before_it_is_remembered_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GitStore(tmp_path / "store")
    store.everything = False
    store.write("a.fv", b"one")
    with Folder.open(str(store.path)) as folder:
        with monkeypatch.context() as patch:
            patch.setattr(TrustedRepositories, "add", lambda *_: (_ for _ in ()).throw(MemoryError))
            with pytest.raises(MemoryError):
                passthrough(folder, ["init", "--quiet"], store.runner())
        assert passthrough(folder, ["init", "--quiet"], store.runner()) == 0
    assert store.history() == ["Add current contents of password store."]


def test_an_init_that_fails_lets_no_other_repository_in(
    adopted: GitStore, template: GitStore
) -> None:
    shutil.rmtree(adopted.path / ".git")
    adopted.memory.places.clear()
    with Folder.open(str(adopted.path)) as folder:
        assert passthrough(folder, ["init", "--no-such"], adopted.runner()) == 129
    shutil.copytree(template.path / ".git", adopted.path / ".git")
    assert "was not told" in refuses(adopted).message


def test_where_nothing_can_be_remembered_no_repository_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GitStore(tmp_path / "store")
    store.everything = False

    def refuse() -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(store.memory, "check", refuse)
    with Folder.open(str(store.path)) as folder, pytest.raises(StorageError):
        passthrough(folder, ["init", "--quiet"], store.runner())
    assert not (store.path / ".git").exists()


def test_too_much_to_remember_is_refused(adopted: GitStore) -> None:
    with (adopted.path / ".git/hooks/data").open("wb") as file:
        file.truncate(33 << 20)
    assert "too large" in refuses(adopted).message


def test_the_other_repositories_of_a_store_get_their_commits(
    adopted: GitStore, template: GitStore
) -> None:
    shutil.copytree(template.path / ".git", adopted.path / "team/.git")
    names = [adopted.write("team/x.fv", b"x"), adopted.write("y.fv", b"y")]
    with pytest.raises(NotCommittedError, match="store/team"):
        adopted.commit(*names, subject="both")
    assert adopted.history()[0] == "both"
    assert adopted.head("y.fv") == b"y"
