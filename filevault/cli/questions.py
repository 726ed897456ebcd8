"""Yes-or-no questions. Without a terminal they are an error; "no" ends with status 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import DeclinedError, NoTerminalError
from filevault.unlock.prompt import confirm

if TYPE_CHECKING:
    from filevault.unlock.prompt import Prompter


def require_terminal(prompter: Prompter, reason: str, hint: str) -> None:
    """Raise NoTerminalError (status 5), with a reason and a hint, if there is no terminal."""
    if not prompter.present:
        raise NoTerminalError(f"{reason}, and there is no terminal to ask", hint=hint)


def confirm_or_decline(
    prompter: Prompter, question: str, *, outcome: str = "nothing was changed"
) -> None:
    """Ask a yes-or-no question; raise DeclinedError with `outcome` as its message for a no."""
    if not confirm(prompter, question):
        raise DeclinedError(outcome)
