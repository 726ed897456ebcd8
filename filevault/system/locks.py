"""Locks between processes: of a folder, of a permanent file, and by name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from filevault.errors import NoLocksError, StorageError
from filevault.system import permissions
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TIMEOUT = 60.0
# NFS locks only what is open for writing (flock(2)).
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def locked(folder: Folder, name: str | None = None) -> Iterator[None]:
    """Lock a directory with flock(2): writers wait for each other, readers never.

    Nothing is created. With a `name`, an empty file in the folder is locked instead, which works
    on NFS too; it is never deleted, because then two processes could have the lock.

    Raises:
        NoLocksError: if the file system has no such lock.
        StorageError: if another process has the lock for a minute, or the file cannot be opened.
    """
    path = folder.path if name is None else folder.join(name)
    try:
        fd = folder.fd if name is None else _open(folder, name)
    except OSError as error:
        raise storage_error(error, "lock", path) from error
    try:
        _wait(fd, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the work is done
                fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        if name is not None:
            _close_empty(fd)


def _open(folder: Folder, name: str) -> int:
    fd = -1
    while fd < 0:
        try:
            fd = os.open(name, _FILE, dir_fd=folder.fd)
        except FileNotFoundError:
            # Only a file that is certainly new gets another owner: the folder's owner could have
            # replaced it by another file of root.
            with contextlib.suppress(FileExistsError):
                fd = os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder.fd)
                with contextlib.suppress(OSError):
                    os.fchmod(fd, 0o600)  # an unusual umask would make it unusable
                permissions.follow_folder(fd, folder.fd, None)
    return fd


def _wait(fd: int, path: str) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"another process has been writing to {printable(path)!r} for a minute",
                    hint="wait for it to end, or look for a filevault that hangs",
                ) from error
            time.sleep(0.01)
        except OSError as error:
            refusal = storage_error(error, "lock", path)
            raise NoLocksError(refusal.message, hint=refusal.hint) from error
        else:
            return


@contextlib.contextmanager
def writers_lock(root: Folder, elsewhere: str | None, home: str | None = None) -> Iterator[None]:
    """Lock a vault for writing: its root folder or, if that fails, the file `elsewhere`/lock.

    NFS cannot lock directories. `home` is the home directory, which is never created. Raises
    StorageError if neither can be locked.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(root))
        except NoLocksError:
            if elsewhere is None:
                raise
            folder = stack.enter_context(Folder.make(elsewhere, home))
            stack.enter_context(locked(folder, "lock"))
        yield


@contextlib.contextmanager
def key_lock(folder: Folder, name: str, pause: Callable[[], None] | None = None) -> Iterator[None]:
    """Take an exclusive lock by name: a file in a folder that exists only while it is in use.

    `pause` is called each time the lock is found taken, and raises to give up; without it, this
    waits without limit. Raises StorageError if the file cannot be created or locked.
    """
    while True:
        try:
            fd = _open(folder, name)
        except OSError as error:
            raise storage_error(error, "lock", folder.join(name)) from error
        try:
            _lock(fd, pause)
            try:
                current = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            except FileNotFoundError:
                current = None
            if current is not None and os.path.samestat(current, os.fstat(fd)):
                break
        except BaseException as error:
            _close_empty(fd)
            if isinstance(error, OSError):
                raise storage_error(error, "lock", folder.join(name)) from error
            raise
        _close_empty(fd)  # another process has deleted it: begin again
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder.fd)
        _close_empty(fd)


def _lock(fd: int, pause: Callable[[], None] | None) -> None:
    while pause is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause()
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX)


def _close_empty(fd: int) -> None:
    with contextlib.suppress(OSError):  # nothing was written, so nothing is lost
        os.close(fd)
