"""AWS Vault's `file` store: a folder with one encrypted file for each item.

The name of a file is the item's, with `/` and `%` percent-encoded. Each file has a passphrase of
its own, and nothing says whether it is the same for all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import (
    IntegrityError,
    StorageError,
    UnsupportedItemError,
    WrongPassphraseError,
)
from filevault.exchange import aws_vault_jwe
from filevault.exchange.aws_vault_item import SESSION, read_item
from filevault.exchange.found_keys import MAX_KEYS, Contents, FoundKey, LeftOut
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.foreign_formats import is_aws_vault_session

if TYPE_CHECKING:
    from filevault.exchange.aws_vault_jwe import Jwe
    from filevault.system.files import Folder

NAME = "aws-vault"


class StoreFile(Record):
    """A file of the store, and SHA-256 of its bytes as hex when it was read."""

    name: str
    digest: str


class EncryptedItem(Record):
    """A file of the store that is not decrypted yet."""

    file: StoreFile
    name: str
    place: str
    jwe: Jwe


class AwsVaultFolder:
    """The items of a folder that are still to be decrypted, and what was found so far."""

    def __init__(self, folder: Folder) -> None:
        self.locked: list[EncryptedItem] = []
        self.files: dict[str, StoreFile] = {}  # by the place of each key
        self._keys: list[FoundKey] = []
        self._left_out: list[LeftOut] = []
        total = size = 0
        for entry in folder.entries():
            name = _decoded(entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                continue
            place = folder.join(entry.name)
            data = _read(folder, entry.name)
            if not aws_vault_jwe.looks_like_jwe(data):
                continue
            if is_aws_vault_session(name):
                self._add(LeftOut(name, place, SESSION))
                continue
            what = repr(printable(place))
            try:
                jwe = aws_vault_jwe.parse(data, what)
                total += jwe.iterations
                size += len(data)
                if (
                    total > aws_vault_jwe.MAX_TOTAL_ITERATIONS
                    or size > aws_vault_jwe.MAX_TOTAL_BYTES
                    or len(self.locked) >= MAX_KEYS
                ):
                    raise UnsupportedItemError(
                        f"{printable(folder.path)!r} asks for more work than any store of AWS Vault"
                    )
            except IntegrityError as error:
                self._add(LeftOut(name, place, error.message, failed=True))
                continue
            file = StoreFile(entry.name, sha256_hex(data))
            self.locked.append(EncryptedItem(file, name, place, jwe))

    def _add(self, found: FoundKey | LeftOut) -> None:
        if isinstance(found, FoundKey):
            self._keys.append(found)
        else:
            self._left_out.append(found)

    def open(self, passphrase: bytes) -> int:
        """Decrypt the items that a passphrase opens; return how many those are."""
        left = []
        for item in self.locked:
            try:
                text = aws_vault_jwe.decrypt(item.jwe, passphrase, repr(printable(item.place)))
            except WrongPassphraseError:
                left.append(item)
                continue
            except IntegrityError as error:
                self._add(LeftOut(item.name, item.place, error.message, failed=True))
                continue
            self._add(read_item(text, item.name, item.place))
            self.files[item.place] = item.file
        opened = len(self.locked) - len(left)
        self.locked = left
        return opened

    def contents(self) -> Contents:
        """Return what was found; items that are still locked are left out."""
        locked = [
            LeftOut(each.name, each.place, "it has another passphrase", failed=True)
            for each in self.locked
        ]
        return Contents(tuple(self._keys), (*self._left_out, *locked))


def is_item(data: bytes) -> bool:
    """Return whether bytes are those of an item's file."""
    return aws_vault_jwe.looks_like_jwe(data)


def is_store(folder: Folder) -> bool:
    """Return whether a folder contains an item of AWS Vault."""
    return any(
        entry.is_file(follow_symlinks=False)
        and folder.head(entry.name, 3)[0] == b"eyJ"
        and aws_vault_jwe.looks_like_jwe(_read(folder, entry.name))
        for entry in folder.entries()
        if not entry.name.startswith(".")
    )


def remove(folder: Folder, file: StoreFile) -> bool:
    """Delete a file that is as it was read; return whether it is gone.

    One that AWS Vault has written since may be the only place of another key. Raises StorageError.
    """
    try:
        if sha256_hex(folder.read(file.name, aws_vault_jwe.MAX_FILE)) != file.digest:
            return False
        folder.remove(file.name)
    except FileNotFoundError:
        pass
    return True


def _read(folder: Folder, file: str) -> bytes:
    try:
        return folder.read(file, aws_vault_jwe.MAX_FILE)
    except (FileNotFoundError, StorageError):
        return b""


def _decoded(file: str) -> str | None:
    """Return the name of the item in a file, None for a file that AWS Vault did not name."""
    if file.startswith("."):
        return None
    try:
        encoded = file.encode("utf-8")
        name = re.sub(
            rb"%([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), encoded
        )
        return name.decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return None
