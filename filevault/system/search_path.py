"""The look-up of programs in PATH."""

from __future__ import annotations

import os
import stat

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def candidates(program: str, path: str | None, *, relative: bool) -> list[str]:
    """Return the paths at which a program can be, in the order of PATH.

    Args:
        program: a name, or a path if it contains a slash.
        path: the value of PATH, None for a default.
        relative: whether empty and relative folders and paths count, as for execvp(3). They depend
            on the working directory, which may be another user's.
    """
    if "/" in program:
        return [program] if relative or program.startswith("/") else []
    folders = (_DEFAULT_PATH if path is None else path).split(os.pathsep)
    return [
        os.path.join(folder or ".", program)
        for folder in folders
        if relative or folder.startswith("/")
    ]


def is_executable(path: str) -> bool:
    """Return whether a path is a regular file that this process may execute."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)
    except (OSError, ValueError):  # ValueError for a path with a NUL
        return False


def find_program(program: str, path: str | None) -> str | None:
    """Return the absolute path of a helper program, None if there is none."""
    return next(filter(is_executable, candidates(program, path, relative=False)), None)
