"""Retired master keys: those that a vault had before its key was replaced.

Each is an envelope under its successor, so that items which another machine sealed before it
knew of the new key can still be decrypted (`docs/format.md` §5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import vault_json
from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope, key_schedule
from filevault.errors import DamagedError, FilevaultError, StorageError, TamperedError
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filevault.backends.file.vault_json import Marker
    from filevault.system.files import Folder

FOLDER = "retired"
KIND = "retired"
_MOST = 256  # files that are read
_ID_DIGITS = 16


def write(
    root: Folder,
    vault: Marker,
    master: bytes,
    old: bytes,
    *,
    clock: Callable[[], float],
) -> str:
    """Seal an old master key under a new one; return its file's name, which is its key id.

    Args:
        root: the vault's folder.
        vault: the content of vault.json for the new key.
        master: the new key.
        old: the old one.
        clock: returns Unix seconds.

    Raises StorageError if it cannot be written.
    """
    name = key_schedule.item_key_id(old, vault.vault)
    now = clock()
    header = ItemHeader(KIND, name, int(now), format_time(now))
    key = key_schedule.item_key(master, vault.vault)
    data = envelope.seal(key, vault.vault, vault.master_id, header, old)
    if unseal(data, name, vault.vault, vault.master_id, master) != old:
        raise StorageError("the retired key does not open again; nothing was changed")
    with root.child(vault_json.FOLDER) as inner, inner.make_child(FOLDER) as folder:
        folder.write(name, data, keep=name)
    return name


def unseal(data: bytes, name: str, vault: str, key_id: str, master: bytes) -> bytes:
    """Return the old master key in a file's bytes.

    Args:
        data: the bytes.
        name: the file's name.
        vault: the vault's id.
        key_id: of the key that must have sealed it.
        master: that key.

    Raises:
        DamagedError: if filevault did not write it.
        TamperedError: if it belongs elsewhere, or is another key than its name says.
        NewerFormatError: if a newer filevault wrote it.
    """
    what = f"the retired key {name}"
    parsed = envelope.parse(data, what)
    envelope.expect(parsed, vault, key_id, KIND, name, what)
    old = envelope.unseal(key_schedule.item_key(master, vault), parsed, what)
    if len(old) != key_schedule.KEY_SIZE:
        raise DamagedError(f"{what} is damaged: a key has {key_schedule.KEY_SIZE} bytes")
    if key_schedule.item_key_id(old, vault) != name:
        raise TamperedError(f"{what} is another key than its name says")
    return old


def exists(root: Folder, key_id: str) -> bool:
    """Return whether a key id is that of a retired key; nothing is opened."""
    if len(key_id) != _ID_DIGITS:
        return False
    try:
        with root.child(vault_json.FOLDER) as inner, inner.child(FOLDER) as folder:
            return folder.is_file(key_id)
    except (FileNotFoundError, StorageError):
        return False


def masters(
    root: Folder, vault: Marker, master: bytes, others: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return every former master key that the present one gives access to, by its key id.

    In a vault whose key was replaced twice, the first is sealed under the second. `others` are
    keys known from elsewhere: they are returned, too, with those that they give access to. Files
    that cannot be unsealed are left out.
    """
    found = dict(others or {})
    files = _files(root)
    known = {**found, vault.master_id: master}
    while known:
        opened: dict[str, bytes] = {}
        for name, data in files.items():
            for key_id, key in known.items():
                if name in found or name in opened or name == vault.master_id:
                    continue
                try:
                    opened[name] = unseal(data, name, vault.vault, key_id, key)
                except FilevaultError:
                    continue
        found.update(opened)
        known = opened
    return found


def _files(root: Folder) -> dict[str, bytes]:
    files = {}
    try:
        with root.child(vault_json.FOLDER) as inner, inner.child(FOLDER) as folder:
            for entry in folder.entries()[:_MOST]:
                if len(entry.name) == _ID_DIGITS and entry.is_file(follow_symlinks=False):
                    files[entry.name] = folder.read(entry.name, envelope.MAX_FILE)
    except FileNotFoundError:
        pass
    return files
