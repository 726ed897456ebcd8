"""What makes this process harder to look into, before it holds anything.

No core file, no look into its memory by another process of the user (`prctl(2)`,
PR_SET_DUMPABLE), no file of ours for anybody else. It is no boundary: the same user can do all
that we can. What was set for us alone is put back for the command that takes our place.
"""

from __future__ import annotations

import contextlib
import os

_UMASK = 0o077
_PR_SET_DUMPABLE = 4  # linux/prctl.h

_before: list[tuple[int, tuple[int, int]]] = []
"""The umask and the limits of core files that we were started with, while ours are in force."""


def harden() -> None:
    """Harden this process, as far as the system lets us."""
    _occupy_closed_descriptors()
    import resource

    limits = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    with contextlib.suppress(OSError, ImportError):  # a Python without libffi
        from filevault.system.libc import function

        function("prctl")(_PR_SET_DUMPABLE, 0)
    _before.append((os.umask(_UMASK), limits))


def _occupy_closed_descriptors() -> None:
    """Open /dev/null in place of each standard descriptor that was closed at the start.

    Otherwise the next file that is opened, one of a vault for example, gets its number and what
    is meant for a terminal. A program that is executed finds them closed again. Call it before
    any library can open a file that stays open.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # gets the lowest free number


def restore() -> None:
    """Put umask and limit back, right before another program takes our place.

    That the process cannot be looked into ends by itself then (execve(2)).
    """
    if _before:
        umask, limits = _before.pop()
        os.umask(umask)
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, limits)
