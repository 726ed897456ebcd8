"""`filevault recipients`: list, add and remove recipients; accept a vault that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.backends.file import keyslots
from filevault.cli.absent_key import absent_key
from filevault.cli.keyslot_text import keyslot_text
from filevault.cli.open_vault import choose_vault, existing_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.cli.repositories import trust_present_repositories
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    LockedError,
    NewerFormatError,
    NotCommittedError,
    PartlyDoneError,
    StorageError,
    UsageError,
)
from filevault.git import subjects
from filevault.system.printable import printable, shell_word
from filevault.vault.acceptance import accept, needs_acceptance
from filevault.vault.pin import difference
from filevault.vault.recipients.change import ChangePlanner, RecipientsChange, check_recipient_sets
from filevault.vault.recipients.files import RecipientsFiles
from filevault.vault.recipients.reencrypt import OutdatedItem, Reencryption, changed_paths

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from filevault.backends.protocols import RecipientsBackend
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.pin import Pin
    from filevault.vault.vault import Vault

DESCRIPTION = """Show who can open the vault, change that, or accept a vault that changed.

list             the vault's identity, its pin, and its keyslots or recipients
add R...         pass, age: encrypt to these recipients, too
remove R...      pass, age: no longer encrypt to these recipients
accept           trust the vault's current identity and every item in it; with PROFILE only
                 that item"""

_ACTIONS = ("list", "add", "remove", "accept")


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="recipients to add or remove; a profile to accept"
    )
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="remove without asking, even if no available key could open the vault afterwards",
    )


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether more than a confirmation is printed."""
    return bool(args.action == "list")


def run(args: argparse.Namespace, context: Context) -> int:
    """List, add, remove or accept recipients."""
    if args.force and args.action != "remove":
        raise UsageError("--force is for recipients remove", hint="leave --force out")
    if args.action in ("add", "remove"):
        if not args.names:
            raise UsageError(
                f"recipients {args.action} needs a recipient", hint="filevault recipients --help"
            )
        choice = existing_vault(context)
        if choice.backend.family == SEALED:
            raise UsageError(
                f"{choice.backend.title} has keyslots instead of recipients",
                hint="filevault recipients list shows them",
            )
        with open_vault(choice, context) as opened:
            return _change(args, opened, context)
    with open_vault(choose_vault(context), context, checks_pin=False) as opened:
        pin = opened.pin()
        if args.action == "list":
            if args.names:
                raise UsageError(
                    "recipients list takes no further words", hint="filevault recipients list"
                )
            return _list(opened, context, pin)
        if opened.vault.state is None:
            raise StorageError(
                "what you accept could not be remembered: the state directory cannot be written",
                hint=f"give the pin instead: FILEVAULT_PIN={pin.digest}",
            )
        if args.names:
            for name in args.names:
                _accept_item(context, opened, name)
            return 0
        return _accept_all(opened, context, pin)


# add and remove


def _change(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    """Add or remove recipients, and re-encrypt. Raises PartlyDoneError if something is left."""
    vault, choice = opened.vault, opened.choice
    file = choice.backend.marker
    files = RecipientsFiles(vault, file)
    recipients = ChangePlanner(vault, choice.prefix, file)
    adding = args.action == "add"
    run = _Run(opened, context)
    opened.require_commits([file, *(vault.path(name) for name in vault.items.every_name())])
    with vault.locked():
        files.resume()
        vault.check_recipients()
        wanted = (
            recipients.plan_adding(args.names) if adding else recipients.plan_removing(args.names)
        )
        resumed = bool(vault.trust.pending_reencryption)
        unfinished, provable = recipients.reencryption(wanted), recipients.only_certain(wanted)
        work = Reencryption(vault, unfinished, provable)
        changing = {path for path, _ in wanted.recipients} | {wanted.replaced} - {""}
        if not changing and not resumed and not any(True for _ in work.outdated()):
            context.reporter.result("They are recipients already.")
            return 0
        work.check_openable(changing)
        if not adding and not args.force:
            _confirm_lockout(context, recipients, wanted, resumed=resumed)
        written = files.write(wanted, unfinished)
        if wanted.replaced:
            former = printable(wanted.replaced)
            context.reporter.say(
                f"{former} governs other entries, too, and stays; {written[-1]} is made"
            )
        if resumed:  # what the interrupted run wrote may not be committed
            written = files.paths_after(wanted)
        term, folder = choice.backend.recipient_term, "/".join(choice.prefix)
        changed = [path for path, _ in wanted.recipients] or unfinished or provable
        names = _recipients_after(wanted, changed)
        if written:
            run.commit(written, subjects.recipients_set(term, names, folder))
        paths = work.run(
            lambda name: context.reporter.result(f"Reencrypted {printable(name)}."), run.on_failure
        )
        if resumed:
            paths = work.item_paths()
        if paths:
            run.commit(paths, subjects.reencrypted(term, names, folder))
        left = {item.path: unfinished.get(item.path, ()) for item in run.failed}
        files.finish(unfinished if run.uncommitted else left)
    context.reporter.result(f"pin: {wanted.after.digest}")
    if not adding:
        context.reporter.warn(
            "removed recipients keep what they could read: rotate the keys of the vault"
        )
    run.end(len(vault.items.names()), wanted.unchanged)
    return 0


class _Run:
    """Collect the failures of a change of recipients, and report them at its end."""

    def __init__(self, opened: OpenVault, context: Context) -> None:
        self._opened = opened
        self._context = context
        self.failed: list[OutdatedItem] = []
        self.uncommitted: NotCommittedError | None = None
        self._warned_of: FilevaultError | None = None

    def on_failure(self, item: OutdatedItem, error: FilevaultError) -> None:
        """Called for an item that could not be re-encrypted."""
        if error is not self._warned_of:  # a lock affects all items that follow
            self._context.reporter.warn(f"{printable(item.name)}: {error.message}")
        self._warned_of = error if isinstance(error, LockedError) else None
        self.failed.append(item)

    def commit(self, paths: Sequence[str], subject: str) -> None:
        """Commit; keep git's error for the end, because the files are written."""
        try:
            self._opened.commit(paths, subject)
        except NotCommittedError as error:
            self.uncommitted = self.uncommitted or error

    def end(self, items: int, kept: Sequence[str]) -> None:
        """Raise an error that names the items and files that are left, if any."""
        if kept:
            paths = ", ".join(repr(printable(path)) for path in kept)
            only = (
                f"{paths} would have no recipient left, so it stays as it is, with the items "
                "that it governs"
            )
            self._context.reporter.warn(only)
        uncommitted = f"; also, {self.uncommitted.message}" if self.uncommitted else ""
        if self.failed:
            raise PartlyDoneError(
                f"{len(self.failed)} of {items} items are still as they were: "
                + ", ".join(printable(item.name) for item in self.failed[:5])
                + uncommitted,
                hint="repeat the command when the cause is removed",
            )
        if kept:
            raise PartlyDoneError(
                f"removed, but not from {paths}{uncommitted}",
                hint="a person who can open its items can add another recipient first, with "
                "--prefix for that folder; or delete the folder",
            )
        if self.uncommitted:
            raise self.uncommitted


def _confirm_lockout(
    context: Context, recipients: ChangePlanner, wanted: RecipientsChange, *, resumed: bool
) -> None:
    """Ask before a change after which no available key opens some of the items.

    Raises DeclinedError, or NoTerminalError if there is no terminal.
    """
    path = recipients.locked_out(wanted)
    if path is None:
        return
    what = f"no key that is here would open what {printable(path)!r} governs any more"
    require_terminal(
        context.prompter,
        what,
        "--force removes them all the same; check first that another key can open it",
    )
    question = f"{what[:1].upper()}{what[1:]}. Remove them all the same?"
    outcome = "an interrupted change is still unfinished" if resumed else "nothing was changed"
    confirm_or_decline(context.prompter, question, outcome=outcome)


def _recipients_after(wanted: RecipientsChange, paths: Iterable[str]) -> list[str]:
    """Return the recipients that some recipients files have after a change, for its commit."""
    after = dict(wanted.after.recipients)
    return sorted({each for path in paths for each in after.get(path, ())})


# list


def _list(opened: OpenVault, context: Context, pin: Pin) -> int:
    vault = opened.vault
    known = vault.trust.pin
    state = "not yet known here"
    if known is not None:
        state = "known here" if known == pin else "NOT the one that is known here"
        if _rekey_interrupted(vault, pin):
            state = "a rekey was interrupted here: filevault rekey finishes it"
    context.reporter.result(f"vault: {printable(opened.choice.root)}")
    context.reporter.result(f"backend: {pin.backend}")
    if pin.vault:
        context.reporter.result(f"id: {pin.vault}")
    context.reporter.result(f"pin: {pin.digest} ({state})")
    if opened.choice.backend.has_keyslots:
        _print_slots(context, vault)
    _print_recipients(context, pin)
    unfinished = vault.trust.pending_reencryption
    if known == pin and unfinished:
        paths = ", ".join(map(printable, unfinished))
        context.reporter.say(
            f"items that {paths} governs may be encrypted to others than their recipients: repeat "
            f"the last change, or {_again(opened, pin)}"
        )
    return 0


def _again(opened: OpenVault, pin: Pin) -> str:
    """Return the command that re-encrypts items whose recipients differ."""
    path = pin.root_path(opened.choice.prefix)
    governing = opened.vault.recipients_backend.governing()
    usable = [
        each
        for file in governing
        if file.path == path
        for each in file.recipients
        if each not in file.unresolved
    ]
    return f"filevault recipients add {shell_word(usable[0]) if usable else 'RECIPIENT'}"


def _rekey_interrupted(vault: Vault, pin: Pin) -> bool:
    """Return whether a rekey was interrupted on this machine and is not complete."""
    known = vault.trust.pin
    return bool(pin.vault) and known not in (None, pin) and vault.trust.pending_pin == pin.digest


def _print_recipients(context: Context, pin: Pin) -> None:
    for path, recipients in pin.recipients:
        for recipient in recipients:
            context.reporter.result(f"recipient: {printable(recipient)} ({printable(path)})")


def _print_slots(context: Context, vault: Vault) -> None:
    for slot in keyslots.listing(vault.folder):
        context.reporter.result(f"slot: {slot.id} ({keyslot_text(slot, context, vault)})")


# accept


def _accept_item(context: Context, opened: OpenVault, name: str) -> None:
    if not opened.vault.has(name):
        raise absent_key(name, opened.choice, opened.vault)
    _print_accepted(context, name, *accept(opened.vault, name))


def _print_accepted(context: Context, name: str, before: str | None, now: str | None) -> None:
    account = ""
    if now is not None and now != before:
        known = f", {printable(before)} before" if before is not None else ""
        account = f" (AWS account {printable(now)}{known})"
    context.reporter.result(f"Accepted the key of profile {printable(name)} as it is now{account}.")


def _unfinished(vault: Vault, known: Pin, pin: Pin) -> dict[str, tuple[str, ...]]:
    """Return the recipients files whose items may be encrypted to former recipients, and these.

    If no available key opens the items, the users who changed the recipients must re-encrypt.
    """
    backend = vault.recipients_backend
    usable = {file.path: file.recipients for file in backend.governing() if not file.unresolved}
    noted = {path: set(gone) for path, gone in vault.trust.pending_reencryption.items()}
    for path, gone in changed_paths(known, pin).items():
        if path in noted or (path in usable and _may_open(backend, usable[path])):
            noted.setdefault(path, set()).update(gone)
    return {path: tuple(sorted(gone)) for path, gone in noted.items() if path in usable}


def _may_open(backend: RecipientsBackend, recipients: Sequence[str]) -> bool:
    try:
        return backend.opens(recipients) is not False
    except LockedError:
        return True


def _print_unfinished(
    opened: OpenVault,
    context: Context,
    pin: Pin,
    unfinished: dict[str, tuple[str, ...]],
) -> None:
    """Print which items are to be re-encrypted; forget the recipients files without any."""
    vault = opened.vault
    due = list(Reencryption(vault, unfinished).outdated())
    paths = {item.path for item in due}
    vault.trust.end_recipients_change(
        {path: unfinished[path] for path in unfinished if path in paths}
    )
    lists = (
        ([item.name for item in due if item.certain], "encrypted"),
        ([item.name for item in due if not item.certain], "perhaps encrypted"),
    )
    for names, how in lists:
        if names:
            shown = ", ".join(map(printable, names[:5])) + (", ..." if names[5:] else "")
            context.reporter.warn(
                f"{len(names)} item{'s are' if names[1:] else ' is'} {how} to others than the "
                f"recipients now: {shown}"
            )
    if due:
        context.reporter.say(f"{_again(opened, pin)} re-encrypts the items that need it")


def _accept_all(opened: OpenVault, context: Context, pin: Pin) -> int:
    vault = opened.vault
    known = vault.trust.pin
    if _rekey_interrupted(vault, pin):
        # The pin still says which items were in the vault before.
        raise PartlyDoneError(
            "a rekey was interrupted here, so the vault's new key needs no acceptance",
            hint="filevault rekey does the rest of it",
        )
    if not vault.is_sealed and known != pin:
        check_recipient_sets(vault)
    what = f"the vault {pin.vault}" if pin.vault else f"the {pin.backend} vault"
    if known is None:
        _print_recipients(context, pin)
        context.reporter.result(f"Accepted {what}.")
    elif known == pin:
        context.reporter.result(f"{what[:1].upper()}{what[1:]} is the one that is known here.")
    elif known.backend == pin.backend and not pin.vault:
        for change in difference(known, pin):
            context.reporter.result(change)
        context.reporter.result("Accepted the recipients as they are now.")
    else:
        context.reporter.result(
            f"was: {printable(known.vault or known.backend)} (pin {known.digest})"
        )
        context.reporter.result(f"is:  {pin.vault or pin.backend} (pin {pin.digest})")
        _print_recipients(context, pin)
        context.reporter.result("Accepted the vault that is there now.")
    unfinished: dict[str, tuple[str, ...]] = {}
    if not vault.is_sealed and known is not None and known.backend == pin.backend:
        unfinished = _unfinished(vault, known, pin)
        # Before the pin: a known pin is not compared again.
        vault.trust.end_recipients_change(unfinished)
    elif vault.trust.pending_pin not in (None, pin.digest):
        vault.trust.end_recipients_change({})
    if known is None:
        trust_present_repositories(opened.choice, context, vault.trust)
    vault.trust.set_pin(pin)
    if unfinished:
        _print_unfinished(opened, context, pin, unfinished)
    with vault.trust.batch():
        _accept_items(context, vault)
    return 0


def _accept_items(context: Context, vault: Vault) -> None:
    """Accept each item as it is; print those that cannot be accepted, and raise the first error."""
    refused: FilevaultError | None = None
    for name in vault.names():
        # In a store of other tools, an entry without profile and earlier use is not for AWS.
        known = vault.has_seen(name) or vault.trust.removed(vault.path_name(name))
        for_aws = vault.is_sealed or known or context.aws_config.profile(name)
        try:
            if for_aws and needs_acceptance(vault, name):
                _print_accepted(context, name, *accept(vault, name))
        except FilevaultError as error:
            context.reporter.result(f"Not accepted: {error.message}.")
            if isinstance(error, IntegrityError | NewerFormatError):
                remedy = f"filevault remove {shell_word(name)} deletes it if it is not yours"
                refused = refused or error.add_context(
                    hint=f"{error.hint}; {remedy}" if error.hint else remedy
                )
            refused = refused or error
    if refused is not None:
        raise refused
