"""Signals while a terminal is in another mode: it is restored before one has its effect."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handling_signals(leave: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Call `leave` before a signal ends or stops this process, `resume` when it continues."""
    import signal

    def handle(number: int, _frame: object) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Reached only after a stop, when the process continues.
        signal.signal(number, handle)
        resume()

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1), a shell's job control
                with contextlib.suppress(ValueError):  # only the main thread may do this
                    before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def waking() -> Iterator[Callable[[int], bool]]:
    """Yield a function that waits until a descriptor can be read, or a signal was handled.

    It returns whether the descriptor can be read.

    Python runs signal handlers between two of its instructions, so a signal right before read(2)
    would be handled only after the next key. Here it interrupts the wait.
    """
    import select
    import signal

    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # not the main thread, in which handlers run
        before = None
    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(reading, select.POLLIN)

    def wait(fd: int) -> bool:
        poller.register(fd, select.POLLIN)
        if fd in dict(poller.poll()):
            return True
        os.read(reading, 64)
        return False

    try:
        yield wait
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
