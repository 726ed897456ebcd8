"""Atomic writes: a temporary file in the same folder, fsync, then rename or link.

A crash at any instant leaves the old file, the new one, or a temporary file besides.
"""

from __future__ import annotations

import contextlib
import errno
import os

from filevault.system import permissions
from filevault.system.new_folders import sync_folder
from filevault.system.permissions import Permissions
from filevault.system.temporary_files import temporary_name

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # FAT, and some FUSE file systems


def replace_file(
    folder_fd: int, name: str, data: bytes, mode: int, before: Permissions | None
) -> bool:
    """Replace a file; the caller syncs the folder.

    The new file gets the permissions `before`, else `mode`. Returns False if it cannot get them
    and has mode 0600 instead. Raises OSError; the old file then stays.
    """
    temporary = temporary_name()
    fd = os.open(temporary, _NEW, permissions.PRIVATE, dir_fd=folder_fd)
    try:
        kept = _fill(fd, folder_fd, data, mode, before)
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise
    return kept


def create_file(folder_fd: int, name: str, data: bytes, *, follow: bool) -> None:
    """Create a file with mode 0600 and sync the folder; never replace an existing file.

    With `follow`, a file of root gets the folder's owner. Raises OSError; nothing is left then.
    """
    temporary = temporary_name()
    created: list[str] = []
    try:
        fd = os.open(temporary, _NEW, permissions.PRIVATE, dir_fd=folder_fd)
        created.append(temporary)
        _fill(fd, folder_fd, data, follow=follow)
        _link(folder_fd, temporary, name, data, created, follow=follow)
        os.unlink(temporary, dir_fd=folder_fd)
        sync_folder(folder_fd)
    except BaseException:
        for each in created:
            with contextlib.suppress(OSError):
                os.unlink(each, dir_fd=folder_fd)
        raise


def _fill(
    fd: int,
    folder_fd: int,
    data: bytes,
    mode: int = permissions.PRIVATE,
    before: Permissions | None = None,
    *,
    follow: bool = True,
) -> bool:
    """Set permissions of a new file, write, sync and close it; return whether they could be set."""
    kept = True
    try:
        if before is not None:
            kept = permissions.keep(fd, before)
        else:
            os.fchmod(fd, mode)
        if follow:
            permissions.follow_folder(fd, folder_fd, before)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    return kept


def _link(
    folder_fd: int, temporary: str, name: str, data: bytes, created: list[str], *, follow: bool
) -> None:
    """Link a file to a second name, which must not exist, and add that name to `created`."""
    try:
        os.link(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        created.append(name)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    fd = os.open(name, _NEW, permissions.PRIVATE, dir_fd=folder_fd)  # a kill may leave a part
    created.append(name)
    _fill(fd, folder_fd, data, follow=follow)
