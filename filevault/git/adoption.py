"""Finding every repository of a store, and taking them into use."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import StorageError, UnknownRepositoryError
from filevault.git.folder import RefusedError
from filevault.git.known import ADOPT
from filevault.git.repository import Repository
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filevault.git.fingerprint import Part
    from filevault.git.program import Git
    from filevault.system.files import Folder

_DEPTH_LIMIT = 64


class Found(Record):
    """A repository, what it could run, and a line for each of that which is not remembered."""

    repository: Repository
    parts: Mapping[str, Part]
    lines: Sequence[str]


def adopt(store: Folder, git: Git) -> list[Found]:
    """Return every repository of a store, each with what of it is not remembered as it is.

    Nothing is remembered yet: `Known.remember_shown` does that. Raises UnknownRepositoryError if
    one cannot be used at all.
    """
    found = []
    for place in _with_git(store, ()):
        repository = _at(store, place, git)
        if repository is not None:
            try:
                parts = repository.parts()
            except RefusedError as refusal:
                raise _refused(repository.path, str(refusal)) from refusal
            found.append(Found(repository, parts, git.known.changes(repository, parts)))
    return found


def all_below(
    store: Folder, repository: Repository, git: Git, *, required: bool = True
) -> list[Repository]:
    """Return a repository and all below it: git goes into submodules by itself.

    Raises:
        UnknownRepositoryError: if one is not used and that is `required`.
        StorageError: if folders are nested too deep to look through.
    """
    below = () if repository.place == "." else tuple(repository.place.split("/"))
    found = [repository]
    if required:
        git.known.require(repository)
    for parts in _with_git(store, below):
        if parts == below:
            continue
        inner = _at(store, parts, git)
        if inner is not None:
            if required:
                git.known.require(inner)
            found.append(inner)
    return found


def _at(store: Folder, parts: Sequence[str], git: Git) -> Repository | None:
    """Return the repository whose top is at a place. Raises UnknownRepositoryError."""
    said: list[str] = []
    note, git.note = git.note, said.append
    try:
        found = Repository.find(store, parts, git)
    except StorageError as error:
        raise _refused("/".join((store.path, *parts)), error.message) from error
    finally:
        git.note = note
    if said:
        raise _refused("/".join((store.path, *parts)), said[0])
    return found if found is not None and found.place == ("/".join(parts) or ".") else None


def _refused(path: str, reason: str) -> UnknownRepositoryError:
    return UnknownRepositoryError(
        f"the git repository at {printable(path)!r} cannot be used: {reason}",
        hint=f"take its .git away if it does not belong there; {ADOPT}",
    )


def _with_git(store: Folder, below: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the folders from one downward that have a `.git` of any kind, no link followed."""
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
