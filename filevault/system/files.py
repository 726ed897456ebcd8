"""Files that survive: private folders, atomic writes, locks, reads that follow nothing.

Every access below a root goes through a directory descriptor with O_NOFOLLOW, so that neither a
planted link nor a folder swapped meanwhile leads anywhere else (`docs/format.md` §2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from filevault.errors import StorageError, UnsyncedError
from filevault.system import permissions
from filevault.system.new_folders import make_folders, make_private, sync_folder
from filevault.system.permissions import Permissions
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_TEMPORARY = (".fv-", ".tmp")
_TEMPORARY_AGE = 3600
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # FAT, and some of FUSE's
_CHUNK = 16 << 10  # read(2) gets a buffer of the size asked for, and ours are small files
_LINK_HINT = "only the folder of the whole store may be a link: link that instead"


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


class Folder:
    """An open directory. Use as a context manager, or call `close`.

    `warn` is told if a file that replaces another one cannot grant what that one did. The folders
    that are opened through this one inherit it.
    """

    __slots__ = ("fd", "path", "warn")

    def __init__(self, fd: int, path: str, warn: Callable[[str], None] | None = None) -> None:
        self.fd = fd
        self.path = path
        self.warn = warn

    @classmethod
    def open(cls, path: str, warn: Callable[[str], None] | None = None) -> Folder:
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
        return cls(fd, path, warn)

    @classmethod
    def make(
        cls, path: str, home: str | None = None, warn: Callable[[str], None] | None = None
    ) -> Folder:
        """Open a root, creating it and missing parents with mode 0700.

        `home` is the user's home directory, which is never created. Raises StorageError.
        """
        try:
            make_folders(path, home)
            return cls.open(path, warn)
        except OSError as error:  # also for a link that leads nowhere
            raise storage_error(error, "create", path) from error

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
        return Folder(fd, self.join(name), self.warn)

    def make_child(self, name: str) -> Folder:
        """Open a folder inside this one, creating it with mode 0700 where it is missing."""
        try:
            return self.child(name)
        except FileNotFoundError:
            pass
        try:
            with contextlib.suppress(FileExistsError):
                make_private(name, self.fd)
            return self.child(name)
        except OSError as error:  # also where somebody deleted it at once, empty as it is
            raise storage_error(error, "create", self.join(name)) from error

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

    def read(self, name: str, limit: int, *, ours: bool = False) -> bytes:
        """Return the bytes of a regular file; longer than `limit` returns `limit` + 1 bytes.

        Raises:
            FileNotFoundError: if it does not exist or, with `ours`, is another user's.
            StorageError: if it is a link, no regular file, or cannot be read.
        """
        try:
            fd = os.open(name, _READ, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refusal(error, "read", name) from error
        try:
            info = os.fstat(fd)
            if ours and not permissions.is_ours(info, self.fd):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            if not stat.S_ISREG(info.st_mode):
                raise StorageError(f"{printable(self.join(name))!r} is not a regular file")
            return read_all(fd, limit)
        except FileNotFoundError:
            raise
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

    def refuse_other(self, name: str) -> None:
        """Raise StorageError, which names it, for a link, pipe, socket or device.

        A file written would take its place; of a folder rename(2) says so itself.
        """
        self.refuse_link(name)
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise StorageError(f"{printable(self.join(name))!r} is not a regular file")

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

    def write(
        self,
        name: str,
        data: bytes,
        mode: int = permissions.PRIVATE,
        *,
        keep: str | Permissions | None = None,
        sweep: bool = True,
    ) -> None:
        """Replace a file atomically: the old bytes or the new ones, at every instant.

        Temporary file in the same folder, fsync, rename, fsync of the folder. The new file gets
        group, ACL and mode of the file `keep` in this folder if there is one, or those that
        `keep` is, else `mode`. `sweep` calls `sweep`.

        Raises UnsyncedError if only the last step failed: the new bytes are in place; StorageError
        for anything else: the old bytes stand.
        """
        temporary = _temporary_name()
        before = permissions.read(keep, self.fd) if isinstance(keep, str) else keep
        try:
            fd = os.open(temporary, _NEW, permissions.PRIVATE, dir_fd=self.fd)
            try:
                kept = self._fill(fd, data, mode, before)
                os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self.fd)
                raise
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error
        if not kept and self.warn is not None:
            self.warn(
                f"{printable(self.join(name))!r} is readable for its owner alone now (mode 0600): "
                "group and ACL of the file it replaces cannot be set"
            )
        self._make_last(name, "written")
        if sweep:
            self.sweep()

    def _fill(
        self,
        fd: int,
        data: bytes,
        mode: int = permissions.PRIVATE,
        before: Permissions | None = None,
        *,
        follow: bool = True,
    ) -> bool:
        """Grant, write, sync and close a new file; tell whether it grants what it should."""
        kept = True
        try:
            if before is not None:
                kept = permissions.keep(fd, before)
            else:
                os.fchmod(fd, mode)
            if follow:
                permissions.follow_folder(fd, self.fd, before)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        return kept

    def create(self, name: str, data: bytes, *, follow: bool = True) -> None:
        """Write a new file, 0600, never over an existing one: all of it is there, or nothing.

        With `follow` a file of root's goes to the folder's owner. Raises FileExistsError if there
        is one, StorageError if it cannot be written.
        """
        temporary = _temporary_name()
        made: list[str] = []
        try:
            try:
                fd = os.open(temporary, _NEW, 0o600, dir_fd=self.fd)
                made.append(temporary)
                self._fill(fd, data, follow=follow)
                self._link(temporary, name, data, made, follow=follow)
                os.unlink(temporary, dir_fd=self.fd)
                sync_folder(self.fd)
            except BaseException:
                for each in made:
                    with contextlib.suppress(OSError):
                        os.unlink(each, dir_fd=self.fd)
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error
        self.sweep()

    def _link(
        self, temporary: str, name: str, data: bytes, made: list[str], *, follow: bool
    ) -> None:
        """Give a file a second name, which nothing may have, and add it to `made`."""
        try:
            os.link(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            made.append(name)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        fd = os.open(name, _NEW, 0o600, dir_fd=self.fd)  # here a kill can leave a part of it
        made.append(name)
        self._fill(fd, data, follow=follow)

    def remove(self, name: str) -> None:
        """Delete a file and make that last.

        Raises:
            FileNotFoundError: if it does not exist.
            UnsyncedError: if it is deleted, but may come back after a power cut.
            StorageError: if it cannot be deleted.
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
            sync_folder(self.fd)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise UnsyncedError(
                f"{printable(self.join(name))!r} is {done}, but may not survive a power cut: "
                f"{reason}",
                hint="look after the disk, then check with filevault list",
            ) from error

    def remove_folder(self, name: str) -> bool:
        """Delete an empty folder; tell whether it was empty and is gone."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            sync_folder(self.fd)
        return True

    def sweep(self) -> None:
        """Delete temporary files of ours that a crash left more than an hour ago; never fails.

        Call it after an entry came or went: the folder's own time is then what the file system
        takes for now. Our clock could be another one, and take a running writer's file away.
        """
        with contextlib.suppress(OSError), os.scandir(self.fd) as entries:
            old = os.fstat(self.fd).st_mtime - _TEMPORARY_AGE
            for entry in entries:
                if entry.name.startswith(_TEMPORARY[0]) and entry.name.endswith(_TEMPORARY[1]):
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(info.st_mode) and info.st_mtime < old:
                        os.unlink(entry.name, dir_fd=self.fd)


def _temporary_name() -> str:
    return f"{_TEMPORARY[0]}{os.urandom(8).hex()}{_TEMPORARY[1]}"
