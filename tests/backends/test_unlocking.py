from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from filevault.backends import kdf
from filevault.backends.file import keyslots, master_key, vault_json
from filevault.backends.item_header import ItemHeader
from filevault.backends.kdf import STANDARD, KdfParameters
from filevault.backends.sealing import key_schedule
from filevault.backends.values import Secret
from filevault.errors import (
    BackendError,
    DamagedError,
    LockedError,
    NewerFormatError,
    NoVaultError,
    StorageError,
    TamperedError,
    WrongPassphraseError,
)
from filevault.system.files import Folder
from tests.conditions.work_limits import at_most
from tests.worlds.file_vault import (
    CHEAP,
    PASSPHRASE,
    GivenSecrets,
    add_slot,
    edit_line,
    keyfile,
    make,
    put_slot,
    reopen,
    slot_files,
    slot_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.file.vault_json import Marker

HEADER = ItemHeader("credentials", "jonsmith", 1, "2026-11-23T21:45:13Z", "add")
OTHER = b"another passphrase"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[KdfParameters]:
    """The costs of every derivation, in order."""
    seen: list[KdfParameters] = []
    real = kdf.derive

    def derive(passphrase: bytes, salt: bytes, parameters: KdfParameters) -> bytes:
        seen.append(parameters)
        return real(passphrase, salt, parameters)

    monkeypatch.setattr(kdf, "derive", derive)
    return seen


def known_vault(path: Path) -> tuple[Marker, bytes]:
    """Make a vault without slots whose master key is known."""
    vault, master = key_schedule.new_vault_id(), key_schedule.new_master()
    written = vault_json.Marker(
        vault, key_schedule.item_key_id(master, vault), key_schedule.commitment(master, vault)
    )
    with Folder.make(str(path)) as root, root.make_child(vault_json.FOLDER) as folder:
        vault_json.write(folder, written)
    return written, master


def test_nobody_is_asked_before_something_must_be_opened(tmp_path: Path) -> None:
    make(tmp_path)
    source = GivenSecrets(PASSPHRASE)
    backend = reopen(tmp_path, source)
    assert backend.vault_id == json.loads((tmp_path / ".filevault/vault.json").read_text())["vault"]
    assert (source.asked, backend.opened_slot) == (0, None)
    backend.encrypt(HEADER, b"x")
    assert source.asked == 1


def test_vault_is_opened_once(tmp_path: Path, tried: list[KdfParameters]) -> None:
    make(tmp_path)
    source = GivenSecrets(PASSPHRASE)
    backend = reopen(tmp_path, source)
    tried.clear()
    for _ in range(3):
        backend.decrypt("credentials", "jonsmith", backend.encrypt(HEADER, b"x"))
    backend.unlock()
    assert (source.asked, len(tried)) == (1, 1)
    assert backend.opened_slot == slot_files(tmp_path)[0].stem


def test_item_that_cannot_be_opened_anyway_asks_nobody(tmp_path: Path) -> None:
    data = make(tmp_path / "other").encrypt(HEADER, b"x")
    make(tmp_path / "vault")
    source = GivenSecrets(PASSPHRASE)
    with pytest.raises(TamperedError, match="another vault"):
        reopen(tmp_path / "vault", source).decrypt("credentials", "jonsmith", data)
    assert source.asked == 0


def test_wrong_passphrase_is_told_apart_from_damage(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(WrongPassphraseError, match="from the test is wrong") as caught:
        reopen(tmp_path, GivenSecrets(OTHER)).unlock()
    assert caught.value.exit_status == 5
    (file,) = slot_files(tmp_path)
    data = file.read_bytes()
    file.unlink()
    put_slot(tmp_path, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedError, match="the passphrase or key is right") as damaged:
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()
    assert damaged.value.exit_status == 6


def test_right_passphrase_of_a_damaged_slot_is_not_called_wrong(tmp_path: Path) -> None:
    vault, master = known_vault(tmp_path)
    add_slot(tmp_path, vault, master, OTHER)
    mine = add_slot(tmp_path, vault, master, PASSPHRASE, KdfParameters(72, 1, 1))
    data = mine.read_bytes()
    mine.unlink()
    put_slot(tmp_path, data[:-1] + bytes([data[-1] ^ 1]))
    source = GivenSecrets(PASSPHRASE, PASSPHRASE)
    with pytest.raises(DamagedError, match="the passphrase or key is right"):
        reopen(tmp_path, source).unlock()
    assert (source.asked, source.refused) == (1, 0)


def test_source_may_try_again(tmp_path: Path) -> None:
    make(tmp_path)
    source = GivenSecrets(OTHER, b"a third one", PASSPHRASE)
    reopen(tmp_path, source).unlock()
    assert (source.asked, source.refused) == (3, 2)


def test_passphrase_and_key_file_open_the_same_vault(tmp_path: Path) -> None:
    text = keyslots.new_keyfile_text()
    data = make(tmp_path, keyfile_text=text).encrypt(HEADER, b"the same")
    opened = set()
    for secret in (PASSPHRASE, keyfile(text)):
        backend = reopen(tmp_path, GivenSecrets(secret))
        assert backend.decrypt("credentials", "jonsmith", data) == b"the same"
        opened.add(backend.opened_slot)
    assert opened == {file.stem for file in slot_files(tmp_path)}


def test_passphrase_is_never_tried_on_a_key_files_slot_nor_the_reverse(
    tmp_path: Path, tried: list[KdfParameters]
) -> None:
    text = keyslots.new_keyfile_text()
    make(tmp_path / "keyfile", passphrase=None, keyfile_text=text)
    with pytest.raises(LockedError, match="not be opened with a passphrase, only with a key file"):
        reopen(tmp_path / "keyfile", GivenSecrets(text)).unlock()
    make(tmp_path / "passphrase")
    tried.clear()
    with pytest.raises(LockedError, match="not be opened with a key file, only with a passphrase"):
        reopen(tmp_path / "passphrase", GivenSecrets(keyfile(text))).unlock()
    assert tried == []


def test_wrong_key_file_costs_no_derivation_and_is_rejected(
    tmp_path: Path, tried: list[KdfParameters]
) -> None:
    make(tmp_path, keyfile_text=keyslots.new_keyfile_text())
    tried.clear()
    with pytest.raises(WrongPassphraseError):
        reopen(tmp_path, GivenSecrets(keyfile(keyslots.new_keyfile_text()))).unlock()
    assert tried == []


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (b"", "is empty"),
        (b"nul\x00", "zero byte"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_cannot_be_a_passphrase_is_not_tried(
    secret: bytes, words: str, tmp_path: Path, tried: list[KdfParameters]
) -> None:
    make(tmp_path)
    tried.clear()
    with pytest.raises(LockedError, match=f"the passphrase from the test .*{words}"):
        reopen(tmp_path, GivenSecrets(secret)).unlock()
    assert tried == []


def test_slot_that_opened_last_is_tried_first_then_the_cheapest(
    tmp_path: Path, tried: list[KdfParameters]
) -> None:
    vault, master = known_vault(tmp_path)
    costs = [KdfParameters(memory, 1, 1) for memory in (96, 64, 80, 72)]
    files = {cost: add_slot(tmp_path, vault, master, PASSPHRASE, cost) for cost in costs[:2]}
    files |= {cost: add_slot(tmp_path, vault, master, OTHER, cost) for cost in costs[2:]}
    tried.clear()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), last_slot=files[costs[0]].stem).unlock()
    assert [cost.memory_kib for cost in tried] == [96]
    tried.clear()
    backend = reopen(tmp_path, GivenSecrets(OTHER), last_slot=files[costs[0]].stem)
    backend.unlock()
    assert [cost.memory_kib for cost in tried] == [96, 64, 72]
    assert backend.opened_slot == files[costs[3]].stem


def test_only_slot_restricts_what_is_tried(tmp_path: Path, tried: list[KdfParameters]) -> None:
    vault, master = known_vault(tmp_path)
    mine = add_slot(tmp_path, vault, master, PASSPHRASE, KdfParameters(96, 1, 1))
    add_slot(tmp_path, vault, master, OTHER)
    (slot_folder(tmp_path) / "0123456789abcdef.slot").write_bytes(b"rubbish")
    tried.clear()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), only_slot=mine.stem).unlock()
    assert [cost.memory_kib for cost in tried] == [96]
    with pytest.raises(WrongPassphraseError, match=r"is wrong$"):
        reopen(tmp_path, GivenSecrets(OTHER), only_slot=mine.stem).unlock()
    with pytest.raises(LockedError, match="cannot be opened with a key file"):
        reopen(
            tmp_path, GivenSecrets(keyfile(keyslots.new_keyfile_text())), only_slot=mine.stem
        ).unlock()


@pytest.mark.parametrize("name", ["feedfacefeedface", "../vault", "*", "", "\x1b[2J"])
def test_only_slot_that_does_not_exist_is_said_to_be_missing(name: str, tmp_path: Path) -> None:
    make(tmp_path)
    source = GivenSecrets(PASSPHRASE)
    with pytest.raises(LockedError, match="the vault has no keyslot") as caught:
        reopen(tmp_path, source, only_slot=name).unlock()
    assert source.asked == 0
    assert caught.value.message.isprintable()


def test_what_is_no_slot_file_is_ignored(tmp_path: Path) -> None:
    make(tmp_path)
    folder = slot_folder(tmp_path)
    for name in (".fv-0011223344556677.tmp", "README", "x.slot~", ".x.slot.swp", "x.slot.orig"):
        (folder / name).write_bytes(b"rubbish")
    (folder / "old").mkdir()
    reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()


def test_damaged_slots_never_keep_a_good_one_from_opening(tmp_path: Path) -> None:
    vault, master = known_vault(tmp_path)
    good = add_slot(tmp_path, vault, master, PASSPHRASE)
    data = good.read_bytes()
    folder = slot_folder(tmp_path)
    (folder / "0000000000000000.slot").write_bytes(data)
    (folder / "0000000000000001.slot").write_bytes(b"")
    (folder / "0000000000000002.slot").mkdir()
    (folder / "0000000000000003.slot").symlink_to(good)
    put_slot(tmp_path, edit_line(data, memory_kib=2**40))
    put_slot(tmp_path, edit_line(data, vault="f" * 32))
    put_slot(tmp_path, edit_line(data, format="filevault/2"))
    put_slot(tmp_path, data[:-1] + bytes([data[-1] ^ 1]))
    for last in (None, "0000000000000000", "0000000000000003"):
        backend = reopen(tmp_path, GivenSecrets(PASSPHRASE), last_slot=last)
        backend.unlock()
        assert backend.opened_slot == good.stem


def test_damaged_slot_is_named_when_nothing_else_opens(tmp_path: Path) -> None:
    vault, master = known_vault(tmp_path)
    add_slot(tmp_path, vault, master, PASSPHRASE)
    (slot_folder(tmp_path) / "0123456789abcdef.slot").write_bytes(b"rubbish")
    with pytest.raises(WrongPassphraseError, match="is wrong; not every keyslot could be tried: "):
        reopen(tmp_path, GivenSecrets(OTHER)).unlock()
    with pytest.raises(LockedError, match="besides, keyslot '0123456789abcdef' is not"):
        reopen(tmp_path, GivenSecrets(keyfile(keyslots.new_keyfile_text()))).unlock()


@pytest.mark.parametrize("content", [b"rubbish", b"", bytes(9000)])
def test_vault_with_only_a_damaged_slot_asks_nobody(content: bytes, tmp_path: Path) -> None:
    known_vault(tmp_path)
    slot_folder(tmp_path).mkdir()
    (slot_folder(tmp_path) / "0123456789abcdef.slot").write_bytes(content)
    source = GivenSecrets(PASSPHRASE)
    with pytest.raises(DamagedError, match="keyslot '0123456789abcdef'"):
        reopen(tmp_path, source).unlock()
    assert source.asked == 0


def test_renamed_slot_is_damaged(tmp_path: Path) -> None:
    make(tmp_path)
    (file,) = slot_files(tmp_path)
    file.rename(file.with_name("0123456789abcdef.slot"))
    with pytest.raises(DamagedError, match="its name does not belong to its content"):
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()


def test_slot_of_another_vault_is_refused(tmp_path: Path, tried: list[KdfParameters]) -> None:
    make(tmp_path / "other")
    make(tmp_path / "vault")
    (mine,), (theirs,) = slot_files(tmp_path / "vault"), slot_files(tmp_path / "other")
    mine.unlink()
    put_slot(tmp_path / "vault", theirs.read_bytes())
    tried.clear()
    with pytest.raises(TamperedError, match="another master key") as caught:
        reopen(tmp_path / "vault", GivenSecrets(PASSPHRASE)).unlock()
    assert caught.value.exit_status == 6
    assert tried == []


def test_slots_of_a_former_master_key_are_skipped_without_derivation(
    tmp_path: Path, tried: list[KdfParameters]
) -> None:
    vault, master = known_vault(tmp_path)
    add_slot(tmp_path, vault, key_schedule.new_master(), PASSPHRASE)
    good = add_slot(tmp_path, vault, master, PASSPHRASE, KdfParameters(128, 1, 1))
    tried.clear()
    backend = reopen(tmp_path, GivenSecrets(PASSPHRASE))
    backend.unlock()
    assert backend.opened_slot == good.stem
    assert [cost.memory_kib for cost in tried] == [128]


@pytest.mark.parametrize("field", ["commitment", "master_id"])
def test_master_key_that_vault_json_does_not_commit_to_is_refused(
    field: str, tmp_path: Path
) -> None:
    vault, master = known_vault(tmp_path)
    changed = vault._replace(**{field: "0" * len(getattr(vault, field))})
    with Folder.open(str(tmp_path / ".filevault")) as folder:
        vault_json.write(folder, changed)
    data = add_slot(tmp_path, vault, master, PASSPHRASE).read_bytes()
    if field == "master_id":  # a slot that claims the id, but holds another key
        slot_files(tmp_path)[0].unlink()
        line = edit_line(data, master=changed.master_id)
        put_slot(tmp_path, line)
        with pytest.raises(DamagedError, match="the passphrase or key is right"):
            reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()
    else:
        with pytest.raises(TamperedError, match="contains another master key than vault"):
            reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()


def test_kdf_bomb_is_refused_in_milliseconds(tmp_path: Path, tried: list[KdfParameters]) -> None:
    make(tmp_path)
    (file,) = slot_files(tmp_path)
    data = file.read_bytes()
    file.unlink()
    tried.clear()
    for costs in (
        {"memory_kib": 1 << 32},
        {"memory_kib": 2**53 - 1, "iterations": 2**53 - 1, "lanes": 2**53 - 1},
        {"memory_kib": 1 << 20, "iterations": 16},
        {"iterations": 1 << 30},
        {"lanes": 1 << 24},
    ):
        bomb = put_slot(tmp_path, edit_line(data, **costs))
        with (
            at_most(0.1),
            pytest.raises(TamperedError, match=f"keyslot '{bomb.stem}' asks for") as caught,
        ):
            reopen(tmp_path, GivenSecrets(PASSPHRASE), STANDARD).unlock()
        assert caught.value.exit_status == 6
        bomb.unlink()
    assert tried == []


def test_bomb_beside_a_good_slot_is_not_set_off(tmp_path: Path, tried: list[KdfParameters]) -> None:
    make(tmp_path)
    (file,) = slot_files(tmp_path)
    for memory in range(1 << 21, (1 << 21) + 30):
        put_slot(tmp_path, edit_line(file.read_bytes(), memory_kib=memory))
    tried.clear()
    backend = reopen(tmp_path, GivenSecrets(PASSPHRASE))
    backend.unlock()
    assert backend.opened_slot == file.stem
    assert tried == [CHEAP.default]


def test_weak_slot_opens_only_where_weakness_is_allowed(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(LockedError, match="is too weak") as caught:
        reopen(tmp_path, GivenSecrets(PASSPHRASE), STANDARD).unlock()
    assert caught.value.hint == "--allow-weak-kdf allows it"
    reopen(tmp_path, GivenSecrets(PASSPHRASE), STANDARD.without_floor()).unlock()


def test_slot_that_needs_more_memory_than_there_is_opens_where_there_is_more(
    tmp_path: Path,
) -> None:
    vault, master = known_vault(tmp_path)
    add_slot(tmp_path, vault, master, PASSPHRASE, KdfParameters(70000, 1, 1))
    with pytest.raises(LockedError, match="asks for 70000 KiB of memory"):
        reopen(tmp_path, GivenSecrets(PASSPHRASE), available=lambda: 139998).unlock()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), available=lambda: 140000).unlock()


def test_lack_of_memory_is_reported_if_nothing_else_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_args: object) -> bytes:
        raise BackendError("there is not enough memory to derive a key")

    make(tmp_path)
    monkeypatch.setattr(kdf, "derive", short)
    with pytest.raises(BackendError, match="not enough memory"):
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()


def test_one_unlock_is_bounded_over_all_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, master = known_vault(tmp_path)
    data = add_slot(tmp_path, vault, master, PASSPHRASE).read_bytes()
    slot_files(tmp_path)[0].unlink()
    for memory in range(3):  # three of almost 2^22, of which two fit into 2^23
        put_slot(tmp_path, edit_line(data, memory_kib=(1 << 18) - memory, iterations=16))
    tried = []

    def derive(_passphrase: bytes, _salt: bytes, parameters: KdfParameters) -> bytes:
        tried.append(parameters.cost)
        return bytes(64)

    monkeypatch.setattr(kdf, "derive", derive)
    with pytest.raises(WrongPassphraseError, match="all slots together cost more") as caught:
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()
    assert len(tried) == 2
    assert sum(tried) <= 1 << 23
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("--slot ")


def test_at_most_sixteen_slots_are_tried(tmp_path: Path, tried: list[KdfParameters]) -> None:
    vault, master = known_vault(tmp_path)
    for memory in range(64, 64 + 17):
        add_slot(tmp_path, vault, master, OTHER, KdfParameters(memory, 1, 1))
    mine = add_slot(tmp_path, vault, master, PASSPHRASE, KdfParameters(100, 1, 1))
    tried.clear()
    with pytest.raises(WrongPassphraseError, match="16 of 18 keyslots were tried"):
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()
    assert len(tried) == 16
    reopen(tmp_path, GivenSecrets(PASSPHRASE), last_slot=mine.stem).unlock()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), only_slot=mine.stem).unlock()


def test_a_thousand_stray_slots_cost_little_and_hide_no_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, master = known_vault(tmp_path)
    mine = add_slot(tmp_path, vault, master, PASSPHRASE)
    for number in range(1000):
        (slot_folder(tmp_path) / f"{number:016x}.slot").write_bytes(b"\n" * 9000)
    read: list[str] = []
    real = Folder.read

    def counted(self: Folder, name: str, limit: int) -> bytes:
        read.append(name)
        return real(self, name, limit)

    monkeypatch.setattr(Folder, "read", counted)
    with pytest.raises(DamagedError, match=r"has no header line|is longer than"):
        reopen(tmp_path, GivenSecrets(OTHER)).unlock()
    assert len(read) == 1 + 64  # vault.json, and the slots that are read at most
    monkeypatch.undo()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), last_slot=mine.stem).unlock()
    reopen(tmp_path, GivenSecrets(PASSPHRASE), only_slot=mine.stem).unlock()


def test_vault_without_slots_is_damaged(tmp_path: Path) -> None:
    known_vault(tmp_path)
    for _ in range(2):
        with pytest.raises(DamagedError, match="no keyslots"):
            reopen(tmp_path, GivenSecrets()).unlock()
        slot_folder(tmp_path).mkdir(exist_ok=True)


def test_newer_slot_alone_says_so(tmp_path: Path) -> None:
    known_vault(tmp_path)
    put_slot(tmp_path, b'{"format":"filevault/2","type":"tpm2"}\n')
    with pytest.raises(NewerFormatError, match=r"keyslot .* newer filevault") as caught:
        reopen(tmp_path, GivenSecrets(PASSPHRASE)).unlock()
    assert caught.value.exit_status == 3


def test_folder_without_a_marker_is_no_vault(tmp_path: Path) -> None:
    with pytest.raises(NoVaultError, match="there is no vault") as caught:
        reopen(tmp_path, GivenSecrets())
    assert caught.value.exit_status == 4
    (tmp_path / ".filevault").mkdir()
    with pytest.raises(NoVaultError):
        reopen(tmp_path, GivenSecrets())


def test_link_in_the_place_of_marker_or_slots_is_refused(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    make(vault)
    (vault / ".filevault").rename(tmp_path / "elsewhere")
    (vault / ".filevault").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a link"):
        reopen(vault, GivenSecrets(PASSPHRASE))
    (vault / ".filevault").unlink()
    (tmp_path / "elsewhere").rename(vault / ".filevault")
    slot_folder(vault).rename(tmp_path / "slots")
    slot_folder(vault).symlink_to(tmp_path / "slots")
    with pytest.raises(StorageError, match="is a link"):
        reopen(vault, GivenSecrets(PASSPHRASE)).unlock()


def test_root_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path / "vault")
    (tmp_path / "link").symlink_to(tmp_path / "vault")
    reopen(tmp_path / "link", GivenSecrets(PASSPHRASE)).unlock()


def test_secret_is_in_no_repr_and_in_no_message(tmp_path: Path) -> None:
    make(tmp_path)
    source = GivenSecrets(b"SECRET-PASSPHRASE")
    with pytest.raises(WrongPassphraseError) as caught:
        reopen(tmp_path, source).unlock()
    seen = [repr(caught.value), str(caught.value.hint), repr(source.secrets)]
    assert not [text for text in seen if "SECRET" in text]


@pytest.mark.parametrize("right", [True, False])
def test_what_a_source_gave_is_overwritten_once_it_was_tried(
    tmp_path: Path, *, right: bool
) -> None:
    make(tmp_path)
    secret = bytearray(PASSPHRASE if right else OTHER)
    size = len(secret)
    backend = reopen(tmp_path, GivenSecrets(Secret("passphrase", secret, "the test")))
    with contextlib.nullcontext() if right else pytest.raises(WrongPassphraseError):
        backend.unlock()
    assert secret == bytes(size)


def test_whoever_holds_the_vault_keeps_the_secret(tmp_path: Path) -> None:
    """It may be what a new keyslot is made of."""
    make(tmp_path)
    secret = Secret("passphrase", bytearray(PASSPHRASE), "the test")
    with Folder.open(str(tmp_path)) as root:
        holder = master_key.unwrap(root, GivenSecrets(secret), CHEAP)
    assert holder.secret.value == PASSPHRASE
    assert secret.value == bytes(len(PASSPHRASE))
