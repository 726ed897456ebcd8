"""The clipboard of the terminal: copy text to it, and check that tmux or screen lets it pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import NoTerminalError, ProgramError
from filevault.system.printable import printable
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from filevault.cli.context import Context

_TIMEOUT = 5.0  # seconds for tmux to answer
_INSTEAD = "--stdout prints the link"


def check(context: Context) -> None:
    """Raise an error if it is known that the clipboard cannot be set.

    tmux ignores what programs send to it unless its option `set-clipboard` is `on` (tmux(1); the
    default is `external`); GNU screen always does. Neither says so to the program.

    Raises NoTerminalError without a terminal, ProgramError in tmux or screen.
    """
    if not context.prompter.present:
        raise NoTerminalError("cannot copy the link: there is no terminal", hint=_INSTEAD)
    get = context.settings.get
    if get("TMUX"):
        setting = _of_tmux(context)
        if setting not in (None, "on"):
            raise ProgramError(
                "cannot copy the link: tmux keeps the clipboard from programs (set-clipboard is "
                f"{printable(setting, 40)})",
                hint=f"tmux set-option -s set-clipboard on allows it; {_INSTEAD}",
            )
    elif get("STY"):
        raise ProgramError(
            "cannot copy the link: GNU screen keeps the clipboard from programs", hint=_INSTEAD
        )


def copy(text: str) -> None:
    """Copy ASCII text to the clipboard of the terminal, also over ssh.

    Uses OSC 52 of xterm's control sequences, which terminals without it ignore. Raises
    NoTerminalError without a terminal.
    """
    import base64

    data = base64.b64encode(text.encode("ascii"))
    try:
        fd = open_terminal()
    except OSError as error:
        raise NoTerminalError(
            "cannot copy the link: there is no terminal", hint=_INSTEAD
        ) from error
    with open(fd, "wb", buffering=0) as terminal:
        sequence = memoryview(b"\x1b]52;c;" + data + b"\x07")
        while sequence:
            sequence = sequence[terminal.write(sequence) :]


def caution(context: Context) -> str:
    """Return a hint for the message of success, in case tmux or screen runs on another host."""
    term = context.settings.get("TERM") or ""
    if context.settings.get("TMUX") or not term.startswith(("tmux", "screen")):
        return ""
    return f"; if it does not arrive, tmux needs set-clipboard on, and {_INSTEAD}"


def _of_tmux(context: Context) -> str | None:
    """Return the value of set-clipboard, None if tmux does not answer."""
    from filevault.system import programs

    try:
        result = programs.run(
            ("tmux", "show-options", "-s", "-v", "set-clipboard"),
            context.settings.program_environment(),
            origin="tmux",
            timeout=_TIMEOUT,
        )
    except ProgramError:
        return None
    return result.output.decode("ascii", "replace").strip() if result.status == 0 else None
