"""What hardening a process does to it, and what a command that takes its place gets."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

import pytest

from filevault.system.hardening import harden, restore
from tests.conditions.other_user import NOBODY, as_user, become, fork, needs_root


def nothing() -> None:
    """Leave a process as it is."""


@needs_root
def test_no_process_of_the_same_user_looks_into_it() -> None:
    def openable(pid: int) -> list[str]:
        found = []
        for name in ("environ", "mem", "maps"):
            try:
                os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            except PermissionError:
                continue
            found.append(name)
        return found

    def looked_into(action: Callable[[], None]) -> str:
        reading, writing = os.pipe()
        child = fork()
        if child == 0:
            become(NOBODY)
            action()
            os.write(writing, b"ready")
            time.sleep(60)
            os._exit(0)
        assert os.read(reading, 10) == b"ready"
        seen = as_user(NOBODY, lambda: openable(child))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
        return seen

    assert looked_into(nothing) == "['environ', 'mem', 'maps']"
    assert looked_into(harden) == "[]"


def test_what_takes_its_place_gets_back_umask_and_limit() -> None:
    def states() -> list[tuple[int, int]]:
        resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))
        os.umask(0o027)
        found = []
        for action in (nothing, harden, restore, restore):
            action()
            umask = os.umask(0)
            os.umask(umask)
            found.append((umask, resource.getrlimit(resource.RLIMIT_CORE)[0]))
        return found

    before, within, after, again = eval(as_user(os.geteuid(), states))
    assert before == after == again == (0o027, 4096)
    assert within == (0o077, 0)


def test_the_signal_of_a_child_arrives_and_what_takes_its_place_has_it_as_before() -> None:
    def states() -> list[tuple[bool, bool]]:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        found = []
        for action in (nothing, harden, restore, restore):
            action()
            blocked = signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            found.append((signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN, blocked))
        return found

    before, within, after, again = eval(as_user(os.geteuid(), states))
    assert before == after == again == (True, True)
    assert within == (False, False)


def test_a_system_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock: no machine here refuses it."""

    def refuse(*_: object) -> None:
        raise OSError(1, "no")

    def action() -> str:
        monkeypatch.setattr("resource.setrlimit", refuse)
        monkeypatch.setattr("filevault.system.libc.function", lambda _name: refuse)
        harden()
        restore()
        return "fine"

    assert as_user(os.geteuid(), action) == "fine"
