from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from filevault.backends import kdf
from filevault.backends.file import keyslot_changes, keyslots, master_key, vault_json
from filevault.backends.kdf import KdfParameters
from filevault.errors import (
    LockedError,
    NotFoundError,
    PartlyDoneError,
    StorageError,
    UnsyncedError,
    UsageError,
    WrongPassphraseError,
)
from filevault.system.files import Folder
from tests.worlds.file_vault import (
    CHEAP,
    PASSPHRASE,
    WHEN,
    GivenSecrets,
    add_slot,
    edit_line,
    keyfile,
    make,
    put_slot,
    reopen,
    slot_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.file.master_key import UnwrappedKey

NEW = b"another long passphrase"
REPLACEMENT = keyslots.NewKeyslot(NEW, CHEAP.default, "", WHEN)


def hold(root: Folder, secret: bytes = PASSPHRASE) -> UnwrappedKey:
    return master_key.unwrap(root, GivenSecrets(secret), CHEAP)


def add(root: Folder, holder: UnwrappedKey, secret: bytes = NEW, label: str = "") -> str:
    return keyslot_changes.add(
        root, holder, keyslots.NewKeyslot(secret, CHEAP.default, label, WHEN)
    )


def opens(path: Path, secret: bytes) -> bool:
    try:
        reopen(path, GivenSecrets(secret)).unlock()
    except WrongPassphraseError:
        return False
    return True


def test_an_added_slot_opens_the_vault_and_the_old_one_does_still(
    root: Folder, tmp_path: Path
) -> None:
    made = add(root, hold(root), label="a laptop")
    assert opens(tmp_path, NEW)
    assert opens(tmp_path, PASSPHRASE)
    assert {slot.id: slot.label for slot in keyslots.listing(root)}[made] == "a laptop"


def test_an_added_key_file_opens_the_vault(root: Folder, tmp_path: Path) -> None:
    text = keyslots.new_keyfile_text()
    secret = keyslots.keyfile_bytes(text, "it")
    keyslot_changes.add(root, hold(root), keyslots.NewKeyslot(secret, None, "", WHEN))
    reopen(tmp_path, GivenSecrets(keyfile(text))).unlock()


def test_the_seventeenth_slot_is_refused(root: Folder, tmp_path: Path) -> None:
    holder = hold(root)
    for number in range(15):
        add(root, holder, f"passphrase {number}".encode())
    with pytest.raises(UsageError, match="16 keyslots"):
        add(root, holder)
    assert len(slot_files(tmp_path)) == 16
    # Slots of a former master key take no place.
    keyslot_changes.remove(root, holder, keyslot_changes.find(root, _other(root, holder)), CHEAP)
    add_slot(tmp_path, holder.vault, os.urandom(32), b"old")
    add(root, holder)


def _other(root: Folder, holder: UnwrappedKey) -> str:
    return next(slot.id for slot in keyslots.listing(root) if slot.id != holder.slot.id)


def test_a_label_that_cannot_be_shown_is_refused(root: Folder, tmp_path: Path) -> None:
    for label in ("two\nlines", "x" * 201, "\x1b[31m"):
        with pytest.raises(UsageError, match="visible"):
            add(root, hold(root), label=label)
    assert len(slot_files(tmp_path)) == 1


def test_a_removed_slot_opens_nothing_any_more(root: Folder, tmp_path: Path) -> None:
    first = hold(root)
    add(root, first)
    keyslot_changes.remove(root, hold(root, NEW), first.slot.id, CHEAP)
    assert not opens(tmp_path, PASSPHRASE)
    assert opens(tmp_path, NEW)


def test_the_last_slot_stays(root: Folder, tmp_path: Path) -> None:
    holder = hold(root)
    with pytest.raises(UsageError, match="last one"):
        keyslot_changes.remove(root, holder, holder.slot.id, CHEAP)
    # A slot of a former master key is no way in.
    add_slot(tmp_path, holder.vault, os.urandom(32), NEW)
    with pytest.raises(UsageError, match="last one"):
        keyslot_changes.remove(root, holder, holder.slot.id, CHEAP)
    assert opens(tmp_path, PASSPHRASE)


def test_a_forged_slot_does_not_count_as_another_way_in(root: Folder, tmp_path: Path) -> None:
    """Whoever writes the synced vault could lock its owner out otherwise."""
    holder = hold(root)
    (file,) = slot_files(tmp_path)
    put_slot(tmp_path, edit_line(file.read_bytes(), check="00" * 16))
    assert len(keyslot_changes.own_slots(root, holder)) == 2
    with pytest.raises(UsageError, match="another one must be known to work"):
        keyslot_changes.remove(root, holder, holder.slot.id, CHEAP)
    assert opens(tmp_path, PASSPHRASE)


def test_one_of_two_slots_of_the_same_passphrase_can_be_removed(
    root: Folder, tmp_path: Path
) -> None:
    holder = hold(root)
    add(root, holder, PASSPHRASE)
    keyslot_changes.remove(root, holder, holder.slot.id, CHEAP)
    assert opens(tmp_path, PASSPHRASE)
    assert len(slot_files(tmp_path)) == 1


def test_whoever_removes_a_slot_has_theirs_written_anew(root: Folder, tmp_path: Path) -> None:
    """Its file has another name then, so that a deletion elsewhere does not reach it."""
    holder = hold(root)
    other = add(root, holder)
    changed = keyslot_changes.remove(root, holder, other, CHEAP)
    (slot,) = keyslots.listing(root)
    assert changed == (holder.slot.id, slot.id)
    assert slot.id != holder.slot.id
    same = (slot.parameters, slot.label, slot.created)
    assert same == (holder.slot.parameters, holder.slot.label, holder.slot.created)
    assert opens(tmp_path, PASSPHRASE)
    # Nobody may have opened it meanwhile, as what was opened is not there any more.
    add(root, hold(root))
    before = slot_files(tmp_path)
    with pytest.raises(StorageError, match="by another process"):
        keyslot_changes.remove(root, holder, slot.id, CHEAP)
    assert slot_files(tmp_path) == before


def test_two_who_remove_each_other_at_once_both_stay(root: Folder, tmp_path: Path) -> None:
    one = hold(root)
    theirs = add(root, one)
    clone = tmp_path / "clone"
    shutil.copytree(tmp_path / ".filevault", clone / ".filevault")
    before = {file.name for file in slot_files(tmp_path)}
    keyslot_changes.remove(root, one, theirs, CHEAP)
    with Folder.open(str(clone)) as other:
        keyslot_changes.remove(other, hold(other, NEW), one.slot.id, CHEAP)
    # As git merges it: what either deleted is gone, what either added is there.
    for file in slot_files(clone):
        shutil.copy(file, tmp_path / ".filevault/slots")
    assert not before & {file.name for file in slot_files(tmp_path)}
    for secret in (PASSPHRASE, NEW):
        assert opens(tmp_path, secret)


@pytest.mark.parametrize("failing", ["slot", "own"])
def test_a_slot_that_cannot_be_deleted_costs_nothing(
    failing: str, root: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system's refusal has to be acted here: root is refused nothing."""
    holder = hold(root)
    other = add(root, holder)
    refused = (other if failing == "slot" else holder.slot.id) + keyslots.SUFFIX
    before = slot_files(tmp_path)
    real = Folder.remove

    def remove(folder: Folder, name: str) -> None:
        if name == refused:
            raise StorageError("cannot delete")
        real(folder, name)

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "remove", remove)
        expected = StorageError if failing == "slot" else PartlyDoneError
        with pytest.raises(expected, match="cannot delete"):
            keyslot_changes.remove(root, holder, other, CHEAP)
    assert opens(tmp_path, PASSPHRASE)
    assert opens(tmp_path, NEW) == (failing == "slot")
    if failing == "slot":
        assert slot_files(tmp_path) == before


def test_a_damaged_slot_can_be_removed(root: Folder, tmp_path: Path) -> None:
    bad = slot_files(tmp_path)[0].with_name("0123456789abcdef.slot")
    bad.write_bytes(b"no slot")
    holder = hold(root)
    assert keyslot_changes.remove(root, holder, keyslot_changes.find(root, "0123"), CHEAP) is None
    assert not bad.exists()
    assert hold(root).slot.id == holder.slot.id


def test_a_slot_is_found_by_the_beginning_of_its_id(root: Folder, tmp_path: Path) -> None:
    (file,) = slot_files(tmp_path)
    assert keyslot_changes.find(root, file.stem[:4]) == file.stem
    for given in (file.stem[:3], "", "zzzz", "../x"):
        with pytest.raises(NotFoundError):
            keyslot_changes.find(root, given)
    for name in ("aaaa000000000000", "aaaa111111111111"):
        file.with_name(f"{name}.slot").write_bytes(b"")
    with pytest.raises(UsageError, match="one of 2"):
        keyslot_changes.find(root, "aaaa")


def test_a_changed_passphrase_keeps_label_and_takes_present_costs(tmp_path: Path) -> None:
    make(tmp_path, parameters=KdfParameters(32, 1, 1), label="home")
    with Folder.open(str(tmp_path)) as root:
        holder = hold(root)
        assert keyslots.weaker(keyslots.listing(root), CHEAP.default)
        made = keyslot_changes.change_passphrase(root, holder, REPLACEMENT)
        (slot,) = keyslots.listing(root)
        assert (slot.id, slot.label, slot.parameters) == (made, "home", CHEAP.default)
        assert not keyslots.weaker([slot], CHEAP.default)
    assert opens(tmp_path, NEW)
    assert not opens(tmp_path, PASSPHRASE)


def test_weaker_slots_are_those_with_less_memory_or_less_work() -> None:
    def slot(*costs: int) -> keyslots.Slot:
        parameters = KdfParameters(*costs) if costs else None
        return keyslots.Slot("", "", "", "", "", "", parameters, b"", b"", b"", b"")

    default = KdfParameters(65536, 3, 4)
    weak = [slot(65535, 16, 4), slot(65536, 2, 4)]
    strong = [slot(65536, 3, 1), slot(131072, 3, 4), slot()]
    assert keyslots.weaker([*weak, *strong], default) == weak


def test_a_vault_that_got_other_keys_meanwhile_is_left_alone(root: Folder, tmp_path: Path) -> None:
    holder = hold(root)
    other = holder.vault._replace(master_id="0" * 16)
    (tmp_path / ".filevault/vault.json").write_bytes(vault_json.build(other))
    before = slot_files(tmp_path)
    for change in (
        lambda: add(root, holder),
        lambda: keyslot_changes.remove(root, holder, holder.slot.id, CHEAP),
        lambda: keyslot_changes.change_passphrase(root, holder, REPLACEMENT),
    ):
        with pytest.raises(StorageError, match="by another process"):
            change()
    assert slot_files(tmp_path) == before


def test_an_old_slot_that_cannot_be_deleted_is_told(
    root: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system's refusal has to be acted here: root is refused nothing."""
    holder = hold(root)
    refusal = StorageError("cannot delete")

    def remove(_folder: Folder, _name: str) -> None:
        raise refusal

    monkeypatch.setattr(Folder, "remove", remove)
    with pytest.raises(PartlyDoneError, match="and the old one does still: cannot delete"):
        keyslot_changes.change_passphrase(root, holder, REPLACEMENT)
    refusal = UnsyncedError("deleted, but")
    with pytest.raises(UnsyncedError):
        keyslot_changes.change_passphrase(root, holder, REPLACEMENT)
    assert opens(tmp_path, NEW)
    assert opens(tmp_path, PASSPHRASE)


def test_costs_beyond_this_machine_are_refused_before_anything_is_written() -> None:
    greedy = CHEAP._replace(default=KdfParameters(1 << 20, 1, 1))
    with pytest.raises(UsageError, match="this machine can spare"):
        keyslot_changes.passphrase_secret(NEW, greedy, lambda: 1)
    with pytest.raises(LockedError, match="empty"):
        keyslot_changes.passphrase_secret(b"", CHEAP)


def test_a_holder_shows_neither_secret_nor_key(root: Folder) -> None:
    holder = hold(root)
    shown = f"{holder!r} {holder}"
    assert PASSPHRASE.decode() not in shown
    assert holder.master.hex() not in shown
    assert repr(holder.master) not in shown


def test_a_secret_is_tried_within_the_costs_of_one_unlock(root: Folder, tmp_path: Path) -> None:
    holder = hold(root)
    for number in range(20):
        add_slot(tmp_path, holder.vault, holder.master, f"{number}".encode())
    tried = []

    def available() -> int:
        tried.append(1)
        return 0

    found = [
        slot._replace(parameters=KdfParameters(65537, 1, 1)) for slot in keyslots.listing(root)
    ]
    assert list(master_key.try_unwrap(found, holder.secret, CHEAP, available)) == []
    assert len(tried) == 16
    assert kdf.MAX_UNLOCK_COST >= 16 * 65537
