"""The recipients files of an age vault, and which of them governs an item.

It is the nearest `.age-recipients` upward, inside the store. In passage's own store the order is
passage's: `PASSAGE_RECIPIENTS_FILE`, `PASSAGE_RECIPIENTS`, the nearest file, the user's identities.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends.age import recipients_file
from filevault.backends.age.recipients_file import FILE, AgeRecipients
from filevault.backends.values import RecipientsFile
from filevault.errors import BackendError, NoVaultError
from filevault.system.digest import sha256_hex
from filevault.system.files import read_all, storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.system.files import Folder

OWN = "identities"
"""Stands for the path of recipients without a file: those of the user's identities."""
_FILE_VARIABLE = "PASSAGE_RECIPIENTS_FILE"
_LIST_VARIABLE = "PASSAGE_RECIPIENTS"
_MAX_DEPTH = 64


class GoverningFiles:
    """The recipients files of a store, each read once.

    Args:
        store: the store's folder, open as long as this is used.
        prefix: the folders from the store to the root.
        environment: where passage's overrides are looked up.
        passage: whether the store is passage's own.
        own: returns the recipients of the user's identities; may ask for a passphrase.
        warn: called with a warning about a line that age ignores.
    """

    __slots__ = (
        "_environment",
        "_files",
        "_override",
        "_own",
        "_passage",
        "_prefix",
        "_store",
        "_warn",
    )

    def __init__(
        self,
        store: Folder,
        prefix: tuple[str, ...],
        *,
        environment: Mapping[str, str],
        passage: bool,
        own: Callable[[], AgeRecipients],
        warn: Callable[[str], None],
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._environment = environment
        self._passage = passage
        self._own = own
        self._warn = warn
        self._files: dict[tuple[str, ...], RecipientsFile | BackendError | None] = {}
        self._override: RecipientsFile | None = None

    def forget(self) -> None:
        """Drop everything that was read, so that it is read again."""
        self._files = {}
        self._override = None

    def all(self) -> tuple[RecipientsFile, ...]:
        """Return what is pinned, sorted by path. Raises as `of`.

        An unusable file below the root is represented by the hash of its bytes, unresolved: it
        must not prevent writes to the rest of the vault.
        """
        found = {}
        override = self._overriding()
        nearest = self._nearest(self._prefix)
        if nearest is None and override is None and self._passage:
            nearest = self._of_own_identities()
        for file in (override, nearest):
            if file is not None:
                found[file.path] = file
        for parts in self._below():
            file = self._file_or_placeholder(parts)
            if file is not None:
                found.setdefault(file.path, file)
        return tuple(found[path] for path in sorted(found, key=os.fsencode))

    def of(self, folders: Sequence[str]) -> RecipientsFile:
        """Return the recipients file that governs a folder below the root.

        Raises:
            NoVaultError: if none does.
            BackendError: if age would not accept it.
            StorageError: if it cannot be read, or is reached by a link.
            LockedError: if the user's identities are used instead, and cannot be unlocked.
        """
        file = self._overriding() or self._nearest((*self._prefix, *folders))
        if file is None and self._passage:
            file = self._of_own_identities()
        if file is None:
            raise NoVaultError(
                f"no {FILE} governs {printable('/'.join([self._store.path, *self._prefix]))!r}",
                hint="filevault init --backend age makes a vault there",
            )
        return file

    def _overriding(self) -> RecipientsFile | None:
        """Return the override in force; passage's variables are for its own store only."""
        if not self._passage:
            return None
        path = self._environment.get(_FILE_VARIABLE, "")
        words = self._environment.get(_LIST_VARIABLE, "")
        if self._override is None and path:
            what = f"{printable(path)!r} ({_FILE_VARIABLE})"
            parsed = recipients_file.parse(_read_outside(path, what), what, self._warn)
            self._override = _named(f"env:{_FILE_VARIABLE}", parsed)
        elif self._override is None and words:
            parsed = recipients_file.parse_words(words, _LIST_VARIABLE)
            self._override = _named(f"env:{_LIST_VARIABLE}", parsed)
        return self._override

    def _of_own_identities(self) -> RecipientsFile:
        return _named(OWN, self._own())

    def _nearest(self, parts: tuple[str, ...]) -> RecipientsFile | None:
        for length in range(len(parts), -1, -1):
            found = self._read(parts[:length])
            if isinstance(found, BackendError):
                raise found
            if found is not None:
                return found
        return None

    def _file_or_placeholder(self, parts: tuple[str, ...]) -> RecipientsFile | None:
        found = self._read(parts)
        if not isinstance(found, BackendError):
            return found
        try:
            data = self._bytes(parts) or b""
            name = f"unusable, sha256:{sha256_hex(data)}"
        except BackendError:
            name = "unreadable"
        return RecipientsFile(_path(parts), (name,), (name,))

    def _read(self, parts: tuple[str, ...]) -> RecipientsFile | BackendError | None:
        """Return a folder's own file, None if it has none, an error if it is unusable."""
        if parts not in self._files:
            found: RecipientsFile | BackendError | None
            try:
                data = self._bytes(parts)
                what = printable(repr(_path(parts)))
                found = (
                    None
                    if data is None
                    else _named(_path(parts), recipients_file.parse(data, what, self._warn))
                )
            except BackendError as error:
                found = error
            self._files[parts] = found
        return self._files[parts]

    def _bytes(self, parts: tuple[str, ...]) -> bytes | None:
        """Return the bytes of a folder's own file, None if file or folder does not exist."""
        folder = self._store
        opened = []
        try:
            for part in parts:
                folder = folder.child(part)
                opened.append(folder)
            return folder.read(FILE, recipients_file.MAX_FILE)
        except FileNotFoundError:
            return None
        finally:
            for folder in opened:
                folder.close()

    def _below(self) -> list[tuple[str, ...]]:
        """Return the folders below the root that have a recipients file."""
        found: list[tuple[str, ...]] = []
        opened = []
        folder = self._store
        try:
            for part in self._prefix:
                folder = folder.child(part)
                opened.append(folder)
            self._walk(folder, self._prefix, found)
        except FileNotFoundError:
            return []
        finally:
            for folder in opened:
                folder.close()
        return found

    def _walk(self, folder: Folder, parts: tuple[str, ...], found: list[tuple[str, ...]]) -> None:
        for entry in folder.entries():
            if entry.name == FILE and len(parts) > len(self._prefix):
                found.append(parts)
            elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                if len(parts) - len(self._prefix) >= _MAX_DEPTH:
                    shown = printable("/".join(parts), 200)
                    raise BackendError(f"folders are nested too deeply below {shown!r}")
                try:
                    inner = folder.child(entry.name)
                except FileNotFoundError:
                    continue  # another process has removed it
                with inner:
                    self._walk(inner, (*parts, entry.name), found)


def _path(parts: tuple[str, ...]) -> str:
    return "/".join([*parts, FILE])


def _named(path: str, found: AgeRecipients) -> RecipientsFile:
    return RecipientsFile(path, found.all, found.unresolved)


def _read_outside(path: str, what: str) -> bytes:
    """Return the bytes of a recipients file that a variable names, anywhere on the machine."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BackendError(f"there is no file {what}") from error
    except OSError as error:
        raise storage_error(error, "read", path) from error
    try:
        return read_all(fd, recipients_file.MAX_FILE)
    except OSError as error:
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)
