"""The attributes that keep git from changing item files at a commit or a checkout.

Filters, line ends, encodings and merges by line would change their bytes, and a `.gitattributes`
in a clone can switch them on. The repository's `info` folder is not cloned and takes precedence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.errors import StorageError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.backends.definition import Backend
    from filevault.system.files import Folder

_FILE_LIMIT = 1 << 20
_BINARY = "-text -diff -ident -filter -working-tree-encoding merge=binary"
# In a store shared with other tools `diff` stays theirs: pass itself sets `diff=gpg`. A merge by
# line would put conflict markers into an item.
_SHARED = "-text -ident -filter -working-tree-encoding merge=binary"
# A list of recipients is text, and merges as one.
_AS_STORED = "-text -ident -filter -working-tree-encoding"
_LEFTOVERS = ".fv-*.tmp"


def write_info(info: Folder, backend: Backend, folders: Sequence[str]) -> None:
    """Add the lines that are missing to `attributes` and `exclude` in the `info` folder.

    Args:
        info: the folder.
        backend: of the vault.
        folders: names of those between the repository's top and the items.

    Raises:
        StorageError: if it cannot be written.
    """
    _ensure(info, "attributes", _attributes(backend, folders))
    _ensure(info, "exclude", (_LEFTOVERS,))


def _attributes(backend: Backend, folders: Sequence[str]) -> tuple[str, ...]:
    if backend.family == SEALED:
        folder, inside, _name = backend.marker.partition("/")
        marker = f"{folder}/**" if inside else folder
        return (f"*{backend.suffix} {_BINARY}", f"{marker} {_BINARY}")
    items = _pattern(folders, f"*{backend.suffix}")
    return (f"{items} {_SHARED}", f"{backend.marker} {_AS_STORED}")


def _pattern(folders: Sequence[str], name: str) -> str:
    """Return a gitattributes pattern for files of a name at any depth below a folder."""
    if not folders:
        return name
    path = "/".join(folders)
    for mark in "\\*?[":
        path = path.replace(mark, f"\\{mark}")
    pattern = f"/{path}/**/{name}"
    if not any(mark in pattern for mark in ' "\t\\'):
        return pattern
    for mark, quoted in (("\\", "\\\\"), ('"', '\\"'), ("\t", "\\t")):
        pattern = pattern.replace(mark, quoted)
    return f'"{pattern}"'


def _ensure(folder: Folder, name: str, wanted: Sequence[str]) -> None:
    """Append the lines that a file does not have yet."""
    try:
        text = folder.read(name, _FILE_LIMIT)
    except FileNotFoundError:
        text = b""
    if len(text) > _FILE_LIMIT:
        raise StorageError(f"{printable(folder.join(name))!r} is larger than 1 MiB")
    lines = text.split(b"\n")
    missing = [line for line in map(os.fsencode, wanted) if line not in lines]
    if missing:
        if text and not text.endswith(b"\n"):
            text += b"\n"
        folder.write(name, text + b"".join(line + b"\n" for line in missing), 0o644, keep=name)
