from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.backends.file import keyslots
from filevault.backends.kdf import KdfParameters
from filevault.backends.sealing import key_schedule
from filevault.errors import LockedError, StorageError
from filevault.system.files import Folder
from tests.worlds.file_vault import WHEN

if TYPE_CHECKING:
    from pathlib import Path

VAULT = "00112233445566778899aabbccddeeff"
MASTER = bytes(range(32))
COSTS = KdfParameters(64, 1, 1)
SECRET = b"correct horse"
NEW = keyslots.NewKeyslot(SECRET, COSTS, "", WHEN)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


def build(secret: bytes = SECRET, costs: KdfParameters | None = COSTS, label: str = "") -> bytes:
    return keyslots.build(MASTER, VAULT, keyslots.NewKeyslot(secret, costs, label, WHEN))


def parse(data: bytes) -> keyslots.Slot:
    return keyslots.parse(data, keyslots.file_name(data), "the slot")


@settings(deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    lanes=st.integers(0, 4),
    more=st.integers(0, 100),
    label=TEXT,
)
def test_slot_opens_to_the_master_key_with_its_secret_alone(
    secret: bytes, lanes: int, more: int, label: str
) -> None:
    costs = KdfParameters(8 * lanes + more, 1, lanes) if lanes else None
    slot = parse(build(secret, costs, label))
    assert (slot.label, slot.parameters, slot.vault) == (label, costs, VAULT)
    assert slot.master_id == key_schedule.item_key_id(MASTER, VAULT)
    assert keyslots.unwrap(slot, secret, "it") == MASTER
    assert keyslots.unwrap(slot, secret[:-1] + bytes([secret[-1] ^ 1]), "it") is None


def test_header_of_a_passphrase_slot_is_the_line_that_the_format_shows() -> None:
    line, _, wrapped = build(label="a laptop").partition(b"\n")
    assert list(json.loads(line)) == [
        "format",
        "vault",
        "master",
        "type",
        "label",
        "created",
        "memory_kib",
        "iterations",
        "lanes",
        "salt",
        "check",
    ]
    assert len(wrapped) == 24 + 32 + 16


def test_header_of_a_keyfile_slot_has_no_costs() -> None:
    line = build(bytes(32), None).partition(b"\n")[0]
    assert json.loads(line)["type"] == "keyfile"
    assert not {"memory_kib", "iterations", "lanes"} & set(json.loads(line))


def test_neither_secret_nor_master_key_is_in_the_file() -> None:
    data = build()
    for secret in (SECRET, MASTER, MASTER.hex().encode(), base64.b64encode(MASTER)):
        assert secret not in data


def test_slots_made_of_the_same_secret_share_nothing() -> None:
    first, second = parse(build()), parse(build())
    assert first.id != second.id
    assert first.salt != second.salt
    assert first.check != second.check
    assert first.wrapped[:24] != second.wrapped[:24]


def test_label_that_looks_like_a_field_is_only_text() -> None:
    label = 'x","memory_kib":1,"type":"argon2id'
    slot = parse(build(bytes(32), None, label))
    assert (slot.type, slot.label, slot.cost) == ("keyfile", label, 0)


def test_cost_is_memory_times_iterations() -> None:
    assert parse(build(costs=KdfParameters(64, 3, 2))).cost == 192


def test_new_key_file_is_one_line_that_reads_back() -> None:
    text = keyslots.new_keyfile_text()
    assert text.startswith(b"filevault-key-1:")
    assert text.count(b"\n") == 1
    assert len(keyslots.keyfile_bytes(text, "it")) == 32
    assert keyslots.new_keyfile_text() != text


@given(key=st.binary(min_size=32, max_size=32), around=st.text(" \t\r\n", max_size=5))
def test_white_space_around_a_key_does_not_count(key: bytes, around: str) -> None:
    text = keyslots.new_keyfile_text(lambda _count: key)
    assert keyslots.keyfile_bytes(around.encode() + text + around.encode(), "it") == key


@given(st.binary(max_size=80) | st.binary(max_size=50).map(lambda end: b"filevault-key-1:" + end))
def test_any_other_text_is_no_key_and_is_not_shown(text: bytes) -> None:
    with pytest.raises(LockedError) as caught:
        keyslots.keyfile_bytes(text, "the key from the test")
    assert caught.value.message.startswith("the key from the test is ")
    assert caught.value.__cause__ is None


def test_slot_that_cannot_be_read_back_is_not_taken_for_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(self: Folder, name: str, limit: int) -> bytes:
        return real(self, name, limit)[:-1]

    real = Folder.read
    monkeypatch.setattr(Folder, "read", torn)
    with Folder.open(str(tmp_path)) as folder, pytest.raises(StorageError, match="read back"):
        keyslots.write(folder, MASTER, VAULT, NEW)


def test_written_slot_has_the_name_and_the_mode_of_the_format(tmp_path: Path) -> None:
    with Folder.open(str(tmp_path)) as folder:
        name = keyslots.write(folder, MASTER, VAULT, NEW)
    (file,) = tmp_path.iterdir()
    assert file.name == f"{name}.slot" == keyslots.file_name(file.read_bytes())
    assert file.stat().st_mode & 0o7777 == 0o600
