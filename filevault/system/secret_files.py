"""Files and pipes that contain a secret: read only if no other user can read them."""

from __future__ import annotations

import os
import stat
import time

from filevault.errors import LockedError
from filevault.system.printable import printable, shell_word
from filevault.system.secret_buffer import SecretBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.system.inputs import Inputs

_MAX_SECRET = 64 << 10  # bytes
_WRITER_TIMEOUT = 10.0  # seconds until a pipe has a writer
_PIPE_TIMEOUT = 120.0  # seconds, as for a command: the writer may ask the user for something
_PIPE_STEP = 50  # milliseconds; poll(2) does not report a writer that has written nothing yet


def read_secret(
    path: str, home: str | None, *, provided: Callable[[], bool], inputs: Inputs
) -> bytearray:
    """Return the bytes of a file or pipe that contains a secret.

    As for ssh's private keys, no other user may be able to read it: a file of this user must have
    no permissions for group and others; a file of root may be readable, but not in `home`.

    Args:
        path: the file; links are followed (Kubernetes mounts).
        home: the home directory, None if unknown.
        provided: returns whether systemd or a container runtime provides the file; then it may
            be readable for others.
        inputs: notes the file, or that there is none.

    Raises:
        FileNotFoundError: if there is no such file.
        LockedError: if others can read it, it is longer than 64 KiB, or it is a pipe without a
            writer for 10 seconds or without an end for two minutes.
    """
    shown = printable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        inputs.absent(path)
        raise
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    data = SecretBuffer(_MAX_SECRET)
    try:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            _check_secret(info, path, home, provided, inputs)
            while data.read(fd):
                pass
            inputs.read(path, info, os.fstat(fd))
        elif stat.S_ISFIFO(info.st_mode):
            inputs.spoil("a secret came out of a pipe")
            _read_pipe(fd, data, shown)
        else:
            raise LockedError(f"{shown!r} is not a regular file")
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read {shown!r}: {reason}") from error
    finally:
        os.close(fd)
    if data.overfull:
        raise LockedError(f"{shown!r} is longer than {_MAX_SECRET} bytes, the limit for a secret")
    return data.take()


def _read_pipe(fd: int, data: SecretBuffer, shown: str) -> None:
    """Read a pipe to its end within the time-outs, whether it has a writer yet or not."""
    import select

    ready = select.poll()
    ready.register(fd, select.POLLIN)
    start = time.monotonic()
    timeout = _WRITER_TIMEOUT
    while not data.overfull:
        hung_up = any(event & select.POLLHUP for _, event in ready.poll(_PIPE_STEP))
        try:
            count = data.read(fd)
        except BlockingIOError:
            timeout = _PIPE_TIMEOUT  # it has a writer
        else:
            if not count and (data or hung_up):
                break
        if time.monotonic() - start > (_PIPE_TIMEOUT if data else timeout):
            raise LockedError(
                f"{shown!r} is a pipe that nothing came out of for {timeout:g} seconds"
                if not data
                else f"{shown!r} is a pipe that did not end within {_PIPE_TIMEOUT:g} seconds",
                hint="something must write the secret to it and close it",
            )


def _check_secret(
    info: os.stat_result,
    path: str,
    home: str | None,
    is_provided: Callable[[], bool],
    inputs: Inputs,
) -> None:
    """Raise LockedError if owner or mode let another user read or write the file."""
    user = os.geteuid()
    if info.st_uid == user and not info.st_mode & 0o077:
        return  # wherever it is
    provided = is_provided()
    shown = printable(path)
    copy = f"install -m 600 {shell_word(path)} COPY, and name the copy"
    # Container runtimes keep the owner that a secret has outside; root may read it anyway.
    if info.st_uid not in (0, user) and not (provided and user == 0):
        raise LockedError(
            f"{shown!r} belongs to user {info.st_uid}, not to you",
            hint=f"make a copy of your own: {copy}",
        )
    mode_hint = f"chmod 600 {shell_word(path)}, or where the file system has no modes: {copy}"
    if info.st_mode & 0o022:
        raise LockedError(f"{shown!r} is writable for others", hint=mode_hint)
    if provided:
        return
    if info.st_uid == user:
        raise LockedError(f"{shown!r} is readable for others", hint=mode_hint)
    # In containers the home of a user without an entry is `/`, which contains everything.
    if home not in (None, "/") and inputs.real_path(path).startswith(f"{inputs.real_path(home)}/"):
        raise LockedError(f"{shown!r} belongs to root", hint=f"make a copy of your own: {copy}")
