"""What the system has no more of: memory, open files, processes, threads."""

from __future__ import annotations

import errno
import os

from filevault.errors import ExhaustedError

_NO_MEMORY = (
    "there is not enough memory",
    "free some, or allow the process more: ulimit -v, or the limit of the container or service",
)
_BY_ERRNO = {
    errno.ENOMEM: _NO_MEMORY,
    errno.EMFILE: (
        "this process must not open more files",
        "allow it more: ulimit -n, or the limit of the container or service",
    ),
    errno.ENFILE: ("no more files can be opened on this machine", "end some programs"),
}
NO_PROCESS = ExhaustedError(
    "no more processes or threads can be started",
    hint="end some programs, or allow more: ulimit -u, or the limit of the container or service",
)
# What dlopen(3) says of a library for which there is no memory, and Python of a thread.
_LOADER = ("failed to map segment", "cannot allocate memory", "cannot create shared object")
_THREAD = "can't start new thread"


def exhausted(error: BaseException) -> ExhaustedError | None:
    """Return the error for what the system has no more of, None if that is not the reason."""
    found = None
    if isinstance(error, ExhaustedError):
        return error
    if isinstance(error, MemoryError):
        found = _NO_MEMORY
    elif isinstance(error, ImportError):
        text = str(error).lower()
        if any(each in text for each in _LOADER) and not _is_forbidden(error.path):
            found = _NO_MEMORY
    elif isinstance(error, RuntimeError):
        return NO_PROCESS.add_context() if str(error).startswith(_THREAD) else None
    elif isinstance(error, OSError):
        found = _BY_ERRNO.get(error.errno or 0)
    return None if found is None else ExhaustedError(found[0], hint=found[1])


def _is_forbidden(library: str | None) -> bool:
    """Return whether a library may not be mapped (noexec, mount(8)): dlopen(3) says the same."""
    try:
        return library is not None and bool(os.statvfs(library).f_flag & os.ST_NOEXEC)
    except OSError:
        return False
