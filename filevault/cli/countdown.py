"""Countdown: the line that says what is waited for, how long yet, and how to end it.

On a terminal as stderr it is one line that changes. Elsewhere it is printed once: on the terminal
device if there is one, else on stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from filevault.cli.context import Context

_MINUTE = 60


class Countdown:
    """The line of one wait; a context manager, which erases it at the end.

    Args:
        context: the run's dependencies.
        what: what is waited for, such as `the browser`.
    """

    def __init__(self, context: Context, what: str) -> None:
        self._context = context
        self._what = what
        self._shown = ""

    def show(self, left: float) -> None:
        """Show that the wait lasts for at most `left` more seconds."""
        text = f"waiting for {self._what}, {_time_left(left)} left; Ctrl-C ends"
        reporter, prompter = self._context.reporter, self._context.prompter
        if text == self._shown:
            return
        if reporter.messages_on_terminal:
            reporter.countdown(text)
        elif not self._shown and prompter.present:
            prompter.say(f"filevault: {text}")
        elif not self._shown:
            reporter.say(text)
        self._shown = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.reporter.end_countdown()


def _time_left(seconds: float) -> str:
    """Return whole minutes, rounded up; seconds in the last minute."""
    if seconds > _MINUTE:
        return f"{-int(-seconds // _MINUTE)} min"
    return f"{max(0, round(seconds))} s"
