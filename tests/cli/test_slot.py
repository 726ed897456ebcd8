"""Keyslots and passphrases, as a person and as a script change them."""

from __future__ import annotations

import re
import signal
import time

import pytest

from filevault.backends.file import keyslots
from filevault.cli.words import WORDS
from tests.conditions.tools import tool
from tests.samples import EXAMPLE_KEY
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.other_programs import commit_identity

NEW = "another long passphrase"


@pytest.fixture
def work_vault(machine: Machine) -> Machine:
    """A vault with one key."""
    return machine.with_vault().add("work", *EXAMPLE_KEY, "--no-config")


def ids(machine: Machine) -> list[str]:
    """The ids of the slots, as listed."""
    return [line.split()[0] for line in machine.ok("slot", "list").out.splitlines()]


def opens(machine: Machine, passphrase: str) -> bool:
    """Tell whether a passphrase gives the stored key away."""
    done = machine.run(
        "export", "work", "--no-session", "--region", "x", env={"FILEVAULT_PASSPHRASE": passphrase}
    )
    assert done.status in (0, 5), done
    return EXAMPLE_KEY[1] in done.out


def test_a_second_passphrase_opens_the_vault(work_vault: Machine) -> None:
    added = work_vault.ok("slot", "add", "--label", "laptop", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    made = re.fullmatch(r"Added keyslot ([0-9a-f]{16})\.\n", added.out)
    assert made is not None
    assert opens(work_vault, NEW)
    assert opens(work_vault, PASSPHRASE)
    listed = work_vault.ok("slot", "list", env={"FILEVAULT_PASSPHRASE": None}).out
    assert re.search(rf"^{made[1]}  argon2id, made .*, 'laptop'$", listed, re.MULTILINE)
    assert listed.count("opened the vault here last") == 1
    assert NEW not in added.everything


@pytest.mark.parametrize(
    ("argv", "options"),
    [(("passphrase",), "--generate"), (("slot", "add"), "--generate or --new-key-file F")],
)
def test_where_nobody_can_be_asked_the_hint_names_what_the_command_takes(
    work_vault: Machine, argv: tuple[str, ...], options: str
) -> None:
    refused = work_vault.run(*argv)
    assert refused.status == 5
    sources = "FILEVAULT_NEW_PASSPHRASE or its _FILE, _FD, _COMMAND forms"
    assert refused.err.splitlines()[1] == (f"filevault: hint: set {sources}, or give {options}")


def test_a_new_passphrase_is_asked_for_after_the_present_one(work_vault: Machine) -> None:
    del work_vault.env["FILEVAULT_PASSPHRASE"]
    done = work_vault.on_terminal(
        "slot",
        "add",
        answers=[
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("New passphrase: ", NEW),
            TypedAnswer("The same again: ", "not the same"),
            TypedAnswer("New passphrase: ", NEW),
            TypedAnswer("The same again: ", NEW),
        ],
    )
    assert (done.status, done.echo) == (0, True)
    assert opens(work_vault, NEW)


def test_a_key_file_for_a_machine(work_vault: Machine) -> None:
    file = work_vault.home / "keys/machine.key"
    done = work_vault.ok("slot", "add", "--new-key-file", str(file))
    assert f"key file: {file}" in done.out
    assert file.stat().st_mode & 0o777 == 0o600
    without = {"FILEVAULT_PASSPHRASE": None}
    shown = work_vault.ok(
        *("--key-file", str(file), "export", "work", "--no-session", "--region", "x"), env=without
    )
    assert EXAMPLE_KEY[1] in shown.out
    assert "keyfile, made" in work_vault.ok("slot", "list").out
    again = work_vault.run("slot", "add", "--type", "keyfile", "--new-key-file", str(file))
    assert again.status == 2
    assert "never overwritten" in again.err
    assert len(ids(work_vault)) == 2
    inside = work_vault.run("slot", "add", "--new-key-file", str(work_vault.vault / "machine.key"))
    assert (inside.status, "lies in the vault" in inside.err) == (2, True)


def test_a_key_file_that_opens_nothing_is_not_left(work_vault: Machine) -> None:
    """The vault's folder cannot be written, as the slot shows only after the key file."""
    (work_vault.vault / ".filevault/slots").rename(work_vault.home / "slots")
    (work_vault.vault / ".filevault/slots").symlink_to(work_vault.home / "slots")
    done = work_vault.run("slot", "add", "--new-key-file", "machine.key")
    assert (done.status, "is a link" in done.err) == (7, True)
    assert not (work_vault.home / "machine.key").exists()


def test_a_key_file_stays_whose_slot_was_made_before_git_was_interrupted(
    work_vault: Machine,
) -> None:
    tool("git")
    commit_identity(work_vault)
    work_vault.ok("git", "init", "-q")
    hook = work_vault.vault / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {work_vault.home}/committing\nsleep 30\n")
    hook.chmod(0o755)
    work_vault.ok("git", "adopt")
    process = work_vault.popen("slot", "add", "--new-key-file", "machine.key")
    while process.poll() is None and not (work_vault.home / "committing").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(ids(work_vault)) == 2
    work_vault.ok(
        *("--key-file", "machine.key", "export", "work", "--no-session", "--region", "x"),
        env={"FILEVAULT_PASSPHRASE": None},
    )


def test_a_slot_that_was_made_when_adding_was_interrupted_keeps_its_key_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the moment after the slot is written: it has to be acted."""
    machine.with_vault()
    real = keyslots.write
    file = str(machine.home / "machine.key")

    def write(*given: object, **named: object) -> str:
        real(*given, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(keyslots, "write", write)
        ended = InProcess(machine.environment()).run("slot", "add", "--new-key-file", file)
    assert ended.status == 130
    machine.add("work", *EXAMPLE_KEY, "--no-config")
    machine.ok(
        *("--key-file", file, "export", "work", "--no-session", "--region", "x"),
        env={"FILEVAULT_PASSPHRASE": None},
    )


def test_a_machine_vault_needs_no_passphrase_at_all(machine: Machine) -> None:
    machine.ok("init", "--new-key-file", "machine.key", "--no-passphrase")
    assert len(ids(machine)) == 1
    assert "keyfile, made" in machine.ok("slot", "list").out
    machine.env["FILEVAULT_KEY_FILE"] = str(machine.home / "machine.key")
    machine.add("work", *EXAMPLE_KEY, "--no-config")
    assert EXAMPLE_KEY[1] in machine.ok("export", "work", "--no-session", "--region", "x").out
    # Later somebody wants to type a passphrase, and the key file to go.
    machine.ok("slot", "add", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    keyfile = next(
        line.split()[0] for line in machine.ok("slot", "list").out.splitlines() if "keyfile" in line
    )
    refused = machine.run("slot", "remove", keyfile)
    assert (refused.status, "another one must be known to work" in refused.err) == (2, True)
    del machine.env["FILEVAULT_KEY_FILE"]
    machine.ok("slot", "remove", keyfile, env={"FILEVAULT_PASSPHRASE": NEW})
    assert opens(machine, NEW)


def test_a_generated_passphrase_is_words_shown_once(work_vault: Machine) -> None:
    done = work_vault.ok("slot", "add", "--generate")
    shown = re.search(r"^passphrase: (\S+)$", done.out, re.MULTILINE)
    assert shown is not None
    words = shown[1].split("-")
    assert len(words) == 10
    assert set(words) <= set(WORDS)
    assert "90 bits" in done.err
    assert opens(work_vault, shown[1])
    assert shown[1] not in work_vault.ok("slot", "list").everything


def test_the_words_are_512_different_ones() -> None:
    assert len(set(WORDS)) == len(WORDS) == 512
    assert all(re.fullmatch("[a-z]{3,8}", word) for word in WORDS)


def test_the_last_slot_is_not_removed(work_vault: Machine) -> None:
    (only,) = ids(work_vault)
    done = work_vault.run("slot", "remove", only)
    assert done.status == 2
    assert "is the last one" in done.err
    assert opens(work_vault, PASSPHRASE)


def test_removing_says_what_it_does_not_take_back(work_vault: Machine) -> None:
    (old,) = ids(work_vault)
    work_vault.ok("slot", "add", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    done = work_vault.ok("slot", "remove", old[:6], env={"FILEVAULT_PASSPHRASE": NEW})
    assert done.out == f"Removed keyslot {old}.\n"
    assert "revokes nothing" in done.err
    assert "filevault rekey" in done.err
    (own,) = ids(work_vault)
    assert re.search(
        rf"your keyslot was written again .* it was [0-9a-f]{{16}}, and is {own}$",
        done.err,
        re.MULTILINE,
    )
    assert "opened the vault here last" in work_vault.ok("slot", "list").out
    assert not opens(work_vault, PASSPHRASE)
    assert work_vault.run("slot", "remove", old, env={"FILEVAULT_PASSPHRASE": NEW}).status == 4


def test_a_weak_passphrase_is_refused_unless_insisted_upon(work_vault: Machine) -> None:
    for command in (("slot", "add"), ("passphrase",)):
        weak = {"FILEVAULT_NEW_PASSPHRASE": "short"}
        refused = work_vault.run(*command, env=weak)
        assert (refused.status, "fewer than 12" in refused.err) == (2, True)
    assert len(ids(work_vault)) == 1
    work_vault.ok("passphrase", "--allow-weak", env={"FILEVAULT_NEW_PASSPHRASE": "short"})
    assert opens(work_vault, "short")


def test_a_changed_passphrase_is_the_only_one(work_vault: Machine) -> None:
    (old,) = ids(work_vault)
    done = work_vault.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    (new,) = ids(work_vault)
    assert done.out == f"Changed the passphrase: keyslot {new} replaces {old}.\n"
    assert "revokes nothing" in done.err
    assert "filevault rekey" in done.err
    assert opens(work_vault, NEW)
    assert not opens(work_vault, PASSPHRASE)
    for secret in (NEW, PASSPHRASE):
        assert secret not in done.everything


def test_no_keyslot_is_left_that_the_old_passphrase_opens(work_vault: Machine) -> None:
    (own,) = ids(work_vault)
    work_vault.ok("slot", "add", "--label", "twin", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    work_vault.ok(
        "slot", "add", "--label", "other", env={"FILEVAULT_NEW_PASSPHRASE": "a third one here"}
    )
    done = work_vault.ok("passphrase", "--slot", own, env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    assert re.search(
        r"the old passphrase opened keyslot [0-9a-f]{16}.*: it is deleted$", done.err, re.MULTILINE
    )
    assert len(ids(work_vault)) == 2
    assert not opens(work_vault, PASSPHRASE)
    assert opens(work_vault, NEW)
    assert opens(work_vault, "a third one here")


def test_the_same_passphrase_again_leaves_other_keyslots_of_it(work_vault: Machine) -> None:
    work_vault.ok("slot", "add", "--label", "twin", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    work_vault.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    assert len(ids(work_vault)) == 2


def test_a_passphrase_is_changed_on_the_terminal(work_vault: Machine) -> None:
    del work_vault.env["FILEVAULT_PASSPHRASE"]
    done = work_vault.on_terminal(
        "passphrase",
        answers=[
            TypedAnswer("Passphrase for", "wrong"),
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("New passphrase: ", NEW),
            TypedAnswer("The same again: ", NEW),
        ],
    )
    assert done.status == 0
    assert opens(work_vault, NEW)


def test_a_wrong_passphrase_changes_nothing(work_vault: Machine) -> None:
    before = ids(work_vault)
    env = {"FILEVAULT_PASSPHRASE": "wrong", "FILEVAULT_NEW_PASSPHRASE": NEW}
    for command in (("passphrase",), ("slot", "add"), ("slot", "remove", before[0])):
        assert work_vault.run(*command, env=env).status == 5
    assert ids(work_vault) == before


def test_without_a_terminal_and_a_source_nothing_waits(work_vault: Machine) -> None:
    for command in (("passphrase",), ("slot", "add")):
        done = work_vault.run(*command)
        assert done.status == 5
        assert "FILEVAULT_NEW_PASSPHRASE" in done.err


def test_a_key_file_has_no_passphrase_to_change(work_vault: Machine) -> None:
    work_vault.ok("slot", "add", "--new-key-file", "machine.key")
    env = {"FILEVAULT_PASSPHRASE": None, "FILEVAULT_NEW_PASSPHRASE": NEW}
    done = work_vault.run("--key-file", "machine.key", "passphrase", env=env)
    assert (done.status, "opened with a key file" in done.err) == (5, True)


def test_weak_slots_are_named_and_made_anew_by_changing_the_passphrase(machine: Machine) -> None:
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init", "--kdf-memory", "8")
    assert "weaker than new ones" in machine.ok("slot", "list").out
    machine.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    assert "weaker" not in machine.ok("slot", "list").out


@pytest.mark.parametrize(
    "words",
    [
        ("slot",),
        ("slot", "rename"),
        ("slot", "remove"),
        ("slot", "list", "0123"),
        ("slot", "list", "--generate"),
        ("slot", "remove", "0123", "--label", "x"),
        ("slot", "add", "--type", "keyfile"),
        ("slot", "add", "--type", "fido2"),
        ("slot", "add", "--new-key-file", "k", "--generate"),
        ("slot", "add", "--label", "two\nlines"),
        ("passphrase", "now"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_together_is_a_usage_error(
    work_vault: Machine, words: list[str]
) -> None:
    done = work_vault.run(*words)
    assert done.status == 2
    assert done.err.startswith("filevault: error: ")
    assert len(ids(work_vault)) == 1


def test_an_age_vault_says_what_to_do_instead(machine: Machine) -> None:
    machine.ok("init", "--backend", "age", "--no-passphrase")
    for command in (("slot", "list"), ("slot", "add"), ("passphrase",)):
        done = machine.run("--backend", "age", *command)
        assert done.status == 2
        assert "an age vault" in done.err
        assert "filevault recipients" in done.err


def test_changes_are_committed_where_the_vault_is_a_repository(work_vault: Machine) -> None:
    tool("git")
    commit_identity(work_vault)
    work_vault.ok("git", "init", "-q")
    (first,) = ids(work_vault)
    work_vault.ok("slot", "add", "--new-key-file", "machine.key")
    work_vault.ok("passphrase", env={"FILEVAULT_NEW_PASSPHRASE": NEW})
    work_vault.env["FILEVAULT_PASSPHRASE"] = NEW
    machine_slot = next(
        line.split()[0]
        for line in work_vault.ok("slot", "list").out.splitlines()
        if "keyfile" in line
    )
    work_vault.ok("slot", "remove", machine_slot)
    assert work_vault.ok("git", "status", "--porcelain").out == ""
    subjects = work_vault.ok("git", "log", "--format=%s").out.splitlines()
    assert subjects[:3] == ["Remove a keyslot.", "Change the passphrase.", "Add a keyslot."]
    shown = work_vault.ok("git", "show", "--name-status", "--format=", "HEAD~1", "--no-renames").out
    assert f"D\t.filevault/slots/{first}.slot" in shown
    assert shown.count("A\t.filevault/slots/") == 1
