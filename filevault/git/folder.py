"""Find the git folder of a repository without git's own discovery.

From inside a store git would also discover a repository that surrounds it, or a folder of the
store that looks like a bare repository, with configuration that names programs.
"""

from __future__ import annotations

import os
import stat

from filevault.errors import StorageError
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable

_LINK_LIMIT = 4096


class RefusedError(Exception):
    """A `.git` that exists and must not be used; the text says why."""


def real_path(store: Folder) -> str:
    """Return the store's path without links, for git. Raises StorageError if it was moved."""
    path = os.path.realpath(store.path)
    try:
        same = os.path.samestat(os.stat(path), os.fstat(store.fd))
    except OSError as error:
        raise storage_error(error, "open", store.path) from error
    if not same:
        raise StorageError(f"the store {printable(store.path)!r} was moved while it was open")
    return path


def own_git_folder(folder: Folder, path: str) -> str | None:
    """Return the git folder of a repository's top folder, None if it is not one.

    Raises RefusedError, StorageError.
    """
    try:
        info = os.stat(".git", dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "look at", folder.join(".git")) from error
    if stat.S_ISLNK(info.st_mode):
        raise RefusedError("it is a link")
    _check_owner(info)
    if stat.S_ISREG(info.st_mode):
        return _linked(folder.read(".git", _LINK_LIMIT), path)
    own = f"{path}/.git"
    return own if os.path.lexists(f"{own}/HEAD") else None


def _check_owner(info: os.stat_result) -> None:
    if info.st_uid not in (os.geteuid(), 0):
        raise RefusedError("it belongs to another user")


def _linked(text: bytes, path: str) -> str:
    """Return the folder that the `.git` file of a submodule or linked work tree names.

    git checks out no path with a component `.git`, so neither this file nor a folder inside a
    `.git` can come from a clone; any other target could.
    """
    word, _, target = os.fsdecode(text).partition(" ")
    if word != "gitdir:" or len(text) > _LINK_LIMIT or "\0" in target:
        raise RefusedError("it is not a git folder")
    folder = os.path.realpath(os.path.join(path, target.rstrip("\r\n")))
    parts = folder.split("/")
    inside = ".git" in parts and parts[parts.index(".git") + 1 :][:1] in (
        ["modules"],
        ["worktrees"],
    )
    if not inside:
        raise RefusedError("it leads to a folder that belongs to no repository")
    try:
        _check_owner(os.stat("/".join(parts[: parts.index(".git") + 1])))
        _check_owner(os.stat(folder))
    except OSError as error:
        raise RefusedError("it leads nowhere") from error
    return folder


def common_folder(own: str) -> str:
    """Return the git folder shared with linked work trees, mostly the folder itself."""
    try:
        with Folder.open(own) as folder:
            shared = folder.read("commondir", _LINK_LIMIT)
    except FileNotFoundError:
        return own
    return os.path.realpath(os.path.join(own, os.fsdecode(shared.strip())))
