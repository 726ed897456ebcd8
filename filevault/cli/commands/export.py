"""`filevault export`: print credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import obtain
from filevault.cli.parser import add_session_options
from filevault.issued.environment import FORMATS, export
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Print the credentials of a profile.

--format json, or process, is the contract of credential_process; the others are for shells,
files and docker run --env-file. Nothing but the credentials goes to stdout."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="default: AWS_PROFILE")
    parser.add_argument("--format", choices=FORMATS, default="env", help="default: env")
    add_session_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the credentials, or the plan."""
    return print_credentials(args, context, args.format)


def print_credentials(args: argparse.Namespace, context: Context, form: str) -> int:
    """Print in a format; `exec --json` comes here too."""
    made = obtain.make_plan(args, context, obtain.profile_name(args.profile, context))
    if args.explain:
        for line in obtain.explanation(args, context, made):
            context.reporter.result(line)
        return 0
    given = obtain.obtain_credentials(args, context, made)
    text = export(given, form)
    if form == "ini" and given.settings.service_endpoints:
        context.reporter.warn(
            "an ini section cannot hold the addresses of single services, so these are left out: "
            + ", ".join(printable(service) for service, _url in given.settings.service_endpoints)
        )
    context.reporter.write(text)
    return 0
