from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.errors import DamagedError, NewerFormatError, PinError, StorageError
from filevault.system.files import Folder
from filevault.system.strict_json import loads_with_texts
from filevault.vault import trust as trust_module
from filevault.vault.pin import Pin
from filevault.vault.pin_policy import check_pin
from filevault.vault.seen_items import MAX_REMOVED, SeenItem
from filevault.vault.trust import Trust

PIN = Pin("file", "ab" * 16, "cd" * 32)
GENERATION = 1795470313
SEEN = SeenItem(GENERATION, "ef" * 32, "2026-11-23T21:45:13Z", "add")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Folder]:
    with Folder.make(str(tmp_path / "state")) as folder:
        yield folder


def content(state: Folder) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(state.path, "trust.json").read_bytes())
    return found


def test_what_is_remembered_is_there_for_the_next_process(state: Folder) -> None:
    trust = Trust(state)
    assert (trust.pin, trust.last_slot, trust.seen("jon")) == (None, None, None)
    trust.set_pin(PIN)
    trust.set_last_slot("0123456789abcdef")
    trust.record_seen("jon", SEEN)
    again = Trust(state)
    assert (again.pin, again.last_slot, again.seen("jon")) == (PIN, "0123456789abcdef", SEEN)
    assert content(state)["items"]


def test_the_pins_digest_is_over_fixed_lines() -> None:
    import hashlib

    text = f"filevault-pin-1\nfile\n{PIN.vault}\n{PIN.commitment}\n"
    assert PIN.digest == hashlib.sha256(text.encode()).hexdigest()


def test_another_vault_starts_without_memory_of_items(state: Folder) -> None:
    trust = Trust(state)
    trust.set_pin(PIN)
    trust.record_seen("jon", SEEN)
    trust.set_last_slot("0123456789abcdef")
    trust.set_pin(PIN._replace(commitment="00" * 32))
    assert trust.seen("jon") == SEEN
    trust.set_pin(PIN._replace(vault="00" * 16))
    assert (trust.seen("jon"), trust.last_slot, content(state).get("items")) == (None, None, None)


def test_two_processes_lose_nothing_of_each_other(state: Folder) -> None:
    one, other = Trust(state), Trust(state)
    one.record_seen("a", SEEN)
    other.record_seen("b", SEEN)
    assert Trust(state).seen("a") == Trust(state).seen("b") == SEEN


def test_many_at_once_lose_nothing(state: Folder) -> None:
    def remember(number: int) -> None:
        with Folder.open(state.path) as folder:
            Trust(folder).record_seen(f"item-{number}", SEEN)

    threads = [threading.Thread(target=remember, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(content(state)["items"]) == 8  # type: ignore[arg-type]


def test_a_key_of_a_newer_minor_version_is_kept(state: Folder) -> None:
    Trust(state).set_pin(PIN)
    extended = {**content(state), "future": {"a": 1}}
    Path(state.path, "trust.json").write_text(json.dumps(extended))
    Trust(state).set_last_slot("0123456789abcdef")
    assert content(state)["future"] == {"a": 1}


def test_a_key_of_a_newer_minor_version_in_an_item_is_kept(state: Folder) -> None:
    Trust(state).record_seen("jon", SEEN)
    before = content(state)
    before["items"]["jon"]["future"] = "a"  # type: ignore[index]
    Path(state.path, "trust.json").write_text(json.dumps(before))
    Trust(state).replace_seen("jon", SEEN._replace(sha256="cd" * 32, created=None))
    assert content(state)["items"] == {
        "jon": {
            "future": "a",
            "generation": GENERATION,
            "sha256": "cd" * 32,
            "created_from": "add",
        }
    }


def test_the_memory_is_parsed_again_only_if_another_process_changed_it(
    state: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have thousands of items, and one that is stored looks three times."""
    Trust(state).set_pin(PIN)
    parsed: list[bytes] = []

    def counting(data: bytes, what: str, table: str) -> dict[str, object]:
        parsed.append(data)
        return loads_with_texts(data, what, table)

    monkeypatch.setattr("filevault.vault.trust.loads_with_texts", counting)
    trust = Trust(state)
    trust.reload()
    trust.record_seen("jon", SEEN)
    trust.reload()
    assert len(parsed) == 1
    monkeypatch.undo()
    Trust(state).record_seen("bob", SEEN)
    trust.reload()
    assert trust.seen("bob") == trust.seen("jon") == SEEN


def test_a_write_that_fails_leaves_what_is_known(
    state: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Trust(state)
    trust.record_seen("jon", SEEN)
    newer = SEEN._replace(generation=GENERATION + 1, sha256="cd" * 32)

    def failing(*_arguments: object) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", failing)
        with pytest.raises(StorageError):
            trust.record_seen("jon", newer)
    assert trust.seen("jon") == SEEN
    trust.record_seen("jon", newer)
    assert Trust(state).seen("jon") == newer


def test_nothing_is_written_that_is_known_already(state: Folder) -> None:
    trust = Trust(state)
    trust.set_pin(PIN)
    trust.record_seen("jon", SEEN)
    before = Path(state.path, "trust.json").stat()
    trust.set_pin(PIN)
    trust.record_seen("jon", SEEN)
    after = Path(state.path, "trust.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_was_removed_on_purpose_leaves_a_tombstone(state: Folder) -> None:
    trust = Trust(state)
    trust.record_seen("jon", SEEN)
    trust.record_removed("jon", SEEN)
    again = Trust(state)
    assert (again.seen("jon"), again.removed("jon")) == (None, SEEN)
    again.record_seen("jon", SEEN)
    assert (again.seen("jon"), again.removed("jon")) == (None, SEEN), "it was put back"
    newer = SEEN._replace(generation=GENERATION + 1, sha256="cd" * 32)
    again.record_seen("jon", newer)
    assert (again.seen("jon"), again.removed("jon")) == (newer, None), "it was made again"


def test_tombstones_are_bounded_and_the_oldest_go(state: Folder) -> None:
    trust = Trust(state)
    with trust.batch():
        for number in range(MAX_REMOVED + 10):
            trust.record_removed(f"item-{number}", SEEN)
    again = Trust(state)
    assert again.removed("item-9") is None
    assert again.removed("item-10") == again.removed(f"item-{MAX_REMOVED + 9}") == SEEN


@pytest.mark.parametrize("later", [0, -1, -(10**6)])
def test_only_what_is_stored_or_accepted_lowers_what_was_seen(state: Folder, later: int) -> None:
    trust = Trust(state)
    trust.record_seen("jon", SEEN)
    other = SEEN._replace(generation=GENERATION + later, sha256="cd" * 32)
    trust.record_seen("jon", other)
    assert Trust(state).seen("jon") == SEEN
    trust.replace_seen("jon", other)
    assert Trust(state).seen("jon") == other


def test_a_reader_that_is_late_does_not_lower_what_another_process_saw(state: Folder) -> None:
    late, other = Trust(state), Trust(state)
    newer = SEEN._replace(generation=GENERATION + 5, sha256="cd" * 32)
    other.record_seen("jon", newer)
    late.record_seen("jon", SEEN)
    assert Trust(state).seen("jon") == newer


def test_a_walk_writes_once(state: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = Folder.write

    def counting(folder: Folder, name: str, data: bytes) -> None:
        written.append(name)
        write(folder, name, data)

    monkeypatch.setattr(Folder, "write", counting)
    trust = Trust(state)
    with trust.batch():
        for number in range(50):
            trust.record_seen(f"item-{number}", SEEN)
            assert trust.seen(f"item-{number}") == SEEN
    assert written == ["trust.json"]
    assert Trust(state).seen("item-49") == SEEN


def test_a_batch_undoes_nothing_that_another_process_did_meanwhile(state: Folder) -> None:
    """One removes an item that the batch has written, another stores a newer one."""
    trust = Trust(state)
    trust.record_removed("back", SeenItem(3, "c"))
    trust.record_removed("shared", SeenItem(None, "c"))
    with trust.batch():
        for name in ("gone", "newer", "mine", "back"):
            trust.replace_seen(name, SeenItem(5, "a"))
        trust.replace_seen("shared", SeenItem(None, "a"))
        trust.replace_seen("mine", SeenItem(4, "b"))  # a person accepts an older one
        other = Trust(state)
        other.record_removed("gone", SeenItem(5, "a"))
        other.replace_seen("newer", SeenItem(6, "b"))
    after = Trust(state)
    assert after.removed("gone") == SeenItem(5, "a")
    assert after.seen("gone") is None
    assert after.seen("newer") == SeenItem(6, "b")
    assert after.seen("mine") == SeenItem(4, "b")
    assert after.seen("back") == SeenItem(5, "a")
    assert after.seen("shared") == SeenItem(None, "a")
    assert after.removed("back") is None
    assert after.removed("shared") is None


def test_in_a_shared_store_only_what_is_still_in_the_file_is_recorded(state: Folder) -> None:
    """There is no generation, so that a late record cannot be recognized by it."""
    newer = SeenItem(None, "b", key_id="new", account="1")
    for batch in (True, False):
        slow, other = Trust(state), Trust(state)
        older = SeenItem(None, f"a{batch}", key_id="old")
        other.replace_seen("jon", older)
        slow.reload()
        with slow.batch() if batch else contextlib.nullcontext():
            other.replace_seen("jon", newer)
            slow.record_seen("jon", older._replace(created="x"), lambda *_: False)
            slow.replace_seen("jon", older._replace(created="y"), lambda *_: False)
            slow.record_account("jon", "old", "2")
        assert Trust(state).seen("jon") == newer
    slow.record_account("jon", "new", "3")
    slow.replace_seen("jon", older, lambda *_: True)
    assert Trust(state).seen("jon") == older


def test_without_a_state_directory_nothing_is_remembered() -> None:
    trust = Trust(None)
    trust.set_pin(PIN)
    trust.record_seen("jon", SEEN)
    assert (trust.pin, trust.seen("jon")) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"format":"other/1"}',
        '{"format":1}',
        '{"format":"filevault/1","vault":7}',
        '{"format":"filevault/1","items":[]}',
        '{"format":"filevault/1","items":{"a":1}}',
        '{"format":"filevault/1","format":"filevault/1"}',
        '{"format":"filevault/1","items":{"a":{"b":{"c":{}}}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_memory_is_refused_not_forgotten(state: Folder, text: str) -> None:
    Path(state.path, "trust.json").write_text(text)
    with pytest.raises(DamagedError, match=r"trust\.json"):
        Trust(state)


def test_the_memory_of_a_newer_filevault_is_told_apart(state: Folder) -> None:
    Path(state.path, "trust.json").write_text('{"format":"filevault/2","new":1}')
    with pytest.raises(NewerFormatError, match="newer filevault"):
        Trust(state)


def test_an_entry_of_the_wrong_form_counts_as_unseen(state: Folder) -> None:
    entry = {"generation": "1", "sha256": "x"}
    Path(state.path, "trust.json").write_text(
        json.dumps({"format": "filevault/1", "items": {"a": entry}})
    )
    assert Trust(state).seen("a") is None


def test_the_first_vault_that_is_seen_is_to_be_pinned(state: Folder) -> None:
    trust = Trust(state)
    assert check_pin(trust, PIN, given=None, strict=False) is True
    trust.set_pin(PIN)
    assert check_pin(trust, PIN, given=None, strict=True) is False


def test_strict_trusts_no_vault_unseen(state: Folder) -> None:
    with pytest.raises(PinError, match="never been seen here"):
        check_pin(Trust(state), PIN, given=None, strict=True)


def test_a_given_pin_replaces_the_local_one(state: Folder) -> None:
    trust = Trust(state)
    trust.set_pin(PIN)
    other = PIN._replace(vault="00" * 16)
    assert check_pin(trust, other, given=other.digest, strict=True) is False
    with pytest.raises(PinError, match="given pin"):
        check_pin(trust, PIN, given=other.digest, strict=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vault": "00" * 16}, "replaced by another one"),
        ({"backend": "pass"}, "replaced by another one"),
        ({"commitment": "00" * 32}, "another one than this machine knows"),
    ],
)
def test_another_identity_than_the_pinned_one_is_refused(
    state: Folder, change: dict[str, str], message: str
) -> None:
    trust = Trust(state)
    trust.set_pin(PIN)
    with pytest.raises(PinError, match=message):
        check_pin(trust, PIN._replace(**change), given=None, strict=False)


def test_while_the_key_is_changed_both_are_the_vaults(state: Folder) -> None:
    """The process that changes it may be killed before and after vault.json names the new one."""
    new, third = PIN._replace(commitment="12" * 32), PIN._replace(commitment="34" * 32)
    trust = Trust(state)
    trust.set_pin(PIN)
    trust.begin_rekey(new, {"jon": SEEN, "old/x": SEEN}, {"older": "ab" * 32})
    again = Trust(state)
    assert again.rekey_older_items == {"older": ("ab" * 32,)}
    assert (again.pending_pin, again.pin) == (new.digest, PIN)
    assert again.seen("jon") == again.seen("old/x") == SEEN
    for pin in (PIN, new):
        assert check_pin(again, pin, given=None, strict=True) is False
    with pytest.raises(PinError):
        check_pin(again, third, given=None, strict=False)
    with pytest.raises(PinError):
        check_pin(again, new._replace(vault="00" * 16), given=None, strict=False)
    later = SEEN._replace(generation=SEEN.generation + 1 if SEEN.generation else 1)
    again.end_rekey(new, {"jon": later}, "0123456789abcdef")
    ended = Trust(state)
    assert (ended.pending_pin, ended.pin, ended.last_slot) == (None, new, "0123456789abcdef")
    assert ended.rekey_older_items == {}
    assert (ended.seen("jon"), ended.seen("old/x")) == (later, SEEN)
    with pytest.raises(PinError):
        check_pin(Trust(state), PIN, given=None, strict=False)


def test_a_change_of_recipients_is_remembered_until_it_is_finished(state: Folder) -> None:
    pin = Pin("age", recipients=((".age-recipients", ("age1a",)),))
    after = pin.with_recipients(".age-recipients", ["age1b"])
    trust = Trust(state)
    trust.set_pin(pin)
    trust.begin_recipients_change(
        after, {".age-recipients": ["age1a"]}, {".age-recipients": ["00", "YQ=="]}
    )
    again = Trust(state)
    assert (again.pin, again.pending_pin) == (pin, after.digest)
    assert again.pending_reencryption == {".age-recipients": ("age1a",)}
    assert again.pending_files == {".age-recipients": ("00", "YQ==")}
    trust.set_pin(after)
    assert (trust.pending_files, trust.pending_reencryption) == (
        {},
        {".age-recipients": ("age1a",)},
    )
    trust.end_recipients_change({})
    assert content(state).keys() == {"format", "backend", "recipients"}


@pytest.mark.parametrize("key", ["recipients", "unfinished", "writing"])
def test_a_list_of_anything_but_texts_is_damage(state: Folder, key: str) -> None:
    for value in (["a"], {"a": "b"}, {"a": [1]}):
        state.write("trust.json", json.dumps({"format": "filevault/1", key: value}).encode())
        with pytest.raises(DamagedError):
            Trust(state)


@pytest.fixture
def many(state: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A state directory whose `trust.json` counts as large, with a pin and items."""
    monkeypatch.setattr(trust_module, "_LARGE", 0)
    trust = Trust(state)
    trust.set_pin(PIN)
    for name in ("jon", "ada"):
        trust.record_seen(name, SEEN)
    trust.record_removed("ada", SEEN)
    trust.set_last_slot("0123456789abcdef")
    return state


def test_items_that_are_parsed_later_are_the_same(
    many: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []

    def recording(data: bytes, what: str, table: str) -> dict[str, object]:
        parsed.append(len(data))
        return loads_with_texts(data, what, table)

    monkeypatch.setattr(trust_module, "loads_with_texts", recording)
    later, size = Trust(many, items_later=True), Path(many.path, "trust.json").stat().st_size
    assert (later.pin, later.last_slot) == (PIN, "0123456789abcdef")
    assert later.removed("ada") == SEEN
    assert max(parsed) < size
    assert (later.seen("jon"), later.seen("ada")) == (SEEN, None)
    assert parsed.count(size) == 1


@pytest.mark.parametrize("batched", [False, True])
def test_a_write_keeps_the_items_that_were_not_parsed(many: Folder, batched: bool) -> None:
    later = Trust(many, items_later=True)
    newer = SEEN._replace(generation=GENERATION + 1)
    with later.batch() if batched else contextlib.nullcontext():
        later.record_seen("ben", newer)
    for trust in (later, Trust(many), Trust(many, items_later=True)):
        assert (trust.seen("jon"), trust.seen("ben")) == (SEEN, newer)


def test_a_write_that_fails_forgets_no_items(many: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Trust(many, items_later=True)

    def fails(*_arguments: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", fails)
        with pytest.raises(StorageError):
            later.set_last_slot("fedcba9876543210")
    assert later.seen("jon") == SEEN


@pytest.mark.parametrize("damage", ['"generation":', '"sha256":"'])
def test_damaged_items_are_refused_when_they_are_asked_for(many: Folder, damage: str) -> None:
    file = Path(many.path, "trust.json")
    file.write_text(file.read_text().replace(damage, damage + "x", 1).replace("x", '"', 1))
    later = Trust(many, items_later=True)
    assert later.pin == PIN
    with pytest.raises(DamagedError, match=r"trust\.json"):
        later.seen("jon")
    with pytest.raises(DamagedError):
        Trust(many)


@pytest.mark.parametrize(
    "text",
    [
        '{"format":"filevault/1","items":{"a":{}},"items":{"a":{}}}',
        '{"format":"filevault/1","items":{"a":{}},"format":"filevault/1"}',
        '{"format":"filevault/1","vault":7,"items":{"a":{}}}',
        '{"format":"filevault/1","items":{"a":{}},"removed":[]}',
    ],
)
def test_damage_elsewhere_is_refused_at_once(many: Folder, text: str) -> None:
    Path(many.path, "trust.json").write_text(text)
    with pytest.raises(DamagedError, match=r"trust\.json"):
        Trust(many, items_later=True)
