"""Questions before a command goes on: no answer is an error, "no" is not."""

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
    """Ask a yes-or-no question; raise DeclinedError for a no. `outcome` tells what was done."""
    if not confirm(prompter, question):
        raise DeclinedError(outcome)
