"""Another master key: what it keeps, whom it shuts out, and what two machines make of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.errors import StorageError
from filevault.vault.rekey.reseal import Resealer
from tests.conditions.mounts import read_only
from tests.conditions.tools import tool
from tests.samples import EXAMPLE_ID, ONE_ID, SECRET, TWO_ID
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.damage import flip
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.other_programs import commit_identity

NEW = "another long passphrase"
OTHER_ID = "AKIAI44QH8DHBEXAMPLE"
REGION = ("--no-session", "--region", "eu-west-1")
WITH_NEW = {"FILEVAULT_PASSPHRASE": NEW}


@pytest.fixture
def two_profiles(machine: Machine) -> Machine:
    """A vault with two keys."""
    machine.with_vault().add("work", EXAMPLE_ID, SECRET, "--no-config")
    return machine.add("team/prod:eu", OTHER_ID, SECRET, "--no-config")


def marker(vault: Path) -> dict[str, str]:
    values: dict[str, str] = json.loads((vault / ".filevault/vault.json").read_bytes())
    return values


def sealed_under(vault: Path) -> set[str]:
    """The key ids in the headers of all items."""
    lines = [file.read_bytes().partition(b"\n")[0] for file in vault.rglob("*.fv")]
    return {json.loads(line)["key"] for line in lines}


def slots(vault: Path) -> list[dict[str, object]]:
    files = sorted((vault / ".filevault/slots").glob("*.slot"))
    return [json.loads(file.read_bytes().partition(b"\n")[0]) for file in files]


def test_every_item_lies_under_the_new_key_and_opens(two_profiles: Machine) -> None:
    before = marker(two_profiles.vault)
    done = two_profiles.ok("rekey")
    after = marker(two_profiles.vault)
    assert after["vault"] == before["vault"]
    assert after["commit"] != before["commit"]
    assert sealed_under(two_profiles.vault) == {after["master"]}
    assert [slot["master"] for slot in slots(two_profiles.vault)] == [after["master"]]
    assert [file.name for file in (two_profiles.vault / ".filevault/retired").iterdir()] == [
        before["master"]
    ]
    for name in ("work", "team/prod:eu"):
        shown = two_profiles.ok("export", name, *REGION)
        assert SECRET in shown.out
        assert "older" not in shown.err
    assert SECRET not in done.everything
    assert PASSPHRASE not in done.everything


def test_what_an_old_holder_could_read_is_listed(two_profiles: Machine) -> None:
    done = two_profiles.ok("rekey")
    told = done.out.partition("Anyone who knew the former key could read:\n")[2].splitlines()
    assert [line.split(",")[0].split() for line in told] == [
        ["team/prod:eu", OTHER_ID],
        ["work", EXAMPLE_ID],
    ]
    assert "replace the keys above at AWS" in done.err


def test_the_pin_is_the_new_one_here_and_is_shown(two_profiles: Machine) -> None:
    old = two_profiles.ok("recipients", "list").out
    done = two_profiles.ok("rekey")
    pin = re.search(r"^pin: ([0-9a-f]{64})$", done.out, re.MULTILINE)
    assert pin is not None
    assert pin[1] not in old
    assert f"pin: {pin[1]} (known here)" in two_profiles.ok("recipients", "list").out
    two_profiles.ok("--strict", "--pin", pin[1], "export", "work", *REGION)


def test_a_given_pin_is_as_good_as_a_remembered_one(two_profiles: Machine) -> None:
    """As in CI: the state of this machine is new each time."""
    listed = two_profiles.ok("recipients", "list").out
    old = listed.partition("pin: ")[2][:64]
    shutil.rmtree(two_profiles.state)
    done = two_profiles.ok("--strict", "--pin", old, "rekey")
    new = done.out.partition("pin: ")[2][:64]
    assert "change it wherever FILEVAULT_PIN is set" in done.err
    shutil.rmtree(two_profiles.state)
    refused = two_profiles.run("--strict", "--pin", old, "export", "work", *REGION)
    assert refused.status == 10
    two_profiles.ok("--strict", "--pin", new, "export", "work", *REGION)


def test_without_a_place_to_remember_it_works_and_warns(two_profiles: Machine) -> None:
    shutil.rmtree(two_profiles.state)
    two_profiles.state.write_text("no folder")
    done = two_profiles.ok("rekey")
    assert "nothing can be remembered on this machine" in done.err
    assert SECRET in two_profiles.ok("export", "work", *REGION).out


def test_sessions_of_keys_sealed_anew_end_and_the_next_use_asks_for_a_code(
    ready: AwsMachine,
) -> None:
    """What a session is found by has the digest of its key's file in it."""
    machine = ready.machine
    machine.ok("export", "admin")
    kept = list(machine.state.glob("*/sessions/*/*.fvs"))
    assert kept
    done = machine.ok("rekey")
    assert f"Deleted {len(kept)} sessions made from keys that are re-encrypted" in done.out
    assert "asks for an MFA code" in done.out
    assert not list(machine.state.glob("*/sessions/*/*.fvs"))
    ready.aws.reset_calls()
    ready.aws.clock.advance(30)
    machine.ok("export", "admin")
    assert any("TokenCode" in call.parameters for call in ready.aws.calls)
    assert "Deleted" not in machine.ok("rekey", "--finish").out


def test_sessions_that_cannot_be_deleted_do_not_stop_it(two_profiles: Machine) -> None:
    (state,) = two_profiles.state.iterdir()
    (state / "sessions").write_text("no folder")
    done = two_profiles.ok("rekey")
    assert "sessions that cannot be used any more are left" in done.err
    assert SECRET in two_profiles.ok("export", "work", *REGION).out


def test_the_session_key_is_sealed_anew_and_not_made_anew(two_profiles: Machine) -> None:
    two_profiles.ok("list")
    state = next(two_profiles.state.iterdir())
    from filevault.system.files import Folder
    from filevault.vault.session_key import SessionKeyFile
    from tests.worlds.file_vault import KnownPassphrase, opened

    def session_key(*, make: bool) -> bytes | None:
        with Folder.open(str(two_profiles.vault)) as root, Folder.open(str(state)) as folder:
            file = SessionKeyFile(folder, state.name, opened(root, KnownPassphrase()), lambda: 2e9)
            return file.load() if make else file.read()

    made = session_key(make=True)
    assert made is not None
    two_profiles.ok("rekey")
    assert session_key(make=False) == made


def test_keyslots_of_others_are_lost_only_after_a_yes(two_profiles: Machine) -> None:
    two_profiles.ok("slot", "add", "--new-key-file", "ci.key", "--label", "ci")
    before = sorted(file.name for file in (two_profiles.vault / ".filevault/slots").iterdir())
    refused = two_profiles.run("rekey")
    assert refused.status == 5
    assert re.search(r"keyslot would be lost: [0-9a-f]{16} \(keyfile, made .*'ci'\)", refused.err)
    assert "--drop-slots" in refused.err
    no = two_profiles.on_terminal("rekey", answers=[TypedAnswer("Go on without them? (y|N) ", "n")])
    assert (no.status, "nothing was changed" in no.err) == (0, True)
    assert (
        sorted(file.name for file in (two_profiles.vault / ".filevault/slots").iterdir()) == before
    )
    two_profiles.on_terminal("rekey", answers=[TypedAnswer("Go on without them? (y|N) ", "y")])
    assert [slot["type"] for slot in slots(two_profiles.vault)] == ["argon2id"]
    lost = two_profiles.run("--key-file", "ci.key", "export", "work", *REGION)
    assert lost.status == 5


def test_an_unattended_run_drops_what_is_not_given(two_profiles: Machine) -> None:
    two_profiles.ok("slot", "add", "--label", "anna", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    done = two_profiles.ok("rekey", "--drop-slots")
    assert "'anna'" in done.err
    assert two_profiles.run("export", "work", *REGION, env=WITH_NEW).status == 5
    two_profiles.ok("export", "work", *REGION)


def test_a_key_file_and_a_passphrase_are_both_kept_if_both_are_given(two_profiles: Machine) -> None:
    two_profiles.ok("slot", "add", "--new-key-file", "ci.key", "--label", "ci")
    two_profiles.ok("--key-file", "ci.key", "rekey")
    assert sorted((slot["type"], slot["label"]) for slot in slots(two_profiles.vault)) == [
        ("argon2id", ""),
        ("keyfile", "ci"),
    ]
    two_profiles.ok("export", "work", *REGION)
    without = {"FILEVAULT_PASSPHRASE": None}
    two_profiles.ok("--key-file", "ci.key", "export", "work", *REGION, env=without)


def test_a_person_can_type_the_passphrases_of_others(two_profiles: Machine) -> None:
    two_profiles.ok("slot", "add", "--label", "anna", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    del two_profiles.env["FILEVAULT_PASSPHRASE"]
    done = two_profiles.on_terminal(
        "rekey",
        answers=[
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("Another passphrase", "a wrong one"),
            TypedAnswer("Another passphrase", NEW),
        ],
    )
    assert done.status == 0, done
    assert "opens nothing here" in done.tty
    for passphrase in (PASSPHRASE, NEW):
        two_profiles.ok("export", "work", *REGION, env={"FILEVAULT_PASSPHRASE": passphrase})


def test_costs_and_label_of_a_keyslot_stay(machine: Machine) -> None:
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init", "--kdf-memory", "96", "--kdf-iterations", "2")
    done = machine.ok("rekey")
    (slot,) = slots(machine.vault)
    assert (slot["memory_kib"], slot["iterations"], slot["lanes"]) == (96, 2, 1)
    assert "weaker" not in done.err


def test_costs_that_are_low_stay_and_are_told_with_the_way_out(machine: Machine) -> None:
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init", "--kdf-memory", "16")
    done = machine.ok("rekey")
    (file,) = (machine.vault / ".filevault/slots").iterdir()
    (line,) = [line for line in done.err.splitlines() if "weaker than new ones" in line]
    assert f"keyslot {file.stem} " in line
    assert "filevault passphrase" in line
    machine.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    assert "weaker" not in machine.ok("rekey").err


def whole(vault: Machine) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in vault.vault.rglob("*") if path.is_file()}


def test_a_wrong_passphrase_changes_nothing(two_profiles: Machine) -> None:
    before = whole(two_profiles)
    assert two_profiles.run("rekey", env={"FILEVAULT_PASSPHRASE": "wrong"}).status == 5
    assert whole(two_profiles) == before


def _no_header(data: bytes) -> bytes:
    return b"junk"


def _unknown_key(data: bytes) -> bytes:
    return re.sub(rb'"key":"[0-9a-f]{16}"', b'"key":"0123456789abcdef"', data, count=1)


JUNK: dict[str, Callable[[bytes], bytes]] = {
    "no header": _no_header,
    "of a newer filevault": lambda data: data.replace(b"filevault/1", b"filevault/9", 1),
    "under an unknown key": _unknown_key,
    "a flipped bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "too large": lambda data: data + bytes(2 << 20),
    "merge markers": lambda data: b"<<<<<<< HEAD\n" + data + b"\n=======\nx\n>>>>>>> other\n",
}


@pytest.mark.parametrize("kind", JUNK)
def test_one_junk_file_blocks_neither_rekey_nor_accept(two_profiles: Machine, kind: str) -> None:
    """Whoever can write the folder, a former member too, can put one in."""
    inside = InProcess(two_profiles.env)
    real = (two_profiles.vault / "work.fv").read_bytes()
    (two_profiles.vault / "x.fv").write_bytes(JUNK[kind](real))
    accepted = inside.run("recipients", "accept")
    assert accepted.status in (0, 3, 6), accepted
    if accepted.status:
        assert "item 'x'" in accepted.out + accepted.err
    done = inside.run("rekey")
    assert done.status == 12, done
    assert "item 'x'" in done.err
    assert "filevault remove x" in done.err
    assert inside.run("export", "work", "-n").status == 0
    assert (two_profiles.vault / "work.fv").read_bytes() != real
    again = inside.run("rekey", "--finish")
    assert (again.status, "filevault remove x" in again.err) == (12, True), again
    assert inside.run("remove", "-f", "x").status == 0
    assert inside.run("rekey", "--finish").status == 0
    assert inside.run("recipients", "accept").status == 0


def test_a_junk_seed_is_named_with_its_file(two_profiles: Machine) -> None:
    (two_profiles.vault / "mfa").mkdir()
    (two_profiles.vault / "mfa/x.fv").write_bytes(b"junk")
    done = InProcess(two_profiles.env).run("rekey")
    assert (done.status, "delete mfa/x.fv in the vault's folder" in done.err) == (12, True), done


def test_an_item_that_was_damaged_is_brought_back_after_the_rekey(two_profiles: Machine) -> None:
    item = two_profiles.vault / "work.fv"
    data = item.read_bytes()
    flip(item)
    assert two_profiles.run("rekey").status == 12
    item.write_bytes(data)
    done = two_profiles.on_terminal(
        "rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")]
    )
    assert done.status == 0, done
    assert two_profiles.ok("export", "work", "-n").status == 0


def test_a_key_that_cannot_be_remembered_is_not_changed(two_profiles: Machine) -> None:
    """This machine has pinned the key, and would refuse the new one."""
    before = whole(two_profiles)
    launcher = two_profiles.launcher
    done = read_only(two_profiles, two_profiles.state).run("rekey")
    assert (done.status, "could not be remembered" in done.err) == (7, True), done
    assert "nothing was changed" in done.err
    two_profiles.launcher = launcher
    assert whole(two_profiles) == before
    assert two_profiles.ok("export", "work", "-n").status == 0


def test_an_old_copy_of_an_item_is_told_before_it_becomes_new(two_profiles: Machine) -> None:
    """Sealed anew, it could not be told from the newest any more."""
    item = two_profiles.vault / "work.fv"
    old = item.read_bytes()
    two_profiles.add("work", OTHER_ID, SECRET, "--force", "--no-config")
    item.write_bytes(old)
    refused = two_profiles.run("--strict", "rekey")
    assert (refused.status, "older than the one this machine saw last" in refused.err) == (6, True)
    done = two_profiles.ok("rekey")
    assert "older than the one this machine saw last" in done.err


def test_twice_in_a_row_is_fine(two_profiles: Machine) -> None:
    two_profiles.ok("rekey")
    two_profiles.ok("rekey")
    assert len(list((two_profiles.vault / ".filevault/retired").iterdir())) == 2
    assert SECRET in two_profiles.ok("export", "work", *REGION).out
    assert "There is nothing to finish." in two_profiles.ok("rekey", "--finish").out


def test_options_that_contradict_each_other(two_profiles: Machine) -> None:
    assert two_profiles.run("rekey", "--finish", "--drop-slots").status == 2
    assert two_profiles.run("rekey", "now").status == 2


def test_an_age_vault_says_what_to_do_instead(machine: Machine) -> None:
    machine.ok("init", "--backend", "age", "--no-passphrase")
    done = machine.run("--backend", "age", "rekey")
    assert (done.status, "filevault recipients" in done.err) == (2, True)


def test_a_write_that_began_before_it_does_not_use_the_old_key(two_profiles: Machine) -> None:
    """`add` waits for a person while another process gives the vault a new key."""
    del two_profiles.env["FILEVAULT_PASSPHRASE"]
    held = {"FILEVAULT_PASSPHRASE": PASSPHRASE}

    class Late(str):
        """An answer before which the vault gets a new key."""

        def encode(self, *args: str) -> bytes:
            two_profiles.ok("rekey", env=held)
            return str(self).encode(*args)

        def __add__(self, other: str) -> str:
            return str(self) + other

    done = two_profiles.on_terminal(
        "add",
        "new",
        "--no-config",
        answers=[
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("Access key id: ", EXAMPLE_ID),
            TypedAnswer("Secret access key: ", Late(SECRET)),
        ],
    )
    assert (done.status, "changed by another process" in done.err) == (7, True)
    assert not (two_profiles.vault / "new.fv").exists()


# Two machines, one repository


class Clones(NamedTuple):
    """Two machines that sync one vault."""

    one: Machine
    two: Machine
    git: str

    def sync(self, source: Machine, target: Machine) -> subprocess.CompletedProcess[str]:
        """Let a machine pull what another one committed."""
        argv = [self.git, "-C", str(target.vault), "pull", "-q", "--no-rebase", "--no-edit"]
        env = {**target.environment({"LAUNCH": None}), "LC_ALL": "C"}
        return subprocess.run(
            [*argv, str(source.vault), "main"], env=env, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    """A vault with two keys, made on one machine and cloned on the other."""
    git = tool("git")
    one, two = Machine(tmp_path / "one"), Machine(tmp_path / "two")
    for machine in (one, two):
        commit_identity(machine)
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    one.ok("init")
    one.ok("git", "init", "-q", "-b", "main")
    one.add("work", EXAMPLE_ID, SECRET, "--no-config").add("team/prod:eu", OTHER_ID, SECRET)
    two.vault.parent.mkdir(parents=True)
    subprocess.run(
        [git, "clone", "-q", str(one.vault), str(two.vault)],
        env=two.environment({"LAUNCH": None}),
        check=True,
        timeout=60,
    )
    two.ok("export", "work", *REGION)
    two.advance(5)
    return Clones(one, two, git)


def readable(machine: Machine, *names: str, **env: str) -> None:
    """Require that keys open."""
    for name in names:
        assert SECRET in machine.ok("export", name, *REGION, env=env or None).out


def test_each_adds_an_item_and_a_slot_and_changes_the_passphrase(clones: Clones) -> None:
    passphrases = {}
    for number, machine in enumerate((clones.one, clones.two)):
        mine = f"the passphrase of machine {number}"
        machine.add(f"item-{number}", EXAMPLE_ID, SECRET, "--no-config")
        machine.ok("slot", "add", "--new-key-file", "machine.key", "--label", f"key {number}")
        machine.advance(60 * (number + 1))
        machine.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": mine})
        machine.env["FILEVAULT_PASSPHRASE"] = mine
        passphrases[number] = mine
    for source, target in ((clones.one, clones.two), (clones.two, clones.one)):
        merged = clones.sync(source, target)
        assert merged.returncode == 0, merged
    for machine in (clones.one, clones.two):
        for passphrase in passphrases.values():
            readable(
                machine, "item-0", "item-1", "work", "team/prod:eu", FILEVAULT_PASSPHRASE=passphrase
            )
        for other in (clones.one, clones.two):
            machine.ok(
                *("--key-file", str(other.home / "machine.key"), "export", "work", *REGION),
                env={"FILEVAULT_PASSPHRASE": None},
            )
        assert machine.run("export", "work", env={"FILEVAULT_PASSPHRASE": PASSPHRASE}).status == 5
        assert len(slots(machine.vault)) == 4


def each_removes_the_keyslot_of_the_other(clones: Clones) -> None:
    clones.one.ok("slot", "add", "--label", "two", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    assert clones.sync(clones.one, clones.two).returncode == 0
    clones.two.env["FILEVAULT_PASSPHRASE"] = NEW
    for machine, mine in ((clones.one, ""), (clones.two, "two")):
        folder = machine.vault / ".filevault/slots"
        other = next(
            file.stem
            for file in folder.iterdir()
            if json.loads(file.read_bytes().partition(b"\n")[0])["label"] != mine
        )
        machine.ok("slot", "remove", other)
        assert len(slots(machine.vault)) == 1


def test_two_that_remove_each_others_keyslot_do_not_lock_each_other_out(clones: Clones) -> None:
    each_removes_the_keyslot_of_the_other(clones)
    clones.two.ok("git", "pull", "-q", "--no-rebase", "--no-edit", str(clones.one.vault), "main")
    assert len(slots(clones.two.vault)) == 2
    for passphrase in (PASSPHRASE, NEW):
        readable(clones.two, "work", FILEVAULT_PASSPHRASE=passphrase)


def test_nor_does_plain_git_leave_them_without_a_keyslot(clones: Clones) -> None:
    """It may take what was written anew for a rename, and ask; every file is there to be kept."""
    each_removes_the_keyslot_of_the_other(clones)
    merged = clones.sync(clones.one, clones.two)
    if merged.returncode:
        assert "CONFLICT (rename/" in merged.stdout
        clones.two.ok("git", "add", "-A")
        clones.two.ok("git", "commit", "-q", "--no-edit")
    for passphrase in (PASSPHRASE, NEW):
        readable(clones.two, "work", FILEVAULT_PASSPHRASE=passphrase)


def both_change_the_same_passphrase(clones: Clones) -> None:
    """At the same second, with a long label: the two new keyslots look much alike."""
    for machine in (clones.one, clones.two):
        machine.freeze(2_000_000_000)
    clones.one.ok("slot", "add", "--label", "x" * 150, env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    assert clones.sync(clones.one, clones.two).returncode == 0
    for number, machine in enumerate((clones.one, clones.two)):
        new = {"FILEVAULT_NEW_PASSPHRASE": f"the passphrase of machine {number}"}
        line = machine.ok("slot", "list").out.partition("'xxx")[0].splitlines()[-1]
        machine.ok("passphrase", "--slot", line.split()[0], env=WITH_NEW | new)


def all_three_open(clones: Clones) -> None:
    for passphrase in (PASSPHRASE, *(f"the passphrase of machine {number}" for number in (0, 1))):
        readable(clones.two, "work", FILEVAULT_PASSPHRASE=passphrase)
    assert clones.two.ok("git", "status", "--porcelain").out == ""


def test_keyslots_that_look_alike_merge(clones: Clones) -> None:
    both_change_the_same_passphrase(clones)
    pull = ("pull", "-q", "--no-rebase", "--no-edit", str(clones.one.vault), "main")
    clones.two.ok("git", *pull)
    all_three_open(clones)


def test_what_plain_git_takes_for_a_rename_is_settled_as_told(clones: Clones) -> None:
    both_change_the_same_passphrase(clones)
    merged = clones.sync(clones.one, clones.two)
    assert "CONFLICT (rename/rename)" in merged.stdout
    page = (Path(__file__).parents[2] / "docs/how-to/dotfiles.md").read_text()
    told = re.search(r"`git (add [^`]*)` and `git (commit [^`]*)` settle it", page)
    assert told is not None
    for command in told.groups():
        clones.two.ok("git", *command.split())
    all_three_open(clones)


def test_the_same_item_changed_twice_is_a_conflict_that_two_commands_settle(
    clones: Clones,
) -> None:
    clones.one.add("work", ONE_ID, SECRET, "--force", "--no-config")
    clones.two.add("work", TWO_ID, SECRET, "--force", "--no-config")
    merged = clones.sync(clones.one, clones.two)
    assert merged.returncode == 1
    assert "CONFLICT" in merged.stdout
    two = clones.two
    # git leaves its own side in place, and both are there to be had.
    assert TWO_ID in two.ok("export", "work", *REGION).out
    page = (Path(__file__).parents[2] / "docs/how-to/dotfiles.md").read_text()
    told = page.partition("two commands settle it")[2].partition("```console\n")[2]
    commands = re.findall(r"^\$ filevault (git .*)$", told.partition("```")[0], re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        two.ok(*command.split())
    assert ONE_ID in two.ok("export", "work", *REGION).out
    assert two.ok("git", "status", "--porcelain").out == ""
    history = two.ok("git", "show", "HEAD^1:work.fv").out
    assert history  # the other side stays in the history


def rekeyed_and_merged(clones: Clones) -> None:
    """One machine gives the vault a new key while the other adds a key and a slot."""
    clones.two.add("late", "AKIALATELATELATELATE", SECRET, "--no-config")
    clones.two.ok("slot", "add", "--new-key-file", "late.key", "--label", "late")
    clones.one.ok("rekey")
    merged = clones.sync(clones.two, clones.one)
    assert merged.returncode == 0, merged


def test_an_item_that_came_under_the_former_key_is_named_and_taken_over(clones: Clones) -> None:
    rekeyed_and_merged(clones)
    one = clones.one
    readable(one, "work", "team/prod:eu")
    refused = one.run("export", "late", *REGION)
    assert refused.status == 6
    assert "'late' is sealed under a former key of this vault" in refused.err
    assert "filevault rekey --finish" in refused.err
    again = one.run("rekey", "--drop-slots")
    assert (again.status, "rekey --finish" in again.err) == (6, True)
    unattended = one.run("rekey", "--finish")
    assert unattended.status == 5
    assert "late  AKIALATELATELATELATE" in unattended.err
    no = one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "n")])
    assert (no.status, "nothing was changed" in no.err) == (0, True)
    done = one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")])
    assert done.status == 0, done
    assert "late  AKIALATELATELATELATE" in done.out
    readable(one, "work", "team/prod:eu", "late")
    present = marker(one.vault)["master"]
    assert sealed_under(one.vault) == {present}
    assert [slot["master"] for slot in slots(one.vault)] == [present]
    assert one.ok("git", "status", "--porcelain").out == ""
    one.ok("rekey")


def test_the_other_machine_accepts_the_new_key_and_goes_on(clones: Clones) -> None:
    rekeyed_and_merged(clones)
    one, two = clones.one, clones.two
    one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")])
    merged = clones.sync(one, two)
    assert merged.returncode == 0, merged
    refused = two.run("export", "work", *REGION)
    assert refused.status == 10
    assert "master key is another one" in refused.err
    two.ok("recipients", "accept")
    readable(two, "work", "team/prod:eu", "late")
    lost = two.run(
        *("--key-file", "late.key", "export", "work", *REGION), env={"FILEVAULT_PASSPHRASE": None}
    )
    assert lost.status == 5


def test_two_new_keys_at_once_lose_nothing(clones: Clones) -> None:
    """Both change the key: git asks which vault.json counts, and the other one's items follow."""
    one, two = clones.one, clones.two
    two.add("late", "AKIALATELATELATELATE", SECRET, "--no-config")
    one.ok("rekey")
    two.ok("rekey")
    merged = clones.sync(two, one)
    assert merged.returncode == 1
    one.ok("git", "checkout", "--ours", ".")
    one.ok("git", "add", "-A")
    one.ok("git", "commit", "-q", "--no-edit")
    readable(one, "work", "team/prod:eu")
    assert one.run("export", "late", *REGION).status == 6
    done = one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")])
    assert done.status == 0, done
    readable(one, "work", "team/prod:eu", "late")
    assert len(slots(one.vault)) == 1
    # The other machine does not know yet that its key was not kept, and goes on with it.
    two.add("later", "AKIALATERLATERLATERL", SECRET, "--no-config")
    merged = clones.sync(two, one)
    assert merged.returncode == 0, merged
    done = one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")])
    assert done.status == 0, done
    readable(one, "work", "team/prod:eu", "late", "later")


KILLED_AFTER_THE_SWITCH = """
import os, runpy, signal, sys
from filevault.backends.file import rekey
switch = rekey.switch
def killed(*given):
    switch(*given)
    os.kill(os.getpid(), signal.SIGKILL)
rekey.switch = killed
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def interrupt_rekey(machine: Machine) -> None:
    """Let a rekey be killed when the new key counts and nothing lies under it yet."""
    before = marker(machine.vault)
    plain = machine.launcher
    machine.launcher = (sys.executable, "-c", KILLED_AFTER_THE_SWITCH, plain[1])
    assert machine.run("rekey").status == -signal.SIGKILL
    machine.launcher = plain
    assert marker(machine.vault) != before


def test_a_rekey_that_was_interrupted_is_told_and_not_accepted_away(two_profiles: Machine) -> None:
    """What is pinned says which items need nobody's word to be sealed anew."""
    interrupt_rekey(two_profiles)
    listed = two_profiles.ok("recipients", "list").out
    assert "(a rekey was interrupted here: filevault rekey finishes it)\n" in listed
    assert "NOT the one" not in listed
    (state,) = two_profiles.state.iterdir()
    before = (state / "trust.json").read_bytes()
    refused = two_profiles.run("recipients", "accept")
    assert (refused.status, refused.out) == (12, "")
    assert "filevault rekey does the rest" in refused.err
    assert (state / "trust.json").read_bytes() == before
    two_profiles.ok("rekey")
    assert sealed_under(two_profiles.vault) == {marker(two_profiles.vault)["master"]}
    assert "(known here)" in two_profiles.ok("recipients", "list").out
    two_profiles.ok("recipients", "accept")


def test_a_key_of_another_machine_outlives_a_rekey_that_is_resumed(clones: Clones) -> None:
    """Its keyslots arrive while a rekey here waits to be finished."""
    one, two = clones.one, clones.two
    interrupt_rekey(one)
    two.ok("rekey")
    two.add("theirs", "AKIALATELATELATELATE", SECRET, "--no-config")
    shutil.copy(two.vault / "theirs.fv", one.vault / "theirs.fv")
    for slot in (two.vault / ".filevault/slots").iterdir():
        shutil.copy(slot, one.vault / ".filevault/slots")
    resumed = one.run("rekey")
    assert resumed.status == 12, resumed
    done = one.on_terminal("rekey", "--finish", answers=[TypedAnswer("Take them over?", "y")])
    assert done.status == 0, done
    readable(one, "work", "team/prod:eu", "theirs")
    assert len(slots(one.vault)) == 1


# An ex-member who still has the old vault and its passphrase


@pytest.fixture
def left(two_profiles: Machine) -> tuple[Machine, Path]:
    """A vault that got a new passphrase and a new key, and a copy from before."""
    copy = two_profiles.home / "copy"
    shutil.copytree(two_profiles.vault, copy)
    two_profiles.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    two_profiles.env["FILEVAULT_PASSPHRASE"] = NEW
    two_profiles.ok("rekey")
    two_profiles.ok("export", "work", *REGION)
    return two_profiles, copy


def replace(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)


def test_an_old_keys_folder_put_back_is_refused(left: tuple[Machine, Path]) -> None:
    machine, copy = left
    replace(machine.vault / ".filevault", copy / ".filevault")
    for words in (
        ("export", "work", *REGION),
        ("add", "x", "--stdin"),
        ("slot", "add"),
        ("rekey",),
    ):
        for passphrase in (PASSPHRASE, NEW):
            done = machine.run(*words, env={"FILEVAULT_PASSPHRASE": passphrase})
            assert done.status == 10, (words, done)
            assert "master key is another one than this machine knows" in done.err


def test_a_vault_put_in_place_of_this_one_is_refused(left: tuple[Machine, Path]) -> None:
    machine, copy = left
    replace(machine.vault, copy)
    assert machine.run("export", "work", *REGION).status == 10
    other = Machine(machine.home / "other").with_vault()
    replace(machine.vault, other.vault)
    done = machine.run("export", "work", *REGION)
    assert (done.status, "replaced by another one" in done.err) == (10, True)


def test_a_flipped_marker_is_refused(left: tuple[Machine, Path]) -> None:
    machine, copy = left
    # The old vault.json alone, and the old identity beside the new key id.
    file = machine.vault / ".filevault/vault.json"
    old, new = marker(copy), marker(machine.vault)
    for values in (old, {**new, "commit": old["commit"]}, {**old, "commit": new["commit"]}):
        file.write_text(json.dumps(values, separators=(",", ":")))
        status = machine.run("export", "work", *REGION).status
        assert status == (6 if values["commit"] == new["commit"] else 10)
    file.write_text(json.dumps(new, separators=(",", ":")))
    readable(machine, "work")


def test_what_an_ex_member_seals_under_the_old_key_is_never_just_used(
    left: tuple[Machine, Path],
) -> None:
    machine, copy = left
    forger = Machine(machine.home / "forger")
    forger.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    shutil.copytree(copy, forger.vault)
    forger.add("work", "AKIAEVILEVILEVILEVIL", SECRET, "--force", "--no-config")
    shutil.copy(forger.vault / "work.fv", machine.vault / "work.fv")
    done = machine.run("export", "work", *REGION)
    assert (done.status, "former key" in done.err) == (6, True)
    assert "AKIAEVIL" not in done.out
    shown = machine.run("rekey", "--finish")
    assert shown.status == 5
    assert "work  AKIAEVILEVILEVILEVIL" in shown.err
    assert "anyone who knew the former key may have written these" in shown.err


def test_the_old_passphrase_opens_nothing_that_is_stored_later(
    left: tuple[Machine, Path],
) -> None:
    machine, copy = left
    machine.add("later", EXAMPLE_ID, SECRET, "--no-config")
    spy = Machine(machine.home / "spy")
    spy.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    shutil.copytree(machine.vault, spy.vault)
    for slot in (copy / ".filevault/slots").iterdir():
        shutil.copy(slot, spy.vault / ".filevault/slots")
    assert spy.run("export", "later", *REGION).status == 5
    assert spy.run("rekey", "--finish").status == 5
    shutil.rmtree(spy.state)
    replace(spy.vault / ".filevault", copy / ".filevault")
    assert spy.run("export", "later", *REGION).status == 6


def test_a_rekey_that_was_cut_off_takes_an_older_item_over_and_keeps_it_older(
    two_profiles: Machine,
) -> None:
    """It lies under the old key as this machine knows, though not as the newest it saw."""
    item = two_profiles.vault / "work.fv"
    old = item.read_bytes()
    two_profiles.add("work", OTHER_ID, SECRET, "--force", "--no-config")
    item.write_bytes(old)
    inside = InProcess(two_profiles.env)

    def cut_off(_resealing: object, _entry: object) -> None:
        raise StorageError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resealer, "seal", cut_off)
        assert inside.run("rekey").status == 12
    assert inside.run("rekey").status == 0
    assert sealed_under(two_profiles.vault) == {marker(two_profiles.vault)["master"]}
    shown = inside.run("export", "work", "-n", "--strict")
    assert (shown.status, "older than" in shown.err) == (6, True)
