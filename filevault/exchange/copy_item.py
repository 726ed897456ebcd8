"""Copy an item to another name or another vault, and compare the copy byte for byte."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.errors import BusyError, NotCommittedError
from filevault.exchange.store_key import verify
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.acceptance import accept
from filevault.vault.item import is_in_rotation, parse, with_name
from filevault.vault.lookup import is_seed

if TYPE_CHECKING:
    from filevault.vault.item import LongTermItem
    from filevault.vault.vault import Vault


class ItemCopy(Record):
    """An item that was read, with what this machine knows of it: the account of its key.

    `item` is None for a TOTP seed, of which nothing is parsed. `created` is when it was made, None
    if unknown.
    """

    _secret = ("text",)

    name: str
    text: bytes
    item: LongTermItem | None
    account: str | None
    created: str | None


def read_item(vault: Vault, name: str) -> ItemCopy:
    """Return an item, after every check that its use would make. Raises as `Vault.item`."""
    digest, text = vault.open_item(name)
    seen = vault.trust.seen(vault.path_name(name))
    if is_seed(name):
        return ItemCopy(name, text, None, None, seen.created if seen is not None else None)
    item = parse(text, f"item {printable(name)!r}")
    vault.check_item(name, item, digest)
    seen = vault.trust.seen(vault.path_name(name))
    return ItemCopy(name, text, item, seen.account if seen is not None else None, item.created)


def text_for(vault: Vault, name: str, copy: ItemCopy) -> bytes:
    """Return the text that the copy has under a name in a vault: only its name line differs."""
    if copy.item is None:
        return copy.text
    return with_name(copy.text, vault.path_name(name))


def has_copy(vault: Vault, name: str, copy: ItemCopy) -> bool:
    """Return whether a vault has exactly this item under a name. Raises as `Vault.plaintext`."""
    return vault.has_item(name) and vault.plaintext(name) == text_for(vault, name, copy)


def is_same_file(vault: Vault, name: str, other: Vault, other_name: str) -> bool:
    """Return whether two items share a file, so that a copy is none and nothing may be deleted.

    Two names are one file where a file system ignores case, and two folders are one where a
    folder is mounted twice.
    """
    return not _files(vault, name).isdisjoint(_files(other, other_name))


def _files(vault: Vault, name: str) -> set[tuple[int, int]]:
    """Return the devices and inodes of an item's files, those that exist."""
    found = set()
    for each in vault.lookup.all_of(name):
        with contextlib.suppress(OSError):
            info = os.stat(vault.path(each), dir_fd=vault.folder.fd, follow_symlinks=False)
            found.add((info.st_dev, info.st_ino))
    return found


def write_copy(
    vault: Vault, name: str, copy: ItemCopy, subject: str | None
) -> NotCommittedError | None:
    """Write an item under a name and read it back; call inside the vault's `transaction`.

    Returns the error if git has no commit of it. Raises StorageError if it reads back
    differently, and what `Vault.write` raises.
    """
    text = text_for(vault, name, copy)
    uncommitted = None
    try:
        vault.write(
            name,
            text,
            created=copy.created,
            created_from=copy.item.created_from if copy.item is not None else None,
            subject=subject,
        )
    except NotCommittedError as error:
        uncommitted = error  # it is written: the rest follows
    verify(vault, name, text)
    _remember_account(vault, name, copy)
    return uncommitted


def remember(vault: Vault, name: str, copy: ItemCopy) -> None:
    """Record a copy that an interrupted run wrote, if this machine does not know it yet."""
    if copy.item is not None and not vault.has_seen(name):
        accept(vault, name)
    _remember_account(vault, name, copy)


def _remember_account(vault: Vault, name: str, copy: ItemCopy) -> None:
    if copy.item is not None and copy.account is not None:
        vault.record_account([name], copy.item.key.access_key_id, copy.account)


def refuse_rotation(copy: ItemCopy) -> None:
    """Raise BusyError for an item whose rotation is not finished: a copy would finish it again."""
    if copy.item is not None and is_in_rotation(copy.text):
        raise BusyError(
            f"the rotation of {printable(copy.name)!r} is not finished",
            hint=f"finish it first: filevault rotate {shell_word(copy.name)}",
        )
