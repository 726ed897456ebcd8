"""`filevault log`: print which credentials were issued, as far as that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.config_toml import JOURNALD
from filevault.errors import UsageError
from filevault.issued import issue_log

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.issued.issue_log import IssuedLine

DESCRIPTION = """Print which credentials were issued when, the latest last.

Nothing is recorded unless config.toml has log = true, or log = "journald"."""

_DEFAULT = 50
_HEADINGS = ("Time", "Profile", "Verb", "Command", "Session", "Key")


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-n", "--lines", metavar="N", default=str(_DEFAULT), help="the last N; default: 50; 0: all"
    )
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the lines of the files, or where they are."""
    if not (args.lines.isascii() and args.lines.isdigit() and len(args.lines) < 10):
        raise UsageError("-n takes a number of lines", hint="filevault log -n 100")
    settings, reporter = context.settings, context.reporter
    lines = issue_log.read(settings.state_home)[-int(args.lines) :]
    if args.json:
        reporter.json([each._asdict() for each in lines])
    elif lines:
        for text in _table(lines):
            reporter.result(text)
    if settings.config.log == JOURNALD:
        reporter.notice("config.toml sends the log to the journal: journalctl -t filevault")
    elif settings.config.log is None:
        reporter.notice("nothing is recorded; log = true in config.toml turns it on")
    return 0


def _table(lines: Sequence[IssuedLine]) -> list[str]:
    rows = [
        _HEADINGS,
        *(
            (
                each.time,
                each.profile,
                each.verb,
                each.command or "-",
                each.session or "-",
                f"...{each.key}",
            )
            for each in lines
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
