"""`filevault recipients add` and `remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import NotCommittedError, PartlyDoneError
from filevault.git import subjects
from filevault.printable import printable
from filevault.vault.choice import marker_name
from filevault.vault.recipients import Change, Recipients

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context


def change(args: argparse.Namespace, context: Context) -> int:
    """Add or remove recipients, and re-encrypt. Raises PartlyDoneError if an item resists."""
    vault, choice = context.vault, context.choice
    failed: list[str] = []
    uncommitted: list[NotCommittedError] = []

    def resisted(name: str, reason: str) -> None:
        context.warn(f"{printable(name)}: {reason}")
        failed.append(name)

    def commit(paths: Sequence[str], subject: str) -> None:
        try:
            context.commit(paths, subject)
        except NotCommittedError as error:
            uncommitted.append(error)  # what is written is written: the rest is done, too

    with vault.writing():
        recipients = Recipients(vault, choice.backend, choice.prefix, marker_name(choice.backend))
        adding = args.action == "add"
        wanted = recipients.adding(args.names) if adding else recipients.removing(args.names)
        if not wanted.wanted and vault.trust.pending is None:
            print("They are recipients already.")
            return 0
        resumed = vault.trust.pending is not None
        files = recipients.write(wanted)
        if wanted.former:
            former = printable(wanted.former)
            context.say(f"{former} governs other entries, too, and stays; {files[-1]} is made")
        if resumed:  # what the interrupted run wrote may not be committed
            files = recipients.files(wanted)
        kind = subjects.KINDS[choice.backend]
        names, folder = _told(wanted), "/".join(choice.prefix)
        if files:
            commit(files, subjects.recipients_set(kind, names, folder))
        paths = recipients.reencrypt(
            wanted, lambda name: print(f"Reencrypted {printable(name)}."), resisted
        )
        if resumed:
            paths = [vault.path(name) for name in vault.files()]
        if paths:
            commit(paths, subjects.reencrypted(kind, names, folder))
        if not failed and not uncommitted:
            recipients.finish()
    print(f"pin: {wanted.after.digest}")
    if not adding:
        context.warn("who was removed still has what they could read: rotate the keys of the vault")
    if failed:
        raise PartlyDoneError(
            f"{len(failed)} of {len(vault.files())} items are still as they were: "
            + ", ".join(printable(name) for name in failed[:5])
            + (f"; besides, {uncommitted[0].message}" if uncommitted else ""),
            hint="give the command again when what hinders it is out of the way",
        )
    if uncommitted:
        raise uncommitted[0]
    return 0


def _told(wanted: Change) -> list[str]:
    return sorted({each for _, recipients in wanted.wanted for each in recipients})
