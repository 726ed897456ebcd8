"""Files that belong to the person: configuration and secrets, judged by owner and mode.

Whoever can write a configuration decides which program runs and which account is used; whoever
can read a secret has it. Links are followed, because dotfile managers and Kubernetes mounts use
them, and the target is judged.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, LockedError
from filevault.files import Folder, read_all, storage_error
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable


def read_config(path: str, limit: int = 4 << 20) -> bytes | None:
    """Return a configuration file's bytes, None if there is none.

    Whoever can write it decides which program runs and which account is used, so it must belong
    to us or root and not be writable for everyone; judged on a link's target.

    Raises:
        ConfigError: if it is refused, or longer than `limit`.
        StorageError: if it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, "read", path) from error
    try:
        info = os.fstat(fd)
        if stat.S_ISCHR(info.st_mode) and os.path.samestat(info, os.stat(os.devnull)):
            return b""
        shown = printable(path)
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{shown!r} is not a regular file")
        if info.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"{shown!r} belongs to user {info.st_uid}, so that user could redirect you",
                hint=f"chown it, or check it and make a copy of your own: cp -p {shown} ...",
            )
        if info.st_mode & stat.S_IWOTH:
            raise ConfigError(f"{shown!r} is writable for every user", hint=f"chmod o-w {shown}")
        data = read_all(fd, limit)
        if len(data) > limit:
            raise ConfigError(f"{shown!r} is longer than {limit} bytes")
        return data
    except OSError as error:
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)


def read_secret(path: str, home: str, *, provided: bool, limit: int = 64 << 10) -> bytes:
    """Return the bytes of a file that holds a secret; links are followed (Kubernetes mounts).

    Nobody else may be able to read it, as ssh demands of a private key: a file of ours has no
    group or other bits; one of root's may be readable where root put it, outside our home.
    `provided` relaxes that for what systemd or a container runtime placed for us.

    Raises:
        FileNotFoundError: if there is no such file.
        LockedError: if it is refused, or longer than `limit`.
    """
    shown = printable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    try:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            _check_secret(info, path, home, provided=provided)
        elif not stat.S_ISFIFO(info.st_mode):
            raise LockedError(f"{shown!r} is not a regular file")
        data = read_all(fd, limit)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    finally:
        os.close(fd)
    if len(data) > limit:
        raise LockedError(f"{shown!r} is longer than {limit} bytes, which no secret is")
    return data


def _check_secret(info: os.stat_result, path: str, home: str, *, provided: bool) -> None:
    ours = os.geteuid()
    shown = printable(path)
    # Container runtimes keep the owner that a secret has outside; root may read it anyway.
    if info.st_uid not in (0, ours) and not (provided and ours == 0):
        raise LockedError(
            f"{shown!r} belongs to user {info.st_uid}, so it is no secret of yours",
            hint=f"chown it to yourself and chmod 600 {shown}",
        )
    if info.st_mode & 0o022:
        raise LockedError(f"{shown!r} is writable for others", hint=f"chmod 600 {shown}")
    if provided:
        return
    real = os.path.realpath(path)
    at_home = real.startswith(os.path.realpath(home).rstrip("/") + "/")
    if info.st_uid == ours:
        if info.st_mode & 0o077:
            raise LockedError(f"{shown!r} is readable for others", hint=f"chmod 600 {shown}")
    elif at_home:
        raise LockedError(
            f"{shown!r} belongs to root", hint=f"chown it to yourself and chmod 600 {shown}"
        )


def edit_config(path: str, edit: Callable[[bytes], bytes], limit: int = 4 << 20) -> None:
    """Replace a configuration file by an edit of itself, atomically and under a lock.

    A link is followed to its target and stays a link; the mode stays. A missing file is edited
    from nothing and created 0600, a missing folder 0700.

    Raises:
        ConfigError: as `read_config`, and what `edit` raises.
        StorageError: if it cannot be written.
    """
    target = os.path.realpath(path)
    with Folder.make(os.path.dirname(target)) as folder, folder.locked():
        name = os.path.basename(target)
        try:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            mode = 0o600
        except OSError as error:
            raise storage_error(error, "write", target) from error
        else:
            if not stat.S_ISREG(info.st_mode):
                raise ConfigError(f"{printable(path)!r} is not a regular file")
            mode = stat.S_IMODE(info.st_mode)
        folder.write(name, edit(read_config(target, limit) or b""), mode)


def check_writable(path: str) -> None:
    """Raise StorageError unless a file could be replaced at `path`, before anybody is asked."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        code = errno.EROFS if _is_read_only(folder) else errno.EACCES
        raise storage_error(OSError(code, os.strerror(code)), "write", target)


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
