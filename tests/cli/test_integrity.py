"""What went wrong with a vault: each thing has a message and a status of its own."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filevault.vault.trust import Trust
from tests.launch import launcher
from tests.samples import ONE_KEY, TWO_KEY
from tests.worlds import file_vault
from tests.worlds.damage import flip
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult


@pytest.fixture
def two_keys(machine: Machine) -> Machine:
    machine.with_vault()
    return machine.add("one", *ONE_KEY, "--no-config").add("two", *TWO_KEY, "--no-config")


def export(machine: Machine, profile: str = "one", *options: str) -> ProcessResult:
    return machine.run("export", profile, "--no-session", *options)


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    assert (result.status, result.out) == (status, ""), result
    first, *_ = result.err.splitlines()
    assert first.startswith("filevault: error: ")
    for text in texts:
        assert text in result.err
    for secret in (ONE_KEY[1], TWO_KEY[1], PASSPHRASE):
        assert secret not in result.everything


def slot(machine: Machine) -> Path:
    (file,) = (machine.vault / ".filevault/slots").iterdir()
    return file


def test_a_wrong_passphrase(two_keys: Machine) -> None:
    two_keys.env["FILEVAULT_PASSPHRASE"] = "wrong"
    refused(export(two_keys), 5, "the passphrase from FILEVAULT_PASSPHRASE opens no keyslot")


def test_a_wrong_key_file(two_keys: Machine, tmp_path: Path) -> None:
    two_keys.ok("init", "--vault", str(tmp_path / "v"), "--new-key-file", str(tmp_path / "k"))
    result = two_keys.run("export", "one", "-n", "--key-file", str(tmp_path / "k"))
    refused(result, 5, "cannot be opened with a key file, only with a passphrase")


def test_a_damaged_slot_is_told_apart_from_a_wrong_passphrase(two_keys: Machine) -> None:
    original = slot(two_keys).read_bytes()
    flip(slot(two_keys))
    refused(export(two_keys), 6, "keyslot", "damaged")
    slot(two_keys).write_bytes(original)
    assert export(two_keys).status == 0


def test_no_slots_at_all(two_keys: Machine) -> None:
    shutil.rmtree(two_keys.vault / ".filevault/slots")
    refused(export(two_keys), 6, "the vault has no keyslots")


def test_a_damaged_item(two_keys: Machine) -> None:
    flip(two_keys.vault / "one.fv")
    refused(export(two_keys), 6, "item 'one' is damaged: its content is not what was sealed")
    assert export(two_keys, "two").status == 0


def test_an_item_cut_short(two_keys: Machine) -> None:
    item = two_keys.vault / "one.fv"
    item.write_bytes(item.read_bytes()[:-100])
    refused(export(two_keys), 6, "item 'one' is damaged: it has been cut short")


def test_swapped_items(two_keys: Machine) -> None:
    one, two = two_keys.vault / "one.fv", two_keys.vault / "two.fv"
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    refused(export(two_keys), 6, "item 'one' was sealed as 'two'", "swapped")
    refused(export(two_keys, "two"), 6, "item 'two' was sealed as 'one'")


def test_a_renamed_item(two_keys: Machine) -> None:
    (two_keys.vault / "one.fv").rename(two_keys.vault / "prod.fv")
    refused(export(two_keys, "prod"), 6, "item 'prod' was sealed as 'one'", "give it back its name")


def test_an_item_of_another_kind(two_keys: Machine) -> None:
    item = two_keys.vault / "one.fv"
    header, _, body = item.read_bytes().partition(b"\n")
    values = json.loads(header)
    values["kind"] = "totp"
    values.pop("created_from", None)
    item.write_bytes(json.dumps(values, separators=(",", ":")).encode() + b"\n" + body)
    refused(export(two_keys), 6, "of the kind 'totp' where 'credentials' belongs")


def test_an_item_of_a_foreign_vault(two_keys: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other").with_vault().add("one", *TWO_KEY, "--no-config")
    shutil.copy(other.vault / "one.fv", two_keys.vault / "one.fv")
    refused(export(two_keys), 6, "item 'one' belongs to another vault")


def old_copy(vault: Machine) -> bytes:
    """Replace a key and put the old item back."""
    item = vault.vault / "one.fv"
    before = item.read_bytes()
    vault.ok("add", "one", "--stdin", "--force", "--no-config", stdin="\n".join(TWO_KEY))
    item.write_bytes(before)
    return before


def test_a_rolled_back_item_warns_each_time_and_strict_refuses_it_after_that(
    two_keys: Machine,
) -> None:
    """A run without --strict must not blind the next one with it."""
    old_copy(two_keys)
    for _ in range(2):
        warned = export(two_keys)
        assert warned.status == 0
        assert f"AWS_ACCESS_KEY_ID={ONE_KEY[0]}" in warned.out
        assert "warning: item 'one' is older than the one this machine saw last" in warned.err
        assert "filevault recipients accept one" in warned.err
    refused(export(two_keys, "one", "--strict"), 6, "older than")


def reseal(vault: Machine, generation: int) -> bytes:
    """Return item `one` sealed again with another generation, as somebody with its key can."""
    opened = file_vault.reopen(vault.vault, file_vault.GivenSecrets(PASSPHRASE.encode()))
    data = (vault.vault / "one.fv").read_bytes()
    header = opened.peek(data)
    assert header is not None
    text = opened.decrypt("credentials", "one", data)
    return opened.encrypt(header._replace(generation=header.generation + generation), text)


STATES: dict[str, tuple[Callable[[Machine], bytes], int, int]] = {
    "the same bytes": (lambda vault: (vault.vault / "one.fv").read_bytes(), 0, 6),
    "an equal generation with other bytes": (lambda vault: reseal(vault, 0), 6, 6),
    "a lower generation": (lambda vault: reseal(vault, -1), 6, 6),
    "a later generation, as another machine makes": (lambda vault: reseal(vault, 1), 0, 0),
}


@pytest.mark.parametrize("removed", [False, True], ids=["replaced", "removed"])
@pytest.mark.parametrize("state", STATES)
def test_what_is_put_in_place_of_an_item(two_keys: Machine, state: str, removed: bool) -> None:
    """Seen or not without --strict first, the answer of --strict is the same."""
    make, replaced, put_back = STATES[state]
    data, status = make(two_keys), put_back if removed else replaced
    inside = InProcess(two_keys.env)
    if removed:
        assert inside.run("remove", "-f", "one").status == 0
    (two_keys.vault / "one.fv").write_bytes(data)
    run = ("export", "one", "-n")
    reason = "removed on this machine, and has been put back" if removed else "older than"
    seen = inside.run(*run)
    assert (seen.status, reason in seen.err) == (0, status == 6), seen
    strict = inside.run(*run, "--strict")
    assert (strict.status, reason in strict.err) == (status, status == 6), strict
    if status:
        assert inside.run("recipients", "accept", "one").status == 0
        assert inside.run(*run, "--strict").status == 0


def test_an_item_that_is_added_again_is_none_that_was_put_back(two_keys: Machine) -> None:
    first = (two_keys.vault / "one.fv").read_bytes()
    two_keys.ok("remove", "-f", "one")
    two_keys.add("one", *TWO_KEY, "--no-config")
    assert export(two_keys, "one", "--strict").err == ""
    (two_keys.vault / "one.fv").write_bytes(first)
    refused(export(two_keys, "one", "--strict"), 6, "older than")


def test_what_another_process_removed_meanwhile_counts_for_a_new_item(two_keys: Machine) -> None:
    """Several writes in one second put generations ahead of the clock."""
    now = time.time()
    inside, runtime = InProcess(two_keys.env), launcher.runtime({})._replace(clock=lambda: now)
    add = ("add", "one", "--stdin", "--no-config")
    key = "\n".join(TWO_KEY).encode()
    for _ in range(3):
        assert inside.run(*add, "--force", stdin=key, runtime=runtime).status == 0
    last = (two_keys.vault / "one.fv").read_bytes()
    load = Trust._load
    runs: list[None] = []

    def before_it_was_seen(trust: Trust) -> Any:
        """Let the first process know nothing of the item, which another one removes then."""
        content = load(trust)
        if not runs:
            runs.append(None)
            assert InProcess(two_keys.env).run("remove", "-f", "one", runtime=runtime).status == 0
            del content["items"]["one"]
        return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trust, "_load", before_it_was_seen)
        assert inside.run(*add, stdin=key, runtime=runtime).status == 0
    assert inside.run("export", "one", "-n", "--strict").err == ""
    (two_keys.vault / "one.fv").write_bytes(last)
    assert inside.run("export", "one", "-n", "--strict").status == 6


def test_rekey_keeps_an_older_item_older(two_keys: Machine) -> None:
    """To seal it under another key makes it no newer."""
    old_copy(two_keys)
    done = two_keys.ok("rekey")
    assert "is older than" in done.err
    refused(export(two_keys, "one", "--strict"), 6, "older than")
    assert export(two_keys, "two", "--strict").err == ""
    two_keys.ok("recipients", "accept", "one")
    assert export(two_keys, "one", "--strict").status == 0


def test_a_rolled_back_item_is_refused_under_strict_until_it_is_accepted(two_keys: Machine) -> None:
    old_copy(two_keys)
    refused(export(two_keys, "one", "--strict"), 6, "older than", "filevault recipients accept one")
    two_keys.env["FILEVAULT_STRICT"] = "1"
    refused(export(two_keys), 6, "older than")
    accepted = two_keys.ok("recipients", "accept", "one")
    assert accepted.out == "Accepted the key of profile one as it is now.\n"
    assert export(two_keys).status == 0


def test_a_newer_item_of_another_machine_is_no_rollback(two_keys: Machine, tmp_path: Path) -> None:
    away = Machine(tmp_path / "away")
    away.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    shutil.copytree(two_keys.vault, away.vault)
    away.ok("add", "one", "--stdin", "--force", "--no-config", stdin="\n".join(TWO_KEY))
    shutil.copy(away.vault / "one.fv", two_keys.vault / "one.fv")
    result = export(two_keys, "one", "--strict")
    assert (result.status, result.err) == (0, "")
    assert TWO_KEY[0] in result.out


def test_a_replaced_vault_is_refused_until_it_is_accepted(
    two_keys: Machine, tmp_path: Path
) -> None:
    other = Machine(tmp_path / "other").with_vault().add("one", *TWO_KEY, "--no-config")
    shutil.rmtree(two_keys.vault)
    shutil.copytree(other.vault, two_keys.vault)
    for argv in (("export", "one", "-n"), ("list",), ("remove", "-f", "one")):
        refused(two_keys.run(*argv), 10, "the vault was replaced by another one", "accept")
    added = two_keys.run("add", "new", "--stdin", stdin="\n".join(ONE_KEY))
    refused(added, 10, "the vault was replaced")
    shown = two_keys.ok("recipients", "list").out
    assert "NOT the one that is known here" in shown
    accepted = two_keys.ok("recipients", "accept").out
    assert re.search(r"^was: .*\nis: ", accepted, re.MULTILINE)
    assert TWO_KEY[0] in export(two_keys).out


def test_a_vault_whose_master_key_was_replaced(two_keys: Machine) -> None:
    marker = two_keys.vault / ".filevault/vault.json"
    content = json.loads(marker.read_text())
    content["commit"] = "00" * 32
    marker.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    refused(export(two_keys), 10, "master key is another one than this machine knows")
    two_keys.ok("recipients", "accept")
    refused(export(two_keys), 6, "contains another master key than vault.json commits to")


def test_a_given_pin_decides(two_keys: Machine, tmp_path: Path) -> None:
    pin = re.search(r"pin: ([0-9a-f]{64})", two_keys.ok("recipients", "list").out)
    assert pin is not None
    assert export(two_keys, "one", "--pin", pin[1], "--strict").status == 0
    refused(export(two_keys, "one", "--pin", "0" * 64), 10, "not the vault that the given pin")
    refused(export(two_keys, "one", "--pin", "xyz"), 2, "not 64 hex digits")
    shutil.rmtree(two_keys.state)
    refused(export(two_keys, "one", "--strict"), 10, "never been seen here")
    assert (
        two_keys.run("export", "one", "-n", "--strict", env={"FILEVAULT_PIN": pin[1]}).status == 0
    )


@pytest.mark.parametrize("what", ["vault.json", "slot", "item", "trust.json"])
def test_a_newer_version_is_told_apart_from_damage(two_keys: Machine, what: str) -> None:
    (state,) = two_keys.state.iterdir()
    path = {
        "vault.json": two_keys.vault / ".filevault/vault.json",
        "slot": slot(two_keys),
        "item": two_keys.vault / "one.fv",
        "trust.json": state / "trust.json",
    }[what]
    data = path.read_bytes().replace(b'"filevault/1"', b'"filevault/2"', 1)
    path.unlink()
    if what == "slot":
        import hashlib

        path = path.with_name(hashlib.sha256(data).hexdigest()[:16] + ".slot")
    path.write_bytes(data)
    refused(export(two_keys), 3, "newer filevault")


@pytest.mark.parametrize("what", ["vault.json", "trust.json"])
def test_a_damaged_memory_or_marker(two_keys: Machine, what: str) -> None:
    (state,) = two_keys.state.iterdir()
    path = two_keys.vault / ".filevault/vault.json" if what == "vault.json" else state / what
    path.write_bytes(path.read_bytes()[:-20])
    refused(export(two_keys), 6, what, "damaged")


def test_two_markers(two_keys: Machine) -> None:
    (two_keys.vault / ".gpg-id").write_text("someone@example.com\n")
    refused(export(two_keys), 3, "markers of two backends")


def test_a_folder_that_is_something_else(two_keys: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(
        export(two_keys, "one", "--vault", str(tmp_path)), 3, "chosen by --vault, is not a vault"
    )
    (tmp_path / ".gpg-id").touch()
    adding = two_keys.run("add", "one", "--env", "--no-config", "--vault", str(tmp_path))
    refused(adding, 7, "lists no gpg key")
    refused(export(two_keys, "one", "--backend", "keychain"), 2, "names no backend")


def test_a_link_inside_the_vault_is_refused_and_the_root_may_be_one(
    two_keys: Machine, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    (two_keys.vault / "one.fv").rename(away)
    (two_keys.vault / "one.fv").symlink_to(away)
    assert export(two_keys).status in (3, 4, 7)
    (two_keys.vault / "one.fv").unlink()
    away.rename(two_keys.vault / "one.fv")
    two_keys.vault.rename(tmp_path / "real")
    two_keys.vault.symlink_to(tmp_path / "real")
    assert two_keys.run("export", "one", "-n").status == 0


def test_one_slot_may_be_named(two_keys: Machine) -> None:
    name = slot(two_keys).name.removesuffix(".slot")
    assert export(two_keys, "one", "--slot", name).status == 0
    refused(export(two_keys, "one", "--slot", "0" * 16), 5, "the vault has no keyslot")


def test_the_published_vault_opens_with_the_program(machine: Machine, tmp_path: Path) -> None:
    """Its headers have encoded names, and so have the program's."""
    published = Path(__file__).parents[1] / "vectors/vault-v1"
    shutil.copytree(published / "store", tmp_path / "store")
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    vault = ("--vault", str(tmp_path / "store"))
    shown = machine.ok(*vault, "export", "work/prod:eu", "-n", "--region", "eu-west-1")
    assert "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY" in shown.out
    machine.ok(*vault, "add", "a:b", "--stdin", "--no-config", stdin="\n".join(ONE_KEY))
    line = (tmp_path / "store/a%3Ab.fv").read_bytes().partition(b"\n")[0]
    assert json.loads(line)["name"] == "a%3Ab"
    assert ONE_KEY[1] in machine.ok(*vault, "export", "a:b", "-n", "--region", "eu-west-1").out
