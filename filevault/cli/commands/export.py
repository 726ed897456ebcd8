"""`filevault export`: print credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.parser import add_mask_option, add_session_options
from filevault.cli.print_credentials import print_credentials
from filevault.issued.export_formats import FORMATS

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Print the credentials of a profile.

--format json, or process, is the contract of credential_process; the others are for shells,
files and docker run --env-file. Only the credentials are printed on stdout."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="default: AWS_PROFILE")
    parser.add_argument("--format", choices=FORMATS, default="env", help="default: env")
    add_mask_option(parser)
    add_session_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the credentials, or the plan."""
    return print_credentials(args, context, args.format)
