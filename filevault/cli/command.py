"""What the module of a command looks like, for the type checker alone.

Commands are imported by name, one in each run, so that nothing else would tell whether they fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser


class Command(Protocol):
    """The module of a command, `filevault.cli.NAME`.

    Optional: `split`, see `Split`, and `needs_stdout(args) -> bool`, which tells whether what
    the command prints is its result, and no mere confirmation of what it did. By default it is:
    where stdout is closed, the command is refused before it does anything.
    """

    DESCRIPTION: str

    def configure(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's own options."""
        ...

    def run(self, args: argparse.Namespace, context: Context, /) -> int:
        """Do it and return the exit status."""
        ...


class Split(Protocol):
    """What splits the words of a command that runs another program."""

    def __call__(
        self, parser: Parser, argv: Sequence[str], before: int, /
    ) -> tuple[list[str], list[str]]:
        """Return our words and those of the program; `before` words stood before our name."""
        ...
