"""`filevault version`: print the version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import __version__

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Print the version, as --version does."""


def configure(_parser: Parser) -> None:
    """Declare no options: there are only the global ones."""


def run(_args: argparse.Namespace, context: Context) -> int:
    """Print the version."""
    context.reporter.result(f"filevault {__version__}")
    return 0
