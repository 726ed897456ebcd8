"""Creation of folders: private, synced, and never the home directory itself."""

from __future__ import annotations

import errno
import os

from filevault.errors import StorageError
from filevault.system import permissions
from filevault.system.printable import printable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def sync_folder(fd: int) -> None:
    """Sync the entries of a folder to the disk. Raises OSError."""
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a directory.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def make_private(name: str, dir_fd: int) -> None:
    """Create a folder with mode 0700, whatever the umask.

    If root creates it, it gets the owner of its parent. Raises OSError.
    """
    umask = os.umask(0o077)
    try:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    finally:
        os.umask(umask)
    permissions.give_folder(name, dir_fd)
    sync_folder(dir_fd)


def make_folders(path: str, home: str | None) -> None:
    """Create a folder and its missing parents, with mode 0700 each.

    `home` is the home directory, which is never created: other users with the same HOME would
    have no access to it. Raises OSError, or StorageError if the home directory is missing.
    """
    path = path.rstrip("/") or "/"
    if os.path.isdir(path):
        return
    refuse_home(path, home)
    parent, name = os.path.split(path)
    if parent and parent != path:
        make_folders(parent, home)
    folder = os.open(parent or ".", _FOLDER)
    try:
        make_private(name, folder)
    except FileExistsError:
        pass
    finally:
        os.close(folder)


def refuse_home(path: str, home: str | None) -> None:
    """Raise StorageError if a missing folder is the home directory or one of its parents."""
    if home is None:
        return
    real_home = os.path.realpath(home)
    if f"{real_home}/".startswith(f"{os.path.realpath(path).rstrip('/')}/"):
        raise StorageError(
            f"the home directory {printable(home)!r} does not exist, and is not made",
            hint="set HOME to a folder that exists, or name other folders: FILEVAULT_DIR, "
            "AWS_CONFIG_FILE, XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME",
        )
