"""Protocols of the modules that implement commands; imported by type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser


class Command(Protocol):
    """The module of a command, `filevault.cli.commands.NAME`.

    Optional: `split`, see `Split`, and `needs_stdout(args) -> bool`. It returns whether the
    command prints a result, not only a confirmation; the default is true. A command that needs
    stdout is refused before it does anything if stdout is closed.
    """

    DESCRIPTION: str

    def configure(self, parser: Parser, /) -> None:
        """Declare the command's own options."""
        ...

    def run(self, args: argparse.Namespace, context: Context, /) -> int:
        """Run the command and return the exit status."""
        ...


class Split(Protocol):
    """Split the words of a command that runs another program."""

    def __call__(
        self, parser: Parser, argv: Sequence[str], before: int, /
    ) -> tuple[list[str], list[str]]:
        """Return the words of filevault and those of the program.

        `before` words stood before the name of the command.
        """
        ...
