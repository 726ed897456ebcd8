"""`filevault migrate`: move a whole vault to another backend or another folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.new_file_vault import make
from filevault.cli.new_vault import NewVaultOptions, add_options, options_of
from filevault.cli.open_vault import choose_vault, existing_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.cli.second_vault import (
    HELP,
    NEW_VARIABLE,
    choose_target,
    refuse_nested,
    sharing_passphrases,
    unlock,
)
from filevault.cli.vault_record import move_record
from filevault.errors import (
    BackendError,
    BusyError,
    IntegrityError,
    LockedError,
    NoKeyError,
    NotCommittedError,
    PartlyDoneError,
    PinError,
    UsageError,
)
from filevault.exchange.copy_item import (
    ItemCopy,
    has_copy,
    is_same_file,
    read_item,
    refuse_rotation,
    remember,
    write_copy,
)
from filevault.exchange.store_key import check_unchanged, digest_of
from filevault.git import subjects
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.lookup import is_seed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from typing import TypeVar

    from filevault.backends.protocols import SealedBackend
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.vault.choose import VaultChoice

    _T = TypeVar("_T")
    from filevault.cli.parser import Parser

DESCRIPTION = """Move every key of the vault to another backend or another folder.

A vault that does not exist is made, with the options of init. TOTP seeds move as well. Each item
is compared byte for byte before the old one goes; only then commands use the new vault. A run that
was interrupted is finished by the same command. Sessions are not moved: they are obtained again."""

_BATCH = 64  # items
_NAMED = 5  # keys in a message
COPIED, PRESENT, CLASH, FAILED, LEFT = "copied", "present", "clash", "failed", "left"


class Migrated(Record):
    """What happened to one item, with the reason if it is not in the new vault.

    `outcome` is copied, present, clash, failed, or left for what is no AWS key.
    """

    name: str
    outcome: str
    reason: str = ""
    removed: bool = False


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--to", metavar="VAULT", help=HELP)
    parser.add_argument("--keep", action="store_true", help="leave the old vault as it is")
    parser.add_argument(
        "--force", action="store_true", help="replace other items of the same names"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be moved")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    add_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Copy and compare every item, then delete the old ones, then note the new vault."""
    if args.to is None:
        raise UsageError("--to is missing: it names the vault that gets the keys", hint=HELP)
    choice = existing_vault(context)
    target, target_context = choose_target(args.to, context, choice.backend)
    if (target.real_root, target.backend) == (choice.real_root, choice.backend):
        context.reporter.say(f"the vault is at {printable(choice.root)} already")
        if args.json:
            context.reporter.json([])
        return 0
    refuse_nested(choice, target)
    if args.json and args.generate:
        raise UsageError(
            "--generate prints a passphrase, which is no JSON", hint="leave one of them out"
        )
    with (
        sharing_passphrases(context, target_context),
        open_vault(choice, context, remembers=not args.dry_run) as opened,
    ):
        names = _names(opened)
        if args.dry_run:
            _report(args, [Migrated(name, "would be moved") for name in names], context)
            return 0
        _ask(args, choice, target, names, context)
        with _open_or_make(args, target, target_context) as other:
            unlock(other, NEW_VARIABLE)
            return _Migration(args, context, opened, other).run(names)


def _names(opened: OpenVault) -> list[str]:
    """Return the names of all keys, then of all TOTP seeds.

    Raises StorageError for a folder that cannot be opened: its items would be left behind.
    """
    opened.vault.items.every_name()
    return [*opened.vault.names(), *opened.vault.seed_names()]


def _ask(
    args: argparse.Namespace,
    choice: VaultChoice,
    target: VaultChoice,
    names: Sequence[str],
    context: Context,
) -> None:
    if args.yes:
        return
    seeds = sum(map(is_seed, names))
    count = f"{len(names) - seeds} key{'' if len(names) - seeds == 1 else 's'}"
    if seeds:
        count += f" and {seeds} TOTP seed{'' if seeds == 1 else 's'}"
    verb = "copied" if args.keep else "moved"
    require_terminal(
        context.prompter,
        f"{count} would be {verb} to {printable(target.root)!r}",
        "--yes does not ask, --dry-run shows what would be done",
    )
    what = f"{target.backend.title} at {printable(target.root)}"
    new = "" if target.exists else ", which is made first"
    confirm_or_decline(
        context.prompter,
        f"{'Copy' if args.keep else 'Move'} {count} from {printable(choice.root)} to {what}{new}?",
    )


def _open_or_make(args: argparse.Namespace, target: VaultChoice, context: Context) -> OpenVault:
    """Open the new vault in its own context; make it if it does not exist."""
    backend: SealedBackend | None = None
    options = options_of(args)
    if target.exists:
        if options != NewVaultOptions():
            context.reporter.say("the vault exists: the options of a new one have no effect")
    else:
        create = target.backend.creator
        if create is None:
            from filevault.cli.new_recipients_vault import adopt_or_make

            made = adopt_or_make(options, target, context)
        else:
            made = make(options, target, context, create)
        backend = made.backend
        context.reporter.say(f"made a vault at {printable(made.root)}")
        for file, names in made.recipients:
            for each in names:
                context.reporter.say(f"recipient: {printable(each)} ({printable(file)})")
        for what, path in (("key file", made.key_file), ("identity", made.identity)):
            if path is not None:
                context.reporter.say(f"{what}: {printable(path)}")
    return open_vault(choose_vault(context), context, backend=backend)


class _Migration:
    """One migration, from the first copy to the record of the new vault."""

    def __init__(
        self, args: argparse.Namespace, context: Context, source: OpenVault, target: OpenVault
    ) -> None:
        self._args = args
        self._context = context
        self._source = source
        self._target = target
        self._uncommitted: NotCommittedError | None = None
        self._digests: dict[str, str | None] = {}  # of the items in the new vault

    def run(self, names: Sequence[str]) -> int:
        args, context = self._args, self._context
        self._target.vault.check_recipients()
        if not args.keep:
            self._source.vault.check_recipients()
        rows: list[Migrated] = []
        for batch in self._batches(names):
            for name in batch:
                rows.append(self._copy(name, f"{len(rows) + 1} of {len(names)}"))
        self._target.remember_slot()
        rows += [self._left(name) for name in self._others(names)]
        wrong = [row for row in rows if row.outcome in (CLASH, FAILED)]
        if not wrong and not args.keep:
            rows = [
                row if row.outcome == LEFT else self._remove(row)
                for batch in self._batches(rows)
                for row in batch
            ]
        _report(args, rows, context)
        if wrong:
            count = f"{len(wrong)} item{' is' if len(wrong) == 1 else 's are'}"
            raise PartlyDoneError(
                f"{count} not in the new vault; nothing was removed from the old one",
                hint="the list has the reasons; the same command goes on",
            )
        if not args.keep:
            known = {row.name for row in rows}
            added = [name for name in _names(self._source) if name not in known]
            if added:
                names = ", ".join(map(printable, added[:_NAMED]))
                raise PartlyDoneError(
                    f"{names}: stored in the old vault meanwhile, and not moved",
                    hint="the same command goes on",
                )
            self._drop_sessions()
            self._forget_keys()
        self._say_the_end()
        if self._uncommitted is not None:
            raise self._uncommitted
        return 0

    def _batches(self, each: Sequence[_T]) -> Iterator[Sequence[_T]]:
        """Yield parts; what both vaults remember of one is written once, at its end."""
        for start in range(0, len(each), _BATCH):
            with self._target.vault.memory.batch(), self._source.vault.memory.batch():
                yield each[start : start + _BATCH]

    def _others(self, names: Sequence[str]) -> list[str]:
        """Return what else the old vault contains: it must not be lost unseen."""
        vault = self._source.vault
        known = {each for name in names for each in vault.lookup.all_of(name)}
        return [name for name in vault.items.names() if name not in known]

    def _left(self, name: str) -> Migrated:
        """Return the outcome of what is no key: in a shared store it may be another tool's."""
        ours = self._source.vault.is_sealed
        return Migrated(name, FAILED if ours else LEFT, "it is no AWS key")

    def _copy(self, name: str, progress: str) -> Migrated:
        vault, target = self._source.vault, self._target.vault
        self._context.reporter.countdown(f"{progress}: {printable(name)}")
        try:
            copy = read_item(vault, name)
            if self._args.keep:
                refuse_rotation(copy)
        except NoKeyError:
            return self._left(name)
        except LockedError as error:
            if not vault.is_open:
                raise
            return Migrated(name, FAILED, error.message)
        except (IntegrityError, PinError, BusyError) as error:
            return Migrated(name, FAILED, error.message)
        finally:
            self._context.reporter.end_countdown()
        with target.transaction():
            if is_same_file(vault, name, target, name):
                return Migrated(name, FAILED, "it is the same file in both vaults")
            if target.has_item(name):
                try:
                    if has_copy(target, name, copy):
                        remember(target, name, copy)
                        self._digests[name] = digest_of(target, name)
                        return Migrated(name, PRESENT)
                except IntegrityError as error:
                    if not self._args.force:
                        return Migrated(name, CLASH, error.message)
                if not self._args.force:
                    return Migrated(
                        name, CLASH, "the new vault has another item of that name: --force"
                    )
            self._note(write_copy(target, name, copy, subjects.added(target.entry_path(name))))
            self._digests[name] = digest_of(target, name)
        return Migrated(name, COPIED)

    def _note(self, error: NotCommittedError | None) -> None:
        self._uncommitted = self._uncommitted or error

    def _remove(self, row: Migrated) -> Migrated:
        """Delete an item that the new vault has; one that was changed meanwhile is copied again."""
        vault, target, name = self._source.vault, self._target.vault, row.name
        with vault.transaction():
            copy = read_item(vault, name)
            if not has_copy(target, name, copy):
                self._replace(name, copy)
            try:
                vault.remove(name, subject=subjects.removed(vault.entry_path(name)))
            except NotCommittedError as error:
                self._note(error)
        return row._replace(removed=True)

    def _replace(self, name: str, copy: ItemCopy) -> None:
        target = self._target.vault
        with target.transaction():
            if target.has_item(name):  # another process may have rotated it there
                check_unchanged(target, name, self._digests[name])
            self._note(write_copy(target, name, copy, subjects.added(target.entry_path(name))))

    def _drop_sessions(self) -> None:
        sessions = self._source.sessions_to_delete()
        try:
            count = sessions.clear() if sessions is not None else 0
        except BackendError as error:
            self._context.reporter.warn(error.message)
            return
        if count:
            self._context.reporter.say(
                f"dropped {count} session{'' if count == 1 else 's'}: they are obtained again"
            )

    def _forget_keys(self) -> None:
        """Forget the old vault's cached keys: `lock` is about the new one from now on."""
        try:
            self._source.forget_keys()
        except BackendError as error:
            self._context.reporter.warn(
                f"keys of the old vault may still be cached: {error.message}"
            )

    def _say_which_slots_stay(self) -> None:
        """Say that the words on paper, and key files of machines, open the old vault alone."""
        if not self._source.choice.backend.has_keyslots:
            return
        from filevault.backends.file import keyslots

        slots = keyslots.listing(self._source.vault.folder)
        if len(slots) < 2:
            return
        labels = ", ".join(printable(slot.label) for slot in slots if slot.label)
        self._context.reporter.say(
            f"the {len(slots)} keyslots of the old vault{f' ({labels})' if labels else ''} do not "
            "open the new one: make those that you need again, such as a recovery passphrase on "
            "paper"
        )

    def _say_the_end(self) -> None:
        context, old, new = self._context, self._source.choice, self._target.choice
        self._say_which_slots_stay()
        if self._args.keep:
            context.reporter.say(
                f"the old vault at {printable(old.root)} stays, and commands still use it"
            )
            return
        context.reporter.say(
            f"the old vault at {printable(old.root)} has no keys any more; its history and copies "
            "of it still do, for those who can open them"
        )
        move_record(old, new, context)


def _report(args: argparse.Namespace, rows: Sequence[Migrated], context: Context) -> None:
    if args.json:
        context.reporter.json(
            [
                {
                    "profile": row.name,
                    "outcome": "planned" if row.outcome == "would be moved" else row.outcome,
                    "reason": row.reason or None,
                    "removed": row.removed,
                }
                for row in rows
            ]
        )
        return
    for row in rows:
        outcome = {COPIED: "copied and verified", PRESENT: "verified, was copied before"}.get(
            row.outcome, row.outcome
        )
        reason = f": {printable(row.reason)}" if row.reason else ""
        removed = ", the old one deleted" if row.removed else ""
        context.reporter.result(f"{printable(row.name)}: {outcome}{reason}{removed}")
    if not rows:
        context.reporter.say("the vault has no keys")
