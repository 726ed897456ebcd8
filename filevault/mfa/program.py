"""Run a program that prints a token code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import MfaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TIMEOUT = 120.0  # seconds


def printed_code(
    argv: Sequence[str], environment: Mapping[str, str], name: str, tell: Callable[[str], None]
) -> str:
    """Return what a program printed; it may use the terminal.

    Args:
        argv: the program and its arguments.
        environment: its environment.
        name: of the program, for messages.
        tell: shows a person what is waited for, if that takes long.

    Raises MfaError if it fails, ProgramError if it is missing or too slow.
    """
    from filevault.system import programs

    result = programs.run(
        argv, environment, origin=name, timeout=_TIMEOUT, terminal=True, tell=tell
    )
    if result.status != 0:
        reason = f": {result.complaint}" if result.complaint else ""
        raise MfaError(f"{name} failed with status {result.status}{reason}")
    return result.output.decode("utf-8", "replace")
