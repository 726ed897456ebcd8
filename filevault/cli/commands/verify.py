"""`filevault verify`: check that every item and session opens, and with AWS every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.checks.access import check_access
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding, worst_error
from filevault.checks.items import check_item, check_other, is_outdated
from filevault.checks.sessions import check_sessions
from filevault.cli.absent_key import absent_key
from filevault.cli.open_vault import existing_vault, open_vault
from filevault.errors import FilevaultError, NetworkError, UsageError
from filevault.system.printable import printable
from filevault.system.times import format_time, parse_time
from filevault.vault.lookup import is_seed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.checks.items import CheckedItem
    from filevault.checks.online import KeyAtAws
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.cli.profiles import Profiles
    from filevault.vault.item import LongTermItem

DESCRIPTION = """Check that every item and every session opens, and is what it should be.

Nothing is changed. One that is damaged does not hide the others. --online also asks AWS whom each
key belongs to. The exit status is that of the worst error; 0 with warnings only."""

_EVERY = 50  # items between two lines of progress
_NETWORK_FAILURES = 3  # in a row, after which AWS is asked no more
_DAY = 86400


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="only these items")
    parser.add_argument("--online", action="store_true", help="ask AWS about each key")
    parser.add_argument("--region", metavar="R", help="with --online: the region of STS")
    parser.add_argument("--json", action="store_true", help="print an object")


def run(args: argparse.Namespace, context: Context) -> int:
    """Check, and print what was found; raise an error with the status of the worst one."""
    if args.region and not args.online:
        raise UsageError("--region goes with --online", hint="add --online, or leave --region out")
    with open_vault(existing_vault(context), context) as opened:
        for name in args.profiles:  # before a question
            if not opened.vault.has(name):
                raise absent_key(name, opened.choice, opened.vault)
        if opened.vault.is_sealed:
            opened.vault.unlock()
        verification = _Verification(args, opened, context)
        verification.run()
    verification.report()
    error = worst_error(verification.findings)
    if error is not None:
        raise error
    return 0


class _Verification:
    """One run: what was counted and found."""

    def __init__(self, args: argparse.Namespace, opened: OpenVault, context: Context) -> None:
        self._args = args
        self._opened = opened
        self._context = context
        self.findings: list[Finding] = []
        self._keys: list[KeyAtAws] = []
        self._counts = {"items": 0, "others": 0, "sessions": 0, "access": 0}
        self._profiles: Profiles | None = None
        self._network_failures = 0

    def run(self) -> None:
        """Check everything, or the items that are named."""
        vault, context = self._opened.vault, self._context
        stored = [] if self._args.profiles else vault.items.names()
        names = self._args.profiles or vault.lookup.keys(stored)
        for error in vault.items.unopened:
            self.findings.append(error_finding("the vault", "opens", error))
        for number, name in enumerate(names):
            if number % _EVERY == 0 or self._args.online:
                context.reporter.countdown(f"{number + 1} of {len(names)}: {printable(name, 60)}")
            self._item(name)
        context.reporter.end_countdown()
        if self._args.profiles:
            return
        for name in filter(is_seed, stored):
            self._counts["others"] += 1
            self.findings += check_other(vault, name)
        self._counts["access"], found = check_access(
            vault, context.settings.pin, context.kdf_policy.default
        )
        self.findings += found
        cache = self._opened.sessions()
        if cache is not None:
            self._counts["sessions"], found = check_sessions(vault, cache, self._opened.tokens())
            self.findings += found

    def _item(self, name: str) -> None:
        checked = check_item(self._opened.vault, name)
        self._counts["items" if checked.is_key else "others"] += 1
        self.findings += checked.findings
        if self._args.online and checked.item is not None:
            self._ask_aws(name, checked, checked.item)

    def _ask_aws(self, name: str, checked: CheckedItem, item: LongTermItem) -> None:
        from filevault.checks.online import KeyAtAws, check_key

        subject = f"item {printable(name)!r}"
        if self._network_failures >= _NETWORK_FAILURES:
            message = "AWS was not asked: it could not be reached before"
            self.findings.append(Finding(subject, "aws", ERROR, message, NetworkError.exit_status))
            self._keys.append(KeyAtAws(name, item.key.access_key_id, item.created))
            return
        try:
            profile = self._resolver().resolve(name)
        except FilevaultError as error:
            self.findings.append(error_finding(subject, "config", error))
            return
        vault, allow_http = self._opened.vault, self._context.settings.allow_http
        key, error_of_key, found = check_key(vault, name, item, profile, allow_http=allow_http)
        if key.accepted is False and is_outdated(vault, name, checked):
            replaced = check_item(vault, name).item
            if replaced is not None:
                key, error_of_key, found = check_key(
                    vault, name, replaced, profile, allow_http=allow_http
                )
        failed = isinstance(error_of_key, NetworkError)
        self._network_failures = self._network_failures + 1 if failed else 0
        self._keys.append(key)
        self.findings += found

    def _resolver(self) -> Profiles:
        if self._profiles is None:
            from filevault.cli.profiles import Profiles
            from filevault.config.overrides import read_overrides

            overrides = read_overrides(self._context.settings, self._args.region)
            opened = self._opened
            self._profiles = Profiles(self._context, opened.choice, opened.vault, overrides)
        return self._profiles

    def report(self) -> None:
        """Print keys, findings and counts."""
        reporter, choice = self._context.reporter, self._opened.choice
        errors = sum(each.severity == ERROR for each in self.findings)
        warnings = sum(each.severity == WARNING for each in self.findings)
        if self._args.json:
            reporter.json(
                {
                    "vault": choice.root,
                    "backend": choice.backend.name,
                    "items": self._counts["items"],
                    "other_items": self._counts["others"],
                    "sessions": self._counts["sessions"],
                    "errors": errors,
                    "warnings": warnings,
                    "findings": [_finding(each) for each in self.findings],
                    "keys": [self._key(each) for each in self._keys],
                }
            )
            return
        for line in _table([self._row(each) for each in self._keys]):
            reporter.result(line)
        for each in self.findings:
            hint = f" ({printable(each.hint)})" if each.hint else ""
            message = printable(each.message).removeprefix(f"{each.subject} ")
            reporter.result(f"{each.severity}: {each.subject}: {message}{hint}")
        counted = [_counted(self._counts["items"], "key"), _counted(errors, "error")]
        counted += [_counted(warnings, "warning")]
        if not self._args.profiles:
            access = "keyslot" if self._opened.vault.is_sealed else "recipient"
            counted.insert(1, _counted(self._counts["sessions"], "session"))
            counted.insert(2, _counted(self._counts["access"], access))
        reporter.result(f"{printable(choice.root)}: {', '.join(counted)}")

    def _age(self, key: KeyAtAws) -> int | None:
        try:
            created = None if key.created is None else parse_time(key.created)
        except ValueError:
            created = None
        if created is None:
            return None
        return max(0, int(self._context.runtime.clock() - created) // _DAY)

    def _row(self, key: KeyAtAws) -> tuple[str, ...]:
        age = self._age(key)
        state = {True: "accepted", False: "refused", None: "not known"}[key.accepted]
        shown = "-" if age is None else f"{age}d"
        return (printable(key.name), key.account or "-", printable(key.arn or "-"), shown, state)

    def _key(self, key: KeyAtAws) -> dict[str, Any]:
        return {
            "profile": key.name,
            "access_key_id": key.access_key_id,
            "accepted": key.accepted,
            "account": key.account,
            "arn": key.arn,
            "created": key.created,
            "age_days": self._age(key),
            "checked": format_time(self._context.runtime.clock()),
        }


def _finding(each: Finding) -> dict[str, Any]:
    return {
        "subject": each.subject,
        "check": each.check,
        "severity": each.severity,
        "message": each.message,
        "status": each.status,
        "hint": each.hint,
    }


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [("Profile", "Account", "User", "Age", "AWS"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
