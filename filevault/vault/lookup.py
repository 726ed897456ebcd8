"""Which entries of a store hold whose key: one item each or, where others write, a pair of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ItemNotFoundError
from filevault.system.digest import sha256_hex
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.vault.split_entries import Pair
    from filevault.vault.store import Store

_TOTP = "mfa/"  # reserved for seeds, which are no profiles


class ItemFiles(Record):
    """The files that hold a key, each with its name: that of the item, or those of a pair."""

    files: tuple[tuple[str, bytes], ...]

    @property
    def data(self) -> bytes:
        """The file of an item that is no pair, as no item of a `file` vault is."""
        return self.files[0][1]

    @property
    def digest(self) -> str:
        """SHA-256 as hex: of the file, or of both, each after its length in eight bytes."""
        if len(self.files) == 1:
            return sha256_hex(self.data)
        parts = (len(data).to_bytes(8, "big") + data for _, data in self.files)
        return sha256_hex(b"".join(parts))


class Entries:
    """The keys among the items of a store.

    Args:
        store: the items.
        shared: whether other tools write it, too.
    """

    def __init__(self, store: Store, *, shared: bool) -> None:
        self._store = store
        self._shared = shared

    def keys(self, names: Sequence[str]) -> list[str]:
        """Return those of the sorted names of items that are keys, a pair being one."""
        names = [name for name in names if not name.startswith(_TOTP)]
        if not self._shared:
            return names
        from filevault.vault import split_entries
        from filevault.vault.foreign_formats import is_aws_vault_session

        return split_entries.fold([name for name in names if not is_aws_vault_session(name)])

    def has(self, name: str) -> bool:
        """Tell whether a key is stored for a profile; nothing is read."""
        if name.startswith(_TOTP):
            return False
        return self._store.has(name) or self.pair(name) is not None

    def pair(self, name: str) -> Pair | None:
        """Return the two entries below a name that hold a key, which counts without an item."""
        if not self._shared or f"{name}/".startswith(_TOTP):
            return None
        from filevault.vault import split_entries

        return split_entries.find(self._store.below(name))

    def read(self, name: str) -> ItemFiles:
        """Return what an item lies in. Raises ItemNotFoundError, DamagedError, StorageError."""
        try:
            return ItemFiles(((name, self._store.read(name)),))
        except ItemNotFoundError:
            pair = self.pair(name)
            if pair is None:
                raise
            return ItemFiles(tuple((half, self._store.read(half)) for half in pair.names))

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the names of all files that hold a profile's key, the one that counts last."""
        pair = self.pair(name)
        own = (name,) if pair is None or self._store.has(name) else ()
        return own if pair is None else (*pair.names, *own)

    def replaced_by(self, name: str) -> tuple[str, ...]:
        """Return the names of the two files that hold a key until an item of its name does."""
        pair = None if self._store.has(name) else self.pair(name)
        return () if pair is None else pair.names

    def owner(self, file: str) -> str:
        """Return the profile whose key a file holds, or holds one half of."""
        from filevault.vault import split_entries

        if not split_entries.is_half(file):  # the folder is not read for each of its files
            return file
        name = file.rpartition("/")[0]
        return name if name and file in self.replaced_by(name) else file
