"""Prompters: questions to the user at the terminal.

They are written to `/dev/tty`, never to stdout, and stdin is not read, because both belong to the
command. Without a terminal, `NoTerminal` raises an error at once for every question. Ctrl-D is an
empty answer: no passphrase, no code, not yes.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from filevault.errors import NoTerminalError
from filevault.system.secret_buffer import SecretBuffer
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.system.secret_buffer import SecretBytes

_ANSWER_LIMIT = 4096


class Prompter(Protocol):
    """Protocol: ask the user."""

    @property
    def present(self) -> bool:
        """Whether there is a terminal."""
        ...

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def line(self, question: str) -> str:
        """Return the answer to a question, echoed while typed, without the line end."""
        ...

    def hidden(self, question: str) -> SecretBytes:
        """Return the answer to a question that is not echoed, without the line end."""
        ...


class NoTerminal:
    """A prompter without a terminal: every question raises NoTerminalError."""

    present = False

    def say(self, text: str) -> None:
        """Do nothing."""

    def line(self, question: str) -> str:
        """Raise NoTerminalError."""
        raise NoTerminalError(f"cannot ask {question.rstrip(': ')!r}: there is no terminal")

    def hidden(self, question: str) -> bytes:
        """Raise NoTerminalError."""
        raise NoTerminalError(f"cannot ask {question.rstrip(': ')!r}: there is no terminal")


class Terminal:
    """The controlling terminal, opened for each question."""

    present = True

    def say(self, text: str) -> None:
        """Show one line on the terminal device."""
        with _open() as fd:
            _write(fd, text + "\n")

    def line(self, question: str) -> str:
        """Ask with echo."""
        with _open() as fd:
            _write(fd, question)
            answer = _read_line(fd)
            if not answer.endswith(b"\n"):  # Ctrl-D leaves the cursor where it is
                _write(fd, "\n")
        return answer.decode("utf-8", "surrogateescape").strip()

    def hidden(self, question: str) -> bytearray:
        """Ask with echo off; the terminal's state is restored in any case.

        That includes signals that end or stop this process: they take effect after the terminal
        is restored. When the process continues, it asks again. The caller overwrites the answer.
        """
        import termios

        with _open() as fd:
            try:
                return self._hidden(fd, question)
            except termios.error as error:
                raise NoTerminalError(
                    f"cannot ask {question.rstrip(': ')!r}: the terminal cannot hide the answer"
                ) from error

    @staticmethod
    def _hidden(fd: int, question: str) -> bytearray:
        import termios

        before = termios.tcgetattr(fd)
        silent = termios.tcgetattr(fd)
        silent[3] &= ~(termios.ECHO | termios.ECHONL)

        def show() -> None:
            with contextlib.suppress(OSError, termios.error):  # it may have hung up
                termios.tcsetattr(fd, termios.TCSAFLUSH, before)
                _write(fd, "\n")

        def hide() -> None:
            termios.tcsetattr(fd, termios.TCSAFLUSH, silent)
            _write(fd, question)

        with _handling_signals(show, hide):
            try:
                hide()
                answer = _read_line(fd)
            finally:
                show()
        if answer.endswith(b"\n"):
            del answer[-1:]
        return answer


@contextlib.contextmanager
def _open() -> Iterator[int]:
    """Open the terminal. Raises NoTerminalError if it fails, now or in the block."""
    try:
        fd = open_terminal()
    except OSError as error:
        raise NoTerminalError("cannot ask anything: there is no terminal any more") from error
    try:
        yield fd
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise NoTerminalError(f"cannot ask anything: the terminal failed: {reason}") from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def _handling_signals(leave: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Call `leave` before a signal ends or stops this process, `resume` when it continues."""
    import signal

    def handle(number: int, _frame: object) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Reached only after a stop, when the process continues.
        signal.signal(number, handle)
        resume()

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1), a shell's job control
                with contextlib.suppress(ValueError):  # only the main thread may do this
                    before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(fd, data) :]


def _read_line(fd: int) -> bytearray:
    """Read one line from a terminal in canonical mode.

    It ends with a line end, unless Ctrl-D ended it.
    """
    answer = SecretBuffer(_ANSWER_LIMIT)
    try:
        with _waking() as wait:
            while not answer.ends_with_line():
                wait(fd)
                if not answer.read(fd):
                    break
                if answer.overfull:
                    raise NoTerminalError("the answer is too long")
        return answer.take()
    finally:
        answer.clear()


@contextlib.contextmanager
def _waking() -> Iterator[Callable[[int], None]]:
    """Yield a function that waits until a descriptor can be read, and handles signals.

    Python runs signal handlers between two of its instructions, so a signal right before read(2)
    would be handled only after the next key. Here it interrupts the wait.
    """
    import select
    import signal

    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # not the main thread, in which handlers run
        before = None
    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(reading, select.POLLIN)

    def wait(fd: int) -> None:
        poller.register(fd, select.POLLIN)
        while fd not in dict(poller.poll()):
            os.read(reading, 64)

    try:
        yield wait
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def terminal() -> Prompter:
    """Return a prompter for the controlling terminal, or NoTerminal if there is none."""
    try:
        fd = open_terminal()
    except OSError:
        return NoTerminal()
    os.close(fd)
    return Terminal()


def confirm(prompter: Prompter, question: str) -> bool:
    """Ask a yes-or-no question; anything but y or yes is no."""
    return prompter.line(f"{question} (y|N) ").lower() in ("y", "yes")
