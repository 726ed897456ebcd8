"""Folder: an open directory whose files are read, written, listed and deleted.

Every access below a root uses a directory descriptor and O_NOFOLLOW, so that neither a planted
link nor an exchanged folder leads anywhere else (`docs/format.md` §2). Writing itself is in
`filevault.system.atomic_write`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from itertools import compress
from operator import attrgetter, not_

from filevault import errors
from filevault.errors import StorageError
from filevault.system.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from filevault.system.inputs import Inputs
    from filevault.system.permissions import Permissions

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_name = attrgetter("name")
_CHUNK = 16 << 10  # read(2) allocates a buffer of this size, and most files are small
_LINK_HINT = "only the folder of the whole store may be a link: link that instead"


def storage_error(
    error: OSError, action: str, path: str, *, hint: str | None = None
) -> StorageError:
    """Return an OSError as one line that names the file, with a hint that may be given."""
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
        hint=hint or (hints.get(error.errno) if error.errno is not None else None),
    )


def read_all(fd: int, limit: int, size: int = 0) -> bytes:
    """Read a descriptor to its end; if there are more than `limit` bytes, return `limit` + 1.

    `size` is about how many bytes there are, so that a large file is read in one go.
    """
    parts = []
    left = limit + 1
    chunk = max(_CHUNK, size + 1)
    while left > 0:
        part = os.read(fd, min(left, chunk))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class Folder:
    """An open directory. Use as a context manager, or call `close`.

    `warn` is called with a message if a file cannot get the permissions of the one that it
    replaces; `inputs` notes all that is read. Folders that are opened through this one inherit
    both.
    """

    __slots__ = ("fd", "inputs", "path", "warn")

    def __init__(
        self,
        fd: int,
        path: str,
        warn: Callable[[str], None] | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        self.fd = fd
        self.path = path
        self.warn = warn
        self.inputs = inputs

    @classmethod
    def open(
        cls,
        path: str,
        warn: Callable[[str], None] | None = None,
        inputs: Inputs | None = None,
    ) -> Folder:
        """Open a root folder, which may be a link.

        Raises:
            FileNotFoundError: if it does not exist.
            StorageError: if it cannot be opened.
        """
        try:
            fd = os.open(path, _FOLDER)
        except FileNotFoundError:
            if inputs is not None:
                inputs.absent(path)
            raise
        except OSError as error:
            if inputs is not None:
                inputs.spoil("a folder cannot be opened")
            raise storage_error(error, "open", path) from error
        if inputs is not None:
            inputs.seen(path, os.fstat(fd))
        return cls(fd, path, warn, inputs)

    @classmethod
    def make(
        cls,
        path: str,
        home: str | None = None,
        warn: Callable[[str], None] | None = None,
        inputs: Inputs | None = None,
    ) -> Folder:
        """Open a root folder; create it and its missing parents with mode 0700.

        `home` is the home directory, which is never created. Raises StorageError.
        """
        try:
            if not os.path.isdir(path):
                from filevault.system.new_folders import make_folders

                if inputs is not None:
                    inputs.spoil("a folder was made")
                make_folders(path, home)
            return cls.open(path, warn, inputs)
        except OSError as error:  # also for a dangling link
            raise storage_error(error, "create", path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
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
            self._note_absent(name)
            raise
        except OSError as error:
            self._spoil("a folder cannot be opened")
            raise self._refusal(error, "open", name) from error
        if self.inputs is not None and self.inputs.doubt is None:
            self.inputs.seen(self.join(name), os.fstat(fd))
        return Folder(fd, self.join(name), self.warn, self.inputs)

    def _note_absent(self, name: str) -> None:
        if self.inputs is not None:
            self.inputs.absent(self.join(name))

    def _spoil(self, doubt: str) -> None:
        if self.inputs is not None:
            self.inputs.spoil(doubt)

    def _look(self, name: str) -> os.stat_result:
        """Return lstat(2) of an entry, and note it."""
        try:
            info = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self._note_absent(name)
            raise
        except OSError:
            self._spoil("a path cannot be looked at")
            raise
        if self.inputs is not None:
            self.inputs.seen(self.join(name), info)
        return info

    def make_child(self, name: str) -> Folder:
        """Open a folder inside this one; create it with mode 0700 if it is missing."""
        try:
            return self.child(name)
        except FileNotFoundError:
            pass
        from filevault.system.new_folders import make_private

        self._spoil("a folder was made")
        try:
            with contextlib.suppress(FileExistsError):
                make_private(name, self.fd)
            return self.child(name)
        except OSError as error:  # also if another process deleted it in between
            raise storage_error(error, "create", self.join(name)) from error

    def _refusal(self, error: OSError, action: str, name: str) -> StorageError:
        """Return the error for a failed open; ELOOP and ENOTDIR mean a link."""
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            with contextlib.suppress(OSError):
                if stat.S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode):
                    return StorageError(
                        f"{printable(self.join(name))!r} is a link, which is refused in a vault",
                        hint=_LINK_HINT,
                    )
        return storage_error(error, action, self.join(name))

    def read(self, name: str, limit: int, *, own: bool = False) -> bytes:
        """Return the bytes of a regular file, `limit` + 1 bytes if it has more than `limit`.

        Raises:
            FileNotFoundError: if it does not exist or, with `own`, belongs to another user.
            StorageError: if it is a link, no regular file, or cannot be read.
        """
        try:
            fd = os.open(name, _READ, dir_fd=self.fd)
        except FileNotFoundError:
            self._note_absent(name)
            raise
        except OSError as error:
            self._spoil("a file cannot be read")
            raise self._refusal(error, "read", name) from error
        try:
            info = os.fstat(fd)
            if own and not _is_own(info, self.fd):
                self._spoil("a file belongs to another user")
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            if not stat.S_ISREG(info.st_mode):
                raise StorageError(f"{printable(self.join(name))!r} is not a regular file")
            data = read_all(fd, limit, info.st_size)
            if self.inputs is not None:
                self.inputs.read(self.join(name), info, os.fstat(fd))
            return data
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, "read", self.join(name)) from error
        finally:
            os.close(fd)

    def head(self, name: str, size: int) -> tuple[bytes, os.stat_result | None]:
        """Return the first bytes of a regular file, b"" after any error, and its status.

        The status is that of the descriptor; None after an error, and if the file was changed
        while it was read. For listings of thousands of files.
        """
        self._spoil("files were listed with their beginnings")
        try:
            fd = os.open(name, _READ, dir_fd=self.fd)
        except OSError:
            return b"", None
        try:
            before = os.fstat(fd)
            data = os.read(fd, size) if stat.S_ISREG(before.st_mode) else b""
            after = os.fstat(fd)
        except OSError:
            return b"", None
        finally:
            os.close(fd)
        return data, after if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
            after.st_size,
            after.st_mtime_ns,
            after.st_ctime_ns,
        ) else None

    def refuse_link(self, name: str) -> None:
        """Raise StorageError if an entry is a link."""
        try:
            mode = self._look(name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:  # a name that is too long, for one
            raise storage_error(error, "look at", self.join(name)) from error
        if stat.S_ISLNK(mode):
            raise self._refusal(OSError(errno.ELOOP, os.strerror(errno.ELOOP)), "open", name)

    def refuse_other(self, name: str) -> None:
        """Raise StorageError if an entry is a link, pipe, socket or device.

        Writing a file would replace it; for a folder rename(2) fails.
        """
        self.refuse_link(name)
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise StorageError(f"{printable(self.join(name))!r} is not a regular file")

    def is_file(self, name: str) -> bool:
        """Return whether a regular file (not a link) of that name exists."""
        try:
            return stat.S_ISREG(self._look(name).st_mode)
        except OSError:
            return False

    def has(self, name: str) -> bool:
        """Return False if there is certainly no entry of that name, not even a link."""
        try:
            self._look(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def entries(self) -> list[os.DirEntry[str]]:
        """Return the directory's entries, sorted by name."""
        try:
            return sorted(self._scan(), key=_name)
        except OSError as error:
            raise storage_error(error, "read", self.path) from error

    def listing(self) -> tuple[list[str], list[str]]:
        """Return the names of the regular files and of the folders inside, each sorted.

        For thousands: a name is sorted in half the time of an entry.
        """
        try:
            entries = self._scan()
            regular = [entry.is_file(follow_symlinks=False) for entry in entries]
            files = [entry.name for entry in compress(entries, regular)]
            others = compress(entries, map(not_, regular))
            folders = [entry.name for entry in others if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise storage_error(error, "read", self.path) from error
        files.sort()
        folders.sort()
        return files, folders

    def _scan(self) -> list[os.DirEntry[str]]:
        noted = self.inputs if self.inputs is not None and self.inputs.doubt is None else None
        before = None if noted is None else os.fstat(self.fd)
        entries = list(os.scandir(self.fd))  # read to its end, it is closed
        if noted is not None and before is not None:
            noted.read(self.path, before, os.fstat(self.fd))
        return entries

    def write(
        self,
        name: str,
        data: bytes,
        mode: int = 0o600,
        *,
        keep: str | Permissions | None = None,
        sweep: bool = True,
    ) -> None:
        """Replace a file atomically: at every instant it has the old bytes or the new ones.

        Args:
            name: the file.
            data: its new bytes.
            mode: of the new file, unless `keep` applies.
            keep: a file in this folder whose group, ACL and mode the new file gets, if it exists,
                or these permissions themselves.
            sweep: delete the temporary files that a crash left.

        Raises:
            UnsyncedError: if the new bytes are written, but a power failure may undo that.
            StorageError: for any other failure; the old bytes stay.
        """
        self._spoil("a file was written")
        from filevault.system import permissions
        from filevault.system.atomic_write import replace_file
        from filevault.system.temporary_files import sweep_temporary_files

        before = permissions.read(keep, self.fd) if isinstance(keep, str) else keep
        try:
            kept = replace_file(self.fd, name, data, mode, before)
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error
        if not kept and self.warn is not None:
            self.warn(
                f"{printable(self.join(name))!r} is readable for its owner alone now (mode 0600): "
                "group and ACL of the file it replaces cannot be set"
            )
        self._sync(name, "written")
        if sweep:
            sweep_temporary_files(self.fd)

    def create(self, name: str, data: bytes, *, follow: bool = True) -> None:
        """Write a new file with mode 0600 completely, or nothing; never replace an existing one.

        With `follow`, a file of root gets the folder's owner. Raises FileExistsError if the file
        exists, StorageError if it cannot be written.
        """
        self._spoil("a file was written")
        from filevault.system.atomic_write import create_file
        from filevault.system.temporary_files import sweep_temporary_files

        try:
            create_file(self.fd, name, data, follow=follow)
        except FileExistsError:
            raise
        except OSError as error:
            raise storage_error(error, "write", self.join(name)) from error
        sweep_temporary_files(self.fd)

    def remove(self, name: str) -> None:
        """Delete a file durably (fsync the directory).

        Raises:
            FileNotFoundError: if it does not exist.
            UnsyncedError: if it is deleted, but a power failure may undo that.
            StorageError: if it cannot be deleted.
        """
        self._spoil("a file was deleted")
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(error, "delete", self.join(name)) from error
        self._sync(name, "deleted")

    def _sync(self, name: str, done: str) -> None:
        """Make the last change of a file durable. Raises UnsyncedError."""
        from filevault.system.new_folders import sync_folder

        try:
            sync_folder(self.fd)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise errors.UnsyncedError(
                f"{printable(self.join(name))!r} is {done}, but may not survive a power cut: "
                f"{reason}",
                hint="look after the disk, then check with filevault list",
            ) from error

    def remove_folder(self, name: str) -> bool:
        """Delete a folder if it is empty; return whether it was deleted."""
        self._spoil("a folder was deleted")
        from filevault.system.new_folders import sync_folder

        try:
            os.rmdir(name, dir_fd=self.fd)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            sync_folder(self.fd)
        return True

    def sweep(self) -> None:
        """Delete the temporary files that a crash left; see `sweep_temporary_files`."""
        from filevault.system.temporary_files import sweep_temporary_files

        sweep_temporary_files(self.fd)


def _is_own(info: os.stat_result, folder_fd: int) -> bool:
    """Return whether a file belongs to this user or, for root, to the owner of the folder.

    Root writes files for that owner: see `filevault.system.permissions.follow_folder`.
    """
    user = os.geteuid()
    return info.st_uid == user or (user == 0 and info.st_uid == os.fstat(folder_fd).st_uid)
