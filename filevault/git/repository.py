"""A git repository inside the store: find it, commit to it, push it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
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
from filevault.git.operations import is_detached, operation_in_progress
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
# Where two machines each replaced the same keyslot, git would see one file renamed twice and stop
# the merge. The strategy `ort` knows this setting from git 2.50 on; `recursive` always has.
_NO_RENAMES = ("-c", "merge.renames=false", "-c", "pull.twohead=recursive")


class Repository:
    """A repository inside the store, at its top or below."""

    __slots__ = ("_below", "_folder", "_found", "_git", "path")

    def __init__(self, path: str, below: tuple[str, ...], folder: str, git: Git) -> None:
        self.path = path
        self._below = below  # folders between the store's top and the repository's
        self._folder = folder
        self._git = git
        self._found: dict[str, tuple[str, str]] | None = None

    @classmethod
    def find(cls, store: Folder, parts: Sequence[str], git: Git) -> Repository | None:
        """Return the repository that contains an item, as `locate`; warn of one that is refused.

        Raises StorageError for a link among the folders.
        """
        try:
            return cls.locate(store, parts, git)
        except RefusedError as refusal:
            git.warn(f"nothing is committed: {refusal}")
            return None

    @classmethod
    def locate(cls, store: Folder, parts: Sequence[str], git: Git) -> Repository | None:
        """Return the repository that contains an item, None if there is none.

        It is the nearest folder, from the item's upward to the store's top and never above,
        with a `.git` of its own. If that one is refused, no other is used instead.

        Args:
            store: the store's top.
            parts: folder names between it and the item; they need not exist any more.
            git: runs git in it.

        Raises:
            RefusedError: if its `.git` must not be used.
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
                    raise RefusedError(
                        f"{printable(path + '/.git')!r} is not used as a git repository, because "
                        f"{refusal}"
                    ) from refusal
                if own is not None:
                    return cls(path, below, own, git)
        return None

    @property
    def relative_path(self) -> str:
        """Its path relative to the store's top; `.` is the top itself."""
        return "/".join(self._below) or "."

    def fingerprint(self) -> dict[str, Part]:
        """Return the parts that name what git could run; nothing is run. Raises RefusedError."""
        try:
            common = common_folder(self._folder)
        except StorageError as error:
            raise RefusedError(error.message) from error
        return fingerprint(self._folder, common, self.path, self._git.home)

    def hindrance(self) -> str | None:
        """Return why a commit made now may be lost, None if it goes to the end of a branch."""
        operation = operation_in_progress(self._folder)
        if operation is not None:
            return f"{operation} is in progress in {printable(self.path)!r}"
        detached = is_detached(self._folder)
        if detached is None:
            branch = self._git.run(self.path, [*self._pinned(), "symbolic-ref", "--quiet", "HEAD"])
            detached = branch.status != 0
        if detached:
            return f"no branch is checked out in {printable(self.path)!r} (detached HEAD)"
        return None

    def has_remote(self) -> bool:
        """Return whether a remote repository is configured."""
        return any(name.startswith("remote.") for name in self._settings())

    def push(self, *, only_try: bool = False) -> None:
        """Push the branch that is checked out, as git is configured to.

        With `only_try` this is a dry run: the remote is asked, and nothing is sent.

        Raises:
            NotPushedError: if it cannot be pushed; the message quotes git.
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
        """Commit the changes of some files, and nothing else that may be staged.

        Args:
            paths: relative to the store's top; files that are gone are committed as deleted.
            subject: the commit's one line.

        Raises:
            NotCommittedError: if git cannot; the message quotes git.
        """
        inner = [path.split("/")[len(self._below) :] for path in paths]
        files = ["/".join(parts) for parts in inner]
        present = {name: os.path.lexists(f"{self.path}/{name}") for name in files}
        kept = [name for name in files if present[name]]
        gone = [name for name in files if not present[name]]
        with failing_after_save():
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
        """Commit all files of the work tree, unless they are committed already.

        Raises NotCommittedError.
        """
        with failing_after_save():
            self.init_attributes()
            self._run("add", "--all", "--", ".")
            if self._changed(pathspecs=["."]):
                self._commit(subject)

    def has_commits(self) -> bool:
        """Return whether the branch that is checked out has a commit."""
        head = ("rev-parse", "--verify", "--quiet", "HEAD")
        return self._git.run(self.path, [*self._pinned(), *head]).status == 0

    def is_clean(self) -> bool:
        """Return whether all files of the work tree are committed. Raises NotCommittedError."""
        words = ("status", "--porcelain=v1", "--ignore-submodules=all")
        return not self._run("--no-optional-locks", *self._without_filters(), *words)

    def init_attributes(self) -> None:
        """Make git keep the item files unchanged, whatever a `.gitattributes` says.

        Done before every commit too: the lines are local to this clone. Raises StorageError.
        """
        shared = common_folder(self._folder)
        try:
            with Folder.open(shared) as folder, folder.make_child("info") as info:
                write_info(info, self._git.backend, self._git.prefix[len(self._below) :])
        except FileNotFoundError as error:
            raise storage_error(error, "open", shared) from error

    def run_attached(self, arguments: Sequence[str]) -> int:
        """Run the user's git command in this repository and return its exit status."""
        with contextlib.suppress(StorageError):  # reading must work on a read-only file system
            self.init_attributes()
        try:
            hooks = self._own_hooks()
        except NotCommittedError:
            hooks = ()  # git cannot read its configuration, and will say so itself
        renames = _NO_RENAMES if self._git.backend.family == SEALED else ()
        flags = (*self._pinned(), *renames, *self._pull_strategy(), *hooks)
        return self._git.attach(self.path, [*flags, *arguments])

    def _pull_strategy(self) -> tuple[str, ...]:
        """Return the flag that makes `git pull` merge branches that diverged.

        Without a setting git refuses. Items merge without a conflict as a rule, and a rebase that
        meets one leaves HEAD detached.
        """
        with contextlib.suppress(NotCommittedError):
            if not {"pull.rebase", "pull.ff"} & self._settings().keys():
                return ("-c", "pull.rebase=false")
        return ()

    def _pinned(self) -> tuple[str, ...]:
        return (f"--git-dir={self._folder}", f"--work-tree={self.path}")

    def _own_hooks(self) -> tuple[str, ...]:
        """Return the flag that keeps git from running hooks in the work tree.

        A relative `core.hooksPath` in the user's global configuration would run files that come
        with a clone; in the repository's own configuration it was set for this repository.
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

        To refresh its index git passes other files through the filters that a `.gitattributes`
        names, such as git-lfs.
        """
        return tuple(
            word
            for name in self._settings()
            if name.startswith("filter.") and "=" not in name
            for word in ("-c", f"{name}={'false' if name.endswith('.required') else ''}")
        )

    def _settings(self) -> dict[str, tuple[str, str]]:
        """Return scope and value of the settings that matter here, the last of each."""
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
        # As pass does: its own setting asks for a signature, else git's decides. The fingerprint
        # covers the program that signs.
        _, signing = self._settings().get("pass.signcommits", ("", ""))
        sign = ("-S",) if signing.lower() in ("true", "yes", "on", "1") else ()
        commit = ("commit", "--quiet", *sign, "-m", printable(subject))
        only = ("--only", "--", *pathspecs) if pathspecs else ()
        self._run(*flags, *commit, *only)


def _literal(paths: Iterable[str]) -> list[str]:
    """Return pathspecs that git takes literally: an item's name may look like a pattern."""
    return [f":(top,literal){path}" for path in paths]


@contextlib.contextmanager
def failing_after_save() -> Iterator[None]:
    """Convert failures inside, which come after files were saved, to NotCommittedError."""
    try:
        yield
    except (ProgramError, StorageError, UnknownRepositoryError) as error:
        raise NotCommittedError(
            f"saved, but not committed: {error.message}",
            hint=error.hint or FINISH,
        ) from error
