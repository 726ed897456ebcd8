"""Waiting until AWS knows a new key: IAM tells its other parts within seconds, as a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from filevault.aws.refusals import is_passing
from filevault.errors import AwsError, ClockError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.errors import FilevaultError
    from filevault.rotation.outcome import Progress

PATIENCE = 120
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
        sleep: takes seconds. What it was given is the measure, so that a clock that is set
            meanwhile neither ends the waiting nor draws it out.
        progress: hears each second that something is waited for.
        limit: seconds to sleep in all, for each call.
    """

    __slots__ = ("_limit", "_progress", "_sleep")

    def __init__(
        self, sleep: Callable[[float], None], progress: Progress, limit: int = PATIENCE
    ) -> None:
        self._sleep = sleep
        self._progress = progress
        self._limit = limit

    def ask(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        """Return what `call` returns in the end; raises its last error when time is up."""
        left = self._limit
        pause = 1
        while True:
            try:
                return call()
            except (AwsError, NetworkError) as error:
                if left <= 0 or not may_pass(error):
                    raise
            for _ in range(min(pause, left)):
                self._progress.waiting(what, left)
                self._sleep(1)
                left -= 1
            pause = min(2 * pause, _LONGEST_PAUSE)


def may_pass(error: FilevaultError) -> bool:
    """Tell whether the same call with a new key may succeed a little later."""
    return is_unknown_key(error) or is_passing(error)


def is_unknown_key(error: FilevaultError) -> bool:
    """Tell whether AWS says that it does not know the key that signed."""
    if isinstance(error, ClockError):  # some of AWS's services say SignatureDoesNotMatch for it
        return False
    return isinstance(error, AwsError) and error.code in _UNKNOWN
