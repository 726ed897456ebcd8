"""Files that belong to the person: configuration and secrets, judged by owner and mode.

Whoever can write a configuration decides which program runs and which account is used; whoever
can read a secret has it. Links are followed, because dotfile managers and Kubernetes mounts use
them, and the target is judged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, LockedError, NoLocksError, StorageError
from filevault.system.files import Folder, read_all, storage_error
from filevault.system.new_folders import refuse_home
from filevault.system.printable import printable, shell_word
from filevault.system.secret_buffer import SecretBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

TRUST_VARIABLE = "FILEVAULT_TRUST_WRITERS_OF"
_MOST_LINKS = 40  # as for the kernel
_WRITER_TIMEOUT = 10.0  # seconds until somebody opens a pipe for writing
_PIPE_TIMEOUT = 120.0  # as for a command: its writer may be asking a person something
_PIPE_STEP = 50  # milliseconds; poll(2) does not tell that a writer came who writes nothing yet


def home_of_user() -> str:
    """Return the home directory that the password database has for us.

    Raises ConfigError if it has none, or no absolute path.
    """
    import pwd

    with contextlib.suppress(KeyError):  # a container's user that has no entry
        home = pwd.getpwuid(os.geteuid()).pw_dir
        if home.startswith("/"):
            return home
    raise ConfigError(
        "HOME is no absolute path, and the password database knows none for this user",
        hint="set HOME, or FILEVAULT_DIR, AWS_CONFIG_FILE, XDG_CONFIG_HOME and XDG_STATE_HOME",
    )


def read_config(
    path: str, limit: int = 4 << 20, *, trusted: Collection[str] = (), folder: Folder | None = None
) -> bytes | None:
    """Return a configuration file's bytes, None if there is none.

    Whoever can write it decides which program runs and which account is used, so it must belong
    to us or root and not be writable for everyone; judged on a link's target. `trusted` are the
    absolute paths of the files for which the user has given that up. `folder`, if given, is the
    one that it is in, where it is to be replaced: then it must be no link.

    Raises:
        ConfigError: if it is refused, or longer than `limit`.
        StorageError: if it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if folder is None:
            fd = os.open(path, flags)
        else:
            fd = os.open(os.path.basename(path), flags | os.O_NOFOLLOW, dir_fd=folder.fd)
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
        if os.path.abspath(path) not in trusted:
            _check_writers(info, path)
        if folder is not None:
            _check_giving(info, folder, path)
        data = read_all(fd, limit)
        if len(data) > limit:
            raise ConfigError(f"{shown!r} is longer than {limit} bytes")
        return data
    except OSError as error:
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)


def _check_writers(info: os.stat_result, path: str) -> None:
    """Raise ConfigError if anybody but this user and root may write a configuration file."""
    shown, word = printable(path), shell_word(path)
    trust = (
        f"or let whoever can write it choose your programs and accounts: {TRUST_VARIABLE}={word}"
    )
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{shown!r} belongs to user {info.st_uid}, so that user could redirect you",
            hint=f"read it, then take a copy, which is yours: cp {word} {word}.copy && "
            f"mv -f {word}.copy {word}; {trust}",
        )
    if info.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{shown!r} is writable for every user",
            hint=f"chmod o-w {word}; {trust}",
        )


def _check_giving(info: os.stat_result, folder: Folder, path: str) -> None:
    """Raise ConfigError if a copy made by root would give a file to a user who has it not.

    What root writes goes to the owner of its folder, who may have put somebody's file there.
    """
    owner = os.fstat(folder.fd).st_uid
    if os.geteuid() == 0 and owner not in (0, info.st_uid):
        raise ConfigError(
            f"{printable(path)!r} belongs to user {info.st_uid}, and would go to user {owner}, who "
            "owns the folder, if it were written now",
            hint=f"if that user may have what is in it: chown {owner} {shell_word(path)}",
        )


def _check_way(path: str, folder: Folder) -> None:
    """Raise ConfigError if root was led to a folder by a user whose folder it is not.

    Whoever owns a link or a folder on the way chooses where the rest of the way leads.
    """
    if os.geteuid() != 0:
        return
    owner = os.fstat(folder.fd).st_uid
    others = sorted(_owners_of_way(path) - {0, owner})
    if others:
        raise ConfigError(
            f"{printable(path)!r} leads to {printable(folder.path)!r}, which belongs to user "
            f"{owner}, through a link or folder of user {others[0]}",
            hint=f"run filevault as user {others[0]}, or with a HOME of your own",
        )


def _owners_of_way(path: str) -> set[int]:
    """Return who owns the folders and links that a path goes through, as far as it goes."""
    found = set()
    at, links = "/", 0
    left = os.path.abspath(path).split("/")[::-1]
    with contextlib.suppress(OSError):
        while left and links < _MOST_LINKS:
            part = left.pop()
            step = os.path.normpath(f"{at}/{part}")
            info = os.lstat(step)
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink(step)
                left += target.split("/")[::-1]
                links += 1
                at = "/" if target.startswith("/") else at
            elif stat.S_ISDIR(info.st_mode):
                at = step
            else:
                break
            found.add(info.st_uid)
    return found


def read_secret(path: str, home: str | None, *, provided: bool, limit: int = 64 << 10) -> bytearray:
    """Return the bytes of a file that holds a secret; links are followed (Kubernetes mounts).

    Nobody else may be able to read it, as ssh demands of a private key: a file of ours has no
    group or other bits; one of root's may be readable where root put it, outside our home.
    `provided` relaxes that for what systemd or a container runtime placed for us.

    Raises:
        FileNotFoundError: if there is no such file.
        LockedError: if it is refused, longer than `limit`, or a pipe that nobody writes to for
            10 seconds or that does not end within two minutes.
    """
    shown = printable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    data = SecretBuffer(limit)
    try:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            _check_secret(info, path, home, provided=provided)
            while data.read(fd):
                pass
        elif stat.S_ISFIFO(info.st_mode):
            _read_pipe(fd, data, shown)
        else:
            raise LockedError(f"{shown!r} is not a regular file")
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    finally:
        os.close(fd)
    if data.overfull:
        raise LockedError(f"{shown!r} is longer than {limit} bytes, which no secret is")
    return data.take()


def _read_pipe(fd: int, data: SecretBuffer, shown: str) -> None:
    """Read a pipe to its end, whether its writer is there yet or not; never wait for good."""
    import select

    ready = select.poll()
    ready.register(fd, select.POLLIN)
    start = time.monotonic()
    patience = _WRITER_TIMEOUT
    while not data.overfull:
        gone = any(event & select.POLLHUP for _, event in ready.poll(_PIPE_STEP))
        try:
            count = data.read(fd)
        except BlockingIOError:
            patience = _PIPE_TIMEOUT  # somebody has opened it
        else:
            if not count and (data or gone):
                break
        if time.monotonic() - start > (_PIPE_TIMEOUT if data else patience):
            raise LockedError(
                f"{shown!r} is a pipe that nothing came out of for {patience:g} seconds"
                if not data
                else f"{shown!r} is a pipe that did not end within {_PIPE_TIMEOUT:g} seconds",
                hint="something must write the secret to it and close it",
            )


def _check_secret(info: os.stat_result, path: str, home: str | None, *, provided: bool) -> None:
    ours = os.geteuid()
    shown = printable(path)
    copy = f"install -m 600 {shell_word(path)} COPY, and name the copy"
    # Container runtimes keep the owner that a secret has outside; root may read it anyway.
    if info.st_uid not in (0, ours) and not (provided and ours == 0):
        raise LockedError(
            f"{shown!r} belongs to user {info.st_uid}, so it is no secret of yours",
            hint=f"make a copy of your own: {copy}",
        )
    mode_hint = f"chmod 600 {shell_word(path)}, or where the file system has no modes: {copy}"
    if info.st_mode & 0o022:
        raise LockedError(f"{shown!r} is writable for others", hint=mode_hint)
    if provided:
        return
    real = os.path.realpath(path)
    # A home of `/` is what containers give to a user without an entry: all would be in it.
    at_home = home not in (None, "/") and real.startswith(f"{os.path.realpath(home)}/")
    if info.st_uid == ours:
        if info.st_mode & 0o077:
            raise LockedError(f"{shown!r} is readable for others", hint=mode_hint)
    elif at_home:
        raise LockedError(f"{shown!r} belongs to root", hint=f"make a copy of your own: {copy}")


def edit_config(
    path: str,
    edit: Callable[[bytes], bytes],
    limit: int = 4 << 20,
    *,
    home: str | None = None,
    warn: Callable[[str], None] | None = None,
    trusted: Collection[str] = (),
) -> None:
    """Replace a configuration file by an edit of itself, atomically and under a lock.

    A link is followed to its target and stays a link; group, ACL and mode stay. A missing file is
    edited from nothing and created 0600, a missing folder 0700. Where the file system locks no
    directory, it is done without a lock. Root follows no link of a user's out of that user's
    folders, and gives no file to a user who does not own it.

    Args:
        path: the file.
        edit: returns the new bytes, given the old ones.
        limit: bytes that the file may have.
        home: the home directory, which is not made.
        warn: told if group or ACL cannot be kept.
        trusted: as for `read_config`.

    Raises:
        ConfigError: as `read_config`, and what `edit` raises.
        StorageError: if it cannot be written, or its mode says that it is not to be.
    """
    from filevault.system.locks import locked

    target = os.path.realpath(path)
    with Folder.make(os.path.dirname(target), home, warn) as folder, contextlib.ExitStack() as held:
        with contextlib.suppress(NoLocksError):
            held.enter_context(locked(folder))
        _check_way(path, folder)
        name = os.path.basename(target)
        try:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(error, "write", target) from error
        else:
            if not stat.S_ISREG(info.st_mode):
                raise ConfigError(f"{printable(path)!r} is not a regular file")
            _refuse_protected(info, target)
        # Trust is given to the path that the user knows, not to what a link there leads to.
        trusted = (target,) if os.path.abspath(path) in trusted else ()
        old = read_config(target, limit, trusted=trusted, folder=folder)
        folder.write(name, edit(old or b""), keep=name)


def check_writable(path: str, home: str | None = None) -> None:
    """Raise StorageError unless a file could be replaced at `path`, before anybody is asked.

    `home` is the home directory, which is not made.
    """
    target = os.path.realpath(path)
    with contextlib.suppress(OSError):
        _refuse_protected(os.stat(target), target)
    folder = os.path.dirname(target)
    while not os.path.exists(folder):
        refuse_home(folder, home)
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        code = errno.EROFS if _is_read_only(folder) else errno.EACCES
        raise storage_error(OSError(code, os.strerror(code)), "write", target)


def _refuse_protected(info: os.stat_result, path: str) -> None:
    # Replacing needs the folder's permission only, but who took the bit away meant the file.
    if stat.S_ISREG(info.st_mode) and not info.st_mode & stat.S_IWUSR:
        shown = printable(path)
        raise StorageError(
            f"{shown!r} is write-protected by its mode", hint=f"chmod u+w {shell_word(path)}"
        )


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
