"""Read a code that a person copies from a browser: from the terminal, with echo, or from stdin."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from filevault.errors import NoTerminalError
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 16 << 10  # bytes
_PAUSE = 200  # milliseconds without input after a line, which end a pasted text
_QUESTION = "code: "


def read_pasted(is_complete: Callable[[str], bool], *, from_stdin: bool) -> str:
    """Return the text that was pasted, with the line breaks that a copy may have added.

    With `from_stdin`, stdin is read unless it is a terminal or has nothing. Else the terminal is
    asked, which shows what is typed: the text is long, and serves once. `is_complete` returns
    whether a text may be the whole one. Raises NoTerminalError if there is neither.
    """
    if from_stdin and sys.stdin is not None and not sys.stdin.isatty():
        text = _decoded(_from_stdin(is_complete))
        if text.strip():
            return text
    try:
        fd = open_terminal()
    except OSError as error:
        raise NoTerminalError(
            "the code cannot be asked for: there is no terminal, and stdin has none",
            hint="run it on a terminal, or write the code to its stdin",
        ) from error
    try:
        os.write(fd, _QUESTION.encode("ascii"))
        return _decoded(_from_terminal(fd))
    except OSError as error:
        raise NoTerminalError("the code cannot be read: the terminal is gone") from error
    finally:
        os.close(fd)


def _from_terminal(fd: int) -> bytes:
    """Read what a person pastes: a line, and those that follow it without a pause."""
    found = b""
    while len(found) < _LIMIT:
        part = os.read(fd, 4096)
        found += part
        if not part or (found.endswith(b"\n") and not _more(fd)):
            break
    return found


def _from_stdin(is_complete: Callable[[str], bool]) -> bytes:
    """Read until the text is complete, or to the end: another program may keep stdin open."""
    try:
        fd = sys.stdin.fileno()
    except (OSError, ValueError):  # a stream without a descriptor
        return sys.stdin.buffer.read(_LIMIT)
    found = b""
    while len(found) < _LIMIT:
        part = os.read(fd, 4096)
        found += part
        if not part or (is_complete(_decoded(found)) and not _more(fd)):
            break
    return found


def _more(fd: int) -> bool:
    """Return whether there is more input within a moment."""
    import select

    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(_PAUSE))


def _decoded(data: bytes) -> str:
    return data.decode("ascii", "replace")
