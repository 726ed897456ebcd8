"""The controlling terminal with each key at once, on a screen of its own.

Whatever ends the block (an error, Ctrl-C, a signal), the terminal is left as it was; a stop by
Ctrl-Z leaves it too, and takes it again when the process continues.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from filevault.system.signals import signals_blocked
from filevault.system.terminal import open_terminal
from filevault.system.terminal_signals import handling_signals, waking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# xterm control sequences: the alternate screen, cursor, erasing.
_ENTER = "\x1b[?1049h\x1b[H\x1b[J"
_LEAVE = "\x1b[H\x1b[J\x1b[?1049l"
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
_KEYS = {
    **dict.fromkeys(("[A", "OA"), "up"),
    **dict.fromkeys(("[B", "OB"), "down"),
    **dict.fromkeys(("[H", "OH", "[1~", "[7~"), "home"),
    **dict.fromkeys(("[F", "OF", "[4~", "[8~"), "end"),
    "[5~": "page up",
    "[6~": "page down",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x10": "up",
    "\x0e": "down",
    "\x15": "clear",
    "\x04": "cancel",
    "\t": "down",
}
_ESCAPE_MS = 100  # in which the rest of a key's sequence follows its first byte
_SEQUENCE_LIMIT = 32
_SMALLEST = (20, 4)
_UNABLE = ("", "dumb", "unknown")


class Key:
    """A key: `name` is one of those above, "cancel" for Escape, or "" for a `text` to insert."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.text = text


class RawTerminal:
    """The terminal during `raw_terminal`."""

    def __init__(self, fd: int, wait: Callable[[int], bool]) -> None:
        self._fd = fd
        self._wait = wait
        self._pending = b""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return _size(self._fd)

    def show(self, lines: Sequence[str], cursor: int) -> None:
        """Draw lines, which must fit, from the top; the cursor goes to a column of the first."""
        text = _ERASE_LINE.join(f"\x1b[{row};1H{line}" for row, line in enumerate(lines, 1))
        write(self._fd, f"{text}{_ERASE_BELOW}\x1b[1;{cursor + 1}H")

    def key(self) -> Key | None:
        """Wait for a key and return it; None if the lines must be drawn again."""
        while True:
            if not self._pending:
                if not self._wait(self._fd):
                    return None
                self._read()
            key = self._take()
            if key is not None:
                return key

    def _read(self) -> None:
        data = os.read(self._fd, 1024)
        if not data:  # it has hung up
            raise OSError(5, os.strerror(5))
        self._pending += data

    def _take(self) -> Key | None:
        """Take a key off the bytes that were read; None if they are none, or not yet one."""
        if self._pending[:1] == b"\x1b":
            return self._escape()
        size = _character_size(self._pending[0])
        while len(self._pending) < size:
            if not self._more():
                break
        letter = self._pending[:size].decode("utf-8", "replace")
        self._pending = self._pending[size:]
        name = _CONTROLS.get(letter, "")
        return Key(name, letter) if name or (len(letter) == 1 and letter.isprintable()) else None

    def _escape(self) -> Key | None:
        """Take Escape, or a sequence that begins with it; an unknown one is no key."""
        while True:
            text = self._pending[1:].decode("latin-1")
            if text[:1] in ("[", "O"):
                final = next((i for i, c in enumerate(text[1:], 1) if "@" <= c <= "~"), None)
                if final is not None:
                    self._pending = self._pending[final + 2 :]
                    name = _KEYS.get(text[: final + 1])
                    return Key(name) if name else None
            elif text:
                self._pending = self._pending[1:]
                return Key("cancel")
            if len(text) > _SEQUENCE_LIMIT or not self._more():
                self._pending = b""
                return Key("cancel") if not text else None

    def _more(self) -> bool:
        """Read what follows at once; return whether there was something."""
        import select

        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if not poller.poll(_ESCAPE_MS):
            return False
        self._read()
        return True


def can_draw(term: str | None) -> bool:
    """Return whether the terminal of this type (`TERM`) can show a list that is drawn again."""
    if (term or "") in _UNABLE:
        return False
    try:
        fd = open_terminal()
    except OSError:
        return False
    try:
        columns, lines = _size(fd)
    finally:
        os.close(fd)
    return columns >= _SMALLEST[0] and lines >= _SMALLEST[1]


@contextlib.contextmanager
def raw_terminal() -> Iterator[RawTerminal]:
    """Yield the terminal, which shows nothing that is typed. Raises OSError if it fails."""
    import termios

    fd = open_terminal()
    try:
        before = termios.tcgetattr(fd)
        raw = termios.tcgetattr(fd)
        raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0

        def leave() -> None:
            with contextlib.suppress(OSError, termios.error):  # it may have hung up
                write(fd, _LEAVE)
                termios.tcsetattr(fd, termios.TCSAFLUSH, before)

        def enter() -> None:
            termios.tcsetattr(fd, termios.TCSAFLUSH, raw)
            write(fd, _ENTER)

        with handling_signals(leave, enter), _noticing_size(), waking() as wait:
            try:
                enter()
                yield RawTerminal(fd, wait)
            finally:
                with signals_blocked():
                    leave()
    except termios.error as error:
        raise OSError(error.args[0], os.strerror(error.args[0])) from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def _noticing_size() -> Iterator[None]:
    """Let a change of the window's size, and a continued process, end a wait."""
    before = {}
    try:
        for number in (signal.SIGWINCH, signal.SIGCONT):
            before[number] = signal.signal(number, lambda _number, _frame: None)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _size(fd: int) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        return 80, 24
    return columns or 80, lines or 24


def _character_size(first: int) -> int:
    """Return how many bytes a character in UTF-8 has (RFC 3629 §3)."""
    if first < 0xC0 or first > 0xF7:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def write(fd: int, text: str) -> None:
    """Write text to a terminal."""
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(fd, data) :]
