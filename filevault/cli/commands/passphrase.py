"""`filevault passphrase`: replace the passphrase of a file vault."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.file import keyslot_changes, keyslots
from filevault.backends.file.unlock import secret_bytes
from filevault.cli import new_secret
from filevault.cli.keyslot_text import keyslot_text
from filevault.cli.master_key import (
    NOT_REVOKED,
    change,
    unwrap_master_key,
    vault_with_keyslots,
)
from filevault.cli.open_vault import open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.errors import LockedError, StorageError
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    import argparse

    from filevault.backends.file.keyslots import Slot
    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser

DESCRIPTION = """Change the passphrase of a file vault.

The present one is asked for, or comes from the source that every command uses; the new one is
asked for twice, or comes from FILEVAULT_NEW_PASSPHRASE with its _FILE, _FD and _COMMAND forms.
The new keyslot gets the present cost, and is opened before the old one is deleted, along with
every other keyslot that the old passphrase opens.

If another passphrase or a label shows that the old one may be another person's, or the recovery
words on paper, a question comes first; --slot ID names the keyslot to replace, without a question.

This revokes nothing: anyone who knew the old passphrase can open every earlier copy of the vault,
and with the master key in it everything that is stored later. filevault rekey ends the latter."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    new_secret.add_options(parser)


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether a passphrase is printed, not only a confirmation."""
    return bool(args.generate)


def run(args: argparse.Namespace, context: Context) -> int:
    """Open the vault, obtain the new passphrase, and replace the old keyslot."""
    choice = vault_with_keyslots(context, "passphrase of its own")
    with open_vault(choice, context) as opened:
        return _change(args, opened, context)


def _ask(opened: OpenVault, unwrapped: UnwrappedKey, context: Context) -> None:
    """Ask whether the keyslot that was opened is meant, if it may be the recovery words' own.

    A user who has lost the passphrase opens the vault with those, and would lose them as well.
    """
    slot, folder = unwrapped.slot, opened.vault.folder
    others = {
        each.id
        for each in keyslot_changes.own_slots(folder, unwrapped)
        if each.id != slot.id and (slot.label or each.type == keyslots.PASSPHRASE)
    }
    if context.settings.options.slot is not None or not others:
        return
    same = keyslot_changes.slots_with_same_secret(folder, unwrapped, context.kdf_policy)
    if not others.difference(each.id for each in same):
        return
    named = f"keyslot {slot.id} ({keyslot_text(slot, context, opened.vault)})"
    require_terminal(
        context.prompter,
        f"the given passphrase opens {named}, which would be replaced, and others open the vault, "
        "too",
        f"--slot {slot.id} replaces it; filevault slot add keeps it, and makes one for another "
        "passphrase",
    )
    confirm_or_decline(
        context.prompter,
        f"That passphrase opens {named}. Replace it, so that it opens nothing any more?",
        outcome="nothing was changed; filevault slot add keeps that passphrase, and makes a "
        "keyslot for a new one",
    )


def _change(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault = opened.vault
    unwrapped = unwrap_master_key(opened, context)
    if unwrapped.slot.type != keyslots.PASSPHRASE:
        raise LockedError(
            "the vault was opened with a key file, so it is not known which passphrase to change",
            hint="give the present passphrase, or make a keyslot for one: filevault slot add",
        )
    _ask(opened, unwrapped, context)
    passphrase = new_secret.obtain_passphrase(args, context)
    secret, costs = keyslot_changes.passphrase_secret(passphrase, context.kdf_policy)
    created = format_time(context.runtime.clock())

    def act() -> tuple[str, list[Slot]]:
        others: list[Slot] = []
        if secret != secret_bytes(unwrapped.secret):
            others = keyslot_changes.slots_with_same_secret(
                vault.folder, unwrapped, context.kdf_policy
            )
        new = keyslot_changes.change_passphrase(
            vault.folder, unwrapped, keyslots.NewKeyslot(secret, costs, "", created), others
        )
        return new, others

    changed = change(opened, "Change the passphrase.", act)
    new, others = changed.result
    with contextlib.suppress(StorageError):
        vault.trust.set_last_slot(new)
    context.reporter.result(f"Changed the passphrase: keyslot {new} replaces {unwrapped.slot.id}.")
    for other in others:
        named = f" ({printable(other.label)!r})" if other.label else ""
        context.reporter.say(
            f"the old passphrase opened keyslot {other.id}{named}, too: it is deleted"
        )
    context.reporter.say(f"that revokes nothing: {NOT_REVOKED}")
    changed.check()
    return 0
