"""`filevault help`: print the help of a command, or the list of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.command import command_at, parser_of, usage

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Print the help of a command, as COMMAND --help does; without one, the commands."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("of", nargs="?", metavar="COMMAND", help="default: list the commands")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the help. Raises UsageError for a command that does not exist."""
    if args.of is None:
        context.reporter.write(usage())
    else:
        context.reporter.write(parser_of(command_at([args.of], 0)).format_help())
    return 0
