"""Actions as another user, in a child process that has dropped root's rights."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable

import pytest

NOBODY = 65534
PR_SET_DUMPABLE = 4

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user, or give files away"
)


def as_user(uid: int, action: Callable[[], object]) -> str:
    """Run an action as a user, in a copy of this process; return what it returned, or raised."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        os.close(reading)
        become(uid)
        try:
            said = str(action())
        except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a test run
            said = traceback.format_exc()
        os.write(writing, said.encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def fork() -> int:
    """Copy this process; threads of the test run hold no lock that the copy would need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def become(uid: int) -> None:
    """Be another user from now on, and as open to inspection as any new process."""
    from filevault.system.libc import function

    if uid != os.geteuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    function("prctl")(PR_SET_DUMPABLE, 1)
