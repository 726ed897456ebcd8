"""Print the credentials of a profile: `export`, and `exec --json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import obtain
from filevault.issued.export_formats import export
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context


def print_credentials(args: argparse.Namespace, context: Context, form: str) -> int:
    """Print the credentials in a format of `FORMATS`, or with `--explain` the plan."""
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
