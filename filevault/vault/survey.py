"""List the items of a `file` vault, and the files that have an item's name but are damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.sealing import envelope
from filevault.errors import IntegrityError, NewerFormatError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.item_store import ItemStore
from filevault.vault.lookup import is_seed

if TYPE_CHECKING:
    from filevault.vault.vault import Vault


class SurveyedItem(Record):
    """An item file: `master_id` is the id of its master key, `digest` its SHA-256 as hex."""

    name: str
    item_kind: str
    master_id: str
    digest: str


class UnreadableItem(Record):
    """A file with an item's name that cannot be opened; `reason` is a message."""

    name: str
    reason: str


class Survey(Record):
    """All files with names of items, sorted: those with the form of an item, and the others."""

    items: tuple[SurveyedItem, ...]
    unreadable: tuple[UnreadableItem, ...]


def survey(vault: Vault) -> Survey:
    """Return all items, TOTP seeds too; nothing is decrypted.

    A damaged file is no error: any process that can write the vault's folder can create one.
    Raises StorageError for a file or folder that cannot be read.
    """
    store = ItemStore(vault.folder, vault.backend.suffix)
    found, unreadable = [], []
    for name in store.every_name():
        try:
            data = store.read(name)
            parsed = envelope.parse(data, f"item {printable(name)!r}")
        except (IntegrityError, NewerFormatError) as error:
            unreadable.append(UnreadableItem(name, error.message))
            continue
        item_kind = "totp" if is_seed(name) else "credentials"
        found.append(SurveyedItem(name, item_kind, parsed.key, sha256_hex(data)))
    return Survey(tuple(found), tuple(unreadable))
