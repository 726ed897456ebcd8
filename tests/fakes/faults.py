"""Faults that a test arms for a chosen call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

When = Literal["before", "after"]
Change = Callable[[bytes], bytes]
Wire = Callable[[bytes], Iterable[bytes]]


class Fault(NamedTuple):
    """What goes wrong: an error answer, a dropped connection, or a wait; before or after the deed.

    An error or a drop before the deed takes its place; after it, the deed is done and the caller
    does not learn so. A stall is followed by the usual answer. What is rewritten or sent raw is the
    answer to a deed that is done: another body, or other bytes of HTTP.
    """

    kind: Literal["error", "drop", "stall", "rewrite", "raw"]
    when: When = "before"
    code: str = ""
    message: str = ""
    status: int = 400
    seconds: float = 0.0
    change: Change | None = None
    wire: Wire | None = None


def error(code: str, message: str, status: int = 400, when: When = "before") -> Fault:
    """Answer with any error."""
    return Fault("error", when, code, message, status)


def throttle() -> Fault:
    """Answer as STS and IAM do when called too often."""
    return error("Throttling", "Rate exceeded", 400)


def server_error(when: When = "before") -> Fault:
    """Answer with an internal failure."""
    return error(
        "InternalFailure",
        "The request processing has failed because of an unknown error, exception or failure.",
        500,
        when,
    )


def drop(when: When = "before") -> Fault:
    """Close the connection without an answer."""
    return Fault("drop", when)


def stall(seconds: float, when: When = "before") -> Fault:
    """Wait for so many seconds of real time, or until `Faults.release`."""
    return Fault("stall", when, seconds=seconds)


def rewrite(change: Change, status: int = 200) -> Fault:
    """Do what is asked, and answer with what `change` makes of the body."""
    return Fault("rewrite", "after", status=status, change=change)


def raw(wire: Wire) -> Fault:
    """Do what is asked, and send the bytes that `wire` makes of the body instead of an answer."""
    return Fault("raw", "after", wire=wire)


class _Armed:
    __slots__ = ("action", "fault", "seen", "start", "stop")

    def __init__(self, fault: Fault, action: str | None, start: int, stop: int) -> None:
        self.fault = fault
        self.action = action
        self.start = start
        self.stop = stop
        self.seen = 0


class Faults:
    """The faults that are armed; each counts the calls that it watches from its arming on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._released = threading.Event()

    def arm(self, fault: Fault, *, action: str | None = None, nth: int = 1, times: int = 1) -> None:
        """Let a fault strike the n-th call from now, and so many calls in a row.

        Args:
            fault: What happens.
            action: Which calls are counted and struck; all of them when None.
            nth: The first call struck, counted from 1.
            times: How many calls in a row are struck; SDKs repeat what looks transient.
        """
        with self._lock:
            self._released.clear()
            self._armed.append(_Armed(fault, action, nth, nth + times))

    def take(self, action: str) -> Fault | None:
        """Count a call and return the fault that strikes it."""
        struck: Fault | None = None
        with self._lock:
            for armed in list(self._armed):
                if armed.action not in (None, action):
                    continue
                armed.seen += 1
                if armed.start <= armed.seen < armed.stop and struck is None:
                    struck = armed.fault
                if armed.seen >= armed.stop - 1:
                    self._armed.remove(armed)
        return struck

    @property
    def pending(self) -> int:
        """How many armed faults have not struck to their end."""
        with self._lock:
            return len(self._armed)

    def wait(self, seconds: float) -> None:
        """Sit out a stall."""
        self._released.wait(seconds)

    def release(self) -> None:
        """End every stall that is being sat out; later ones wait again once one is armed."""
        self._released.set()

    def clear(self) -> None:
        """Disarm everything and end every stall."""
        with self._lock:
            self._armed.clear()
        self.release()
