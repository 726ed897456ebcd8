"""Limits on the processor time and, in `make torture`, on the time that something takes.

Work is counted in processor time, to which a busy machine adds nothing. Time on the clock is
looked at in `make torture` alone; everywhere else only a limit that ends a hanging test holds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

TORTURE = "FILEVAULT_TORTURE" in os.environ  # before the tests' clean environment


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Require that the block costs less processor time, that of ended children included."""
    before = _spent()
    yield
    spent = _spent() - before
    assert spent < seconds, f"{spent:.2f} s of work"


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Require in `make torture` that the block takes less time; its test is marked `timed`."""
    before = time.monotonic()
    yield
    taken = time.monotonic() - before
    assert not TORTURE or taken < seconds, f"{taken:.2f} s"


def _spent() -> float:
    return sum(os.times()[:4])
