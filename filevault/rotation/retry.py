"""Waiting until AWS knows a new key: IAM tells its other parts within seconds, as a rule."""

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
_UNKNOWN = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_Answer = TypeVar("_Answer")


class Patience:
    """Asks again, with growing pauses, while the answer may still change.

    Args:
        sleep: takes seconds.
        monotonic: seconds that no setting of the clock moves, for what the calls take.
        progress: hears each second that something is waited for.
        limit: seconds for pauses and calls together; a call that is under way then is the last.
    """

    __slots__ = ("_limit", "_monotonic", "_progress", "_sleep")

    def __init__(
        self,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
        progress: Progress,
        limit: int = TIMEOUT,
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._progress = progress
        self._limit = limit

    def ask(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        """Return what `call` returns in the end; raises its last error when time is up.

        `what` is waited for where AWS does not know the key yet.
        """
        left = float(self._limit)
        pause = 1
        while True:
            start = self._monotonic()
            try:
                return call()
            except (AwsError, NetworkError) as error:
                left -= max(0.0, self._monotonic() - start)
                if left <= 0 or not may_pass(error):
                    raise
                reason = _reason(error, what)
            for _ in range(pause):
                if left <= 0:
                    break
                self._progress.waiting(reason, left)
                step = min(1.0, left)
                self._sleep(step)
                left -= step
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reason(error: FilevaultError, what: str) -> str:
    """Say what has to change for the next call to succeed."""
    if is_unknown_key(error):
        return what
    if isinstance(error, NetworkError):
        return "AWS to be reached"
    return "AWS to recover" if may_have_taken_effect(error) else "AWS to take more calls"


def may_pass(error: FilevaultError) -> bool:
    """Tell whether the same call with a new key may succeed a little later."""
    return is_unknown_key(error) or is_passing(error)


def is_unknown_key(error: FilevaultError) -> bool:
    """Tell whether AWS says that it does not know the key that signed."""
    # AWS says SignatureDoesNotMatch for these, too.
    if isinstance(error, ClockError | WrongRegionError):
        return False
    return isinstance(error, AwsError) and error.code in _UNKNOWN
