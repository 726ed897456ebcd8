"""`filevault doctor`: say what filevault uses here and why, and find what is wrong with it."""

from __future__ import annotations

import contextlib
import functools
import gc
import textwrap
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import MachineState
from filevault.checks.doctor import diagnose
from filevault.checks.finding import ERROR, WARNING, worst_error
from filevault.cli.open_vault import open_vault
from filevault.cli.repositories import git_of
from filevault.system.printable import printable
from filevault.vault.choose import choose

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from filevault.checks.diagnosis import Fact
    from filevault.checks.doctor import Group
    from filevault.checks.finding import Finding
    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.vault.vault import Vault

DESCRIPTION = """Show which vault, files and tools are used here, and find what is wrong with them.

Nothing is unlocked, asked, changed or remembered, and no secret is shown. Each finding says what to
do. The exit status is that of the worst error; 0 with warnings only."""


_WIDTH = 76  # characters of a value, where it is a list


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--online", action="store_true", help="also compare the clock with that of AWS"
    )
    parser.add_argument("--json", action="store_true", help="print an object")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print what was found; raise an error with the status of the worst finding."""
    reporter = context.reporter
    silent = context.unattended()

    @contextlib.contextmanager
    def vault() -> Iterator[Vault]:
        # What the vault before this one remembers: it refers to itself, and gc is off.
        gc.collect()
        choice = choose(context.settings)
        with open_vault(
            choice,
            silent,
            checks_pin=False,
            caches_session_key=False,
            asks=False,
            remembers=False,
        ) as opened:
            yield opened.vault

    @functools.cache  # several checks ask, and there may be many keys
    def names() -> frozenset[str]:
        with vault() as opened:
            return frozenset(opened.names())

    machine = MachineState(
        context.settings,
        context.runtime.clock,
        lambda: choose(context.settings),
        vault,
        names,
        lambda opened: git_of(choose(context.settings), silent, opened.trust, writable=True),
        lambda: silent.aws_config,
        lambda: context.key_cache,
        context.prompter.present,
        args.online,
    )
    groups = diagnose(machine, lambda name: reporter.countdown(f"looking at: {name}"))
    reporter.end_countdown()
    findings = [each for group in groups for each in group.diagnosis.findings]
    if args.json:
        _print_json(groups, findings, context)
    else:
        _print(groups, findings, context)
    error = worst_error(findings)
    if error is not None:
        raise error
    return 0


def _print(groups: Sequence[Group], findings: Sequence[Finding], context: Context) -> None:
    result = context.reporter.result
    for group in groups:
        facts, found = group.diagnosis.facts, group.diagnosis.findings
        if not facts and not found:
            continue
        result(group.name)
        width = max((len(each.name) for each in facts), default=0)
        for fact in facts:
            for line in _fact(fact, width):
                result(line)
        for each in found:
            result(f"  {each.severity}: {printable(each.subject)}: {printable(each.message)}")
            if each.hint:
                result(f"    -> {printable(each.hint)}")
    errors, warnings = _count(findings, ERROR), _count(findings, WARNING)
    result(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}")


def _fact(fact: Fact, width: int) -> list[str]:
    """Return the lines of a fact; a list is broken at its blanks."""
    value = printable(fact.value) + ("  <- decides" if fact.decides else "")
    if len(value) > _WIDTH and ", " in value:
        lines = textwrap.wrap(value, _WIDTH, break_long_words=False, break_on_hyphens=False)
    else:
        lines = [value]
    names = [printable(fact.name), *[""] * (len(lines) - 1)]
    return [f"  {name:{width}}  {line}" for name, line in zip(names, lines, strict=True)]


def _print_json(groups: Sequence[Group], findings: Sequence[Finding], context: Context) -> None:
    context.reporter.json(
        {
            "errors": _count(findings, ERROR),
            "warnings": _count(findings, WARNING),
            "groups": [
                {
                    "group": group.name,
                    "facts": [each._asdict() for each in group.diagnosis.facts],
                    "findings": [each._asdict() for each in group.diagnosis.findings],
                }
                for group in groups
            ],
        }
    )


def _count(findings: Sequence[Finding], severity: str) -> int:
    return sum(each.severity == severity for each in findings)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
