"""`filevault import`: store the long-term keys that other tools and files have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from filevault.cli import first_vault
from filevault.cli.import_source import ImportSource, read_source
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.profile_sections import append_all_or_say
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.cli.second_vault import sharing_passphrases
from filevault.errors import (
    NotCommittedError,
    NotFoundError,
    PartlyDoneError,
    StorageError,
    UsageError,
)
from filevault.exchange.clear_copies import clear_caches, other_copies, repository_of
from filevault.exchange.formats import NAMES
from filevault.exchange.found_keys import Contents, FoundKey, LeftOut
from filevault.exchange.import_plan import (
    IMPORT,
    PRESENT,
    REPLACE,
    SAME,
    SKIP,
    ImportWishes,
    PlannedKey,
    plan_import,
)
from filevault.exchange.store_key import store_key
from filevault.sources.stored import item_reference
from filevault.system.config_files import check_writable
from filevault.system.printable import printable, shell_word
from filevault.unlock.prompt import confirm
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Store the long-term keys of other tools and files; verify each after writing it.

Without SOURCE the AWS CLI's own files are read: credentials and config. SOURCE is a file, a folder
or - for stdin; its format is recognised. What will be done is shown, and asked about once. Keys
in the clear are taken out of the source only on a second yes, or with --remove-source."""

_BATCH = 64  # items
_NAMED = 5  # profiles in a suggested command
_SHOWN = {
    IMPORT: "import",
    REPLACE: "replace",
    PRESENT: "is stored",
    SAME: "same key",
    SKIP: "skip",
}


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("source", nargs="?", metavar="SOURCE")
    parser.add_argument(
        "--from", dest="source_format", choices=NAMES, metavar="FORMAT", help=", ".join(NAMES)
    )
    parser.add_argument(
        "--source-prefix", metavar="NAME", help="the folder of the items in a pass or passage store"
    )
    parser.add_argument("--name", metavar="PROFILE", help="the name of the only key in SOURCE")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PROFILE", help="this key; repeatable"
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="A=B",
        help="store the key of A under the name B; repeatable",
    )
    parser.add_argument("--force", action="store_true", help="replace other keys of the same names")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    removal = parser.add_mutually_exclusive_group()
    removal.add_argument(
        "--remove-source", action="store_true", help="take the stored keys out of SOURCE"
    )
    removal.add_argument(
        "--keep-source", action="store_true", help="leave SOURCE alone, and do not ask about it"
    )
    parser.add_argument(
        "--no-config", action="store_true", help="add no profiles to the AWS config"
    )
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    first_vault.add_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Read the source, show the plan, ask, store and verify, then clean up the source."""
    with sharing_passphrases(context):  # the source may be another vault
        return _import(args, context)


def _import(args: argparse.Namespace, context: Context) -> int:
    names = _renames(args)
    choice = choose_vault(context)
    first_vault.check_vault(choice, context, makes=args.init and not args.dry_run)
    source = read_source(args, context)
    contents = source.contents
    if args.name is not None:
        names |= _name_of_the_only_key(contents, args.name)
    if not contents.keys:
        return _nothing_found(args, source, contents, context)
    if args.remove_source and not source.can_remove:
        raise UsageError(
            f"--remove-source takes keys out of files, not out of {source.title}",
            hint="leave it out; filevault remove deletes items of a vault",
        )
    wishes = ImportWishes(names, args.only, args.force)
    if args.dry_run and not choice.exists:
        planned = plan_import(contents, None, wishes, lambda name: _hidden_by(name, context))
        _report(args, planned, contents, set(), set(), context)
        return 0
    if not args.dry_run:
        _check_writable(choice, context)
    remembers = not args.dry_run
    opening = open_vault(choice, context, remembers=remembers) if choice.exists else None
    with opening or first_vault.open_or_make(args, choice, context) as opened:
        with opened.vault.memory.batch():
            planned = plan_import(
                contents, opened.vault, wishes, lambda name: _hidden_by(name, context)
            )
        if args.dry_run:
            _report(args, planned, contents, set(), set(), context)
            return 0
        return _Import(args, context, opened, source, contents, planned).run()


def _renames(args: argparse.Namespace) -> dict[str, str]:
    names: dict[str, str] = {}
    for each in args.rename:
        old, equals, new = each.partition("=")
        if not equals or not old or not new or old in names:
            raise UsageError(
                f"--rename {printable(each, 80)!r} is not A=B, or names A a second time",
                hint="name each key once, as in --rename old=new",
            )
        names[old] = new
    if args.name is not None:
        encode_name(args.name, ".fv")
    return names


def _name_of_the_only_key(contents: Contents, name: str) -> dict[str, str]:
    """Return the name of `--name` by the one that the source has."""
    if len(contents.keys) > 1:
        raise UsageError(
            f"--name is for one key, and the source has {len(contents.keys)}",
            hint="--only chooses keys, --rename A=B gives them other names",
        )
    return {each.name: name for each in contents.keys}


def _hidden_by(name: str, context: Context) -> str | None:
    section = context.aws_config.profile(name)
    source = section.values.get("source_profile") if section is not None else None
    return source if source and source != name else None


def _check_writable(choice: VaultChoice, context: Context) -> None:
    """Fail early: raise StorageError if no key could be stored, before any question."""
    check_writable(f"{choice.root}/x{choice.backend.suffix}", context.settings.home_if_known)


def _nothing_found(
    args: argparse.Namespace, source: ImportSource, contents: Contents, context: Context
) -> int:
    if contents.left_out or args.json:
        _report(args, [], contents, set(), set(), context)
    hint = None
    if not contents.left_out and args.source_prefix is None and not source.can_remove:
        hint = "the items of a pass or passage store may be in another folder: --source-prefix NAME"
    raise NotFoundError(f"there is no long-term key in {source.title}", hint=hint)


class _Import:
    """One import, from the question to the end."""

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        opened: OpenVault,
        source: ImportSource,
        contents: Contents,
        planned: Sequence[PlannedKey],
    ) -> None:
        self._args = args
        self._context = context
        self._opened = opened
        self._source = source
        self._contents = contents
        self._planned = planned
        self._stored: set[str] = set()
        self._removed: set[str] = set()
        self._left: list[PlannedKey] = []
        self._uncommitted: NotCommittedError | None = None

    def run(self) -> int:
        written = [row for row in self._planned if row.is_written]
        safe = [row for row in self._planned if row.action != SKIP]
        removes = self._args.remove_source and bool(safe)
        if not self._args.json:
            self._show()
        if written:
            self._check_vault()  # before the question: nothing that is agreed to must fail
        if written or removes:
            self._ask(written, removes=removes)
        if written:
            self._store(written)
        if safe and not self._args.no_config:
            self._add_profiles(safe)
        if safe and self._source.can_remove and not self._args.keep_source:
            self._clean_up(safe)
        if self._args.json:
            self._show()
        if self._uncommitted is not None:
            raise self._uncommitted
        skipped = [row for row in self._planned if row.action == SKIP]
        failed = [each for each in self._contents.left_out if each.failed]
        if skipped or failed:
            count = len(skipped) + len(failed)
            raise PartlyDoneError(
                f"{count} key{' is' if count == 1 else 's are'} not imported",
                hint="--dry-run shows the reasons",
            )
        if self._left:
            names = ", ".join(printable(row.name) for row in self._left[:_NAMED])
            raise PartlyDoneError(
                f"{_count(self._left)} {_are(self._left)} stored, but still in "
                f"{self._source.title}: {names}",
                hint="what stands beside it there would be lost, or the source was changed "
                "meanwhile: take it out yourself, or run the command again",
            )
        return 0

    def _show(self) -> None:
        _report(
            self._args, self._planned, self._contents, self._stored, self._removed, self._context
        )

    def _ask(self, written: Sequence[PlannedKey], *, removes: bool) -> None:
        args, context = self._args, self._context
        if args.yes:
            return
        require_terminal(
            context.prompter,
            f"{_count(written)} would be stored" if written else "keys would be taken out",
            "--yes does not ask, --dry-run shows what would be done",
        )
        root, title = printable(self._opened.choice.root), self._source.title
        store = f"store {_count(written)} in {root}" if written else ""
        remove = f"take the keys that are stored out of {title}" if removes else ""
        question = " and ".join(part for part in (store, remove) if part)
        confirm_or_decline(context.prompter, f"{question[:1].upper()}{question[1:]}?")

    def _check_vault(self) -> None:
        """Unlock the vault; raise PinError if nothing may be written to it."""
        vault = self._opened.vault
        vault.check_recipients()
        if vault.is_sealed:
            vault.unlock()

    def _store(self, written: Sequence[PlannedKey]) -> None:
        vault, context = self._opened.vault, self._context
        for start in range(0, len(written), _BATCH):
            # Of a batch that is cut off the items are there, and their first use remembers them.
            with vault.memory.batch():
                for row in written[start : start + _BATCH]:
                    error = store_key(vault, row, context.runtime.clock())
                    self._uncommitted = self._uncommitted or error
                    self._stored.add(row.name)
                    if not self._args.json:
                        context.reporter.result(
                            f"Stored and verified the key of profile {printable(row.name)}."
                        )
        self._opened.remember_slot()
        replaced = [item_reference(row.name) for row in written if row.action == REPLACE]
        sessions = self._opened.sessions_to_delete() if replaced else None
        if sessions is not None:
            sessions.drop_source(*replaced)

    def _add_profiles(self, rows: Sequence[PlannedKey]) -> None:
        """Add the profiles that the AWS config does not have."""
        context = self._context
        profiles: dict[str, dict[str, str]] = {}
        for row in rows:
            found = row.found
            if row.action != SAME and context.aws_config.profile(row.name) is None:
                wanted = (("region", found.region), ("mfa_serial", found.mfa_serial))
                profiles.setdefault(row.name, {key: value for key, value in wanted if value})
        append_all_or_say(context, profiles)

    def _clean_up(self, safe: Sequence[PlannedKey]) -> None:
        """Take the keys that are in the vault out of the source, if that is wanted."""
        args, context, source = self._args, self._context, self._source
        clear = " in the clear" if source.paths else ""
        if not args.remove_source:
            if args.yes or not context.prompter.present:
                context.reporter.say(
                    f"{_count(safe)} {_are(safe)} still{clear} in {source.title}: "
                    f"--remove-source takes {_them(safe)} out"
                )
                return
            question = f"Take {_count(safe)} out of {source.title}?"
            if not confirm(context.prompter, question):
                context.reporter.say(f"{source.title} stays as it is")
                return
        self._verify_again(safe)
        targets = [os.path.realpath(path) for path in source.paths]  # a link may go with its file
        left = source.remove([row.found for row in safe], context)
        self._left = [row for row in safe if row.found in left]
        taken = [row for row in safe if row.found not in left]
        self._removed = {row.name for row in taken} - {row.name for row in self._left}
        if taken and not args.json:
            context.reporter.result(f"Took {_count(taken)} out of {source.title}.")
        self._tell_what_stays([row.found._replace(name=row.name) for row in safe], targets)

    def _verify_again(self, safe: Sequence[PlannedKey]) -> None:
        """Raise StorageError unless the vault has each key now: another process may remove one."""
        vault = self._opened.vault
        with vault.memory.batch():
            for row in safe:
                if vault.item(row.name).key != row.found.key:
                    raise StorageError(
                        f"the vault has another key for {printable(row.name)!r} by now; "
                        "nothing was taken out of the source"
                    )

    def _tell_what_stays(self, found: Sequence[FoundKey], paths: Sequence[str]) -> None:
        """Say what removal cannot promise, and name the copies that are still there.

        `paths` are the files in the clear, not links to them.
        """
        reporter = self._context.reporter
        keys = [each.key for each in found]
        copies = sorted({copy for path in paths for copy in other_copies(path, keys)})
        for copy in copies:
            reporter.warn(f"{printable(copy)} still has the secret of a stored key")
        for path in paths:
            repository = repository_of(path)
            if repository is not None:
                reporter.warn(
                    f"the history of the git repository at {printable(repository)} may keep the "
                    "keys"
                )
        caches = clear_caches(self._context.settings.home_if_known)
        if caches and paths:
            folders = ", ".join(map(printable, caches))
            reporter.say(
                f"other programs keep sessions in the clear in {folders}: "
                "delete what you do not need any more"
            )
        if paths:
            word = " ".join(shell_word(each.name) for each in found[:_NAMED])
            reporter.say(
                "the keys were in the clear: backups, snapshots and the disk itself may keep them, "
                "and no deletion can promise otherwise. New keys can: "
                f"filevault rotate {word}"
            )


def _count(rows: Sequence[object]) -> str:
    return f"{len(rows)} key{'' if len(rows) == 1 else 's'}"


def _are(rows: Sequence[object]) -> str:
    return "is" if len(rows) == 1 else "are"


def _them(rows: Sequence[object]) -> str:
    return "it" if len(rows) == 1 else "them"


def _report(
    args: argparse.Namespace,
    planned: Sequence[PlannedKey],
    contents: Contents,
    stored: set[str],
    removed: set[str],
    context: Context,
) -> None:
    if args.json:
        rows = [_object(row, stored, removed) for row in planned]
        rows += [_left_out_object(each) for each in contents.left_out]
        context.reporter.json(rows)
        return
    table = [("Profile", "Key", "Action", "From")]
    for row in planned:
        action = _SHOWN[row.action]
        reason = row.reason if row.action == SKIP else ""
        notes = "; ".join(note for note in (reason, row.found.note) if note)
        shown = f"{action} ({printable(notes)})" if notes else action
        key_id = row.found.key.access_key_id
        table.append((printable(row.name) or "-", printable(key_id), shown, _place(row.found)))
    table += [
        (printable(each.name) or "-", "-", f"leave out ({printable(each.reason)})", _place(each))
        for each in contents.left_out
    ]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    for line in table:
        cells = [f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)]
        context.reporter.result("  ".join([*cells, line[3]]).rstrip())


def _place(found: FoundKey | LeftOut) -> str:
    return printable(found.place, 300)


def _object(row: PlannedKey, stored: set[str], removed: set[str]) -> dict[str, Any]:
    return {
        "profile": row.name,
        "access_key_id": row.found.key.access_key_id,
        "source": row.found.place,
        "action": row.action,
        "reason": row.reason or None,
        "stored": row.name in stored or row.action in (PRESENT, SAME),
        "removed_from_source": row.name in removed,
    }


def _left_out_object(each: LeftOut) -> dict[str, Any]:
    return {
        "profile": each.name,
        "access_key_id": None,
        "source": each.place,
        "action": "leave-out",
        "reason": each.reason,
        "stored": False,
        "removed_from_source": False,
    }
