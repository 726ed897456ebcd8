"""The one way filevault runs git (`docs/format.md` §9).

A store may have come from anybody, with or without a repository in it. So the repository is found
by us, never by git; it is used only if this machine was told to use it; its folder and work tree
are named to git outright; and nothing in the work tree decides which program runs or which bytes
are committed. What the user configured in a repository of theirs, hooks and signing included, is
theirs and works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import BackendError, NotCommittedError, NotFoundError
from filevault.git.adoption import adopt, all_below
from filevault.git.folder import real_path
from filevault.git.known import Known, Memory
from filevault.git.program import Git
from filevault.git.repository import Repository, saved
from filevault.git.subjects import CURRENT_CONTENTS
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from filevault.system.files import Folder

__all__ = [
    "Git",
    "Known",
    "Memory",
    "Repository",
    "adopt",
    "check",
    "commit",
    "commit_present",
    "passthrough",
    "repositories_of",
]

# Commands of git that change what filevault remembers of a repository: see `passthrough`.
_CHANGING = frozenset({"config", "init", "lfs", "remote", "submodule"})
_ON_A_BRANCH = "finish it, or check a branch out with `filevault git switch BRANCH`, and try again"


def repositories_of(store: Folder, paths: Iterable[str], git: Git) -> list[Repository]:
    """Return the repositories that hold files, each once; files without one are left out.

    Raises StorageError for a link among the folders.
    """
    found: dict[str, Repository] = {}
    for folders in dict.fromkeys(tuple(path.split("/")[:-1]) for path in paths):
        repository = Repository.find(store, folders, git)
        if repository is not None:
            found.setdefault(repository.path, repository)
    return list(found.values())


def check(store: Folder, paths: Iterable[str], git: Git) -> list[Repository]:
    """Return the repositories that files would be committed to, if a commit there would last.

    Raises:
        UnknownRepositoryError: if one of them is not used.
        BackendError: if one has no branch checked out, or is in a merge, a rebase or the like.
    """
    repositories = repositories_of(store, paths, git)
    for repository in repositories:
        git.known.require(repository)
        hindrance = repository.hindrance()
        if hindrance is not None:
            raise BackendError(f"{hindrance}, so that a commit may get lost", hint=_ON_A_BRANCH)
    return repositories


def commit(store: Folder, paths: Sequence[str], subject: str, git: Git) -> None:
    """Commit changed files, each in the repository that holds it; without one do nothing.

    Args:
        store: the store's top.
        paths: relative to it.
        subject: the commit's one line.
        git: how git is run.

    Raises:
        NotCommittedError: if git cannot, or a repository is not used; the others have it.
    """
    found: dict[tuple[str, ...], tuple[Repository | None, list[str]]] = {}
    for path in paths:
        folders = tuple(path.split("/")[:-1])
        if folders not in found:
            with saved():
                found[folders] = (Repository.find(store, folders, git), [])
        found[folders][1].append(path)
    groups: dict[str, tuple[Repository, list[str]]] = {}
    for repository, members in found.values():
        if repository is not None:
            groups.setdefault(repository.path, (repository, []))[1].extend(members)
    failed: NotCommittedError | None = None
    for repository, members in groups.values():
        try:
            _commit(repository, members, subject, git)
        except NotCommittedError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _commit(repository: Repository, paths: Sequence[str], subject: str, git: Git) -> None:
    with saved():
        git.known.require(repository)
        hindrance = repository.hindrance()
    if hindrance is not None:
        git.note(f"{hindrance}: what is committed now may get lost when that ends")
    repository.commit(paths, subject)


def passthrough(store: Folder, arguments: Sequence[str], git: Git) -> int:
    """Run the user's own git command in the vault's repository and return its exit status.

    `init` makes a repository at the store's top and commits what the store holds; one that has
    a history already is left as it is. What `init` made is used from now on. So is a repository
    that was used before and whose configuration this command has changed.

    Raises:
        NotFoundError: if there is no repository, or `init` made one that is not used.
        UnknownRepositoryError: if this machine was not told to use it, or one below it.
        NotCommittedError: if the contents cannot be committed after `init`.
        ProgramError, StorageError: if git cannot be run.
    """
    if arguments and arguments[0] == "init":
        return _init(store, arguments, git)
    repository = Repository.find(store, git.prefix, git)
    if repository is None:
        raise NotFoundError(
            f"the store {printable(store.path)!r} has no git repository of its own",
            hint="filevault git init",
        )
    before = [each for each in all_below(store, repository, git) if git.known.is_known(each)]
    status = repository.run_attached(arguments)
    verb = arguments[0] if arguments else ""
    if before and verb in _CHANGING:
        if verb == "submodule":  # it may have added some, at the user's word
            before = all_below(store, repository, git, required=False)
        changed = [each for each in before if not git.known.is_known(each)]
        if changed:
            git.known.remember(changed)
    return status


def _init(store: Folder, arguments: Sequence[str], git: Git) -> int:
    for parts in dict.fromkeys(((), git.prefix)):
        before = Repository.find(store, parts, git)
        if before is not None:
            all_below(store, before, git)
    git.known.check_memory()
    new = Repository.find(store, (), git) is None
    if new:
        git.known.expect(f"{real_path(store)}/.git")
    status = git.attach(real_path(store), arguments)
    if new and Repository.find(store, (), git) is None:
        git.known.expect(None)
    if status == 0 and "--help" not in arguments:
        top = Repository.find(store, (), git)
        made = top or Repository.find(store, git.prefix, git)
        if made is None:
            raise NotFoundError(
                f"git made a repository, but none in which the items of {printable(store.path)!r} "
                "would be committed",
                hint="filevault git init without a folder and without --separate-git-dir, once "
                "what it made is out of the way",
            )
        git.known.remember([made])
        _commit_present(made)
    return status


def commit_present(store: Folder, git: Git) -> None:
    """Commit what the repository of the items holds, if nothing was ever committed there.

    Raises NotCommittedError.
    """
    repository = Repository.find(store, git.prefix, git)
    if repository is not None:
        _commit_present(repository)


def _commit_present(repository: Repository) -> None:
    if repository.has_commits():
        repository.init_attributes()
    else:
        repository.commit_all(CURRENT_CONTENTS)
