"""The agent of one job: not a child of the job, and killed when the job ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import TYPE_CHECKING

from filevault.errors import BackendError
from filevault.keycache.agent_folders import SOCKET_NAME
from filevault.system.copies import die_with

if TYPE_CHECKING:
    from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOCK = "agent.lock"


def enter(job: int, folder: str) -> None:
    """Fork twice and return only in the last process, which is the agent and ends with the job.

    The calling process ends, because the job's command may wait for all of its children. The
    process between the two is the guard, which has no key. When the job has ended, the guard kills
    the agent (even if it is stopped by a signal) and deletes the folder. If the guard ends, the
    kernel kills the agent.

    Args:
        job: the process id, which must be the parent of this process.
        folder: where the agent will listen, made for it alone.

    Raises BackendError if the kernel has no pidfd, or the job has ended.
    """
    try:
        watched = os.pidfd_open(job)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise BackendError(
            f"the job cannot be watched: {reason}",
            hint="an agent of a job needs Linux 5.3; filevault unlock works without one",
        ) from error
    if os.getppid() != job:
        raise BackendError("the job has ended")
    if os.fork():
        os._exit(0)
    guard = os.getpid()
    agent = os.fork()
    if agent:
        _guard(watched, agent, folder)
    os.close(watched)
    if not die_with(guard):
        raise BackendError("the guard of the job's agent has ended")


def _guard(job: int, agent: int, folder: str) -> NoReturn:
    """Wait until the job or the agent ends, and clean up."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)  # the job waits until they are closed
    with contextlib.suppress(BaseException):
        for number in _ENDING:
            signal.signal(number, _stop)
        poller = select.poll()
        for descriptor in (job, os.pidfd_open(agent)):
            poller.register(descriptor, select.POLLIN)
        poller.poll()
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.kill(agent, signal.SIGKILL)  # a child: its id is not reused before waitpid
    os.waitpid(agent, 0)
    remove_folder(folder)
    os._exit(0)


def _stop(_number: int, _frame: object) -> None:
    raise InterruptedError


def remove_folder(folder: str) -> None:
    """After a job's agent has ended, delete its folder, unless that contains other files."""
    for name in (SOCKET_NAME, LOCK):
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with contextlib.suppress(OSError):
        os.rmdir(folder)
