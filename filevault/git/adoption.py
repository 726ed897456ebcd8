"""Find every repository of a store, with the programs that git would run because of each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import StorageError, UnknownRepositoryError
from filevault.git.folder import RefusedError
from filevault.git.repository import Repository
from filevault.git.trusted_repositories import ADOPT
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filevault.git.fingerprint import Part
    from filevault.git.program import Git
    from filevault.system.files import Folder

_DEPTH_LIMIT = 128  # a name of an item has up to 64 folders, and others may be around them


class FoundRepository(Record):
    """A repository, its fingerprint, and a line for each part that is not trusted yet."""

    repository: Repository
    parts: Mapping[str, Part]
    lines: Sequence[str]


def find_all(store: Folder, git: Git) -> list[FoundRepository]:
    """Return every repository of a store; nothing is trusted yet.

    `TrustedRepositories.add_shown` does that. Raises UnknownRepositoryError if one of them cannot
    be used at all.
    """
    found = []
    for parts in _with_git(store, ()):
        repository = _at(store, parts, git)
        if repository is not None:
            try:
                fingerprint = repository.fingerprint()
            except RefusedError as refusal:
                raise _refused(repository.path, str(refusal)) from refusal
            lines = git.trusted.changes(repository, fingerprint)
            found.append(FoundRepository(repository, fingerprint, lines))
    return found


def all_below(
    store: Folder, repository: Repository, git: Git, *, required: bool = True
) -> list[Repository]:
    """Return a repository and all below it: git goes into submodules by itself.

    Raises:
        UnknownRepositoryError: if one is not trusted and `required` is true.
        StorageError: if folders are nested too deep to look through.
    """
    below = () if repository.relative_path == "." else tuple(repository.relative_path.split("/"))
    found = [repository]
    if required:
        git.trusted.require(repository)
    for parts in _with_git(store, below):
        if parts == below:
            continue
        inner = _at(store, parts, git)
        if inner is not None:
            if required:
                git.trusted.require(inner)
            found.append(inner)
    return found


def _at(store: Folder, parts: Sequence[str], git: Git) -> Repository | None:
    """Return the repository whose top is a folder. Raises UnknownRepositoryError."""
    path = "/".join((store.path, *parts))
    try:
        found = Repository.locate(store, parts, git)
    except RefusedError as refusal:
        raise _refused(path, str(refusal)) from refusal
    except StorageError as error:
        raise _refused(path, error.message) from error
    is_top = found is not None and found.relative_path == ("/".join(parts) or ".")
    return found if is_top else None


def _refused(path: str, reason: str) -> UnknownRepositoryError:
    return UnknownRepositoryError(
        f"the git repository at {printable(path)!r} cannot be used: {reason}",
        hint=f"take its .git away if it does not belong there; {ADOPT}",
    )


def _with_git(store: Folder, below: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the folders from one downward that contain a `.git` of any type; follow no link."""
    try:
        with contextlib.ExitStack() as opened:
            folder = store
            for part in below:
                folder = opened.enter_context(folder.child(part))
            yield from _walk(folder, below)
    except FileNotFoundError:
        return


def _walk(folder: Folder, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    names = []
    for entry in folder.entries():
        if entry.name == ".git":
            yield parts
        elif entry.is_dir(follow_symlinks=False):
            names.append(entry.name)
    if names and len(parts) >= _DEPTH_LIMIT:
        raise StorageError(f"the folders in {printable(folder.path)!r} are nested too deep")
    for name in names:
        try:
            inner = folder.child(name)
        except (FileNotFoundError, StorageError):
            continue  # git, running as the same user, cannot open it either
        with inner:
            yield from _walk(inner, (*parts, name))
