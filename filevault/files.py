"""Files that survive: private folders, atomic writes, locks, reads that follow nothing.

Every access below a root goes through a directory descriptor with O_NOFOLLOW, so that neither a
planted link nor a folder swapped meanwhile leads anywhere else (`docs/format.md` §2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Self

from filevault.errors import LockedError, StorageError
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_TEMPORARY = (".fv-", ".tmp")
_TEMPORARY_AGE = 3600
_LOCK_PATIENCE = 60.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 16 << 10  # read(2) gets a buffer of the size asked for, and ours are small files
_LINK_HINT = "only the vault's root may be a link: link that instead"


def storage_error(error: OSError, action: str, path: str) -> StorageError:
    """Turn an OSError into one line that names the file and, where there is one, the way out."""
    hints = {
        errno.ENOSPC: "free some space and run the command again; what was stored is untouched",
        errno.EDQUOT: "free some space and run the command again; what was stored is untouched",
        errno.EROFS: "the file system is read-only; write where it is mounted writable",
        errno.EACCES: "check owner and permissions of the file and its folders",
        errno.EPERM: "check owner and permissions of the file and its folders",
    }
    reason = (error.strerror or type(error).__name__).lower()
    return StorageError(
        f"cannot {action} {printable(path)!r}: {reason}",
        hint=hints.get(error.errno) if error.errno is not None else None,
    )


def _fill(fd: int, data: bytes, mode: int) -> None:
    """Write, sync and close a new file."""
    try:
        os.fchmod(fd, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def read_all(fd: int, limit: int) -> bytes:
    """Read to the end; a file longer than `limit` gives `limit` + 1 bytes."""
    parts = []
    left = limit + 1
    while left > 0:
        part = os.read(fd, min(left, _CHUNK))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _sync_folder(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a directory; the rename is done.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


class Folder:
    """An open directory. Use as a context manager, or call `close`."""

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def open(cls, path: str) -> Folder:
        """Open a root, which may be a link.

        Raises:
            FileNotFoundError: if it does not exist.
            StorageError: if it cannot be opened.
        """
        try:
            fd = os.open(path, _FOLDER)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, "open", path) from error
        return cls(fd, path)

    @classmethod
    def make(cls, path: str) -> Folder:
        """Open a root, creating it and missing parents with mode 0700."""
        try:
            _make_folders(path)
        except OSError as error:
            raise storage_error(error, "create", path) from error
        return cls.open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def join(self, name: str) -> str:
        """Return the path of an entry, for messages."""
        return f"{self.path}/{name}"

    def child(self, name: str) -> Folder:
        """Open a folder inside this one; a link is refused.

        Raises FileNotFoundError if it does not exist, StorageError otherwise.
        """
        try:
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refusal(error, "open", name) from error
        return Folder(fd, self.join(name))

    def make_child(self, name: str) -> Folder:
        """Open a folder inside this one, creating it with mode 0700 where it is missing."""
        try:
            return self.child(name)
        except FileNotFoundError:
            pass
        try:
            with contextlib.suppress(FileExistsError):
                _make_private(name, self.fd)
                _sync_folder(self.fd)
        except OSError as error:
            raise storage_error(error, "create", self.join(name)) from error
        return self.child(name)

    def _refusal(self, error: OSError, action: str, name: str) -> StorageError:
        """A link shows as ELOOP, or as ENOTDIR where a directory was asked for: name it."""
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            with contextlib.suppress(OSError):
                if stat.S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode):
                    return StorageError(
                        f"{printable(self.join(name))!r} is a link, which is refused in a vault",
                        hint=_LINK_HINT,
                    )
        return storage_error(error, action, self.join(name))

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of a regular file; longer than `limit` returns `limit` + 1 bytes.

        Raises:
            FileNotFoundError: if it does not exist.
            StorageError: if it is a link, no regular file, or cannot be read.
        """
        try:
            fd = os.open(name, _READ, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refusal(error, "read", name) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StorageError(f"{printable(self.join(name))!r} is not a regular file")
            return read_all(fd, limit)
        except OSError as error:
            raise storage_error(error, "read", self.join(name)) from error
        finally:
            os.close(fd)

    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of what a directory entry said is a regular file.

        For listings of thousands: anything that goes wrong gives no bytes.
        """
        try:
            fd = os.open(name, _READ, dir_fd=self.fd)
        except OSError:
            return b""
        try:
            return os.read(fd, size)
        except OSError:
            return b""
        finally:
            os.close(fd)

    def refuse_link(self, name: str) -> None:
        """Raise StorageError, which names it, if an entry is a link."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode):
                raise self._refusal(OSError(errno.ELOOP, os.strerror(errno.ELOOP)), "open", name)

    def is_file(self, name: str) -> bool:
        """Tell whether a regular file (no link) of that name exists."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def entries(self) -> list[os.DirEntry[str]]:
        """Return the directory's entries, sorted by name."""
        try:
            with os.scandir(self.fd) as found:
                return sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise storage_error(error, "read", self.path) from error

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Replace a file atomically: the old bytes or the new ones, at every instant.

        Temporary file in the same folder, fsync, rename, fsync of the folder. Raises
        StorageError; the temporary file is gone then, and the old bytes stand unless the
        message says that only the last step failed.
        """
        temporary = f"{_TEMPORARY[0]}{os.urandom(8).hex()}{_TEMPORARY[1]}"
        try:
            fd = os.open(temporary, _NEW, mode, dir_fd=self.fd)
            try:
                _fill(fd, data, mode)
                os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self.fd)
                raise
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error
        self._make_last(name, "written")

    def create(self, name: str, data: bytes) -> None:
        """Write a new file, 0600, never over an existing one.

        Raises FileExistsError if there is one, StorageError if it cannot be written.
        """
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=self.fd)
            try:
                _fill(fd, data, 0o600)
                _sync_folder(self.fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self.fd)
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error

    def remove(self, name: str) -> None:
        """Delete a file and make that last.

        Raises FileNotFoundError if it does not exist, StorageError if it cannot be deleted.
        """
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, "delete", self.join(name)) from error
        self._make_last(name, "deleted")

    def _make_last(self, name: str, done: str) -> None:
        try:
            _sync_folder(self.fd)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(
                f"{printable(self.join(name))!r} is {done}, but that may not last: {reason}",
                hint="look after the disk, then check with filevault list",
            ) from error

    def remove_folder(self, name: str) -> bool:
        """Delete an empty folder; tell whether it was empty and is gone."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            _sync_folder(self.fd)
        return True

    def sweep(self, now: float) -> None:
        """Delete temporary files of ours that a crash left more than an hour ago."""
        for entry in self.entries():
            if entry.name.startswith(_TEMPORARY[0]) and entry.name.endswith(_TEMPORARY[1]):
                with contextlib.suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(info.st_mode) and info.st_mtime < now - _TEMPORARY_AGE:
                        os.unlink(entry.name, dir_fd=self.fd)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold `flock` on the directory itself: writers wait for each other, readers never.

        Nothing is created for it. Raises StorageError where the file system cannot lock a
        directory, LockedError if another writer holds it for a minute.
        """
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LockedError(
                        f"another process has been writing to {printable(self.path)!r} for a "
                        "minute",
                        hint="wait for it to end, or look for a filevault that hangs",
                    ) from error
                time.sleep(0.01)
            except OSError as error:
                raise storage_error(error, "lock", self.path) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # what was to be done is done
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def key_lock(self, name: str, pause: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold an exclusive lock on a small file that exists only while somebody wants it.

        `pause` is called each time it is found taken, and gives up by raising; without it, this
        waits as long as it takes.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            try:
                fd = os.open(name, flags, 0o600, dir_fd=self.fd)
            except OSError as error:
                raise storage_error(error, "lock", self.join(name)) from error
            try:
                _lock(fd, pause)
                try:
                    current = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                except FileNotFoundError:
                    current = None
                if current is not None and os.path.samestat(current, os.fstat(fd)):
                    break
            except BaseException as error:
                _close_empty(fd)
                if isinstance(error, OSError):
                    raise storage_error(error, "lock", self.join(name)) from error
                raise
            _close_empty(fd)  # its holder deleted it while we waited: begin again
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.fd)
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
    with contextlib.suppress(OSError):  # nothing was written, so nothing can be lost
        os.close(fd)


def _make_private(path: str, dir_fd: int | None = None) -> None:
    """Make a folder with mode 0700, even where the umask takes our own bits away."""
    umask = os.umask(0o077)
    try:
        os.mkdir(path, 0o700, dir_fd=dir_fd)
    finally:
        os.umask(umask)


def _make_folders(path: str) -> None:
    """Create a folder and its parents, 0700 each, making every new entry last."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        _make_folders(parent)
    try:
        _make_private(path)
    except FileExistsError:
        return
    with Folder.open(parent or ".") as folder:
        _sync_folder(folder.fd)
