"""Copies of this process (fork(2)) that do one job and end."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from filevault.system.exhaustion import NO_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_copy(job: Callable[[], int], *, dies_with_parent: bool = True) -> int:
    """Copy this process; the copy calls `job` and ends with the status that it returns.

    Returns the process id. The copy has the default handling of each signal that this process
    handles; what is ignored stays ignored. With `dies_with_parent` the kernel kills it when this
    process ends. Raises ExhaustedError if the system has no process for it.
    """
    parent = os.getpid()
    # A signal between fork and the reset of its handler would be handled as this process does.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        try:
            pid = os.fork()
        except BlockingIOError as error:
            raise NO_PROCESS.add_context() from error
        if pid == 0:
            _run(job, parent if dies_with_parent else None, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _run(job: Callable[[], int], parent: int | None, mask: Collection[int]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if parent is not None:
            die_with(parent)
            if os.getppid() != parent:
                os._exit(1)
        status = job()
    finally:
        os._exit(status)


def die_with(parent: int) -> bool:
    """Have the kernel kill this process when its parent ends.

    Returns False if that has ended already, or the kernel cannot be asked.
    """
    with contextlib.suppress(ImportError, OSError):  # a Python without libffi
        from filevault.system.libc import function

        function("prctl")(_PR_SET_PDEATHSIG, signal.SIGKILL)
        return os.getppid() == parent
    return False
