"""Changing the recipients of a `pass` or `age` vault: the file, then every item it governs.

Each item is replaced atomically, and only if its recipients differ; a run that was interrupted
is finished by giving the command again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from filevault.backends import ItemHeader, recipients_text
from filevault.errors import BackendError, FilevaultError, PartlyDoneError, PinError, UsageError
from filevault.printable import printable
from filevault.vault.choice import marker_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.backends import RecipientsBackend, RecipientsFile
    from filevault.cli.context import Context
    from filevault.files import Folder
    from filevault.trust import Pin
    from filevault.vault import Vault

_LIMIT = 16 << 20  # of a recipients file


def change(args: argparse.Namespace, context: Context) -> int:
    """Add or remove recipients, and re-encrypt.

    Raises:
        PinError: if the recipients have changed, and not by this very command.
        UsageError: for a change that cannot be, or one that leaves nothing to do.
        PartlyDoneError: if an item resists.
    """
    vault = context.vault
    backend = cast("RecipientsBackend", vault.backend)
    with vault.writing(guarded=False):
        governing = backend.governs("root")  # any name without a folder
        if governing.place.startswith("env:"):
            raise UsageError(
                f"{governing.place[4:]} decides who the recipients are",
                hint="unset it, or change it there",
            )
        given = _given(args, governing, backend)
        wanted, absent = _wanted(args.action, governing.recipients, given)
        _check_known(context, vault, args.action, given)
        _check_usable(governing, wanted)
        place = _place(context, governing.place)
        paths = [place]
        if place != governing.place or set(wanted) != set(governing.recipients):
            folder, _, file = place.rpartition("/")
            with context.store_folder(folder.split("/") if folder else ()) as opened:
                kind = context.choice.backend
                signed = write_recipients(backend, kind, opened, file, wanted)
                paths += ["/".join(filter(None, (folder, name))) for name in signed]
        backend.forget()
        vault.trust.set_pin(context.pin())
        vault.reseal_session_key()
        done, failed = _reencrypt(vault, backend, context)
        verb = "Add" if args.action == "add" else "Remove"
        context.commit(
            [*paths, *(vault.path(name) for name in vault.names())],
            f"{verb} recipients and reencrypt.",
        )
    if failed:
        raise PartlyDoneError(
            f"{len(failed)} of {len(vault.names())} items are still as they were: "
            + ", ".join(printable(name) for name in failed[:5]),
            hint="give the command again when what hinders it is out of the way",
        )
    if absent and not done:
        raise UsageError(f"{printable(absent[0])} is no recipient of this vault")
    for name in absent:
        context.warn(f"{printable(name)} is no recipient of this vault any more")
    if context.settings.pin is not None:
        context.say(f"the pin is {context.pin().digest} from now on")
    if args.action == "remove":
        context.warn("who was removed still has what they could read: rotate the keys of the vault")
    return 0


def write_recipients(
    backend: RecipientsBackend, kind: str, folder: Folder, file: str, wanted: Sequence[str]
) -> list[str]:
    """Write a recipients file, and its signature where one is asked for.

    Returns the path of the signature below `folder`, if there is one. Raises as
    `RecipientsBackend.sign` before anything is written.
    """
    try:
        old = folder.read(file, _LIMIT)
    except FileNotFoundError:
        old = b""
    text = recipients_text(kind, wanted, old)
    signature = backend.sign(text)
    folder.write(file, text)
    if signature is None:
        return []
    folder.write(f"{file}.sig", signature)
    return [f"{file}.sig"]


def _given(
    args: argparse.Namespace, governing: RecipientsFile, backend: RecipientsBackend
) -> list[str]:
    """Return the recipients that are meant; who cannot be encrypted to can still be removed."""
    present = governing.recipients if args.action == "remove" else ()
    literal = [name for name in args.names if name in present]
    other = [name for name in args.names if name not in present]
    return [*literal, *(backend.resolve(other) if other else ())]


def _wanted(
    action: str, present: Sequence[str], given: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return who the recipients shall be, and whom of those to remove there are none.

    A removal that was interrupted has taken them out already.
    """
    if action == "add":
        return sorted({*present, *given}), []
    left = sorted(set(present) - set(given))
    if not left:
        raise UsageError("the last recipient cannot be removed: nobody could open the vault")
    return left, [each for each in given if each not in present]


def _check_known(context: Context, vault: Vault, action: str, given: Sequence[str]) -> None:
    """Let nothing be encrypted to others than are known here and are named by this command."""
    try:
        vault.check_recipients()
    except PinError:
        known = vault.trust.pin
        if context.settings.pin is not None or known is None:
            raise
        depth = len(context.choice.prefix)
        if not _is_left_over(known, context.pin(), depth, action, given):
            raise


def _is_left_over(known: Pin, actual: Pin, depth: int, action: str, given: Sequence[str]) -> bool:
    """Tell whether all that changed is what an interrupted run of the same command changed."""
    before, after = dict(known.recipients), dict(actual.recipients)
    old = [before.pop(place) for place in list(before) if _governs_root(place, depth)]
    new = [after.pop(place) for place in list(after) if _governs_root(place, depth)]
    if before != after or len(old) != 1 or len(new) != 1:
        return False
    changed = {*old[0], *given} if action == "add" else {*old[0]} - {*given}
    return set(new[0]) == changed


def _governs_root(place: str, depth: int) -> bool:
    return not place.startswith("env:") and place.count("/") <= depth


def _check_usable(governing: RecipientsFile, wanted: Sequence[str]) -> None:
    """Change no file to whose recipients nothing could be encrypted then."""
    for name in governing.unresolved:
        if name in wanted:
            raise BackendError(
                f"nothing can be encrypted to {printable(name, 100)!r} of "
                f"{printable(governing.place)!r}",
                hint="get that key first, or remove it from the recipients",
            )


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


def _reencrypt(
    vault: Vault, backend: RecipientsBackend, context: Context
) -> tuple[list[str], list[str]]:
    """Return the names of the items that were encrypted anew, and of those that resisted."""
    done, failed = [], []
    for name in vault.names():
        try:
            data = vault.data(name)
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
            done.append(name)
    return done, failed
