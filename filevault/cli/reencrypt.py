"""Changing the recipients of a `pass` or `age` vault: the file, then every item it governs.

Each item is replaced atomically, and only if its recipients differ; a run that was interrupted
is finished by giving the command again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from filevault.backends import ItemHeader, recipients_text
from filevault.errors import FilevaultError, PartlyDoneError, UsageError
from filevault.printable import printable
from filevault.vault.choice import marker_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.backends import RecipientsBackend
    from filevault.cli.context import Context
    from filevault.vault import Vault


def change(args: argparse.Namespace, context: Context) -> int:
    """Add or remove recipients, and re-encrypt. Raises PartlyDoneError if an item resists."""
    vault = context.vault
    backend = cast("RecipientsBackend", vault.backend)
    given = backend.resolve(args.names)
    with vault.writing():
        governing = backend.governs("root")  # any name without a folder
        if governing.place.startswith("env:"):
            raise UsageError(
                f"{governing.place[4:]} decides who the recipients are",
                hint="unset it, or change it there",
            )
        wanted = _wanted(args.action, governing.recipients, given)
        place = _place(context, governing.place)
        folder, _, file = place.rpartition("/")
        with context.store_folder(folder.split("/") if folder else ()) as opened:
            opened.write(file, recipients_text(context.choice.backend, wanted))
        backend.forget()
        vault.trust.set_pin(context.pin())
        vault.reseal_session_key()
        failed = _reencrypt(vault, backend, context)
        verb = "Add" if args.action == "add" else "Remove"
        context.commit(
            [place, *(vault.path(name) for name in vault.names())],
            f"{verb} recipients and reencrypt.",
        )
    if failed:
        raise PartlyDoneError(
            f"{len(failed)} of {len(vault.names())} items are still as they were: "
            + ", ".join(printable(name) for name in failed[:5]),
            hint="give the command again when what hinders it is out of the way",
        )
    if args.action == "remove":
        context.warn("who was removed still has what they could read: rotate the keys of the vault")
    return 0


def _wanted(action: str, present: Sequence[str], given: Sequence[str]) -> list[str]:
    if action == "add":
        return sorted({*present, *given})
    missing = [each for each in given if each not in present]
    if missing:
        raise UsageError(f"{printable(missing[0])} is no recipient of this vault")
    left = sorted(set(present) - set(given))
    if not left:
        raise UsageError("the last recipient cannot be removed: nobody could open the vault")
    return left


def _place(context: Context, governing: str) -> str:
    """Return which file to write: one above our folder governs other entries, too."""
    choice = context.choice
    file = marker_name(choice.backend)
    own = "/".join((*choice.prefix, file))
    if governing.rpartition("/")[2] != file:  # none governs: the own identities did so far
        context.say(f"{printable(own)} is made")
        return own
    inside = not choice.prefix or governing.startswith("/".join(choice.prefix) + "/")
    if not inside:
        context.say(f"{printable(governing)} governs other entries, too: {printable(own)} is made")
        return own
    return governing


def _reencrypt(vault: Vault, backend: RecipientsBackend, context: Context) -> list[str]:
    failed = []
    for name in vault.names():
        data = vault.data(name)
        try:
            if not backend.differs(name, data):
                continue
            text = backend.decrypt("credentials", name, data)
            header = ItemHeader("credentials", name, 0, "")
            vault.rewrite(name, backend.encrypt(header, text))
        except FilevaultError as error:
            context.warn(f"{printable(name)}: {error.message}")
            failed.append(name)
        else:
            print(f"Reencrypted {printable(name)}.")
    return failed
