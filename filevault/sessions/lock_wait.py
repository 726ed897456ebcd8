"""LockWait: the wait for another process that obtains the same session or token."""

from __future__ import annotations

import time

from filevault.errors import BusyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.05
_SILENCE = 1.0
TIMEOUT = 60.0
"""Seconds of waiting where no person could be answering a prompt."""


class LockWait:
    """Waiting for another process that obtains the same session, perhaps with an MFA prompt.

    Args:
        say: prints what is waited for; called once, after a second.
        attended: returns whether a person is at the terminal, who can end the waiting.
        sleep: sleeps for seconds.
        clock: monotonic, in seconds.
        action: completes "another filevault is ..." in messages.
        hint: what to do where the wait is too long.
    """

    __slots__ = ("_action", "_attended", "_clock", "_hint", "_said", "_say", "_sleep")

    def __init__(
        self,
        say: Callable[[str], None],
        attended: Callable[[], bool],
        sleep: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        action: str = "obtaining this session",
        hint: str = "it may be asking a person for an MFA code: answer there, or end it; "
        "--no-cache does not wait",
    ) -> None:
        self._say = say
        self._attended = attended
        self._sleep = sleep
        self._clock = clock
        self._action = action
        self._hint = hint
        self._said = False

    def begin(self, within: float | None = None) -> Callable[[], None]:
        """Return the function to call each time that the lock is found taken.

        It sleeps a little, and raises BusyError once it has waited too long: `within` seconds if
        given, else a minute where no person is at the terminal.
        """
        began = self._clock()

        def pause() -> None:
            waited = self._clock() - began
            if waited >= _SILENCE and not self._said:
                self._said = True
                self._say(f"waiting for another filevault that is {self._action}; Ctrl-C ends")
            if waited >= TIMEOUT and not self._attended():
                raise BusyError(
                    f"another filevault has been {self._action} for a minute", hint=self._hint
                )
            if within is not None and waited >= within:
                raise BusyError(
                    f"another filevault has been {self._action} for {within:g} seconds",
                    hint=self._hint,
                )
            self._sleep(_PAUSE)

        return pause
