"""Commit changed files, each in the repository of the store that contains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import BackendError, NotCommittedError
from filevault.git.repository import Repository, failing_after_save
from filevault.git.subjects import CURRENT_CONTENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from filevault.git.program import Git
    from filevault.system.files import Folder

_ON_A_BRANCH = "finish it, or check a branch out with `filevault git switch BRANCH`, and try again"


def repositories_of(store: Folder, paths: Iterable[str], git: Git) -> list[Repository]:
    """Return the repositories that contain files, each once; files without one are left out.

    Raises StorageError for a link among the folders.
    """
    found: dict[str, Repository] = {}
    for folders in dict.fromkeys(tuple(path.split("/")[:-1]) for path in paths):
        repository = Repository.find(store, folders, git)
        if repository is not None:
            found.setdefault(repository.path, repository)
    return list(found.values())


def require_commits(store: Folder, paths: Iterable[str], git: Git) -> list[Repository]:
    """Fail early: return the repositories that files would be committed to, if a commit is safe.

    Raises:
        UnknownRepositoryError: if one of them is not trusted on this machine.
        BackendError: if one has no branch checked out, or is in a merge, a rebase or the like.
    """
    repositories = repositories_of(store, paths, git)
    for repository in repositories:
        git.trusted.require(repository)
        hindrance = repository.hindrance()
        if hindrance is not None:
            raise BackendError(f"{hindrance}, so that a commit may get lost", hint=_ON_A_BRANCH)
    return repositories


def commit_files(store: Folder, paths: Sequence[str], subject: str, git: Git) -> None:
    """Commit changed files, each in the repository that contains it; without one do nothing.

    Args:
        store: the store's top.
        paths: relative to it.
        subject: the commit's one line.
        git: runs git.

    Raises:
        NotCommittedError: if git cannot, or a repository is not trusted; all others are committed.
    """
    found: dict[tuple[str, ...], tuple[Repository | None, list[str]]] = {}
    for path in paths:
        folders = tuple(path.split("/")[:-1])
        if folders not in found:
            with failing_after_save():
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
    with failing_after_save():
        git.trusted.require(repository)
        hindrance = repository.hindrance()
    if hindrance is not None:
        git.warn(f"{hindrance}: what is committed now may get lost when that ends")
    repository.commit(paths, subject)


def commit_store_if_empty(store: Folder, git: Git) -> None:
    """Call `commit_if_empty` for the repository of the items, if there is one."""
    repository = Repository.find(store, git.prefix, git)
    if repository is not None:
        commit_if_empty(repository)


def commit_if_empty(repository: Repository) -> None:
    """Commit all files of a repository that has no commit yet; leave any other as it is.

    Raises NotCommittedError.
    """
    if repository.has_commits():
        repository.init_attributes()
    else:
        repository.commit_all(CURRENT_CONTENTS)
