"""Find a program in PATH, and replace this process by it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn

from filevault import errors
from filevault.system.hardening import restore, signals_module
from filevault.system.printable import printable
from filevault.system.search_path import candidates, is_executable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_command(command: str, path: str | None) -> str:
    """Return the path of a command, searched in `path` as execvp(3) does.

    Raises CommandNotFoundError (127) if it is not there, NotExecutableError (126) if it is and
    cannot be executed.
    """
    shown = printable(command, 200)
    if not command:
        raise errors.CommandNotFoundError("the command is empty")
    refused = False
    for candidate in candidates(command, path, relative=True):
        if is_executable(candidate):
            return candidate
        refused = refused or os.path.exists(candidate)
    if refused:
        raise errors.NotExecutableError(f"{shown!r} cannot be executed: no permission")
    raise errors.CommandNotFoundError(f"there is no command {shown!r}")


def replace_process(path: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program, after restoring what was set for filevault alone.

    Raises CommandNotFoundError or NotExecutableError.
    """
    # Python ignores these two, and a command would inherit that (signal(7)).
    signals = signals_module()
    for number in (signals.SIGPIPE, signals.SIGXFSZ):
        signals.signal(number, signals.SIG_DFL)
    restore()
    shown = printable(command[0], 200)
    try:
        _execute(path, command, environment)
    except FileNotFoundError as error:
        # The file is there, so what is missing is the interpreter in its first line.
        raise errors.CommandNotFoundError(
            f"{shown!r} cannot be executed: its interpreter is missing"
        ) from error
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise errors.NotExecutableError(f"{shown!r} cannot be executed: {reason}") from error


def _execute(path: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    try:
        os.execve(path, list(command), dict(environment))  # noqa: S606
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without a `#!` line: execvp(3) runs it with the shell.
    os.execve("/bin/sh", ["/bin/sh", path, *command[1:]], dict(environment))  # noqa: S606
