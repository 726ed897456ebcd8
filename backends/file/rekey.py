"""Replace the master key in the files that have it: keyslots and vault.json.

The vault can be unlocked after each step. First the new keyslots and the retired old key are
written, which nothing refers to yet; then vault.json, which puts the new key into effect; then the
caller re-encrypts the items; the old keyslots are deleted last (`docs/format.md` §5).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.file import keyslot_changes, keyslots, master_key, retired_keys, vault_json
from filevault.backends.file.unlock import secret_bytes
from filevault.backends.sealing import key_schedule
from filevault.errors import FilevaultError, StorageError
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfPolicy
    from filevault.system.files import Folder


class NewMasterKey(Record):
    """A new master key, with the vault.json that it will have."""

    _secret = ("master",)

    vault: Marker
    master: bytes


def new_master_key(vault_id: str) -> NewMasterKey:
    """Make a new master key for a vault; nothing is written."""
    master = key_schedule.new_master()
    return NewMasterKey(_described(vault_id, master), master)


def _described(vault_id: str, master: bytes) -> Marker:
    """Return the content of vault.json for a master key."""
    return vault_json.Marker(
        vault_id,
        key_schedule.item_key_id(master, vault_id),
        key_schedule.commitment(master, vault_id),
    )


class Prepared(Record):
    """A new master key that is not in effect yet, with the vault.json that it will have.

    `before` is the present content of vault.json; `slots` are the ids of the new key's keyslots,
    in the order of the secrets. `retired` is the name of the retired key's file, and
    `retired_before` is True if that file existed before.
    """

    _secret = ("master",)

    before: Marker
    vault: Marker
    master: bytes
    slots: tuple[str, ...]
    retired: str
    retired_before: bool


def prepare(
    root: Folder,
    unwrapped_keys: Sequence[UnwrappedKey],
    made: NewMasterKey,
    *,
    clock: Callable[[], float],
) -> Prepared:
    """Write a keyslot of a new master key for each secret, and retire the old key.

    A new keyslot has the costs and the label of the one that its secret unwraps. After any error
    the files that were written are deleted. Raises StorageError.
    """
    old = unwrapped_keys[0]
    new, master = made.vault, made.master
    vault_id = new.vault
    before = retired_keys.exists(root, old.vault.master_id)
    written: list[str] = []
    try:
        with keyslot_changes.slot_folder(root) as folder:
            for unwrapped in unwrapped_keys:
                written.append(
                    keyslots.write(
                        folder,
                        master,
                        vault_id,
                        keyslots.NewKeyslot(
                            secret_bytes(unwrapped.secret),
                            unwrapped.slot.parameters,
                            unwrapped.slot.label,
                            format_time(clock()),
                        ),
                        replaces=unwrapped.slot.id,
                    )
                )
        name = retired_keys.write(root, new, master, old.master, clock=clock)
    except BaseException:
        undo(root, Prepared(old.vault, new, master, tuple(written), old.vault.master_id, before))
        raise
    return Prepared(old.vault, new, master, tuple(written), name, before)


def switch(root: Folder, prepared: Prepared) -> None:
    """Put the new key into effect.

    Raises StorageError if that fails, and restores the former state; UnsyncedError if the key is
    in effect, but a power cut could undo it.
    """
    try:
        with root.child(vault_json.FOLDER) as inner:
            vault_json.write(inner, prepared.vault)
    except BaseException:
        if _present(root) == prepared.before:
            undo(root, prepared)
        raise


def rewrite_marker(root: Folder, vault: Marker) -> None:
    """Write vault.json again, durably: before, a power cut could have restored the old one."""
    with root.child(vault_json.FOLDER) as inner:
        vault_json.write(inner, vault)


def _present(root: Folder) -> Marker | None:
    try:
        return vault_json.read(root)
    except FilevaultError:
        return None


def undo(root: Folder, prepared: Prepared) -> None:
    """Delete the files of a new key that is not in effect, as far as possible."""
    gone = (FileNotFoundError, StorageError)
    with contextlib.suppress(*gone), keyslot_changes.slot_folder(root) as folder:
        for name in prepared.slots:
            with contextlib.suppress(*gone):
                folder.remove(name + keyslots.SUFFIX)
    if prepared.retired_before:
        return  # an earlier attempt left it; it is harmless
    with contextlib.suppress(*gone), root.child(vault_json.FOLDER) as inner:
        with inner.child(retired_keys.FOLDER) as folder:
            folder.remove(prepared.retired)
        inner.remove_folder(retired_keys.FOLDER)


def retire(
    root: Folder,
    vault: Marker,
    master: bytes,
    former: Mapping[str, bytes],
    *,
    clock: Callable[[], float],
) -> None:
    """Seal under the present key each former one that it does not give access to yet.

    Args as `retired_keys.write`; `former` are master keys by their ids. Raises StorageError.
    """
    reached = retired_keys.masters(root, vault, master)
    for key_id in sorted(former.keys() - reached.keys() - {vault.master_id}):
        retired_keys.write(root, vault, master, former[key_id], clock=clock)


def remove_stale_slots(root: Folder, vault: Marker, master: bytes) -> int:
    """Delete this vault's keyslots of retired master keys; return their number.

    Only those of keys that the present one gives access to: two machines may each have replaced
    the key, and a keyslot may be the only copy of the key that was not kept, under which its
    machine may still store items. Raises StorageError.
    """
    reached = retired_keys.masters(root, vault, master)
    count = 0
    with keyslot_changes.slot_folder(root) as folder:
        for slot in keyslots.listing(root):
            if slot.vault == vault.vault and slot.master_id in reached:
                with contextlib.suppress(FileNotFoundError):
                    folder.remove(slot.id + keyslots.SUFFIX)
                    count += 1
    return count


def remove_abandoned_slots(
    root: Folder, unwrapped: UnwrappedKey, policy: KdfPolicy, is_ours: Callable[[Marker], bool]
) -> None:
    """Delete the keyslots of a master key that was prepared here and never put into effect.

    A kill between the first new keyslot and vault.json leaves them. Other secrets may have such
    keyslots, too: the secret at hand shows which key they belong to.

    Args:
        root: the vault's folder.
        unwrapped: the present master key, with the secret that unwraps it.
        policy: bounds of a passphrase's costs.
        is_ours: returns whether this machine prepared a key, by its content of vault.json.

    Raises StorageError.
    """
    reached = retired_keys.masters(root, unwrapped.vault, unwrapped.master)
    strange = [
        slot
        for slot in keyslots.listing(root)
        if slot.vault == unwrapped.vault.vault
        and slot.master_id not in (unwrapped.vault.master_id, *reached)
    ]
    abandoned = {
        slot.master_id
        for slot, master in master_key.try_unwrap(strange, unwrapped.secret, policy)
        if is_ours(_described(slot.vault, master))
    }
    if not abandoned:
        return
    with keyslot_changes.slot_folder(root) as folder:
        for slot in strange:
            if slot.master_id in abandoned:
                with contextlib.suppress(FileNotFoundError):
                    folder.remove(slot.id + keyslots.SUFFIX)
