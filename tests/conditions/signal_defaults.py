"""Signals as a shell's foreground job has them, whatever the run of the tests inherited.

`nohup` starts it with SIGHUP ignored, a shell without job control starts a background job with
SIGINT and SIGQUIT ignored, and every process that a test starts would inherit that.
"""

from __future__ import annotations

import signal

# Python itself ignores these two; `subprocess` gives them back to what it starts.
_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


def restore() -> None:
    """Stop ignoring signals, so that processes started from here do not ignore them either.

    A handler is not inherited by another program (execve(2)). SIGHUP therefore gets one that
    does nothing: the run itself must outlast its terminal, as `nohup` promises.
    """
    for number in signal.valid_signals() - _PYTHON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            continue
        if number == signal.SIGHUP:
            signal.signal(number, _pass_over)
        elif number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        else:
            signal.signal(number, signal.SIG_DFL)


def _pass_over(number: int, frame: object) -> None:
    """Do nothing, in this process alone."""
    del number, frame
