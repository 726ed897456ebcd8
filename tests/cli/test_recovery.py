"""Backup and recovery: each command of the page, typed on a terminal."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import KEY_ID, OTHER_ID, SECRET
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.damage import flip
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult, TypedAnswer

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/backup-and-recovery.md"
ASKED = "assphrase for"
NEW = "another good passphrase"
TYPES_NEW = [TypedAnswer("New passphrase", NEW), TypedAnswer("same again", NEW)]


def opening(passphrase: str = PASSPHRASE) -> TypedAnswer:
    return TypedAnswer(ASKED, passphrase)


def typed(
    machine: Machine,
    line: str,
    answers: Sequence[TypedAnswer] = (),
    *,
    status: int = 0,
    values: Mapping[str, str] | None = None,
) -> ProcessResult:
    """Type a line of the page, in which `values` replace what stands for them there."""
    places = {"~/": f"{machine.home}/", "/media/usb": f"{machine.home}/usb"}
    for name, value in {**places, **(values or {})}.items():
        line = line.replace(name, value)
    words = shlex.split(line)
    if words[0] == "filevault":
        result = machine.on_terminal(*words[1:], answers=answers)
    else:
        done = subprocess.run(
            words, env=machine.environment(), cwd=machine.home, capture_output=True, text=True
        )
        result = ProcessResult(done.returncode, done.stdout, done.stderr)
    assert result.status == status, (line, result)
    return result


def test_every_command_of_the_page_is_typed_here() -> None:
    blocks = re.findall(r"^ *```console\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    told = {line.strip()[2:] for each in blocks for line in each.splitlines() if "$ " in line[:6]}
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    here = {
        call.args[1].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "typed" and isinstance(call.args[1], ast.Constant)
    }
    assert len(told) > 20
    assert told <= here


@pytest.fixture
def stored(machine: Machine) -> Machine:
    """A machine with a vault and the key of `work`, to which no variable gives the passphrase."""
    machine.with_vault().add("work", KEY_ID, SECRET)
    machine.env.pop("FILEVAULT_PASSPHRASE")
    return machine


def slot_ids(machine: Machine) -> dict[str, str]:
    """Keyslots by label, or by nothing."""
    lines = typed(machine, "filevault slot list").out.splitlines()
    return {(re.findall(r"'(.*)'", line) or [""])[0]: line.split()[0] for line in lines}


def words_of(machine: Machine) -> str:
    """Make the recovery passphrase of the page and return it."""
    made = typed(machine, "filevault slot add --generate --label recovery", [opening()])
    words = re.findall(r"^passphrase: (\S+)$", made.out, re.MULTILINE)
    assert len(words) == 1
    assert words[0] not in made.err + made.tty, "a printer gets them, the terminal does not"
    assert words[0].count("-") == 9
    return str(words[0])


def reads(machine: Machine, passphrase: str) -> bool:
    """Whether a passphrase opens the vault."""
    env = {"FILEVAULT_PASSPHRASE": passphrase}
    return machine.run("export", "work", "--no-session", env=env).status == 0


def test_words_on_paper_bring_back_a_vault_whose_passphrase_is_lost(stored: Machine) -> None:
    words = words_of(stored)
    typed(stored, "filevault lock")
    assert (
        "1 key, 0 sessions, 2 keyslots" in typed(stored, "filevault verify", [opening(words)]).out
    )
    lost = slot_ids(stored)[""]
    typed(stored, "filevault slot add", [opening(words), *TYPES_NEW])
    assert len(typed(stored, "filevault slot list").out.splitlines()) == 3
    typed(
        stored,
        "filevault slot remove 6a8df92827ecd38f",
        [opening(words)],
        values={"6a8df92827ecd38f": lost},
    )
    assert [reads(stored, each) for each in (words, NEW, PASSPHRASE)] == [True, True, False]


def test_a_change_of_the_passphrase_uses_up_the_words_only_after_a_yes(stored: Machine) -> None:
    words = words_of(stored)
    slot = slot_ids(stored)["recovery"]
    asked = "Replace it, so that it opens nothing any more"
    line = "filevault passphrase"
    declined = typed(stored, line, [opening(words), TypedAnswer(asked, "n")])
    assert f"keyslot {slot} (argon2id" in declined.tty
    assert "'recovery')" in declined.tty
    assert "nothing was changed; filevault slot add keeps that passphrase" in declined.err
    for env in ({}, {"FILEVAULT_NEW_PASSPHRASE": NEW}):
        refused = stored.run("passphrase", env={"FILEVAULT_PASSPHRASE": words, **env})
        assert refused.status == 5
        assert f"--slot {slot} replaces it; filevault slot add keeps it" in refused.err
    assert [reads(stored, each) for each in (words, NEW, PASSPHRASE)] == [True, False, True]
    typed(stored, line, [opening(words), TypedAnswer(asked, "y"), *TYPES_NEW])
    assert [reads(stored, each) for each in (words, NEW, PASSPHRASE)] == [False, True, True]


@pytest.mark.parametrize("given", [(), ("--slot", "SLOT")], ids=["asks", "--slot"])
def test_a_change_of_ones_own_passphrase_leaves_the_words(
    stored: Machine, given: Sequence[str]
) -> None:
    words, own = words_of(stored), slot_ids(stored)[""]
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_NEW_PASSPHRASE": NEW}
    argv = ("passphrase", *(own if each == "SLOT" else each for each in given))
    if given:
        stored.ok(*argv, env=env)
    else:
        stored.on_terminal(*argv, env=env, answers=[TypedAnswer(f"opens keyslot {own}", "y")])
    assert [reads(stored, each) for each in (words, NEW, PASSPHRASE)] == [True, True, False]


def test_words_that_are_the_only_passphrase_beside_a_key_file_are_asked_about(
    machine: Machine,
) -> None:
    """A service's vault: no passphrase is typed there but the one on paper."""
    machine.ok("init", "--new-key-file", "machine.key", "--no-passphrase")
    made = machine.ok("--key-file", "machine.key", "slot", "add", "--generate", "--label", "paper")
    words = re.findall(r"^passphrase: (\S+)$", made.out, re.MULTILINE)[0]
    env = {"FILEVAULT_PASSPHRASE": words, "FILEVAULT_NEW_PASSPHRASE": NEW}
    refused = machine.run("passphrase", env=env)
    assert (refused.status, "'paper'" in refused.err) == (5, True)


def test_without_any_way_in_a_new_vault_takes_the_place(stored: Machine) -> None:
    assert "work" in typed(stored, "filevault list --credentials").out
    typed(stored, "mv ~/.local/share/filevault ~/old-vault")
    typed(stored, "filevault init", TYPES_NEW)
    answers = [opening(NEW), TypedAnswer("key id", OTHER_ID), TypedAnswer("Secret", SECRET)]
    typed(stored, "filevault add work", answers)
    assert reads(stored, NEW)
    assert (stored.home / "old-vault/work.fv").exists()


def test_a_copy_of_the_folder_is_a_backup(stored: Machine) -> None:
    (stored.home / "usb").mkdir()
    typed(stored, "cp -a ~/.local/share/filevault /media/usb/filevault")
    flip(stored.vault / "work.fv")
    typed(stored, "filevault verify", [opening()], status=6)
    typed(stored, "filevault --vault /media/usb/filevault verify", [opening()])
    typed(stored, "cp -p /media/usb/filevault/work.fv ~/.local/share/filevault/")
    typed(stored, "filevault verify work", [opening()])
    shutil.rmtree(stored.vault / ".filevault")
    typed(stored, "filevault verify", status=10)
    typed(stored, "cp -a /media/usb/filevault/.filevault ~/.local/share/filevault/")
    assert reads(stored, PASSPHRASE)


def test_a_damaged_item_comes_back_from_git(stored: Machine) -> None:
    with_author(stored)
    typed(stored, "filevault git init")
    stored.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    stored.ok("add", "work", "--stdin", "--force", stdin=f"{OTHER_ID}\n{SECRET}\n")
    stored.env.pop("FILEVAULT_PASSPHRASE")
    flip(stored.vault / "work.fv")
    damaged = typed(stored, "filevault verify", [opening()], status=6)
    assert "item 'work': is damaged: its content is not what was sealed" in damaged.out
    assert len(typed(stored, "filevault git log --oneline -- work.fv").out.splitlines()) == 2
    typed(stored, "filevault git checkout HEAD -- work.fv")
    typed(stored, "filevault verify work", [opening()])
    typed(stored, "filevault git checkout HEAD~1 -- work.fv")
    typed(stored, "filevault verify", [opening()], status=6)
    typed(stored, "filevault recipients accept work", [opening()])
    typed(stored, "filevault verify work", [opening()])


def test_a_damaged_item_without_a_copy_is_replaced(stored: Machine) -> None:
    flip(stored.vault / "work.fv")
    answers = [opening(), TypedAnswer("key id", OTHER_ID), TypedAnswer("Secret", SECRET)]
    typed(stored, "filevault add work --force --discard", answers)
    typed(stored, "filevault verify", [opening()])


def test_everything_comes_out_by_hand(stored: Machine) -> None:
    assert typed(stored, "filevault list --credentials").out == "work\n"
    out = typed(stored, "filevault export work --no-session --format ini", [opening()]).out
    assert f"aws_access_key_id={KEY_ID}" in out.replace(" = ", "=")
    assert SECRET in out


def test_a_lost_machine_is_shut_out_and_its_keys_are_replaced(
    plain: AwsMachine, tmp_path: Path
) -> None:
    lost = plain.machine
    with_author(lost)
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    lost.ok("slot", "add", "--new-key-file", str(lost.home / "lost.key"), "--label", "lost")
    lost.ok("git", "init")
    lost.ok("git", "push", "-q", str(remote), "HEAD:master")

    machine = Machine(tmp_path / "new")
    with_author(machine)
    shutil.copytree(lost.home / ".aws", machine.home / ".aws")
    typed(machine, "git clone URL ~/.local/share/filevault", values={"URL": str(remote)})
    assert "not yet known here" in typed(machine, "filevault recipients list").out
    typed(machine, "filevault verify", [opening()])
    answers = [opening(), TypedAnswer("Go on without them", "y")]
    told = typed(machine, "filevault rekey", answers)
    assert plain.user.access_key_id in told.out
    assert list(slot_ids(machine)) == [""]
    old = plain.user.access_key_id
    typed(machine, "filevault rotate --all", [opening()])
    assert old not in machine.ok("list", "--json").out
    thief = {"FILEVAULT_KEY_FILE": str(lost.home / "lost.key"), "FILEVAULT_PASSPHRASE": None}
    refused = machine.run("export", "jonsmith", "--no-session", env=thief)
    assert refused.status == 5, refused


def test_a_second_identity_opens_an_age_vault(machine: Machine) -> None:
    tool("age-keygen")
    machine.ok("--backend", "age", "init", "--no-passphrase")
    machine.ok("add", "work", "--stdin", stdin=f"{KEY_ID}\n{SECRET}\n")
    made = typed(machine, "age-keygen -o recovery.identity")
    (recipient,) = re.findall(r"age1\w+", made.out + made.err)
    typed(machine, "filevault recipients add age1…", values={"age1…": recipient})
    (machine.home / ".config/filevault/identities").rename(machine.home / "lost")
    assert machine.run("export", "work", "--no-session").status != 0
    found = typed(machine, "filevault --identity recovery.identity verify")
    assert "1 key, 0 sessions, 2 recipients, 0 errors" in found.out


def with_author(machine: Machine) -> None:
    (machine.home / ".gitconfig").write_text("[user]\nname = Jon\nemail = jon@example.com\n")
