"""Giving a vault another master key, in steps that each leave a vault that opens.

First the new keyslots and the retired old key, which nobody looks at yet; then vault.json, from
which on the new key counts; then, by the caller, the items; last the old keyslots go
(`docs/format.md` §5).
"""

from __future__ import annotations

import contextlib
import os
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
    """A new master key, with what vault.json will say of it."""

    vault: Marker
    master: bytes

    def __repr__(self) -> str:
        return f"NewMasterKey(vault={self.vault!r}, ...)"


def new_master_key(vault_id: str, random: Callable[[int], bytes] = os.urandom) -> NewMasterKey:
    """Make a new master key for a vault; nothing is written."""
    master = key_schedule.new_master(random)
    return NewMasterKey(_described(vault_id, master), master)


def _described(vault_id: str, master: bytes) -> Marker:
    """Return what vault.json says of a master key."""
    return vault_json.Marker(
        vault_id,
        key_schedule.item_key_id(master, vault_id),
        key_schedule.commitment(master, vault_id),
    )


class Prepared(Record):
    """A new master key that waits for its turn, with what vault.json will say of it.

    `before` is what vault.json says until then; `slots` are the ids of the keyslots that hold the
    new key, in the order of the holders.
    """

    before: Marker
    vault: Marker
    master: bytes
    slots: tuple[str, ...]
    retired: str
    retired_before: bool

    def __repr__(self) -> str:
        return f"Prepared(vault={self.vault!r}, slots={self.slots!r}, ...)"


def prepare(
    root: Folder,
    holders: Sequence[UnwrappedKey],
    made: NewMasterKey,
    *,
    clock: Callable[[], float],
    random: Callable[[int], bytes] = os.urandom,
) -> Prepared:
    """Write a keyslot of a new master key for each holder's secret, and retire the old key.

    A new slot has the costs and the label of the one that its secret opened. Whatever fails,
    what was written is taken away again. Raises StorageError.
    """
    old = holders[0]
    new, master = made.vault, made.master
    vault_id = new.vault
    before = retired_keys.exists(root, old.vault.master_id)
    written: list[str] = []
    try:
        with keyslot_changes.slot_folder(root) as folder:
            for holder in holders:
                written.append(
                    keyslots.write(
                        folder,
                        master,
                        vault_id,
                        secret_bytes(holder.secret),
                        parameters=holder.slot.parameters,
                        label=holder.slot.label,
                        created=format_time(clock()),
                        replaces=holder.slot.id,
                        random=random,
                    )
                )
        name = retired_keys.write(root, new, master, old.master, clock=clock, random=random)
    except BaseException:
        undo(root, Prepared(old.vault, new, master, tuple(written), old.vault.master_id, before))
        raise
    return Prepared(old.vault, new, master, tuple(written), name, before)


def switch(root: Folder, prepared: Prepared) -> None:
    """Let the new key count.

    Raises StorageError: if it cannot, all is as before; UnsyncedError if only a power cut could
    undo it.
    """
    try:
        with root.child(vault_json.FOLDER) as inner:
            vault_json.write(inner, prepared.vault)
    except BaseException:
        if _present(root) == prepared.before:
            undo(root, prepared)
        raise


def rewrite_marker(root: Folder, vault: Marker) -> None:
    """Write vault.json once more: before, a power cut could have brought the old one back."""
    with root.child(vault_json.FOLDER) as inner:
        vault_json.write(inner, vault)


def _present(root: Folder) -> Marker | None:
    try:
        return vault_json.read(root)
    except FilevaultError:
        return None


def undo(root: Folder, prepared: Prepared) -> None:
    """Take away what was prepared and never counted, as far as that can be done."""
    gone = (FileNotFoundError, StorageError)
    with contextlib.suppress(*gone), keyslot_changes.slot_folder(root) as folder:
        for name in prepared.slots:
            with contextlib.suppress(*gone):
                folder.remove(name + keyslots.SUFFIX)
    if prepared.retired_before:
        return  # it was there from an earlier try, and is of no use to anybody
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
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Seal under the present key each former one that it does not lead to yet.

    Args as `retired_keys.write`; `former` are master keys by their ids. Raises StorageError.
    """
    reached = retired_keys.masters(root, vault, master)
    for key_id in sorted(former.keys() - reached.keys() - {vault.master_id}):
        retired_keys.write(root, vault, master, former[key_id], clock=clock, random=random)


def remove_stale_slots(root: Folder, vault: Marker, master: bytes) -> int:
    """Delete this vault's keyslots of retired master keys; return how many there were.

    Only those of keys that the present one leads to. Two machines may each have given the vault
    a key: a slot of the one that was not kept may be all that there is of it, and the machine
    that made it may still bring items under it. Raises StorageError.
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
    root: Folder, holder: UnwrappedKey, policy: KdfPolicy, is_ours: Callable[[Marker], bool]
) -> None:
    """Delete the keyslots of a master key that was prepared here and never counted.

    A kill between the first new slot and vault.json leaves them. Others than the holder's secret
    may have such slots, too: the secret tells which key it was.

    Args:
        root: the vault's folder.
        holder: who opened it.
        policy: what a passphrase may cost.
        is_ours: tells whether this machine was about to give the vault a key, by what vault.json
            would have said of it.

    Raises StorageError.
    """
    reached = retired_keys.masters(root, holder.vault, holder.master)
    strange = [
        slot
        for slot in keyslots.listing(root)
        if slot.vault == holder.vault.vault
        and slot.master_id not in (holder.vault.master_id, *reached)
    ]
    abandoned = {
        slot.master_id
        for slot, master in master_key.try_unwrap(strange, holder.secret, policy)
        if is_ours(_described(slot.vault, master))
    }
    if not abandoned:
        return
    with keyslot_changes.slot_folder(root) as folder:
        for slot in strange:
            if slot.master_id in abandoned:
                with contextlib.suppress(FileNotFoundError):
                    folder.remove(slot.id + keyslots.SUFFIX)
