"""The item files of a vault, one for each item: list, read, write, remove."""

from __future__ import annotations

import contextlib
import os

from filevault import errors
from filevault.errors import DamagedError, StorageError, UsageError
from filevault.system.merge_conflicts import refuse_conflict
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.names import FOLDERS_LIMIT, all_plain, decode_path, encode_name, plain_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.system.files import Folder
    from filevault.system.permissions import Permissions

    Listing = tuple[list[bytes], list[str]]

_ITEM_LIMIT = 1 << 20
_OF_THE_SYSTEM = "lost+found"  # at the top of a file system, for root alone


class ItemFolder(Record):
    """A folder of items, open until the next one is asked for.

    `prefix` is its path below the root, with a slash at its end; `names` are those of its items,
    `files` their files as system calls take them, in the same order; `folders` are the folders
    inside that may have items. There may be thousands.
    """

    folder: Folder
    prefix: str
    names: list[str]
    files: list[bytes]
    folders: list[str]


class ItemStore:
    """The item files of a vault.

    A file is an item only if it is regular, has the suffix, is in no hidden folder, and its
    path is the encoding of its name. All other files (editor backups, `.git`, notes) are ignored
    and never changed.

    Args:
        store: the folder of the store.
        suffix: of the item files.
        prefix: the folders below `store` that lead to the items.
        literal: also accept the unencoded paths of other tools, and rewrite such files in place.
    """

    def __init__(
        self, store: Folder, suffix: str, prefix: Sequence[str] = (), *, literal: bool = False
    ) -> None:
        self._top = store
        self._prefix = tuple(prefix)
        self._suffix = suffix
        self._literal = literal
        self._swept: set[str] = set()
        self.unopened: list[StorageError] = []
        """Why folders were not opened in the last listing, which lacks what is in them."""

    def names(self) -> list[str]:
        """Return the names of all items, sorted."""
        return sorted(name for each in self.files() for name in each.names)

    def every_name(self) -> list[str]:
        """Return the names of all items, sorted, for what must leave out none.

        Raises StorageError for a folder that cannot be opened.
        """
        names = self.names()
        if self.unopened:
            raise self.unopened[0].add_context(
                "so it is not known which keys are in it",
                hint="make the folder readable, or take it out of the vault",
            )
        return names

    def files(
        self, known: Callable[[Folder, str], Listing | None] | None = None
    ) -> Iterator[ItemFolder]:
        """Yield each folder with its items and their files, by file name.

        `known` is called with a folder and its prefix; it returns `files` and `folders` as of the
        last time, the same objects, if they are still true. So a folder need not be read again.
        """
        self.unopened.clear()
        try:
            with self._folder(()) as root:
                yield from self._walk(root, "", 0, known)
        except FileNotFoundError:
            return

    def _walk(
        self,
        folder: Folder,
        prefix: str,
        depth: int,
        known: Callable[[Folder, str], Listing | None] | None = None,
    ) -> Iterator[ItemFolder]:
        found = None if known is None else known(folder, prefix)
        listed = None if found is None else self._as_before(folder, prefix, *found)
        if listed is None:
            listed = self._listed(folder, prefix)
        yield listed
        for name in listed.folders:
            if depth < FOLDERS_LIMIT:
                yield from self._walk_into(folder, name, prefix, depth, known)
            elif depth == FOLDERS_LIMIT:
                shown = printable(folder.join(name), 200)
                self.unopened.append(StorageError(f"{shown!r} is nested too deep for a vault"))

    def _listed(self, folder: Folder, prefix: str) -> ItemFolder:
        """Return what is in a folder now."""
        files, folders = folder.listing()
        folders = [name for name in folders if self._may_have_items(name)]
        encoded = _encoded(files)
        names = self._plain_names(prefix, encoded)
        if names is None:  # without other files that are there, they may be plain
            files = [file for file in files if file.endswith(self._suffix)]
            encoded = _encoded(files)
            names = self._plain_names(prefix, encoded)
        if names is None:
            names, encoded = [], []
            for file in files:
                name = None if file[0] == "." else self._name(folder, prefix, file)
                if name is not None:
                    names.append(name)
                    encoded.append(os.fsencode(file))
        return ItemFolder(folder, prefix, names, encoded, folders)

    def _as_before(
        self, folder: Folder, prefix: str, files: list[bytes], folders: list[str]
    ) -> ItemFolder | None:
        """Return the same from what a listing said before; None if that cannot be true."""
        names = self._plain_names(prefix, files)
        if names is None:
            names = []
            for file in map(os.fsdecode, files):
                name = None if file[:1] in ("", ".") else self._name(folder, prefix, file)
                if name is None:
                    return None
                names.append(name)
        if not all(map(self._may_have_items, folders)):
            return None
        return ItemFolder(folder, prefix, names, files, folders)

    def _may_have_items(self, name: str) -> bool:
        """Return whether a folder of that name may have items."""
        return name[:1] not in ("", ".") and not name.endswith(self._suffix)

    def _plain_names(self, prefix: str, files: list[bytes]) -> list[str] | None:
        """Return the names of items if each of the files certainly is one."""
        names = plain_names(files, self._suffix)
        if names is None or (prefix and not all_plain(prefix[:-1].split("/"))):
            return None
        return [prefix + name for name in names] if prefix else names

    def _walk_into(
        self,
        folder: Folder,
        name: str,
        prefix: str,
        depth: int,
        known: Callable[[Folder, str], Listing | None] | None,
    ) -> Iterator[ItemFolder]:
        """Walk a folder; one that was deleted by another process or cannot be opened has no items.

        Such a folder must not stop the listing.
        """
        try:
            inner = folder.child(name)
        except FileNotFoundError:
            return
        except StorageError as error:
            if name != _OF_THE_SYSTEM:
                self.unopened.append(error)
            return
        with inner:
            yield from self._walk(inner, f"{prefix}{name}/", depth + 1, known)

    def _name(self, folder: Folder, prefix: str, file: str) -> str | None:
        name = decode_path(prefix + file, self._suffix)
        if name is not None or not self._literal:
            return name
        # Unencoded, by another tool; an encoded file of the same name takes precedence.
        name = (prefix + file)[: -len(self._suffix)]
        try:
            encoded = encode_name(name, self._suffix)
        except UsageError:
            return None
        folders, slash, last = encoded.rpartition("/")
        if folders + slash == prefix:
            return None if folder.is_file(last) else name
        with contextlib.suppress(StorageError):  # a link is no item
            return None if self._is_file(encoded.split("/")) else name
        return name

    @contextlib.contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[Folder]:
        """Open a folder below the root."""
        with self._below_top((*self._prefix, *parts), create=create) as folder:
            yield folder

    @contextlib.contextmanager
    def _below_top(self, parts: Sequence[str], *, create: bool = False) -> Iterator[Folder]:
        with contextlib.ExitStack() as opened:
            folder = self._top
            for part in parts:
                folder = folder.make_child(part) if create else folder.child(part)
                opened.enter_context(folder)
            yield folder

    def below(self, name: str) -> list[str]:
        """Return the names of the items in the folder of a name, without deeper ones."""
        if name.count("/") == FOLDERS_LIMIT:
            return []
        encoded = encode_name(f"{name}/x", self._suffix).split("/")[:-1]
        literal = name.split("/")
        folders = [encoded]
        if self._literal and literal != encoded and not any(p[:1] in ("", ".") for p in literal):
            folders.append(literal)
        found: set[str] = set()
        for parts in folders:
            # As in a listing, a folder that cannot be opened has no items.
            with contextlib.suppress(FileNotFoundError, StorageError), self._folder(parts) as there:
                prefix = "/".join((*parts, ""))
                for each in self._walk(there, prefix, FOLDERS_LIMIT + 1):
                    found.update(each.names)
        return sorted(found)

    def path(self, name: str) -> str:
        """Return the path, relative to the store, of the file that an item has or would have."""
        return "/".join((*self._prefix, *self._parts(name)))

    def _parts(self, name: str) -> list[str]:
        """Return the folders and the file of an item below the root."""
        encoded = encode_name(name, self._suffix).split("/")
        literal = (name + self._suffix).split("/")
        if not self._literal or encoded == literal or any(p in ("", ".", "..") for p in literal):
            return encoded
        if self._is_file(encoded) or not self._is_file(literal):
            return encoded
        return literal

    def _is_file(self, parts: Sequence[str]) -> bool:
        try:
            with self._folder(parts[:-1]) as folder:
                folder.refuse_link(parts[-1])
                return folder.is_file(parts[-1])
        except FileNotFoundError:
            return False

    def has(self, name: str) -> bool:
        """Return whether an item exists; no file is read.

        Raises StorageError if its path is a link.
        """
        return self._is_file(self._parts(name))

    def read(self, name: str) -> bytes:
        """Return an item's file.

        Raises ItemNotFoundError, StorageError, and DamagedError for more than 1 MiB or the marks
        of a merge conflict.
        """
        *folders, file = self._parts(name)
        try:
            with self._folder(folders) as folder:
                data = folder.read(file, _ITEM_LIMIT)
                path = folder.join(file)
        except FileNotFoundError as error:
            raise errors.ItemNotFoundError(
                f"the vault has no key for {printable(name)!r}",
                hint=f"filevault add {shell_word(name)}",
            ) from error
        if len(data) > _ITEM_LIMIT:
            raise DamagedError(f"item {printable(name)!r} is damaged: it is larger than 1 MiB")
        refuse_conflict(data, f"item {printable(name)!r}", path)
        return data

    def write(self, name: str, data: bytes, *, like: str | None = None) -> None:
        """Write an item's file atomically; sweep temporary files that a crash left beside it.

        It keeps the permissions of the file that it replaces, or of the item `like`.
        """
        before = None if like is None else self._permissions(like)
        *folders, file = self._parts(name)
        # Sweeping lists the folder, so it is done once a run and folder.
        sweep = "/".join(folders) not in self._swept
        with self._folder(folders, create=True) as folder:
            folder.refuse_other(file)
            folder.write(file, data, keep=before or file, sweep=sweep)
        self._swept.add("/".join(folders))

    def _permissions(self, name: str) -> Permissions | None:
        from filevault.system import permissions

        *folders, file = self._parts(name)
        try:
            with self._folder(folders) as folder:
                return permissions.read(file, folder.fd)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete an item's file, and the folders below the store that become empty.

        Raises ItemNotFoundError or StorageError.
        """
        *folders, file = self._parts(name)
        try:
            with self._folder(folders) as folder:
                folder.remove(file)
        except FileNotFoundError as error:
            raise errors.ItemNotFoundError(
                f"the vault has no key for {printable(name)!r}"
            ) from error
        parents = [*self._prefix, *folders]
        while parents:
            try:
                with self._below_top(parents[:-1]) as folder:
                    if not folder.remove_folder(parents[-1]):
                        return
            except FileNotFoundError:
                return
            parents.pop()


def _encoded(files: list[str]) -> list[bytes]:
    """Return names of files as system calls take them."""
    return os.fsencode("\0".join(files)).split(b"\0") if files else []
