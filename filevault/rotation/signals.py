"""Letting Ctrl-C and the end of a service wait."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_blocked() -> Iterator[Callable[[], None]]:
    """Let signals that end us wait: what happens inside is short, and must happen whole.

    What it gives lets them through early.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield unblock
    finally:
        unblock()


def must_hurry() -> bool:
    """Tell whether signals that end us wait just now."""
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
