from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from filevault.backends.file import keyslots, master_key, rekey, retired_keys, vault_json
from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import key_schedule
from filevault.errors import FilevaultError, StorageError, TamperedError, UnsyncedError
from filevault.system.files import Folder
from tests.worlds.file_vault import (
    CHEAP,
    PASSPHRASE,
    TIME,
    GivenSecrets,
    add_slot,
    reopen,
    slot_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.file.master_key import UnwrappedKey


def hold(root: Folder) -> UnwrappedKey:
    return master_key.unwrap(root, GivenSecrets(PASSPHRASE), CHEAP)


def prepare(root: Folder, holder: UnwrappedKey | None = None) -> rekey.Prepared:
    holder = holder or hold(root)
    return rekey.prepare(
        root, [holder], rekey.new_master_key(holder.vault.vault), clock=lambda: TIME
    )


def change(root: Folder) -> rekey.Prepared:
    prepared = prepare(root)
    rekey.switch(root, prepared)
    return prepared


def everything(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_what_is_prepared_changes_nothing_yet(root: Folder, tmp_path: Path) -> None:
    before = hold(root)
    prepared = prepare(root, before)
    assert hold(root).master == before.master
    assert prepared.vault.vault == before.vault.vault
    assert prepared.master not in (before.master, bytes(32))
    assert len(slot_files(tmp_path)) == 2


def test_after_the_switch_the_same_secret_opens_the_new_key_and_leads_to_the_old(
    root: Folder,
) -> None:
    before = hold(root)
    prepared = change(root)
    after = hold(root)
    assert (after.master, after.slot.id) == (prepared.master, prepared.slots[0])
    assert retired_keys.masters(root, after.vault, after.master) == {
        before.vault.master_id: before.master
    }


def test_keys_that_were_retired_one_after_the_other_are_all_found(root: Folder) -> None:
    old = {}
    for _ in range(4):
        holder = hold(root)
        old[holder.vault.master_id] = holder.master
        change(root)
    present = hold(root)
    assert retired_keys.masters(root, present.vault, present.master) == old
    # One that is missing cuts off those before it, and nothing else.
    second = list(old)[1]
    os.unlink(f"{root.path}/.filevault/retired/{second}")
    assert list(retired_keys.masters(root, present.vault, present.master)) == list(old)[:1:-1]


def test_retired_keys_that_lead_in_a_circle_or_nowhere_are_left_out(
    root: Folder, tmp_path: Path
) -> None:
    first = hold(root)
    prepared = change(root)
    present = hold(root)
    # The present key under the old one, which is under the present one.
    retired_keys.write(root, first.vault, first.master, prepared.master, clock=lambda: TIME)
    folder = tmp_path / ".filevault/retired"
    (folder / ("0" * 16)).write_bytes(b"no envelope")
    (folder / "notes.txt").write_bytes(b"no retired key")
    (folder / ("1" * 16)).symlink_to(folder / first.vault.master_id)
    assert list(retired_keys.masters(root, present.vault, present.master)) == [
        first.vault.master_id
    ]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_before_the_switch_leaves_every_byte_as_it_was(
    failing: int, root: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write is refused; a full disk cannot be had here without privileges."""
    before = everything(tmp_path)
    holder = hold(root)
    real = Folder.write
    written: list[str] = []

    def write(folder: Folder, name: str, data: bytes, keep: str | None = None) -> None:
        written.append(name)
        if len(written) > failing:
            raise StorageError("cannot write")
        real(folder, name, data, keep=keep)

    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(StorageError):
        rekey.switch(root, prepare(root, holder))
    assert len(written) == failing + 1
    assert everything(tmp_path) == before


def test_a_switch_that_may_not_last_keeps_what_both_keys_need(
    root: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(root)
    real = vault_json.write

    def write(folder: Folder, written: vault_json.Marker) -> None:
        real(folder, written)
        raise UnsyncedError("a power cut may undo it")

    with monkeypatch.context() as patched:
        patched.setattr(vault_json, "write", write)
        with pytest.raises(UnsyncedError):
            rekey.switch(root, prepared)
    assert hold(root).master == prepared.master
    assert len(slot_files(tmp_path)) == 2


def test_a_key_from_a_slot_is_retired_with_all_it_leads_to(root: Folder, tmp_path: Path) -> None:
    """Two machines each gave the vault a key, and the retired file of the other one was kept."""
    first = hold(root)
    theirs = os.urandom(32)
    vault_id = first.vault.vault
    other = vault_json.Marker(
        vault_id,
        key_schedule.item_key_id(theirs, vault_id),
        key_schedule.commitment(theirs, vault_id),
    )
    change(root)
    present = hold(root)
    retired_keys.write(root, other, theirs, first.master, clock=lambda: TIME)
    assert retired_keys.masters(root, present.vault, present.master) == {}
    known = {other.master_id: theirs}
    found = retired_keys.masters(root, present.vault, present.master, known)
    assert found == {other.master_id: theirs, first.vault.master_id: first.master}
    rekey.retire(root, present.vault, present.master, found, clock=lambda: TIME)
    assert retired_keys.masters(root, present.vault, present.master) == found
    before = everything(tmp_path)
    rekey.retire(root, present.vault, present.master, found, clock=lambda: TIME)
    assert everything(tmp_path) == before


def test_stale_slots_go_and_those_that_hold_the_only_copy_stay(
    root: Folder, tmp_path: Path
) -> None:
    before = hold(root)
    change(root)
    present = hold(root)
    only_here, also_retired = os.urandom(32), os.urandom(32)
    add_slot(tmp_path, present.vault, only_here, b"x")
    add_slot(tmp_path, present.vault, also_retired, b"x")
    name = key_schedule.item_key_id(also_retired, present.vault.vault)
    rekey.retire(root, present.vault, present.master, {name: also_retired}, clock=lambda: TIME)
    foreign = present.vault._replace(vault="f" * 32)
    add_slot(tmp_path, foreign, os.urandom(32), b"x")
    (tmp_path / ".filevault/slots/0123456789abcdef.slot").write_bytes(b"no slot")
    assert rekey.remove_stale_slots(root, present.vault, present.master) == 2
    left = {slot.master_id for slot in keyslots.listing(root) if slot.vault == present.vault.vault}
    assert left == {
        present.vault.master_id,
        key_schedule.item_key_id(only_here, present.vault.vault),
    }
    assert before.vault.master_id not in left
    assert len(slot_files(tmp_path)) == 4


def test_what_a_killed_try_left_is_taken_away_and_no_slot_of_anybody_else(
    root: Folder, tmp_path: Path
) -> None:
    first = prepare(root)
    add_slot(tmp_path, first.vault, first.master, b"the slot of another secret")
    other = prepare(root)
    before = everything(tmp_path)
    rekey.remove_abandoned_slots(root, hold(root), CHEAP, lambda _: False)
    assert everything(tmp_path) == before
    rekey.remove_abandoned_slots(root, hold(root), CHEAP, lambda made: made == first.vault)
    left = {slot.master_id for slot in keyslots.listing(root)}
    assert left == {hold(root).vault.master_id, other.vault.master_id}


def test_an_item_under_a_retired_key_is_told_from_one_under_an_unknown_key(
    root: Folder, tmp_path: Path
) -> None:
    header = ItemHeader("credentials", "work", 1, "2026-11-23T21:45:13Z", "add")
    data = reopen(tmp_path, GivenSecrets(PASSPHRASE)).encrypt(header, b"x")
    change(root)
    backend = reopen(tmp_path, GivenSecrets(PASSPHRASE))
    with pytest.raises(TamperedError, match="under a former key") as caught:
        backend.decrypt("credentials", "work", data)
    assert "filevault rekey --finish" in str(caught.value.hint)
    for file in (tmp_path / ".filevault/retired").iterdir():
        file.unlink()
    with pytest.raises(TamperedError, match="under another key of this vault"):
        backend.decrypt("credentials", "work", data)


def test_a_backend_notices_that_the_vault_got_another_key(root: Folder, tmp_path: Path) -> None:
    backend = reopen(tmp_path, GivenSecrets(PASSPHRASE))
    backend.confirm()
    change(root)
    with pytest.raises(StorageError, match="changed by another process"):
        backend.confirm()
    reopen(tmp_path, GivenSecrets(PASSPHRASE)).confirm()


def test_neither_key_shows(root: Folder) -> None:
    prepared = change(root)
    shown = f"{prepared!r} {prepared}"
    assert prepared.master.hex() not in shown
    assert repr(prepared.master) not in shown


def test_a_folder_that_is_no_vault_has_no_retired_keys(tmp_path: Path) -> None:
    with Folder.open(str(tmp_path)) as folder:
        assert not retired_keys.exists(folder, "0" * 16)
        assert not retired_keys.exists(folder, "../x")
        with pytest.raises(FilevaultError):
            hold(folder)
