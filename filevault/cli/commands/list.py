"""`filevault list`: show profiles, keys, sessions and sign-ins, without unlocking anything."""

from __future__ import annotations

import contextlib
from itertools import repeat

from filevault import errors
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.sign_ins import sign_ins
from filevault.errors import FilevaultError, UsageError
from filevault.system.printable import printable
from filevault.system.times import format_duration, format_local, format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Iterator, Mapping, Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.cli.sign_ins import SignIn
    from filevault.vault.choose import VaultChoice
    from filevault.vault.creation_times import CreationTime

    LiveSession = tuple[str, int]  # operation, and expiry in Unix seconds

DESCRIPTION = """Show profiles of the AWS config, stored keys, cached sessions and sign-ins.

With PROFILE show that one, with its key, account, role, MFA device and vault, without a prompt.

The age of a key counts from its creation at AWS where that is known, else from the day it was
stored, shown with a ≥."""

_DAY = 86400
_WIDTH = 23  # with the gap as in AWS Vault's table
_GAP = "  "  # after each of the first two columns
_PRINTABLE = bytes(range(ord(" "), ord("~") + 1))
_AGE = 7  # the width of the third column
_NO_SESSION = "-\n"
_SINCE = "≥"
_MARK = "\x01"  # in a table instead of that; no cell has a control character
_NAMED = 5  # keys that a warning names
_LABELS = {
    "get-session-token": "sts.GetSessionToken",
    "assume-role": "sts.AssumeRole",
    "assume-role-with-web-identity": "sts.AssumeRoleWithWebIdentity",
    "get-federation-token": "sts.GetFederationToken",
    "process": "credential_process",
    "sso-role": "sso.GetRoleCredentials",
}


class _Listing:
    """What is shown of each name; no object for each, since there may be ten thousand.

    `names` is in the order of the lines: `profiles`, then `keys` without a section, which have
    `key_times`, then `others` that have sessions alone. All other attributes say what there is of a
    name. `sources` is known only of profiles, and only where it is shown or decides what is shown.
    """

    def __init__(
        self,
        profiles: Sequence[str],
        stored: Mapping[str, CreationTime | None],
        sessions: Mapping[str, Sequence[LiveSession]],
    ) -> None:
        self.configured = set(profiles)
        self.stored = stored
        self.sessions = sessions
        self.sources: dict[str, str] = {}
        self.signed_in: dict[str, SignIn] = {}
        self.profiles = profiles
        left = dict(stored)
        for name in self.configured & stored.keys():
            del left[name]
        self.keys, self.key_times = list(left), list(left.values())
        self.others = sorted(
            name for name in sessions if name not in stored and name not in self.configured
        )
        self.names = [*profiles, *self.keys, *self.others]

    def source(self, name: str) -> str | None:
        """Return the name of the credential source, None if it is not known or there is none."""
        return self.sources.get(name) or ("stored" if name in self.stored else None)

    def labels(self, name: str, labels: _Labels) -> list[str]:
        """Return the sign-in and the live sessions, with the time left or the local end of each."""
        sessions = self.sessions.get(name, ())
        if len(sessions) == 1 and name not in self.signed_in:
            return [labels[sessions[0]]]
        found = [labels[session] for session in sorted(sessions)]
        if name in self.signed_in:
            found.insert(0, self.signed_in[name].label(labels.now, local=labels.local))
        return found


class _Labels(dict["LiveSession", str]):
    """The text that shows a session; each is made once. `local`: with its end, in local time."""

    def __init__(self, now: float, *, local: bool) -> None:
        super().__init__()
        self.now = now
        self.local = local

    def __missing__(self, session: LiveSession) -> str:
        operation, expiration = session
        end = format_local(expiration) if self.local else format_duration(expiration - self.now)
        text = self[session] = f"{_LABELS.get(operation, operation)}:{end}"
        return text


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
        listing = _listing(args, context, opened)
    if args.json:
        now = context.runtime.clock()
        context.reporter.json_array(_json(listing, name, now) for name in listing.names)
    elif args.sessions:
        labels = _Labels(context.runtime.clock(), local=args.local)
        for name in listing.names:
            for label in listing.labels(name, labels):
                context.reporter.result(f"{printable(name)}\t{label}")
    else:
        now = context.runtime.clock()
        ages = _Ages(now)
        # In ASCII, which is written in a third of the time: another character makes each wider.
        text = _table(listing, ages, _Labels(now, local=args.local))
        context.reporter.write_marked(text, _MARK, _SINCE)
        _warn_of_age(listing, ages, context)
        if opened is not None and not listing.names:
            context.reporter.hint(
                "the vault has no key: filevault import stores those of other tools, filevault add "
                "a new one"
            )
    context.keep(listing)
    return 0


def _show_one(args: argparse.Namespace, context: Context) -> int:
    """Print the details of one profile. Raises ConfigError, ProfileNotFoundError, UsageError."""
    from filevault.backends.file import FILE
    from filevault.cli.profile_details import profile_details

    if args.credentials or args.profiles or args.sessions:
        raise UsageError(
            "--credentials, --profiles and --sessions are for all profiles",
            hint="leave them out, or the profile",
        )
    name, now = args.profile, context.runtime.clock()
    choice = choose_vault(context)
    opened = _open(choice, context)
    with opened or contextlib.nullcontext():
        details = profile_details(name, context, choice, opened)
        listing = _listing(args, context, opened)
    if args.json:
        context.reporter.json({**_json(listing, name, now), **details._asdict()})
        return 0
    shown = format_local if args.local else format_time
    key = None
    if details.key_profile is not None:
        of = "" if details.key_profile == name else printable(details.key_profile)
        if details.key is not None:
            key = f"...{details.key}" + (f" of {of}" if of else "")
        else:
            # Of a vault for recipients it is known from its last use.
            sealed = details.backend == FILE.name
            until = "without unlock --vault-key" if sealed else "before its use"
            key = (f"that of {of}, " if of else "") + f"not known {until}"
    created, time = None, listing.stored.get(name)
    if time is not None:
        created = f"{shown(time[0])} ({_age((int(now) - time[0]) // _DAY, time[1])})"
    signed_in = listing.signed_in.get(name)
    vault = None if details.vault is None else f"{details.vault} ({details.backend})"
    lines = [
        ("profile", name),
        ("source", listing.source(name)),
        ("key", key),
        ("created", created),
        ("account", details.account_id),
        ("role", details.role_arn),
        ("mfa", details.mfa_serial),
        ("region", details.region),
        ("vault", vault),
        *(
            ("session", f"{_LABELS.get(operation, operation)} until {shown(expiration)}")
            for operation, expiration in sorted(listing.sessions.get(name, ()))
        ),
        ("signed in", None if signed_in is None else signed_in.label(now, local=args.local)),
    ]
    for label, value in lines:
        if value is not None:
            context.reporter.result(f"{label + ':':11}{printable(value)}")
    return 0


def _open(choice: VaultChoice, context: Context) -> OpenVault | None:
    """Open the vault; if there is none, print that unless its path was named."""
    try:
        return open_vault(choice, context, items_later=True)
    except errors.NoVaultError as error:
        if choice.named:
            raise  # the path may be misspelt
        if choice.explicit or not context.aws_config.profile_names():
            context.reporter.warn(error.message)
            context.reporter.say(f"hint: {error.hint}")
        else:
            context.reporter.notice(error.message)
            context.reporter.hint(error.hint or "")
        return None


def _listing(args: argparse.Namespace, context: Context, opened: OpenVault | None) -> _Listing:
    """Return what there is to show, without the names that the options leave out."""
    if context.settings.get("AWS_CONFIG_FILE"):
        # Not at the top: with it comes all that plans a profile.
        from filevault.cli.profiles import absent_config

        for sentence in absent_config(context):
            context.reporter.warn(sentence)
    profiles = context.aws_config.profile_names()
    sessions: dict[str, list[LiveSession]] = {}
    now = context.runtime.clock()
    cache = opened.sessions() if opened is not None else None
    for owner, operation, expiration in cache.listing() if cache is not None else []:
        if expiration > now:
            sessions.setdefault(owner, []).append((operation, expiration))
    stored = opened.vault.created_times() if opened is not None else {}
    unopened = opened.vault.items.unopened if opened is not None else []
    if unopened:
        more = f", nor those in {len(unopened) - 1} more" if unopened[1:] else ""
        context.reporter.warn(f"{unopened[0].message}; the keys in it are not shown{more}")
    listing = _Listing(profiles, stored, sessions)
    signed_in = {each.reference: each for each in sign_ins(opened, now)}
    if signed_in or args.json or args.profile is not None:
        sources = _Sources(context, stored)
        for name in profiles if args.profile is None else listing.configured & {args.profile}:
            source, reference = sources.of(name)
            if source is not None:
                listing.sources[name] = source
            if reference in signed_in:
                listing.signed_in[name] = signed_in[reference]
    if args.sessions:
        listing.names = [
            name for name in listing.names if name in sessions or name in listing.signed_in
        ]
    elif args.credentials:
        listing.names = [name for name in listing.names if name in stored]
    elif args.profiles:
        listing.names = profiles
    return listing


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


def _age(days: int, created_from: str | None, since: str = _SINCE) -> str:
    return f"{max(0, days)}d" if created_from == "iam" else f"{since}{max(0, days)}d"


class _Ages(dict["CreationTime | None", str]):
    """The end of the line of a key without sessions, by its creation time; each is made once."""

    def __init__(self, now: float) -> None:
        super().__init__({None: _GAP + "-".ljust(_AGE) + _NO_SESSION})
        self._now = int(now)

    def __missing__(self, time: CreationTime) -> str:
        days = (self._now - time[0]) // _DAY
        age = _age(days, time[1], _MARK).ljust(_AGE)
        text = self[time] = _GAP + age + _NO_SESSION
        return text


def _warn_of_age(listing: _Listing, ages: _Ages, context: Context) -> None:
    """Warn of old keys; `ages` has the creation times of those that are shown."""
    limit, now = context.settings.config.key_age_warning, context.runtime.clock()
    latest = int(now - limit) if limit > 0 else -1
    if latest < 0 or min((time[0] for time in ages if time is not None), default=now) > latest:
        return
    aged = {name for name, time in listing.stored.items() if time is not None and time[0] <= latest}
    old = [name for name in listing.names if name in aged]
    names = ", ".join(printable(name) for name in old[:_NAMED])
    more = f" and {len(old) - _NAMED} more" if len(old) > _NAMED else ""
    days = f"{limit // _DAY}d" if limit % _DAY == 0 else f"{limit}s"
    context.reporter.warn(
        f"{len(old)} key{'s' if len(old) > 1 else ''} of {days} or more: {names}{more}; "
        f"filevault rotate --all --older-than {days} replaces them"
    )


def _table(listing: _Listing, ages: _Ages, labels: _Labels) -> str:
    """Return the table, made column by column, which takes a third of the time of line by line."""
    stored, profiles = listing.stored, listing.profiles
    # Each name is in one of the first two columns.
    cells, width = _cells(listing.names)
    absent = "-".ljust(width)
    first, last = len(profiles), len(profiles) + len(listing.keys)
    # The last two columns together, since nearly all keys have no session.
    times = *map(stored.get, profiles), *listing.key_times, *repeat(None, len(listing.others))
    ends = list(map(ages.__getitem__, times))
    for number, name in _numbers(listing):
        sessions = ", ".join(listing.labels(name, labels)) or "-"
        ends[number] = f"{ends[number].removesuffix(_NO_SESSION)}{sessions}\n"
    columns = (
        [*cells[:first], *repeat(absent + _GAP, last - first), *cells[last:]],
        [
            *(
                _GAP + (cell if name in stored else absent)
                for name, cell in zip(profiles, cells[:first], strict=True)
            ),
            *cells[first:last],
            *repeat(_GAP + absent, len(listing.others)),
        ],
        ends,
    )
    parts = [""] * (len(columns) * len(cells))  # cell by cell, line by line
    for number, column in enumerate(columns):
        parts[number :: len(columns)] = column
    parts[:0] = [
        f"{'Profile':{width}}{_GAP}{'Credentials':{width}}{_GAP}{'Age':{_AGE}}Sessions\n",
        f"{'=======':{width}}{_GAP}{'===========':{width}}{_GAP}{'===':{_AGE}}========\n",
    ]
    return "".join(parts)


def _cells(names: list[str]) -> tuple[list[str], int]:
    """Return names as cells of one width, and the width."""
    cells = list(map(str.ljust, names, repeat(_WIDTH)))
    together = "".join(cells)
    if (
        len(together) == len(cells) * _WIDTH  # so that none is longer
        and together.isascii()
        and not together.encode().translate(None, _PRINTABLE)
    ):
        return cells, _WIDTH  # nearly always
    shown = list(map(printable, names))
    width = max(_WIDTH, *map(len, shown))
    return [text.ljust(width) for text in shown], width


def _numbers(listing: _Listing) -> Iterator[tuple[int, str]]:
    """Yield the numbers of the lines with a session or a sign-in, and their names."""
    names = listing.names
    number = len(listing.profiles)
    for found in enumerate(listing.profiles):
        if found[1] in listing.sessions or found[1] in listing.signed_in:
            yield found
    # Both are sorted, so that each name is looked for behind the last one.
    for name in sorted(listing.sessions.keys() - listing.configured):
        if name in listing.stored:
            number = names.index(name, number)
            yield number, name
    yield from enumerate(listing.others, len(names) - len(listing.others))


def _json(listing: _Listing, name: str, now: float) -> dict[str, object]:
    time, signed_in = listing.stored.get(name), listing.signed_in.get(name)
    return {
        "profile": name,
        "in_config": name in listing.configured,
        "source": listing.source(name),
        "has_credentials": name in listing.stored,
        "created": None if time is None else format_time(time[0]),
        "created_from": None if time is None else time[1],
        "age_days": None if time is None else max(0, int(now - time[0]) // _DAY),
        "sessions": [
            {
                "operation": operation,
                "expiration": format_time(expiration),
                "seconds_left": int(expiration - now),
            }
            for operation, expiration in sorted(listing.sessions.get(name, ()))
        ],
        "signed_in": None if signed_in is None else signed_in.json(),
    }
