"""Print the credentials of a profile: `export`, and `exec --json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.obtain import Obtainer
from filevault.cli.open_vault import choose_vault, open_vault_if_any
from filevault.cli.profiles import profile_name
from filevault.issued.export_formats import export
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context


def print_credentials(args: argparse.Namespace, context: Context, form: str) -> int:
    """Print the credentials in a format of `FORMATS`, or with `--explain` the plan."""
    name = profile_name(args.profile, context)
    choice = choose_vault(context)
    with open_vault_if_any(choice, context) as opened:
        obtainer = Obtainer(args, context, choice, opened)
        plan = obtainer.plan(name)
        if args.explain:
            for line in obtainer.explanation(plan):
                context.reporter.result(line)
            return 0
        given = obtainer.credentials(plan)
    if args.mask:
        from filevault.cli.log_mask import mask

        mask(given.credentials, context)
    text = export(given, form)
    if form == "ini" and given.settings.service_endpoints:
        context.reporter.warn(
            "an ini section cannot contain the addresses of single services; left out: "
            + ", ".join(printable(service) for service, _url in given.settings.service_endpoints)
        )
    context.record_issued(plan.profile, "export", given.credentials)
    context.reporter.write(text)
    served = obtainer.served()
    if context.caches_answer(served):
        from filevault.cli.cached_answers import cache_text

        cache_text(context, served, text)
    return 0
