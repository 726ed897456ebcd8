"""Hardening of this process before it handles secrets: core files, ptrace, umask, descriptors.

SIGCHLD arrives as well, whatever the process inherited.

No core file, no access to its memory by other processes of the user (`prctl(2)`,
PR_SET_DUMPABLE), no permissions for other users on new files. This is no security boundary: the
same user can do all that filevault can. `restore` undoes it for a command that `exec` runs.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_UMASK = 0o077
_PR_SET_DUMPABLE = 4  # linux/prctl.h

_before: list[tuple[int, tuple[int, int]]] = []
"""The umask and core file limits that the process was started with, while it is hardened."""
_child_signal: list[str] = []
"""How the process was started with SIGCHLD, while that is changed: ignored, blocked."""


def harden() -> None:
    """Harden this process, as far as the system permits."""
    _occupy_closed_descriptors()
    import resource

    limits = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    with contextlib.suppress(OSError, ImportError):  # a Python without libffi
        from filevault.system.libc import function

        function("prctl")(_PR_SET_DUMPABLE, 0)
    _before.append((os.umask(_UMASK), limits))
    _allow_child_signal()


def signals_module() -> ModuleType:
    """Return the module behind `signal`, which makes enumerations of all signals when imported."""
    try:
        return __import__("_signal")
    except ImportError:  # not CPython
        return __import__("signal")


def _allow_child_signal() -> None:
    """Stop ignoring and blocking SIGCHLD, which a process inherits from the one that started it.

    While it is ignored, the kernel keeps no exit status (wait(2)): every helper program would
    count as one that succeeded. While it is blocked, a wait for a command would not end.
    """
    signals = signals_module()
    child = signals.SIGCHLD
    if signals.getsignal(child) == signals.SIG_IGN:
        signals.signal(child, signals.SIG_DFL)
        _child_signal.append("ignored")
    if child in signals.pthread_sigmask(signals.SIG_UNBLOCK, (child,)):
        _child_signal.append("blocked")


def _occupy_closed_descriptors() -> None:
    """Open /dev/null for each standard descriptor that was closed at the start.

    Otherwise the next file that is opened, one of a vault for example, would get that number and
    what is written to it. An executed program finds them closed again. Call this before any
    library can open a file that stays open.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # gets the lowest free number


def restore() -> None:
    """Restore all that `harden` changed, right before execve(2), which resets dumpability."""
    if _before:
        umask, limits = _before.pop()
        os.umask(umask)
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, limits)
    if _child_signal:
        signals = signals_module()
        if "ignored" in _child_signal:
            signals.signal(signals.SIGCHLD, signals.SIG_IGN)
        if "blocked" in _child_signal:
            signals.pthread_sigmask(signals.SIG_BLOCK, (signals.SIGCHLD,))
        _child_signal.clear()
