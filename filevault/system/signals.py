"""Block the signals that end the process while steps run that must not be interrupted."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_blocked() -> Iterator[Callable[[], None]]:
    """Block SIGINT, SIGTERM and SIGHUP; what runs inside must be short.

    Yields a function that unblocks them before the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield unblock
    finally:
        unblock()


def sleep_interruptibly(seconds: float) -> None:
    """Sleep, with the signals of `signals_blocked` unblocked meanwhile."""
    import time

    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        time.sleep(seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def are_signals_blocked() -> bool:
    """Return whether SIGTERM is blocked in this thread."""
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
