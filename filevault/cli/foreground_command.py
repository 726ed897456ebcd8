"""ForegroundCommand: a command that runs in the foreground while this process serves it.

It stays in the process group of filevault, so that the terminal treats both alike and a pipeline
stays one job. Keys such as Ctrl-C and Ctrl-Z reach it from the terminal; other signals are
forwarded. If it stops, so does filevault; if filevault continues, so does it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from filevault.cli.replace_process import replace_process
from filevault.errors import FilevaultError
from filevault.system.copies import start_copy
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.cli.reporter import Reporter
    from filevault.server.event_loop import EventLoop

_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP})
"""Signals that the terminal sends to every process of its foreground group."""
_FORWARDED = frozenset(
    {
        *_KEYS,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGCONT,
    }
)


class ForegroundCommand:
    """A command that is started; `watch` must be called before the loop that it is given turns.

    Args:
        path: its program.
        command: its words.
        environment: its environment.
        reporter: prints why it cannot be executed.
    """

    def __init__(
        self,
        path: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        reporter: Reporter,
    ) -> None:
        self._path = path
        self._command = command
        self._environment = environment
        self._reporter = reporter
        self._terminal = _terminal()
        self.status: int | None = None
        """The exit status, 128 and the number of the signal if one ended it; None until then."""
        self._signals, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (*_FORWARDED, signal.SIGCHLD):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
                signal.signal(number, _nothing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._pid = start_copy(self._become, dies_with_parent=False)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1):  # they are the command's: it may close them, and others wait for that
            os.dup2(null, fd)
        os.close(null)

    def watch(self, loop: EventLoop) -> None:
        """Forward signals to the command, and take note of its end, as long as a loop turns."""
        loop.watch(self._signals, lambda _events: self._on_signals(os.read(self._signals, 512)))

    def status_in(self, loop: EventLoop) -> int:
        """Turn a loop until the command has ended; return its status."""
        while self.status is None:
            loop.turn()
        return self.status

    def _become(self) -> int:
        try:
            replace_process(self._path, self._command, self._environment)
        except FilevaultError as error:
            self._reporter.error(error)
            self._reporter.flush()
            return error.exit_status

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._look()
            elif number not in _KEYS or not self._is_in_foreground():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(self._pid, number)

    def _look(self) -> None:
        """Look whether the command has ended or stopped."""
        while self.status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                # A shell waits for this process to stop. SIGSTOP cannot be lost: it is not handled.
                os.kill(os.getpid(), signal.SIGSTOP)
                continue
            ended = os.waitstatus_to_exitcode(status)
            self.status = ended if ended >= 0 else 128 - ended
            self._recover_terminal()

    def _is_in_foreground(self) -> bool:
        try:
            return self._terminal is not None and os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:  # it has hung up
            return False

    def _recover_terminal(self) -> None:
        """Take the terminal back from a group of the command that has ended without doing so."""
        if self._terminal is None:
            return
        with contextlib.suppress(OSError):
            foreground = os.tcgetpgrp(self._terminal)
            if foreground == os.getpgrp():
                return
            try:
                os.killpg(foreground, 0)
            except ProcessLookupError:
                before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(self._terminal, os.getpgrp())
                signal.signal(signal.SIGTTOU, before)


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal: the wake-up descriptor does the work."""


def _terminal() -> int | None:
    try:
        return open_terminal()
    except OSError:
        return None
