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
from filevault.system.terminal_signals import handling_signals, waking

if TYPE_CHECKING:
    from collections.abc import Iterator

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

        with handling_signals(show, hide):
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
        with waking() as wait:
            while not answer.ends_with_line():
                while not wait(fd):
                    pass
                if not answer.read(fd):
                    break
                if answer.overfull:
                    raise NoTerminalError("the answer is too long")
        return answer.take()
    finally:
        answer.clear()


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
