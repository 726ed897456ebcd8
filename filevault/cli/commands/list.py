"""`filevault list`: show profiles, keys, sessions and sign-ins, without unlocking anything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.sign_ins import sign_ins
from filevault.errors import FilevaultError, NoVaultError, UsageError
from filevault.system.printable import printable
from filevault.system.times import format_duration, format_local, format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.cli.sign_ins import SignIn
    from filevault.sessions import ListedSession
    from filevault.vault.choose import VaultChoice
    from filevault.vault.creation_times import CreationTime

DESCRIPTION = """Show profiles of the AWS config, stored keys, cached sessions and sign-ins.

With PROFILE show that one, with its key, account, role, MFA device and vault, without a prompt.

The age of a key counts from its creation at AWS where that is known, else from the day it was
stored, shown with a ≥."""

_DAY = 86400
_WIDTH = 25  # as AWS Vault's table
_NAMED = 5  # keys that a warning names
_LABELS = {
    "get-session-token": "sts.GetSessionToken",
    "assume-role": "sts.AssumeRole",
    "assume-role-with-web-identity": "sts.AssumeRoleWithWebIdentity",
    "get-federation-token": "sts.GetFederationToken",
    "process": "credential_process",
    "sso-role": "sso.GetRoleCredentials",
}


class _Row:
    """A profile; no Record, since there may be ten thousand."""

    __slots__ = (
        "created",
        "created_from",
        "has_key",
        "in_config",
        "profile",
        "sessions",
        "signed_in",
        "source",
    )

    def __init__(
        self,
        profile: str,
        in_config: bool,
        has_key: bool,
        created: CreationTime | None,
        sessions: Sequence[ListedSession],
    ) -> None:
        self.profile = profile
        self.in_config = in_config
        self.has_key = has_key
        self.created: int | None = created[0] if created else None
        self.created_from: str | None = created[1] if created else None
        self.sessions = sessions
        self.source: str | None = None
        self.signed_in: SignIn | None = None

    def labels(self, now: float, *, local: bool) -> list[str]:
        """Return the live sessions and the sign-in, with the time left or the local end of each."""
        signed_in = [] if self.signed_in is None else [self.signed_in.label(now, local=local)]
        return [*signed_in, *_labels(self.sessions, now, local=local)]


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="only this one, in detail")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--credentials", action="store_true", help="names of stored keys only")
    which.add_argument("--profiles", action="store_true", help="names of config profiles only")
    which.add_argument("--sessions", action="store_true", help="live sessions only")
    parser.add_argument(
        "--local", action="store_true", help="show when sessions end, in local time"
    )
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the table, the JSON, or the names asked for."""
    context.settings.inputs.spoil("a listing is not repeated")
    if args.profile is not None:
        return _show_one(args, context)
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
            for label in row.labels(context.runtime.clock(), local=args.local):
                context.reporter.result(f"{printable(row.profile)}\t{label}")
    else:
        _print_table(rows, context, local=args.local)
        _warn_of_age(rows, context)
    return 0


def _show_one(args: argparse.Namespace, context: Context) -> int:
    """Print the details of one profile. Raises ConfigError, ProfileNotFoundError, UsageError."""
    from filevault.cli.profile_details import profile_details

    if args.credentials or args.profiles or args.sessions:
        raise UsageError("--credentials, --profiles and --sessions are for all profiles")
    name, now = args.profile, context.runtime.clock()
    choice = choose_vault(context)
    opened = _open(choice, context)
    with opened or contextlib.nullcontext():
        details = profile_details(name, context, choice, opened)
        rows = [row for row in _rows(args, context, opened) if row.profile == name]
    row = rows[0] if rows else _Row(name, False, False, None, [])
    if args.json:
        context.reporter.json({**_json(row, now), **details._asdict()})
        return 0
    shown = format_local if args.local else format_time
    key = None
    if details.key_profile is not None:
        of = "" if details.key_profile == name else printable(details.key_profile)
        if details.key is not None:
            key = f"...{details.key}" + (f" of {of}" if of else "")
        else:
            key = (f"that of {of}, " if of else "") + "not known while the vault is locked"
    created = None
    if row.created is not None:
        age = _age((int(now) - row.created) // _DAY, row.created_from)
        created = f"{shown(row.created)} ({age})"
    vault = None if details.vault is None else f"{details.vault} ({details.backend})"
    lines = [
        ("profile", name),
        ("source", row.source or ("stored" if row.has_key else None)),
        ("key", key),
        ("created", created),
        ("account", details.account_id),
        ("role", details.role_arn),
        ("mfa", details.mfa_serial),
        ("region", details.region),
        ("vault", vault),
        *(
            ("session", f"{label} until {shown(session.expiration)}")
            for session in sorted(row.sessions, key=lambda each: (each.operation, each.expiration))
            for label in [_LABELS.get(session.operation, session.operation)]
        ),
        (
            "signed in",
            None if row.signed_in is None else row.signed_in.label(now, local=args.local),
        ),
    ]
    for label, value in lines:
        if value is not None:
            context.reporter.result(f"{label + ':':11}{printable(value)}")
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
    if context.settings.get("AWS_CONFIG_FILE"):
        # Not at the top: with it comes all that plans a profile.
        from filevault.cli.profiles import absent_config

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
    signed_in = {each.reference: each for each in sign_ins(opened, now)}
    detailed = args.json or args.profile is not None
    sources = _Sources(context, stored) if signed_in or detailed else None
    names = [
        *profiles,
        *(key for key in stored if key not in configured),
        *sorted(owner for owner in sessions if owner not in configured and owner not in stored),
    ]
    rows = []
    for name in names:
        in_config, has_key = name in configured, name in stored
        row = _Row(name, in_config, has_key, stored.get(name), sessions.get(name, ()))
        if sources is not None and in_config:
            row.source, reference = sources.of(name)
            row.signed_in = signed_in.get(reference)
        if args.sessions and not row.sessions and row.signed_in is None:
            continue
        if (args.credentials and not has_key) or (args.profiles and not in_config):
            continue
        rows.append(row)
    return rows


class _Sources:
    """The credential sources of profiles; a profile that cannot be resolved has none."""

    def __init__(self, context: Context, stored: Container[str]) -> None:
        self._config = context.aws_config
        self._stored = stored

    def of(self, name: str) -> tuple[str | None, str]:
        """Return the name of a profile's source, and the source's reference or "" ."""
        from filevault.config.overrides import Overrides
        from filevault.config.profile import resolve
        from filevault.sources import source_of

        try:
            profile = resolve(
                self._config,
                name,
                overrides=Overrides(),
                has_item=self._stored.__contains__,
            )
        except FilevaultError:
            return None, ""
        if profile.source == "none":
            return None, ""
        source = None
        if profile.source != "profile":
            with contextlib.suppress(FilevaultError):
                source = source_of(profile)
        return profile.source, "" if source is None else source.reference


def _labels(sessions: Sequence[ListedSession], now: float, *, local: bool) -> list[str]:
    ordered = sorted(sessions, key=lambda session: (session.operation, session.expiration))

    def end(session: ListedSession) -> str:
        if local:
            return format_local(session.expiration)
        return format_duration(session.expiration - now)

    return [
        f"{_LABELS.get(session.operation, session.operation)}:{end(session)}" for session in ordered
    ]


def _age(days: int, created_from: str | None) -> str:
    return f"{max(0, days)}d" if created_from == "iam" else f"≥{max(0, days)}d"


def _warn_of_age(rows: list[_Row], context: Context) -> None:
    limit, now = context.settings.config.key_age_warning, context.runtime.clock()
    latest = now - limit if limit > 0 else -1
    old = [row for row in rows if row.created is not None and row.created <= latest]
    if not old:
        return
    names = ", ".join(printable(row.profile) for row in old[:_NAMED])
    more = f" and {len(old) - _NAMED} more" if len(old) > _NAMED else ""
    days = f"{limit // _DAY}d" if limit % _DAY == 0 else f"{limit}s"
    context.reporter.warn(
        f"{len(old)} key{'s' if len(old) > 1 else ''} of {days} or more: {names}{more}; "
        f"filevault rotate --all --older-than {days} replaces them"
    )


def _print_table(rows: list[_Row], context: Context, *, local: bool) -> None:
    now = context.runtime.clock()
    today = int(now)
    names = [row.profile for row in rows]
    together = "".join(names)
    if not (together.isascii() and together.isprintable()):
        names = [printable(name) for name in names]
    # Each name is in one of the first two columns.
    width = max(_WIDTH, 2 + max(map(len, names), default=0))
    lines = [
        f"{'Profile':{width}}{'Credentials':{width}}Age    Sessions\n",
        f"{'=======':{width}}{'===========':{width}}===    ========\n",
    ]
    absent = "-".ljust(width)
    ages: dict[tuple[int, str | None], str] = {}
    for name, row in zip(names, rows, strict=True):
        cell = name.ljust(width)
        # Without a key no other column names the profile.
        profile = cell if row.in_config or not row.has_key else absent
        key = cell if row.has_key else absent
        sessions = ", ".join(row.labels(now, local=local)) if row.sessions or row.signed_in else "-"
        if row.created is None:
            age = "-      "
        else:
            days = (today - row.created) // _DAY, row.created_from
            age = ages.get(days) or ages.setdefault(days, _age(*days).ljust(7))
        lines.append(f"{profile}{key}{age}{sessions}\n")
    context.reporter.write("".join(lines))


def _print_json(rows: list[_Row], context: Context) -> None:
    now = context.runtime.clock()
    context.reporter.json([_json(row, now) for row in rows])


def _json(row: _Row, now: float) -> dict[str, object]:
    return {
        "profile": row.profile,
        "in_config": row.in_config,
        "source": row.source or ("stored" if row.has_key else None),
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
        "signed_in": None if row.signed_in is None else row.signed_in.json(),
    }
