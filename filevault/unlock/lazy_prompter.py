"""LazyPrompter: a prompter that opens the terminal at its first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.system.secret_buffer import SecretBytes
    from filevault.unlock.prompt import Prompter


class LazyPrompter:
    """A prompter that calls `prompter` for the real one when it is used."""

    def __init__(self, prompter: Callable[[], Prompter]) -> None:
        self._ask = prompter

    @property
    def present(self) -> bool:
        """Whether there is a terminal."""
        return self._ask().present

    def say(self, text: str) -> None:
        """Show one line."""
        self._ask().say(text)

    def line(self, question: str) -> str:
        """Ask with echo."""
        return self._ask().line(question)

    def hidden(self, question: str) -> SecretBytes:
        """Ask without echo."""
        return self._ask().hidden(question)
