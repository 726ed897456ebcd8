"""`filevault rekey`: replace the master key of a file vault, and re-encrypt every item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import keyslot_changes, keyslots, master_key, vault_json
from filevault.backends.file.vault_json import FOLDER
from filevault.backends.values import Secret
from filevault.cli.keyslot_text import keyslot_text
from filevault.cli.master_key import change, unwrap_master_key, vault_with_keyslots
from filevault.cli.open_vault import open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.errors import BackendError, PartlyDoneError, StorageError, UsageError
from filevault.sources.stored import item_reference
from filevault.system.printable import printable, shell_word
from filevault.unlock import secret_sources
from filevault.vault.rekey import change_key
from filevault.vault.rekey.former_keys import former_keys, items_before_rekey
from filevault.vault.rekey.reseal import item_contents
from filevault.vault.survey import UnreadableItem, survey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from filevault.backends.file.keyslots import Slot
    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.backends.file.vault_json import Marker
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.pin import Pin
    from filevault.vault.rekey.reseal import ItemContent
    from filevault.vault.survey import SurveyedItem

DESCRIPTION = """Give a file vault a new master key, and re-encrypt every item.

Anyone who knew a passphrase or a key file of the vault also knows its master key. After this they
cannot open anything that is stored from now on. They may have kept what they could read before:
the keys concerned are listed, so that they can be replaced at AWS.

If the wrong person knows a passphrase, change it first: filevault passphrase, then this.

Keyslots are made for the secrets of this run: the passphrase or key file that opens the vault,
both if both are given. All others are lost, after a question; --drop-slots answers it.

To finish an interrupted rekey, run it again. --finish also re-encrypts items that another machine
encrypted with the former key: it lists them and asks."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--finish", action="store_true", help="also re-encrypt items of a former key"
    )
    parser.add_argument(
        "--drop-slots",
        action="store_true",
        help="drop the keyslots whose passphrase or key file is not given, without asking",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Resume an interrupted rekey, or begin one."""
    choice = vault_with_keyslots(context, "master key")
    if args.finish and args.drop_slots:
        raise UsageError(
            "--drop-slots cannot be used with --finish, which drops no keyslots",
            hint="leave --drop-slots out",
        )
    # The cached keys are those of the former master key.
    with open_vault(choice, context, caches_session_key=False) as opened:
        return _rekey(args, opened, context)


def _rekey(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    _check_memory(opened, context)
    opened.require_commits([f"{FOLDER}/vault.json", *_paths(opened)])
    begun = change_key.is_pending(opened.vault)
    if not begun and not args.finish:
        return _begin(args, opened, context)
    unwrapped = unwrap_master_key(opened, context)
    if begun:
        _resume(opened, context, unwrapped)
    if args.finish:
        return _finish(opened, context, unwrapped, resumed=bool(begun))
    return _check_left(opened, context, unwrapped)


def _check_memory(opened: OpenVault, context: Context) -> None:
    """Fail early: raise StorageError if the new key could not be pinned on this machine."""
    vault = opened.vault
    if vault.state is None and vault.trust.pin is not None and context.settings.pin is None:
        raise StorageError(
            "the vault's new key could not be remembered, and this machine would refuse it: the "
            "state directory cannot be written",
            hint="make the state directory writable, or run it on another machine; nothing was "
            "changed",
        )


# A new key


def _begin(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault, clock = opened.vault, context.runtime.clock
    unwrapped_keys = _unwrap_all(args, opened, context)
    own = {slot.id for slot in keyslot_changes.own_slots(vault.folder, unwrapped_keys[0])}
    _confirm_losses(args, opened, context, _lost(opened, context, unwrapped_keys))
    if vault.state is None:
        context.reporter.warn(
            "nothing can be remembered on this machine: if this is interrupted, "
            "filevault rekey --finish does the rest"
        )

    def announce(pin: Pin) -> None:
        context.reporter.result(f"pin: {pin.digest}", flush=True)

    left: list[UnreadableItem] = []

    def act() -> list[ItemContent]:
        if {slot.id for slot in keyslot_changes.own_slots(vault.folder, unwrapped_keys[0])} != own:
            raise master_key.concurrent_change()
        old, master = unwrapped_keys[0].vault, unwrapped_keys[0].master
        present = survey(vault)
        exposed = item_contents(vault, old, master, {}, present.items, clock)
        begun = change_key.begin(
            vault,
            unwrapped_keys,
            present,
            policy=context.kdf_policy,
            clock=clock,
            announce=announce,
        )
        made, chosen = begun.prepared, begun.items
        left.extend(begun.unreadable)
        _drop_sessions(opened, context, chosen)
        change_key.complete(
            vault,
            made.vault,
            made.master,
            {old.master_id: master},
            chosen,
            slot=made.slots[0],
            clock=clock,
        )
        return exposed

    _lock(opened, context)
    changed = change(opened, "Give the vault a new key.", act, _paths(opened))
    _report(opened, context, changed.result, whole=not left)
    changed.check()
    if left:
        raise _left_over(opened, context, left)
    return 0


def _left_over(
    opened: OpenVault, context: Context, left: Sequence[UnreadableItem]
) -> PartlyDoneError:
    """Return the error for files that no key of the vault opens; a warning names each."""
    for each in left:
        context.reporter.warn(f"{each.reason}; it stays as it is")
    name = left[0].name
    way = f"filevault remove {shell_word(name)} deletes it"
    if name.startswith("mfa/"):  # a TOTP seed is not a profile
        way = f"delete {printable(opened.vault.path(name))} in the vault's folder"
    return PartlyDoneError(
        f"{len(left)} item{'' if len(left) == 1 else 's'} cannot be opened with any key of the "
        f"vault: {', '.join(printable(each.name) for each in left[:5])}"
        + (", ..." if left[5:] else ""),
        hint="restore them from a copy, or bring them from the machine that stored them, and run "
        f"filevault rekey --finish; {way} if {printable(name)!r} is not yours",
    )


def _unwrap_all(
    args: argparse.Namespace, opened: OpenVault, context: Context
) -> list[UnwrappedKey]:
    """Unwrap the master key with every given secret, or with one that is typed."""
    given = [
        secret_kind
        for secret_kind in ("passphrase", "keyfile")
        if secret_sources.named_source(context.settings, secret_kind) is not None
    ]
    unwrapped_keys = [unwrap_master_key(opened, context, secret_kind) for secret_kind in given] or [
        unwrap_master_key(opened, context)
    ]
    if context.prompter.present and not args.drop_slots:
        _ask_for_more(opened, context, unwrapped_keys)
    return unwrapped_keys


def _ask_for_more(opened: OpenVault, context: Context, unwrapped_keys: list[UnwrappedKey]) -> None:
    """Ask for the passphrases of other keyslots."""
    while any(slot.type == keyslots.PASSPHRASE for slot in _lost(opened, context, unwrapped_keys)):
        answer = context.prompter.hidden(
            "Another passphrase that must still open the vault (Enter if there is none): "
        )
        if not answer:
            return
        secret = Secret(
            "passphrase", secret_sources.check_text(answer, "the passphrase"), "terminal"
        )
        lost = _lost(opened, context, unwrapped_keys)
        found = next(iter(master_key.try_unwrap(lost, secret, context.kdf_policy)), None)
        if found is None:
            context.prompter.say("That passphrase opens nothing here.")
            continue
        unwrapped_keys.append(unwrapped_keys[0]._replace(secret=secret, slot=found[0]))


def _lost(
    opened: OpenVault, context: Context, unwrapped_keys: Sequence[UnwrappedKey]
) -> list[Slot]:
    """Return the keyslots that no given secret opens."""
    left = keyslot_changes.own_slots(opened.vault.folder, unwrapped_keys[0])
    for unwrapped in unwrapped_keys:
        left = [slot for slot in left if slot.id != unwrapped.slot.id]
        same = {
            slot.id for slot, _ in master_key.try_unwrap(left, unwrapped.secret, context.kdf_policy)
        }
        left = [slot for slot in left if slot.id not in same]
    return left


def _confirm_losses(
    args: argparse.Namespace, opened: OpenVault, context: Context, lost: Sequence[Slot]
) -> None:
    for slot in lost:
        context.reporter.say(
            f"this keyslot would be lost: {slot.id} ({keyslot_text(slot, context, opened.vault)})"
        )
    if not lost or args.drop_slots:
        return
    require_terminal(
        context.prompter,
        f"{len(lost)} keyslot{'' if len(lost) == 1 else 's'} would be lost",
        "--drop-slots drops them; to keep a keyslot, give its secret as well: --key-file or "
        "FILEVAULT_PASSPHRASE",
    )
    confirm_or_decline(context.prompter, "Go on without them?")


# Resuming and finishing


def _complete(
    opened: OpenVault,
    context: Context,
    unwrapped: UnwrappedKey,
    former: Mapping[str, bytes],
    chosen: Sequence[SurveyedItem],
) -> None:
    """Re-encrypt items with the present key, and delete the sessions made from them."""
    _drop_sessions(opened, context, chosen)
    change_key.complete(
        opened.vault,
        unwrapped.vault,
        unwrapped.master,
        former,
        chosen,
        slot=unwrapped.slot.id,
        clock=context.runtime.clock,
    )


def _resume(opened: OpenVault, context: Context, unwrapped: UnwrappedKey) -> None:
    """Resume a rekey that was interrupted on this machine."""
    vault, clock = opened.vault, context.runtime.clock

    def act() -> list[ItemContent]:
        master_key.confirm(vault.folder, unwrapped)
        change_key.sync(vault, unwrapped)
        former = former_keys(vault, unwrapped, context.kdf_policy)
        _complete(opened, context, unwrapped, former, items_before_rekey(vault, former))
        every = survey(vault).items
        return item_contents(vault, unwrapped.vault, unwrapped.master, {}, every, clock)

    context.reporter.say("a rekey was interrupted here: doing the rest of it")
    _lock(opened, context)
    changed = change(opened, "Give the vault a new key.", act, _paths(opened))
    _report(opened, context, changed.result)
    changed.check()


def _finish(opened: OpenVault, context: Context, unwrapped: UnwrappedKey, *, resumed: bool) -> int:
    """Re-encrypt items of a former key under the present one, after a question."""
    vault, clock = opened.vault, context.runtime.clock
    former = former_keys(vault, unwrapped, context.kdf_policy)
    foreign, unreadable = _foreign(opened, unwrapped)
    known = [entry for entry in foreign if entry.master_id in former]
    shown = item_contents(vault, unwrapped.vault, unwrapped.master, former, known, clock)
    by_name = {entry.name: entry for entry in known}
    chosen = [by_name[content.name] for content in shown]
    for content in shown:
        older = ", older than what this machine saw last" if content.older else ""
        context.reporter.say(f"sealed under a former key: {_described(content)}{older}")
    names = {entry.name for entry in chosen}
    left = list(unreadable)
    for entry in foreign:
        if entry.name not in names:
            reason = f"item {printable(entry.name)!r} cannot be opened"
            left.append(UnreadableItem(entry.name, reason))
    if chosen:
        context.reporter.say(
            "anyone who knew the former key may have written these: take over only what you know"
        )
        require_terminal(
            context.prompter,
            f"{len(chosen)} item{'' if len(chosen) == 1 else 's'} would be taken over",
            "run it on a terminal",
        )
        outcome = "nothing else was changed" if resumed else "nothing was changed"
        confirm_or_decline(context.prompter, "Take them over?", outcome=outcome)

    def act() -> int:
        master_key.confirm(vault.folder, unwrapped)
        _complete(opened, context, unwrapped, former, chosen)
        return len(chosen)

    changed = change(opened, "Seal items under the vault's new key.", act, _paths(opened))
    if chosen:
        _report(opened, context, shown, whole=not left)
    elif not left:
        context.reporter.result("There is nothing to finish.")
    changed.check()
    if left:
        raise _left_over(opened, context, left)
    return 0


def _check_left(opened: OpenVault, context: Context, unwrapped: UnwrappedKey) -> int:
    foreign, unreadable = _foreign(opened, unwrapped)
    if foreign:
        raise PartlyDoneError(
            f"{len(foreign)} item{' is' if len(foreign) == 1 else 's are'} encrypted with a former "
            "key",
            hint="filevault rekey --finish lists them and asks",
        )
    if unreadable:
        raise _left_over(opened, context, unreadable)
    return 0


def _foreign(
    opened: OpenVault, unwrapped: UnwrappedKey
) -> tuple[list[SurveyedItem], tuple[UnreadableItem, ...]]:
    """Return the items of another key than the present one, and the files that are no items."""
    present: Marker = unwrapped.vault
    found = survey(opened.vault)
    return [
        entry for entry in found.items if entry.master_id != present.master_id
    ], found.unreadable


def _lock(opened: OpenVault, context: Context) -> None:
    """Forget the cached keys of the former master key.

    Called first, so that they are gone even if the run crashes later.
    """
    try:
        count = context.key_cache.forget(opened.choice.state_id)
    except BackendError as error:
        context.reporter.warn(f"the former key may still be cached: {error.message}")
    else:
        if count:
            context.reporter.say(
                "the vault is locked again: the cached keys belonged to its former key"
            )


def _drop_sessions(opened: OpenVault, context: Context, chosen: Sequence[SurveyedItem]) -> None:
    """Delete the sessions made from items that get new files: they could not be found again."""
    try:
        sessions = opened.sessions_to_delete()
        names = [item_reference(entry.name) for entry in chosen]
        count = sessions.drop_source(*names) if sessions is not None else 0
    except StorageError as error:
        context.reporter.warn(f"sessions that cannot be used any more are left: {error.message}")
        return
    if count:
        context.reporter.result(
            f"Deleted {count} session{'' if count == 1 else 's'} made from keys that are "
            "re-encrypted: the next use obtains new ones, and asks for an MFA code if needed."
        )


def _paths(opened: OpenVault) -> list[str]:
    vault = opened.vault
    return [vault.path(entry.name) for entry in survey(vault).items]


# The report


def _described(content: ItemContent) -> str:
    """Return the line about an item."""
    what = content.key_id or "a TOTP seed"
    return f"{printable(content.name)}  {printable(what)}, made {content.created}"


def _report(
    opened: OpenVault, context: Context, exposed: Sequence[ItemContent], *, whole: bool = True
) -> None:
    """Print that the vault has a new key, and which items the former one opened.

    `whole` says that every item is sealed under it.
    """
    every = "every item is" if whole else "every item that could be opened is"
    context.reporter.result(f"The vault has a new key, and {every} sealed under it.")
    if exposed:
        context.reporter.result("Anyone who knew the former key could read:")
    for content in exposed:
        context.reporter.result(f"  {_described(content)}")
    if exposed:
        context.reporter.say(
            "copies and the history keep the old files: replace the keys above at AWS if others "
            "must not have them"
        )
    if context.settings.pin is not None:
        context.reporter.say("the pin has changed: change it wherever FILEVAULT_PIN is set")
    _name_weak_slots(opened, context)


def _name_weak_slots(opened: OpenVault, context: Context) -> None:
    """Name the keyslots that inherited a low cost."""
    vault = opened.vault
    present = vault_json.read(vault.folder).master_id
    own = [slot for slot in keyslots.listing(vault.folder) if slot.master_id == present]
    for slot in keyslots.weaker(own, context.kdf_policy.default):
        context.reporter.say(
            f"keyslot {slot.id} is weaker than new ones, as was the one before it: filevault "
            "passphrase makes a new one; the passphrase may stay the same"
        )
