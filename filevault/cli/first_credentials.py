"""The first credentials of a server: obtained with a person, before anything is served."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from filevault.errors import BackendError
from filevault.server.renewals import GONE
from filevault.server.renewing_process import RenewalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.server.renewals import Renewals
    from filevault.server.served_credentials import ServedCredentials

_INTERRUPTED = 130


class EndedError(Exception):
    """A signal that ends this process arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._number = number

    def end(self) -> None:
        """End this process with the signal, after everything is as it was."""
        signal.signal(self._number, signal.SIG_DFL)
        os.kill(os.getpid(), self._number)


def obtain_first(renewals: Renewals, served: ServedCredentials) -> None:
    """Obtain credentials, and ask a person if need be.

    Raises RenewalError, BackendError, KeyboardInterrupt and EndedError.
    """
    with _orderly_end():
        outcome = renewals.first(served)
    if outcome is None:
        raise BackendError(GONE)
    if outcome.status == _INTERRUPTED:
        raise KeyboardInterrupt
    if outcome.failure is not None:
        raise RenewalError(outcome)


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Let signals end this process only after the terminal is as it was.

    Ctrl-C is left to the copy that asks; its outcome says so.
    """
    handlers: dict[int, Callable[[int, object], Any] | signal.Handlers] = {
        signal.SIGINT: signal.SIG_IGN,
        signal.SIGTERM: _end,
        signal.SIGHUP: _end,
    }
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> NoReturn:
    raise EndedError(number)
