"""Look up the files of a profile's key: one item or, in a shared store, a pair of entries."""

from __future__ import annotations

import contextlib
import os

from filevault import errors
from filevault.errors import FilevaultError
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.item_store import ItemStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from filevault.vault.choose import VaultChoice
    from filevault.vault.split_entries import Pair

_TOTP = "mfa/"  # reserved for TOTP seeds


def is_seed(name: str) -> bool:
    """Return whether the item of a name is a TOTP seed, which is no profile's key."""
    return name[: len(_TOTP)] == _TOTP


class ItemFiles(Record):
    """The files that contain a key, with the name of each: one of an item, two of a pair."""

    files: tuple[tuple[str, bytes], ...]

    @property
    def data(self) -> bytes:
        """The only file; not for a pair, which a `file` vault never has."""
        return self.files[0][1]

    @property
    def digest(self) -> str:
        """SHA-256 as hex: of the file, or of both files, each preceded by its length in 8 bytes."""
        if len(self.files) == 1:
            return sha256_hex(self.data)
        parts = (len(data).to_bytes(8, "big") + data for _, data in self.files)
        return sha256_hex(b"".join(parts))


class ItemLookup:
    """Finds keys among the items of a store.

    Args:
        store: the items.
        shared: whether other tools write the store as well; only then are there pairs.
    """

    def __init__(self, store: ItemStore, *, shared: bool) -> None:
        self._store = store
        self._shared = shared

    def keys(self, names: Sequence[str]) -> list[str]:
        """Return the names that are keys, of the sorted names of items; a pair is one key."""
        if f"\n{_TOTP}" in "\n" + "\n".join(names):  # rare, and there may be thousands
            names = [name for name in names if not is_seed(name)]
        if not self._shared:
            return list(names)
        from filevault.vault import split_entries
        from filevault.vault.foreign_formats import is_aws_vault_session

        return split_entries.fold([name for name in names if not is_aws_vault_session(name)])

    def has(self, name: str) -> bool:
        """Return whether a key is stored for a profile; no file is read."""
        if is_seed(name):
            return False
        return self._store.has(name) or self.pair(name) is not None

    def pair(self, name: str) -> Pair | None:
        """Return the pair of entries below a name, even beside an item of that name."""
        if not self._shared or f"{name}/".startswith(_TOTP):
            return None
        from filevault.vault import split_entries

        return split_entries.find(self._store.below(name))

    def read(self, name: str) -> ItemFiles:
        """Return the files of an item. Raises ItemNotFoundError, DamagedError, StorageError."""
        try:
            return ItemFiles(((name, self._store.read(name)),))
        except errors.ItemNotFoundError:
            pair = self.pair(name)
            if pair is None:
                raise
            return ItemFiles(tuple((half, self._store.read(half)) for half in pair.names))

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the names of all files with a profile's key; an item, which prevails, is last."""
        pair = self.pair(name)
        own = (name,) if pair is None or self._store.has(name) else ()
        return own if pair is None else (*pair.names, *own)

    def replaced_by(self, name: str) -> tuple[str, ...]:
        """Return the names of the pair that an item of this name would replace."""
        pair = None if self._store.has(name) else self.pair(name)
        return () if pair is None else pair.names

    def owner(self, file: str) -> str:
        """Return the profile whose key, or half of whose key, a file contains."""
        from filevault.vault import split_entries

        if not split_entries.is_half(file):  # avoids a listing of the folder for each of its files
            return file
        name = file.rpartition("/")[0]
        return name if name and file in self.replaced_by(name) else file


def hint_at_top(choice: VaultChoice, names: Iterable[str]) -> str | None:
    """Return a hint if the prefix folder is missing and one of the names is at the store's top."""
    if not choice.prefix or os.path.lexists(choice.root):
        return None
    with contextlib.suppress(FilevaultError, FileNotFoundError), Folder.open(choice.store) as top:
        store = ItemStore(top, choice.backend.suffix, literal=True)
        for name in names:
            if store.has(name):
                return f"{printable(name)!r} is at the top of the store: --prefix '' uses that"
    return None
