"""`filevault list`: show profiles, stored keys and cached sessions, without unlocking anything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.profiles import absent_config
from filevault.errors import NoVaultError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_duration, format_time, parse_time

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.sessions import ListedSession
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Show profiles of the AWS config, stored keys and cached sessions.

Nothing is unlocked. The age of a key counts from its creation at AWS where that is known, else
from the day it was stored, shown with a ≥."""

_DAY = 86400
_WIDTH = 25  # as AWS Vault's table
_NAMED = 5  # keys that a warning names
_LABELS = {
    "get-session-token": "sts.GetSessionToken",
    "assume-role": "sts.AssumeRole",
    "assume-role-with-web-identity": "sts.AssumeRoleWithWebIdentity",
    "get-federation-token": "sts.GetFederationToken",
    "process": "credential_process",
}


class _Row(Record):
    profile: str
    in_config: bool
    has_key: bool
    created: int | None
    created_from: str | None
    sessions: list[ListedSession]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--credentials", action="store_true", help="names of stored keys only")
    which.add_argument("--profiles", action="store_true", help="names of config profiles only")
    which.add_argument("--sessions", action="store_true", help="live sessions only")
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the table, the JSON, or the names asked for."""
    if args.profiles and not args.json:
        for name in context.aws_config.profile_names():
            context.reporter.result(printable(name))
        return 0
    opened = _open(choose_vault(context), context)
    with opened or contextlib.nullcontext():
        if args.credentials and not args.json:
            for name in opened.vault.names() if opened is not None else []:
                context.reporter.result(printable(name))
            return 0
        rows = _rows(args, context, opened)
    if args.json:
        _print_json(rows, context)
    elif args.sessions:
        for row in rows:
            for label in _labels(row.sessions, context.runtime.clock()):
                context.reporter.result(f"{printable(row.profile)}\t{label}")
    else:
        _print_table(rows, context)
        _warn_of_age(rows, context)
    return 0


def _open(choice: VaultChoice, context: Context) -> OpenVault | None:
    """Open the vault; if there is none, print that unless its path was named."""
    try:
        return open_vault(choice, context)
    except NoVaultError as error:
        if choice.named:
            raise  # the path may be misspelt
        if choice.explicit or not context.aws_config.profile_names():
            context.reporter.warn(error.message)
            context.reporter.say(f"hint: {error.hint}")
        else:
            context.reporter.notice(error.message)
            context.reporter.hint(error.hint or "")
        return None


def _rows(args: argparse.Namespace, context: Context, opened: OpenVault | None) -> list[_Row]:
    """Return profiles in file order, then keys without a section, then sessions without either."""
    for sentence in absent_config(context):
        context.reporter.warn(sentence)
    profiles = context.aws_config.profile_names()
    sessions: dict[str, list[ListedSession]] = {}
    now = context.runtime.clock()
    cache = opened.sessions() if opened is not None else None
    for session in cache.listing() if cache is not None else []:
        if session.expiration > now:
            sessions.setdefault(session.owner, []).append(session)
    stored = opened.vault.created_times() if opened is not None else {}
    configured = set(profiles)
    names = [
        *profiles,
        *(key for key in stored if key not in configured),
        *sorted(owner for owner in sessions if owner not in configured and owner not in stored),
    ]
    rows = []
    for name in names:
        row = _Row(name, name in configured, name in stored, None, None, sessions.get(name, []))
        if row.has_key:
            created, origin = _created(stored[name])
            row = row._replace(created=created, created_from=origin)
        if args.sessions and not row.sessions:
            continue
        if (args.credentials and not row.has_key) or (args.profiles and not row.in_config):
            continue
        rows.append(row)
    return rows


def _created(stored_time: tuple[str, str | None] | None) -> tuple[int | None, str | None]:
    """Return the creation time of a key in Unix seconds, and its origin: `iam` or `add`."""
    try:
        return (parse_time(stored_time[0]), stored_time[1]) if stored_time else (None, None)
    except ValueError:
        return None, None


def _labels(sessions: list[ListedSession], now: float) -> list[str]:
    ordered = sorted(sessions, key=lambda session: (session.operation, session.expiration))
    return [
        f"{_LABELS.get(session.operation, session.operation)}:"
        f"{format_duration(session.expiration - now)}"
        for session in ordered
    ]


def _age(row: _Row, now: float) -> str:
    if row.created is None:
        return "-"
    days = max(0, int(now - row.created) // _DAY)
    return f"{days}d" if row.created_from == "iam" else f"≥{days}d"


def _warn_of_age(rows: list[_Row], context: Context) -> None:
    limit, now = context.settings.config.key_age_warning, context.runtime.clock()
    old = [row for row in rows if row.created is not None and now - row.created >= limit > 0]
    if not old:
        return
    names = ", ".join(printable(row.profile) for row in old[:_NAMED])
    more = f" and {len(old) - _NAMED} more" if len(old) > _NAMED else ""
    days = f"{limit // _DAY}d" if limit % _DAY == 0 else f"{limit}s"
    context.reporter.warn(
        f"{len(old)} key{'s' if len(old) > 1 else ''} of {days} or more: {names}{more}; "
        f"filevault rotate --all --older-than {days} replaces them"
    )


def _print_table(rows: list[_Row], context: Context) -> None:
    now = context.runtime.clock()
    table = [
        ("Profile", "Credentials", "Age", "Sessions"),
        ("=======", "===========", "===", "========"),
    ]
    for row in rows:
        name = printable(row.profile)
        shown_profile = name if row.in_config else "-"
        key = name if row.has_key else "-"
        sessions = ", ".join(_labels(row.sessions, now)) or "-"
        if not row.in_config and not row.has_key:
            shown_profile = name  # no other column names the profile
        table.append((shown_profile, key, _age(row, now), sessions))
    width = max(_WIDTH, 2 + max(len(cell) for line in table for cell in line[:2]))
    for profile, key, age, sessions in table:
        context.reporter.result(f"{profile:{width}}{key:{width}}{age:7}{sessions}".rstrip())


def _print_json(rows: list[_Row], context: Context) -> None:
    now = context.runtime.clock()
    objects = [
        {
            "profile": row.profile,
            "in_config": row.in_config,
            "has_credentials": row.has_key,
            "created": None if row.created is None else format_time(row.created),
            "created_from": row.created_from,
            "age_days": None if row.created is None else max(0, int(now - row.created) // _DAY),
            "sessions": [
                {
                    "operation": session.operation,
                    "expiration": format_time(session.expiration),
                    "seconds_left": int(session.expiration - now),
                }
                for session in sorted(row.sessions, key=lambda s: (s.operation, s.expiration))
            ],
        }
        for row in rows
    ]
    context.reporter.json(objects)
