"""The terminal: the one place that asks a person something.

Questions go to `/dev/tty`, never to stdin or stdout, which belong to the command and its
results. Where there is no terminal, `Nobody` answers every question with an error at once.
Ctrl-D is an empty answer: no passphrase, no code, not yes.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from filevault.errors import NobodyToAskError
from filevault.system.secret_buffer import SecretBuffer
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.system.secret_buffer import SecretBytes

_ANSWER_LIMIT = 4096


class Prompter(Protocol):
    """Somebody who can be asked."""

    @property
    def present(self) -> bool:
        """Whether there is a person at all."""
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


class Nobody:
    """No terminal: every question is an error.

    `ways` is the hint: what could answer instead.
    """

    present = False

    def say(self, text: str) -> None:
        """Say nothing: nobody listens."""

    def line(self, question: str) -> str:
        """Raise NobodyToAskError."""
        raise NobodyToAskError(f"cannot ask {question.rstrip(': ')!r}: there is no terminal")

    def hidden(self, question: str) -> bytes:
        """Raise NobodyToAskError."""
        raise NobodyToAskError(f"cannot ask {question.rstrip(': ')!r}: there is no terminal")


class Terminal:
    """The controlling terminal, opened for each question."""

    present = True

    def say(self, text: str) -> None:
        """Show one line on the terminal device."""
        with _opened() as fd:
            _write(fd, text + "\n")

    def line(self, question: str) -> str:
        """Ask with echo."""
        with _opened() as fd:
            _write(fd, question)
            answer = _read_line(fd)
            if not answer.endswith(b"\n"):  # Ctrl-D leaves the cursor where it is
                _write(fd, "\n")
        return answer.decode("utf-8", "surrogateescape").strip()

    def hidden(self, question: str) -> bytearray:
        """Ask with echo off; the terminal's state is restored whatever happens.

        That includes signals that end or stop us: they act as they would without us, once the
        terminal is restored. Continued, we ask again. The answer is the caller's to overwrite.
        """
        import termios

        with _opened() as fd:
            try:
                return self._hidden(fd, question)
            except termios.error as error:
                raise NobodyToAskError(
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
def _opened() -> Iterator[int]:
    """Open the terminal. Raises NobodyToAskError if it is gone, or goes meanwhile."""
    try:
        fd = open_terminal()
    except OSError as error:
        raise NobodyToAskError("cannot ask anything: there is no terminal any more") from error
    try:
        yield fd
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise NobodyToAskError(f"cannot ask anything: the terminal failed: {reason}") from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def _handling_signals(leave: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Call `leave` before a signal ends or stops us, and `resume` when we are continued."""
    import signal

    def handle(number: int, _frame: object) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Only a stop leads here, after its end.
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
    """Read one line, with its line end, from a terminal in canonical mode.

    Nothing but what was typed before Ctrl-D is returned where that ends the line.
    """
    answer = SecretBuffer(_ANSWER_LIMIT)
    try:
        with _waking() as wait:
            while not answer.ends_with_line():
                wait(fd)
                if not answer.read(fd):
                    break
                if answer.overfull:
                    raise NobodyToAskError("the answer is too long")
        return answer.take()
    finally:
        answer.clear()


@contextlib.contextmanager
def _waking() -> Iterator[Callable[[int], None]]:
    """Give what waits until a descriptor can be read, and lets no signal wait with it.

    A signal that comes right before read(2) blocks would be handled only when something is
    typed: Python runs its handlers between two instructions of its own. Here it wakes the wait.
    """
    import select
    import signal

    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # no main thread: no handler runs in it, either
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
    """Return the controlling terminal, or Nobody where there is none."""
    try:
        fd = open_terminal()
    except OSError:
        return Nobody()
    os.close(fd)
    return Terminal()


def to_clipboard(text: str) -> None:
    """Put ASCII text on the clipboard of whoever looks at the terminal, near or far.

    That is OSC 52 of xterm's control sequences; a terminal that does not know it, or was told not
    to obey, ignores it and shows nothing. Raises NobodyToAskError without a terminal.
    """
    import base64

    try:
        fd = open_terminal()
    except OSError as error:
        raise NobodyToAskError(
            "cannot copy anything: there is no terminal", hint="--stdout prints instead"
        ) from error
    try:
        _write(fd, f"\x1b]52;c;{base64.b64encode(text.encode('ascii')).decode('ascii')}\x07")
    finally:
        os.close(fd)


def confirm(prompter: Prompter, question: str) -> bool:
    """Ask a yes-or-no question; anything but y or yes is no."""
    return prompter.line(f"{question} (y|N) ").lower() in ("y", "yes")
