"""What lies in a `file` vault under the names of items: items, and files that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.sealing import envelope
from filevault.errors import IntegrityError, NewerFormatError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.store import Store

if TYPE_CHECKING:
    from filevault.vault import Vault

_TOTP = "mfa/"


class Entry(Record):
    """An item file: `key` is the id of the key that sealed it, `digest` its SHA-256 as hex."""

    name: str
    kind: str
    key: str
    digest: str


class Unreadable(Record):
    """A file with the name of an item that cannot be opened, and why, as a message."""

    name: str
    reason: str


class Survey(Record):
    """The files with names of items, sorted: those that have the form of one, and all others."""

    entries: tuple[Entry, ...]
    unreadable: tuple[Unreadable, ...]


def survey(vault: Vault) -> Survey:
    """Return all items, TOTP seeds too; nothing is opened.

    One that is damaged is no reason to stop: anybody who can write the vault's folder can put
    such a file in. Raises StorageError for one that the file system does not let be read.
    """
    store = Store(vault.folder, vault.backend.suffix)
    found, unreadable = [], []
    for name in store.names():
        try:
            data = store.read(name)
            parsed = envelope.parse(data, f"item {printable(name)!r}")
        except (IntegrityError, NewerFormatError) as error:
            unreadable.append(Unreadable(name, error.message))
            continue
        kind = "totp" if name.startswith(_TOTP) else "credentials"
        found.append(Entry(name, kind, parsed.key, sha256_hex(data)))
    return Survey(tuple(found), tuple(unreadable))
