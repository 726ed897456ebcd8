"""The log of issued credentials: one line of JSON for each, appended, rotated, never a secret.

Every writer locks the file and appends a line by one write. A full file is renamed, so that two
files of `MAX_BYTES` are kept. `docs/reference/config.md` documents the key `log`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import StorageError
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.credentials import Credentials

FILE, OLDER = "issued.log", "issued.log.1"
MAX_BYTES = 1 << 20
"""Bytes of one file; there are at most two."""

_LONGEST = 200  # characters of one value
_LOCK_TIMEOUT = 2.0  # seconds; a writer holds the lock for one write
_TRIES = 10  # at a file that another writer has just renamed
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class IssuedLine(Record):
    """What is recorded of issued credentials; every text is printable.

    `time` is in UTC. `verb` is `exec`, `export`, `login` or `serve`. `command` is the base name
    of the program that gets them, `session` the session name of a role or federated user, each
    None if there is none. `key` has the last four characters of the access key id.
    """

    time: str
    profile: str
    verb: str
    command: str | None
    session: str | None
    key: str

    def json(self) -> str:
        """Return the line without its end; everything but ASCII is escaped."""
        import json

        return json.dumps(self._asdict())


def issued_line(
    now: float, profile: str, verb: str, credentials: Credentials, program: str | None
) -> IssuedLine:
    """Return the line for credentials that are issued now; `program` may be a path."""
    command = None
    if program is not None:
        command = printable(program.rstrip("/").rpartition("/")[2], _LONGEST)
    return IssuedLine(
        format_time(int(now)),
        printable(profile, _LONGEST),
        verb,
        command,
        _session_name(credentials.arn),
        printable(credentials.access_key_id[-4:]),
    )


def _session_name(arn: str | None) -> str | None:
    """Return the session name in an ARN of STS, `assumed-role/ROLE/NAME` or `federated-user/NAME`.

    The path of a role is not part of such an ARN.
    """
    parts = (arn or "").split(":", 5)
    if len(parts) < 6 or parts[2] != "sts":
        return None
    return printable(parts[5].rpartition("/")[2], _LONGEST) or None


def append(line: IssuedLine, state_home: str, home: str | None) -> None:
    """Append a line to the file, which is made with mode 0600; rotate a full one first.

    `home` is the home directory, which is never created. Raises StorageError; then nothing is
    appended.
    """
    data = line.json().encode("ascii") + b"\n"
    with Folder.make(state_home, home) as folder:
        path = folder.join(FILE)
        try:
            for _ in range(_TRIES):
                with _opened(folder) as fd:
                    if _is_current(fd, folder.fd) and _appended(fd, folder.fd, data):
                        return
        except OSError as error:
            raise storage_error(error, "write", path) from error
    raise StorageError(f"cannot write {printable(path)!r}: other processes keep replacing it")


@contextlib.contextmanager
def _opened(folder: Folder) -> Iterator[int]:
    """Open and lock the file. Raises OSError, StorageError."""
    fd = os.open(FILE, _FLAGS, 0o600, dir_fd=folder.fd)
    try:
        info, owner = os.fstat(fd), os.fstat(folder.fd).st_uid
        path = printable(folder.join(FILE))
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise StorageError(f"{path!r} is no plain file of its own")
        if info.st_uid not in (os.geteuid(), owner if os.geteuid() == 0 else os.geteuid()):
            raise StorageError(f"{path!r} belongs to user {info.st_uid}")
        if info.st_mode & 0o077:
            os.fchmod(fd, 0o600)
        _lock(fd, path)
        yield fd
    finally:
        os.close(fd)


def _lock(fd: int, path: str) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(f"{path!r} is locked by another process") from None
            time.sleep(0.002)


def _is_current(fd: int, folder_fd: int) -> bool:
    """Return whether the locked file still has its name: another writer may have rotated it."""
    try:
        return os.path.samestat(
            os.fstat(fd), os.stat(FILE, dir_fd=folder_fd, follow_symlinks=False)
        )
    except FileNotFoundError:
        return False


def _appended(fd: int, folder_fd: int, data: bytes) -> bool:
    """Append under the lock; return False after a rotation, when the new file must be opened."""
    size = os.fstat(fd).st_size
    if size and size + len(data) > MAX_BYTES:
        os.rename(FILE, OLDER, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        return False
    if size and os.pread(fd, 1, size - 1) != b"\n":  # a line that a crash cut off
        data = b"\n" + data
    try:
        written = os.write(fd, data)
    except OSError:
        os.ftruncate(fd, size)
        raise
    if written != len(data):
        os.ftruncate(fd, size)
        raise StorageError("the log of issued credentials cannot be written: the disk is full")
    return True


def read(state_home: str) -> list[IssuedLine]:
    """Return the lines of both files, the oldest first; others are left out.

    Raises StorageError for a file that cannot be read.
    """
    found: list[IssuedLine] = []
    try:
        folder = Folder.open(state_home)
    except FileNotFoundError:
        return found
    with folder:
        for name in (OLDER, FILE):
            with contextlib.suppress(FileNotFoundError):
                data = folder.read(name, 2 * MAX_BYTES, own=True)
                found += filter(None, map(_parsed, data.split(b"\n")))
    return found


def _parsed(line: bytes) -> IssuedLine | None:
    import json

    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != set(IssuedLine._fields):
        return None
    if not all(type(each) is str or each is None for each in values.values()):
        return None
    shown = {key: value and printable(value, 2 * _LONGEST) for key, value in values.items()}
    return IssuedLine(**shown)
