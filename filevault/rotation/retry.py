"""Retry: repeat calls until all of AWS knows a new key, which usually takes some seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from filevault.aws.errors import is_passing, may_have_taken_effect
from filevault.errors import AwsError, ClockError, NetworkError, WrongRegionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.errors import FilevaultError
    from filevault.rotation.outcome import Progress

TIMEOUT = 120
_LONGEST_PAUSE = 8
_UNKNOWN_KEY_CODES = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_Answer = TypeVar("_Answer")


class Retry:
    """Repeat a call, with growing pauses, while its failure may be temporary.

    Args:
        sleep: sleeps for seconds.
        monotonic: returns seconds that setting the clock does not change; measures the calls.
        progress: called each second with the event that is waited for.
    """

    __slots__ = ("_monotonic", "_progress", "_sleep")

    def __init__(
        self,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
        progress: Progress,
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._progress = progress

    def pause(self, seconds: float) -> None:
        """Sleep, without counting down."""
        self._sleep(seconds)

    def until_known(self, call: Callable[[], _Answer]) -> _Answer:
        """Repeat a call that a new key signs, or that names it, until AWS knows the key.

        Raises the last error after the timeout.
        """
        return self.until("AWS to know the new key", call)

    def until(self, event: str, call: Callable[[], _Answer]) -> _Answer:
        """Repeat a call until it succeeds; raise its last error after the timeout.

        `event` is shown by progress while AWS does not know the key yet.
        """
        left = float(TIMEOUT)
        pause = 1
        while True:
            start = self._monotonic()
            try:
                return call()
            except (AwsError, NetworkError) as error:
                left -= max(0.0, self._monotonic() - start)
                if left <= 0 or not may_pass(error):
                    raise
                reason = _reason(error, event)
            for _ in range(pause):
                if left <= 0:
                    break
                self._progress.waiting(reason, left)
                step = min(1.0, left)
                self._sleep(step)
                left -= step
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reason(error: FilevaultError, event: str) -> str:
    """Return the event after which the next call may succeed."""
    if is_unknown_key(error):
        return event
    if isinstance(error, NetworkError):
        return "AWS to be reached"
    return "AWS to recover" if may_have_taken_effect(error) else "AWS to take more calls"


def may_pass(error: FilevaultError) -> bool:
    """Return whether the same call with a new key may succeed a little later."""
    return is_unknown_key(error) or is_passing(error)


def is_unknown_key(error: FilevaultError) -> bool:
    """Return whether AWS does not know the key that signed the call."""
    # AWS answers SignatureDoesNotMatch in these cases, too.
    if isinstance(error, ClockError | WrongRegionError):
        return False
    return isinstance(error, AwsError) and error.code in _UNKNOWN_KEY_CODES
