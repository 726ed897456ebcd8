"""`.gpg-id` files: parse and build them, and find those above and below a folder.

The grammar is that of `pass`, read as leniently as gopass and browserpass do; a notice reports
where `pass` itself would read something else. Signatures are verified by the caller, over the
same bytes that are used (`docs/format.md` §9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.gpg import PASS
from filevault.errors import BackendError
from filevault.system.merge_conflicts import LINES_HINT, is_conflict
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.system.files import Folder

FILE = PASS.marker
SIGNATURE = f"{FILE}.sig"
_MAX_FILE = 64 << 10
_MAX_DEPTH = 64
_BLANKS = " \t"  # the characters that the shell's `read` trims


class GpgIds(Record):
    """The ids of one file as written, in order, without duplicates."""

    ids: tuple[str, ...]
    notices: tuple[str, ...] = ()
    """Sentences for the user about lines that `pass` would read differently."""


class GpgIdFile(Record):
    """The bytes of a `.gpg-id` and of its signature, if any; `path` is relative to the store."""

    path: str
    data: bytes
    signature: bytes | None


def parse(data: bytes, path: str) -> GpgIds:
    """Read a `.gpg-id`.

    Raises:
        BackendError: if it has no id, a line that gpg could take for an option, control
            characters, or bytes that are not UTF-8.
    """
    shown = printable(path)
    if len(data) > _MAX_FILE:
        raise BackendError(f"{shown!r} is longer than {_MAX_FILE} bytes")
    if is_conflict(data):
        raise BackendError(f"{shown!r} contains the marks of a merge conflict", hint=LINES_HINT)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackendError(f"{shown!r} is not UTF-8") from error
    notices = []
    lines = text.split("\n")
    if lines[-1].strip(_BLANKS + "\r"):
        notices.append(f"{shown!r} does not end in a newline: pass ignores its last line")
    if "\r" in text:
        notices.append(f"{shown!r} has CRLF line ends, which pass cannot read")
    ids = []
    for line in lines:
        bare, hash_sign, _comment = line.removesuffix("\r").strip(_BLANKS).partition("#")
        entry = _entry(line)
        if not entry:
            continue
        if hash_sign and bare != entry and not _is_hex(entry):
            notices.append(
                f"{shown!r} has a comment after {printable(entry, 100)!r}: pass finds no such key"
            )
        _check(entry, shown)
        ids.append(entry)
    if not ids:
        raise BackendError(
            f"{shown!r} lists no gpg key", hint="it needs one gpg key id in each line"
        )
    return GpgIds(tuple(dict.fromkeys(ids)), tuple(notices))


def _entry(line: str) -> str:
    """Return the id of a line without its comment; empty if it has none."""
    return line.removesuffix("\r").strip(_BLANKS).partition("#")[0].rstrip(_BLANKS)


def parse_variable(text: str, name: str) -> GpgIds:
    """Read `PASSWORD_STORE_KEY`: ids separated by blanks. Raises BackendError as `parse`."""
    ids = text.split()
    for entry in ids:
        _check(entry, name)
    if not ids:
        raise BackendError(f"{name} lists no gpg key")
    return GpgIds(tuple(dict.fromkeys(ids)))


def build(
    ids: Sequence[str], old: bytes = b"", names_of: Callable[[str], Sequence[str]] | None = None
) -> bytes:
    """Return the text of a `.gpg-id`: one id in each line, a newline after the last.

    Comments, and the lines whose ids are still wanted, are kept; new ids are appended.

    Args:
        ids: the keys to encrypt to.
        old: the present file, which `parse` accepts.
        names_of: returns the fingerprints for an id of the old file; needed with `old`.

    Raises:
        BackendError: for an id that would be read back as something else, and without ids.
    """
    for entry in ids:
        if not entry or entry != entry.strip() or "#" in entry:
            raise BackendError(
                f"{printable(entry, 100)!r} cannot stand in {FILE}",
                hint="give a key's full fingerprint",
            )
        _check(entry, FILE)
    if not ids:
        raise BackendError(f"{FILE} would list no gpg key")
    left = list(dict.fromkeys(ids))
    kept = []
    for line in old.decode("utf-8").splitlines() if names_of is not None else ():
        entry = _entry(line)
        names = names_of(entry) if entry and names_of is not None else ()
        if any(name not in ids for name in names):
            continue
        left = [name for name in left if name not in names]
        kept.append(line.removesuffix("\r"))
    return "".join(f"{line}\n" for line in [*kept, *left]).encode("utf-8")


def _check(entry: str, path: str) -> None:
    if entry.startswith("-"):
        raise BackendError(
            f"{path} has the line {printable(entry, 100)!r}, which is an option, not a key id",
            hint="this may be an attempt to pass options to gpg: find out who changed the file",
        )
    if printable(entry) != entry:
        raise BackendError(f"{path} has control characters in {printable(entry, 100)!r}")


def _is_hex(entry: str) -> bool:
    return all(character in "0123456789abcdefABCDEFx" for character in entry)


def read_above(store: Folder, prefix: Sequence[str]) -> GpgIdFile | None:
    """Return the `.gpg-id` that governs the folder `prefix`: its own or the nearest above.

    Never one above the store. A folder that does not exist has none. Raises StorageError for a
    link in the way, and for a `.gpg-id` that cannot be read.
    """
    found = _read(store, "")
    folder, opened = store, []
    try:
        path = ""
        for part in prefix:
            try:
                folder = folder.child(part)
            except FileNotFoundError:
                break
            opened.append(folder)
            path += f"{part}/"
            found = _read(folder, path) or found
    finally:
        for folder in opened:
            folder.close()
    return found


def read_below(store: Folder, prefix: Sequence[str]) -> list[GpgIdFile]:
    """Return every `.gpg-id` in folders below `prefix`, sorted by path.

    Hidden folders, which have no items, and links are skipped. Raises StorageError as
    `read_above`, BackendError if folders are nested too deeply.
    """
    folder, opened = store, []
    try:
        for part in prefix:
            try:
                folder = folder.child(part)
            except FileNotFoundError:
                return []
            opened.append(folder)
        found: list[GpgIdFile] = []
        _descend(folder, "".join(f"{part}/" for part in prefix), 0, found)
    finally:
        for folder in opened:
            folder.close()
    return sorted(found, key=lambda file: file.path)


def _descend(folder: Folder, path: str, depth: int, found: list[GpgIdFile]) -> None:
    if depth > _MAX_DEPTH:
        raise BackendError(f"{printable(path, 200)!r}: folders are nested too deeply")
    for entry in folder.entries():
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            inner = folder.child(entry.name)
        except FileNotFoundError:
            continue  # another process has removed it
        with inner:
            below = f"{path}{entry.name}/"
            file = _read(inner, below)
            if file is not None:
                found.append(file)
            _descend(inner, below, depth + 1, found)


def _read(folder: Folder, path: str) -> GpgIdFile | None:
    try:
        data = folder.read(FILE, _MAX_FILE)
    except FileNotFoundError:
        return None
    try:
        signature = folder.read(SIGNATURE, _MAX_FILE)
    except FileNotFoundError:
        signature = None
    return GpgIdFile(f"{path}{FILE}", data, signature)
