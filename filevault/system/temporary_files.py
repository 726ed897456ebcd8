"""Temporary files of atomic writes: their names, and the deletion of those that a crash left."""

from __future__ import annotations

import contextlib
import os
import stat

_PREFIX, _SUFFIX = ".fv-", ".tmp"
_MIN_AGE = 3600  # seconds


def temporary_name() -> str:
    """Return a new random name for a temporary file."""
    return f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"


def is_temporary_name(name: str) -> bool:
    """Return whether a file's name is that of a temporary file."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def sweep_temporary_files(folder_fd: int) -> None:
    """Delete the temporary files in a folder that are older than an hour; never raise.

    Call it after an entry was added or deleted: the folder's modification time is then the current
    time of the file system. This machine's clock may differ and make a running writer's file old.
    """
    with contextlib.suppress(OSError), os.scandir(folder_fd) as entries:
        oldest = os.fstat(folder_fd).st_mtime - _MIN_AGE
        for entry in entries:
            if is_temporary_name(entry.name):
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode) and info.st_mtime < oldest:
                    os.unlink(entry.name, dir_fd=folder_fd)
