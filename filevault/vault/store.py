"""One file for each item below a root: list, read, write, remove."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import DamagedError, ItemNotFoundError, StorageError
from filevault.files import Folder
from filevault.printable import printable, shell_word
from filevault.vault.names import decode_path, encode_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_ITEM_LIMIT = 1 << 20
_DEPTH_LIMIT = 64


class Store:
    """The item files of a vault.

    A file is an item only if it is regular, has the suffix, lies under no hidden folder, and its
    path is the one its name is encoded to. Everything else (editor backups, `.git`, notes) is
    not seen and never touched.
    """

    def __init__(self, root: Folder, suffix: str) -> None:
        self._root = root
        self._suffix = suffix

    def names(self) -> list[str]:
        """Return the names of all items, sorted."""
        return sorted(name for name, _, _ in self._walk(self._root, "", 0))

    def heads(self, size: int) -> list[tuple[str, bytes]]:
        """Return the names of all items with the first bytes of their files, sorted."""
        walk = self._walk(self._root, "", 0)
        return sorted((name, folder.head(entry, size)) for name, folder, entry in walk)

    def _walk(self, folder: Folder, prefix: str, depth: int) -> Iterator[tuple[str, Folder, str]]:
        """Yield each item's name with the folder, open for the moment, and file it lies in."""
        for entry in folder.entries():
            if entry.name.startswith("."):
                continue
            if entry.name.endswith(self._suffix):
                name = decode_path(prefix + entry.name, self._suffix)
                if name is not None and entry.is_file(follow_symlinks=False):
                    yield name, folder, entry.name
            elif depth < _DEPTH_LIMIT and entry.is_dir(follow_symlinks=False):
                yield from self._walk_into(folder, entry.name, prefix, depth)

    def _walk_into(
        self, folder: Folder, name: str, prefix: str, depth: int
    ) -> Iterator[tuple[str, Folder, str]]:
        """Go on below; a folder that was deleted meanwhile, or is not ours to read, has no items.

        Such a folder (`lost+found`, say) must not keep the others from being listed.
        """
        try:
            inner = folder.child(name)
        except (FileNotFoundError, StorageError):
            return
        with inner:
            yield from self._walk(inner, f"{prefix}{name}/", depth + 1)

    @contextlib.contextmanager
    def _folder(self, name: str, *, create: bool) -> Iterator[tuple[Folder, str]]:
        """Open the folder of an item; yields it with the item's file name."""
        *folders, last = encode_name(name, self._suffix).split("/")
        opened: list[Folder] = []
        folder = self._root
        try:
            for part in folders:
                folder = folder.make_child(part) if create else folder.child(part)
                opened.append(folder)
            yield folder, last
        finally:
            for folder in opened:
                folder.close()

    def has(self, name: str) -> bool:
        """Tell whether an item exists; a look into a directory, nothing is read.

        Raises StorageError for a link in its place.
        """
        try:
            with self._folder(name, create=False) as (folder, file):
                folder.refuse_link(file)
                return folder.is_file(file)
        except FileNotFoundError:
            return False

    def read(self, name: str) -> bytes:
        """Return an item's file.

        Raises ItemNotFoundError, StorageError, or DamagedError for more than 1 MiB.
        """
        try:
            with self._folder(name, create=False) as (folder, file):
                data = folder.read(file, _ITEM_LIMIT)
        except FileNotFoundError as error:
            raise ItemNotFoundError(
                f"the vault holds no key for {printable(name)!r}",
                hint=f"filevault add {shell_word(name)}",
            ) from error
        if len(data) > _ITEM_LIMIT:
            raise DamagedError(f"item {printable(name)!r} is damaged: it is larger than 1 MiB")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write an item's file atomically."""
        with self._folder(name, create=True) as (folder, file):
            folder.refuse_other(file)
            folder.write(file, data)

    def remove(self, name: str) -> None:
        """Delete an item's file, and the folders that this leaves empty.

        Raises ItemNotFoundError or StorageError.
        """
        try:
            with self._folder(name, create=False) as (folder, file):
                folder.remove(file)
        except FileNotFoundError as error:
            raise ItemNotFoundError(f"the vault holds no key for {printable(name)!r}") from error
        parts = encode_name(name, self._suffix).split("/")[:-1]
        while parts:
            with contextlib.ExitStack() as stack:
                folder = self._root
                try:
                    for part in parts[:-1]:
                        folder = stack.enter_context(folder.child(part))
                except FileNotFoundError:
                    return
                if not folder.remove_folder(parts[-1]):
                    return
            parts.pop()
