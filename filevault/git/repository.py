"""A git repository of the store's own, and commits to it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.protocols import Family
from filevault.errors import (
    FilevaultError,
    NotCommittedError,
    NotPushedError,
    ProgramError,
    StorageError,
    UnknownRepositoryError,
)
from filevault.git.attributes import write_info
from filevault.git.fingerprint import fingerprint
from filevault.git.folder import RefusedError, common_folder, own_git_folder, real_path
from filevault.git.operations import detached, operation
from filevault.git.program import FINISH, not_committed, reason_of
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filevault.git.fingerprint import Part
    from filevault.git.program import Git

_PUSH = (
    "`filevault git push` shows why; `filevault git pull` first if the other side has more, "
    "`filevault git push -u REMOTE BRANCH` once if git does not know where to push"
)
# Two keyslots that took the place of one are two; git would see one that was renamed twice, and
# stop a merge. `ort`, its strategy since 2.34, hears of it from 2.50 on; there both are the same.
_NO_RENAMES = ("-c", "merge.renames=false", "-c", "pull.twohead=recursive")


class Repository:
    """A repository of the store's own, at its top or below."""

    __slots__ = ("_below", "_folder", "_found", "_git", "path")

    def __init__(self, path: str, below: tuple[str, ...], folder: str, git: Git) -> None:
        self.path = path
        self._below = below  # folders between the store's top and the repository's
        self._folder = folder
        self._git = git
        self._found: dict[str, tuple[str, str]] | None = None

    @classmethod
    def find(cls, store: Folder, parts: Sequence[str], git: Git) -> Repository | None:
        """Return the repository that holds an item, None if there is none to commit to.

        It is the nearest folder, from the item's upward to the store's top and never above,
        with a `.git` of its own. If that one is not to be trusted, no other is taken instead.

        Args:
            store: the store's top.
            parts: folder names between it and the item; they need not exist any more.
            git: how git is run; its `note` is told about a `.git` that is not trusted.

        Raises:
            StorageError: for a link among the folders.
        """
        real = real_path(store)
        with contextlib.ExitStack() as stack:
            folders = [store]
            for part in parts:
                try:
                    folders.append(stack.enter_context(folders[-1].child(part)))
                except FileNotFoundError:
                    break
            for depth in range(len(folders) - 1, -1, -1):
                below = tuple(parts[:depth])
                path = "/".join((real, *below))
                try:
                    own = own_git_folder(folders[depth], path)
                except RefusedError as refusal:
                    git.note(
                        f"nothing is committed: {printable(path + '/.git')!r} is not used as a "
                        f"git repository, because {refusal}"
                    )
                    return None
                if own is not None:
                    return cls(path, below, own, git)
        return None

    @property
    def place(self) -> str:
        """Where it lies below the store's top; `.` is the top itself."""
        return "/".join(self._below) or "."

    def parts(self) -> dict[str, Part]:
        """Return what git could run because of it; nothing is run. Raises RefusedError."""
        try:
            common = common_folder(self._folder)
        except StorageError as error:
            raise RefusedError(error.message) from error
        return fingerprint(self._folder, common, self.path, self._git.home)

    def hindrance(self) -> str | None:
        """Return why a commit made now may be lost, None if it goes to the end of a branch."""
        under_way = operation(self._folder)
        if under_way is not None:
            return f"{under_way} is in progress in {printable(self.path)!r}"
        is_detached = detached(self._folder)
        if is_detached is None:  # HEAD is not kept in that file
            branch = self._git.run(self.path, [*self._pinned(), "symbolic-ref", "--quiet", "HEAD"])
            is_detached = branch.status != 0
        if is_detached:
            return f"no branch is checked out in {printable(self.path)!r} (detached HEAD)"
        return None

    def has_remote(self) -> bool:
        """Tell whether another repository is named to push to."""
        return any(name.startswith("remote.") for name in self._settings())

    def push(self, *, only_try: bool = False) -> None:
        """Push the branch that is checked out to where git is set up to push it.

        With `only_try` the other side is asked whether it would take it, and gets nothing.

        Raises:
            NotPushedError: if it cannot be pushed, naming what git said.
        """
        words = ["push", "--quiet", *(["--dry-run"] if only_try else [])]
        try:
            flags = (*self._pinned(), *self._own_hooks())
            result = self._git.run(self.path, [*flags, *words])
        except FilevaultError as error:
            raise NotPushedError(f"git cannot push: {error.message}", hint=_PUSH) from error
        if result.status != 0:
            raise NotPushedError(f"git cannot push: {reason_of(result)}", hint=_PUSH)

    def commit(self, paths: Sequence[str], subject: str) -> None:
        """Commit what became of some files, and nothing else that may be staged.

        Args:
            paths: relative to the store's top; files that are gone are committed as deleted.
            subject: the commit's one line.

        Raises:
            NotCommittedError: if git cannot, naming what it said.
        """
        inner = [path.split("/")[len(self._below) :] for path in paths]
        files = ["/".join(parts) for parts in inner]
        present = {name: os.path.lexists(f"{self.path}/{name}") for name in files}
        kept = [name for name in files if present[name]]
        gone = [name for name in files if not present[name]]
        with saved():
            self.init_attributes()
            raw = self._without_filters()
            if kept:
                self._run(*raw, "add", "--", *_literal(kept))
            if gone:
                removal = ("rm", "--cached", "--quiet", "--ignore-unmatch")
                self._run(*raw, *removal, "--", *_literal(gone))
            changed = self._changed(*raw, pathspecs=_literal(files))
            if changed:
                self._commit(subject, *raw, pathspecs=_literal(changed))

    def commit_all(self, subject: str) -> None:
        """Commit all that lies in the work tree, unless it is committed already.

        Raises NotCommittedError.
        """
        with saved():
            self.init_attributes()
            self._run("add", "--all", "--", ".")
            if self._changed(pathspecs=["."]):
                self._commit(subject)

    def has_commits(self) -> bool:
        """Tell whether anything was ever committed on the branch that is checked out."""
        head = ("rev-parse", "--verify", "--quiet", "HEAD")
        return self._git.run(self.path, [*self._pinned(), *head]).status == 0

    def is_clean(self) -> bool:
        """Tell whether all that lies in the work tree is committed. Raises NotCommittedError."""
        words = ("status", "--porcelain=v1", "--ignore-submodules=all")
        return not self._run("--no-optional-locks", *self._without_filters(), *words)

    def init_attributes(self) -> None:
        """Tell git to keep our files as they are, whatever a `.gitattributes` says.

        Done before every commit too: the lines are this clone's alone. Raises StorageError.
        """
        shared = common_folder(self._folder)
        try:
            with Folder.open(shared) as folder, folder.make_child("info") as info:
                write_info(info, self._git.backend, self._git.prefix[len(self._below) :])
        except FileNotFoundError as error:
            raise storage_error(error, "open", shared) from error

    def run_attached(self, arguments: Sequence[str]) -> int:
        """Run a git command of the user's in this repository and return its exit status."""
        with contextlib.suppress(StorageError):  # to read must work where nothing can be written
            self.init_attributes()
        try:
            hooks = self._own_hooks()
        except NotCommittedError:
            hooks = ()  # git cannot read its configuration, and is about to say so itself
        renames = _NO_RENAMES if self._git.backend.family is Family.SEALED else ()
        flags = (*self._pinned(), *renames, *self._pull_strategy(), *hooks)
        return self._git.attach(self.path, [*flags, *arguments])

    def _pull_strategy(self) -> tuple[str, ...]:
        """Return the flag that lets `git pull` merge branches that diverged.

        git asks its user to choose first. Items are files that merge without a conflict, and a
        rebase would leave HEAD detached where there is one.
        """
        with contextlib.suppress(NotCommittedError):
            if not {"pull.rebase", "pull.ff"} & self._settings().keys():
                return ("-c", "pull.rebase=false")
        return ()

    def _pinned(self) -> tuple[str, ...]:
        return (f"--git-dir={self._folder}", f"--work-tree={self.path}")

    def _own_hooks(self) -> tuple[str, ...]:
        """Return the flag that keeps hooks from being taken out of the work tree.

        A relative `core.hooksPath` in the user's global configuration would run what any clone
        brings, and not at a commit only; in the repository's own it was set for this one.
        """
        scope, path = self._settings().get("core.hookspath", ("local", ""))
        if path.startswith("~/"):
            path = self._git.home + path[1:]
        outside = os.path.isabs(path) and not f"{os.path.realpath(path)}/".startswith(
            f"{self.path}/"
        )
        if scope in ("local", "worktree") or outside:
            return ()
        return ("-c", f"core.hooksPath={common_folder(self._folder)}/hooks")

    def _without_filters(self) -> tuple[str, ...]:
        """Return the flags that switch every filter off.

        To look after its index git passes other files through the filters that a
        `.gitattributes` names, git-lfs for one; nobody asked us for that.
        """
        return tuple(
            word
            for name in self._settings()
            if name.startswith("filter.") and "=" not in name
            for word in ("-c", f"{name}={'false' if name.endswith('.required') else ''}")
        )

    def _settings(self) -> dict[str, tuple[str, str]]:
        """Return scope and value of the settings that concern us, the last of each."""
        if self._found is not None:
            return self._found
        names = (
            r"^(pass\.signcommits|core\.hookspath|filter\..*\.(clean|process|required)"
            r"|pull\.(rebase|ff)|remote\..*\.(url|pushurl))$"
        )
        arguments = ("config", "--show-scope", "--null", "--get-regexp", names)
        result = self._git.run(self.path, [*self._pinned(), *arguments])
        if result.status not in (0, 1):  # 1: none of them is set
            raise not_committed(result)
        fields = os.fsdecode(result.output).split("\0")
        self._found = {}
        for scope, pair in zip(fields[::2], fields[1::2], strict=False):
            name, _, value = pair.partition("\n")
            self._found[name] = (scope, value if "\n" in pair else "true")
        return self._found

    def _run(self, *arguments: str) -> bytes:
        flags = (*self._pinned(), *self._own_hooks())
        result = self._git.run(self.path, [*flags, *arguments])
        if result.status != 0:
            raise not_committed(result)
        return result.output

    def _changed(self, *flags: str, pathspecs: Sequence[str]) -> list[str]:
        """Return which files differ from the last commit; submodules are not looked into."""
        status = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=no")
        before = ("--no-optional-locks", *flags, *status, "--ignore-submodules=all")
        output = self._run(*before, "--", *pathspecs)
        return [os.fsdecode(entry[3:]) for entry in output.split(b"\0") if entry]

    def _commit(self, subject: str, *flags: str, pathspecs: Sequence[str] = ()) -> None:
        # As pass does: its own setting asks for a signature, else git's decides. The program that
        # signs is one that this machine was told to trust.
        _, signing = self._settings().get("pass.signcommits", ("", ""))
        sign = ("-S",) if signing.lower() in ("true", "yes", "on", "1") else ()
        commit = ("commit", "--quiet", *sign, "-m", printable(subject))
        only = ("--only", "--", *pathspecs) if pathspecs else ()
        self._run(*flags, *commit, *only)


def _literal(paths: Iterable[str]) -> list[str]:
    """An item's name may look like a pattern to git."""
    return [f":(top,literal){path}" for path in paths]


@contextlib.contextmanager
def saved() -> Iterator[None]:
    """Turn what fails in here, after the files were written, into NotCommittedError."""
    try:
        yield
    except (ProgramError, StorageError, UnknownRepositoryError) as error:
        raise NotCommittedError(
            f"saved, but not committed: {error.message}",
            hint=error.hint or FINISH,
        ) from error
