"""`filevault slot`: show, add and remove the keyslots of a `file` vault."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.file import keyslot_changes, keyslots
from filevault.backends.values import Secret
from filevault.cli import new_secret
from filevault.cli.keyslot_text import keyslot_text
from filevault.cli.master_key import (
    NOT_REVOKED,
    change,
    unwrap_master_key,
    vault_with_keyslots,
)
from filevault.cli.open_vault import open_vault
from filevault.errors import StorageError, UsageError
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    import argparse

    from filevault.backends.kdf import KdfParameters
    from filevault.cli.context import Context
    from filevault.cli.master_key import Changed
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser

DESCRIPTION = """Show, add or remove the keyslots of a file vault.

list         show the keyslots; nothing is unlocked
add          make one more, for another passphrase or for a new key file
remove ID    delete one; another one must be opened for that

Removing a keyslot revokes nothing: anyone who knew its secret can open every earlier copy of the
vault, and with the master key in it everything that is stored later. filevault rekey ends the
latter."""

_ACTIONS = ("list", "add", "remove")


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument("id", nargs="?", metavar="ID", help="remove: the keyslot's id")
    parser.add_argument(
        "--type",
        choices=(keyslots.PASSPHRASE, keyslots.KEYFILE),
        help="add: the secret that opens it",
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="add: a name, not encrypted")
    parser.add_argument(
        "--new-key-file", metavar="F", help="add: write a key file that opens it, for a machine"
    )
    new_secret.add_options(parser)


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether more than a confirmation is printed."""
    return bool(args.action == "list" or args.generate)


def run(args: argparse.Namespace, context: Context) -> int:
    """List, add or remove keyslots."""
    choice = vault_with_keyslots(context, "keyslots")
    _check_options(args)
    with open_vault(choice, context) as opened:
        if args.action == "list":
            return _list(opened, context)
        if args.action == "add":
            return _add(args, opened, context)
        return _remove(args.id, opened, context)


def _check_options(args: argparse.Namespace) -> None:
    if args.action != "add":
        for name in ("type", "label", "new_key_file", "generate", "allow_weak"):
            if getattr(args, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} goes with slot add", hint="leave it out"
                )
    if (args.id is None) == (args.action == "remove"):
        raise UsageError(
            "slot remove needs the id of a keyslot"
            if args.action == "remove"
            else f"slot {args.action} takes no id",
            hint="filevault slot list shows them",
        )
    if args.type == keyslots.KEYFILE and not args.new_key_file:
        raise UsageError(
            "--type keyfile needs --new-key-file, the file to write", hint="add --new-key-file FILE"
        )
    if args.new_key_file:
        if args.type == keyslots.PASSPHRASE or args.generate or args.allow_weak:
            raise UsageError(
                "--new-key-file is for a keyslot without a passphrase",
                hint="leave --new-key-file out, or the options for a passphrase",
            )
        args.type = keyslots.KEYFILE


def _list(opened: OpenVault, context: Context) -> int:
    vault = opened.vault
    for slot in keyslots.listing(vault.folder):
        context.reporter.result(f"{slot.id}  {keyslot_text(slot, context, vault)}")
    return 0


def _add(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    keyslots.check_label(args.label)
    path = new_secret.key_file_path(args.new_key_file, opened.choice, context)
    unwrapped = unwrap_master_key(opened, context)

    folder = opened.vault.folder

    made: list[str] = []

    def write(secret: bytes, costs: KdfParameters | None) -> Changed[str]:
        created = format_time(context.runtime.clock())

        def act() -> str:
            made.append(
                keyslot_changes.add(
                    folder, unwrapped, keyslots.NewKeyslot(secret, costs, args.label, created)
                )
            )
            return made[0]

        return change(opened, "Add a keyslot.", act)

    if path is None:
        passphrase = new_secret.obtain_passphrase(args, context, "--new-key-file F")
        changed = write(*keyslot_changes.passphrase_secret(passphrase, context.kdf_policy))
    else:
        text = keyslots.new_keyfile_text()
        new_secret.write_key_file(path, text, context)
        try:
            changed = write(keyslots.keyfile_bytes(text, "the new key file"), None)
        except BaseException:
            # If git was interrupted, the slot exists, and only this file opens it.
            secret = Secret("keyfile", text, path)
            if not made and not keyslot_changes.opens(
                folder, unwrapped, secret, context.kdf_policy
            ):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
    context.reporter.result(f"Added keyslot {changed.result}.")
    if path is not None:
        context.reporter.result(f"key file: {printable(path)}")
    changed.check()
    return 0


def _remove(given: str, opened: OpenVault, context: Context) -> int:
    folder = opened.vault.folder
    slot = keyslot_changes.find(folder, given)
    unwrapped = unwrap_master_key(opened, context)
    changed = change(
        opened,
        "Remove a keyslot.",
        lambda: keyslot_changes.remove(folder, unwrapped, slot, context.kdf_policy),
    )
    context.reporter.result(f"Removed keyslot {slot}.")
    if changed.result is not None:
        old, new = changed.result
        with contextlib.suppress(StorageError):
            opened.vault.trust.set_last_slot(new)
        context.reporter.say(
            f"your keyslot was written again and opens as before: it was {old}, and is {new}"
        )
    context.reporter.say(f"that revokes nothing: {NOT_REVOKED}")
    changed.check()
    return 0
