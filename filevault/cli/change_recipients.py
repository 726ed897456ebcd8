"""`filevault recipients add` and `remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.repositories import check_commits
from filevault.errors import FilevaultError, LockedError, NotCommittedError, PartlyDoneError
from filevault.git import subjects
from filevault.system.printable import printable
from filevault.unlock.prompt import confirm
from filevault.vault.recipients.change import Change, Recipients
from filevault.vault.recipients.files import RecipientsFiles
from filevault.vault.recipients.reencrypt import Due, Reencryption

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from filevault.cli.context import Context


def change(args: argparse.Namespace, context: Context) -> int:
    """Add or remove recipients, and re-encrypt. Raises PartlyDoneError if something is left."""
    vault, choice = context.vault, context.choice
    file = choice.backend.marker
    files = RecipientsFiles(vault, file)
    recipients = Recipients(vault, choice.prefix, file)
    adding = args.action == "add"
    run = _Run(context)
    check_commits(context, [file, *(vault.path(name) for name in vault.store.names())])
    with vault.locked():
        files.complete()
        vault.check_recipients()
        wanted = recipients.adding(args.names) if adding else recipients.removing(args.names)
        resumed = bool(vault.trust.unfinished)
        unfinished, provable = recipients.unfinished(wanted), recipients.provable(wanted)
        work = Reencryption(vault, unfinished, provable)
        changing = {place for place, _ in wanted.wanted} | {wanted.former} - {""}
        if not changing and not resumed and not any(True for _ in work.due()):
            print("They are recipients already.")
            return 0
        work.check_openable(changing)
        if not adding and not args.force and not _may_shut_out(context, recipients, wanted):
            context.say("nothing was changed")
            return 0
        written = files.write(wanted, unfinished)
        if wanted.former:
            former = printable(wanted.former)
            context.say(f"{former} governs other entries, too, and stays; {written[-1]} is made")
        if resumed:  # what the interrupted run wrote may not be committed
            written = files.files(wanted)
        kind, folder = choice.backend.recipients_name, "/".join(choice.prefix)
        names = _told(wanted, [place for place, _ in wanted.wanted] or unfinished or provable)
        if written:
            run.commit(written, subjects.recipients_set(kind, names, folder))
        paths = work.run(lambda name: print(f"Reencrypted {printable(name)}."), run.resisted)
        if resumed:
            paths = work.paths()
        if paths:
            run.commit(paths, subjects.reencrypted(kind, names, folder))
        left = {item.place: unfinished.get(item.place, ()) for item in run.failed}
        files.finish(unfinished if run.uncommitted else left)
    print(f"pin: {wanted.after.digest}")
    if not adding:
        context.warn("who was removed still has what they could read: rotate the keys of the vault")
    run.end(len(vault.store.names()), wanted.kept)
    return 0


class _Run:
    """What did not go as it should while recipients are changed, to be told at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.failed: list[Due] = []
        self.uncommitted: NotCommittedError | None = None
        self._told: FilevaultError | None = None

    def resisted(self, item: Due, error: FilevaultError) -> None:
        """Hear of an item that could not be encrypted anew."""
        if error is not self._told:  # what is locked is so for all that follow
            self._context.warn(f"{printable(item.name)}: {error.message}")
        self._told = error if isinstance(error, LockedError) else None
        self.failed.append(item)

    def commit(self, paths: Sequence[str], subject: str) -> None:
        """Commit; what is written is written, so that a refusal does not keep the rest back."""
        try:
            self._context.commit(paths, subject)
        except NotCommittedError as error:
            self.uncommitted = self.uncommitted or error

    def end(self, items: int, kept: Sequence[str]) -> None:
        """Raise what is to be told."""
        if kept:
            places = ", ".join(repr(printable(place)) for place in kept)
            only = (
                f"{places} would have no recipient left, so it stays as it is, with the items "
                "that it governs"
            )
            self._context.warn(only)
        besides = f"; besides, {self.uncommitted.message}" if self.uncommitted else ""
        if self.failed:
            raise PartlyDoneError(
                f"{len(self.failed)} of {items} items are still as they were: "
                + ", ".join(printable(item.name) for item in self.failed[:5])
                + besides,
                hint="give the command again when what hinders it is out of the way",
            )
        if kept:
            raise PartlyDoneError(
                f"removed, but not from {places}{besides}",
                hint="who opens what lies there can add another recipient first, with --prefix "
                "for that folder; or delete the folder",
            )
        if self.uncommitted:
            raise self.uncommitted


def _may_shut_out(context: Context, recipients: Recipients, wanted: Change) -> bool:
    """Ask, if nobody here could open something any more. Raises NobodyToAskError."""
    place = recipients.shut_out(wanted)
    if place is None:
        return True
    what = f"no key that is here would open what {printable(place)!r} governs any more"
    context.must_ask(what, "--force removes them all the same; see that somebody else has a key")
    return confirm(context.prompter, f"{what[:1].upper()}{what[1:]}. Remove them all the same?")


def _told(wanted: Change, places: Iterable[str]) -> list[str]:
    """Return whom the items of some places are encrypted to, for the history."""
    after = dict(wanted.after.recipients)
    return sorted({each for place in places for each in after.get(place, ())})
