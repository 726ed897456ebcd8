"""The one way filevault runs git (`docs/format.md` §9).

A store may have come from anybody by `git clone`. What such a clone brings is files only: so the
repository is found by us, never by git; its folder and work tree are named to git outright; and
nothing in the work tree decides which program runs or which bytes are committed. What the user
configured in a repository of theirs, hooks and signing included, is theirs and works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import NotFoundError
from filevault.git.folder import real_path
from filevault.git.program import Git
from filevault.git.repository import Repository, saved
from filevault.git.subjects import CURRENT_CONTENTS
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.files import Folder

__all__ = ["Git", "Repository", "commit", "passthrough"]


def commit(store: Folder, paths: Sequence[str], subject: str, git: Git) -> None:
    """Commit changed files, each in the repository that holds it; without one do nothing.

    Args:
        store: the store's top.
        paths: relative to it.
        subject: the commit's one line.
        git: how git is run.

    Raises:
        NotCommittedError: if git cannot.
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
    for repository, members in groups.values():
        repository.commit(members, subject)


def passthrough(store: Folder, arguments: Sequence[str], git: Git) -> int:
    """Run the user's own git command in the vault's repository and return its exit status.

    `init` makes a repository at the store's top and commits what the store holds; one that has
    a history already is left as it is.

    Raises:
        NotFoundError: if there is no repository, or `init` made one that is not used.
        NotCommittedError: if the contents cannot be committed after `init`.
        ProgramError, StorageError: if git cannot be run.
    """
    if arguments and arguments[0] == "init":
        status = git.attach(real_path(store), arguments)
        if status == 0 and "--help" not in arguments:
            top = Repository.find(store, (), git)
            _adopt(top or Repository.find(store, git.prefix, git), store)
        return status
    repository = Repository.find(store, git.prefix, git)
    if repository is None:
        raise NotFoundError(
            f"the store {printable(store.path)!r} has no git repository of its own",
            hint="filevault git init",
        )
    return repository.run_attached(arguments)


def _adopt(made: Repository | None, store: Folder) -> None:
    """Commit what lies in a new repository. Raises NotFoundError if our items do not lie in it."""
    if made is None:
        raise NotFoundError(
            f"git made a repository, but none in which the items of {printable(store.path)!r} "
            "would be committed",
            hint="filevault git init without a folder and without --separate-git-dir, once what "
            "it made is out of the way",
        )
    if made.has_commits():
        made.init_attributes()
    else:
        made.commit_all(CURRENT_CONTENTS)
