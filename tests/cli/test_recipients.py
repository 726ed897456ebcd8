"""`recipients`: who can open a shared vault is changed whole, resumably, and by nobody else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.faults.harness import HarnessCommand, Snapshot, run_with_fault, survey
from tests.samples import ANN, JON, KEY_ID, LINES
from tests.worlds.age_store import new_identity, pair
from tests.worlds.backend_machine import GpgHomes
from tests.worlds.machine import Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import pass_machine
from tests.worlds.team import ADD, NAMES, Team, refused


@pytest.mark.parametrize("action", ["add", "remove"])
def test_a_change_that_was_killed_anywhere_is_finished_by_the_same_command(
    team: Team, action: str
) -> None:
    machine = team.machine
    if action == "remove":
        machine.ok("recipients", "add", team.ann)
    start = Snapshot.take(machine.home)
    command = HarnessCommand(("recipients", action, team.ann))
    whole = survey(command, machine)
    assert whole.status == 0, whole
    expected = sorted((team.jon, team.ann) if action == "add" else (team.jon,))
    places = [number for number, call in enumerate(whole.calls) if call.name == "rename"]
    assert len(places) >= 4  # the recipients file, the pin, the items
    # What is true before one of them is true after the one before.
    for place, when in [*((place, "before") for place in places), (places[-1], "after")]:
        start.restore()
        killed = run_with_fault(command, machine, at=place, mode="kill", when=when)
        assert killed.status == -9, killed
        between = team.files()
        reading = survey(HarnessCommand(("export", "one", "-n")), machine)
        assert (reading.status, KEY_ID in reading.out) == (0, True), (place, when, reading)
        done = {name for name in NAMES if team.whom(name) == len(expected)}
        again = survey(command, machine)
        # Only a removal that had nothing left to do at all is one of nobody.
        assert again.status == 0 or (when, again.status) == ("after", 2), (place, when, again)
        assert sorted(team.recipients) == expected
        after = team.files()
        assert {name for name in NAMES if after[name] == between[name]} == done
        assert {team.whom(name) for name in NAMES} == {len(expected)}
        assert team.clean()


def test_a_kill_is_no_licence_for_a_stranger(team: Team) -> None:
    machine = team.machine
    command = HarnessCommand(("recipients", "add", team.ann))
    start = Snapshot.take(machine.home)
    calls = survey(command, machine).calls
    start.restore()
    place = next(n for n, call in enumerate(calls) if call.target.endswith(team.file))
    stranger = "eve@example.com" if team.kind == "pass" else pair()[1]
    for when in ("before", "after"):
        start.restore()
        assert run_with_fault(command, machine, at=place, mode="kill", when=when).status == -9
        file = team.store / team.file
        file.write_text(file.read_text() + f"{stranger}\n")
        for argv in (
            ("add", "new", *ADD),
            ("recipients", "add", team.ann),
            ("remove", "one", "--force"),
        ):
            refused(machine.run(*argv, stdin=LINES), 10, f"added {stranger}")
    file.write_text(file.read_text().replace(f"{stranger}\n", ""))
    machine.ok("recipients", "add", team.ann)
    assert {team.whom(name) for name in NAMES} == {2}
    assert team.clean()


def test_only_what_differs_is_encrypted_anew(team: Team) -> None:
    team.machine.ok("recipients", "add", team.ann)
    before = team.files()
    team.machine.ok("add", "one", *ADD, "--force", stdin=LINES)
    again = team.machine.ok("recipients", "add", team.ann)
    assert "already" in again.out
    after = team.files()
    assert {name for name in NAMES if before[name] != after[name]} == {"one"}
    assert team.clean()


def test_who_is_no_recipient_cannot_be_removed(team: Team) -> None:
    before = (team.files(), team.recipients)
    refused(team.machine.run("recipients", "remove", team.ann), 2, "is not a recipient", team.ann)
    refused(team.machine.run("recipients", "remove", team.jon), 2, "the last recipient")
    refused(team.machine.run("recipients", "add"), 2, "needs a recipient")
    assert (team.files(), team.recipients) == before


def test_an_item_that_resists_is_named_and_done_the_next_time(team: Team) -> None:
    whole = team.path("team/two").read_bytes()
    team.path("team/two").write_bytes(whole[:-5])
    result = team.machine.run("recipients", "add", team.ann)
    assert result.status == 12, result
    assert "1 of 3 items are still as they were: team/two" in result.err
    assert result.out.count("Reencrypted ") == 2
    team.path("team/two").write_bytes(whole)
    again = team.machine.ok("recipients", "add", team.ann)
    assert again.out.count("Reencrypted ") == again.out.count("Reencrypted team/two.") == 1
    assert {team.whom(name) for name in NAMES} == {2}
    assert team.clean()


def test_what_changed_is_shown_and_accepted_by_nobody_else(team: Team) -> None:
    with (team.store / team.file).open("a") as file:
        file.write(f"{team.ann}\n")
    texts = (f"{team.file} added {team.ann}", "filevault recipients accept")
    refused(team.machine.run("add", "new", *ADD, stdin=LINES), 10, *texts)
    listed = team.machine.ok("recipients", "list").out
    assert "NOT the one that is known here" in listed
    accepted = team.machine.ok("recipients", "accept").out
    assert f"{team.file} added {team.ann}\n" in accepted
    (team.store / team.file).write_text(f"{team.jon}\n")
    refused(team.machine.run("remove", "one", "--force"), 10, f"removed {team.ann}")
    assert KEY_ID in team.machine.ok("export", "one", "-n").out
    (team.root / "team" / Path(team.file).name).write_text(f"{team.ann}\n")
    refused(team.machine.run("add", "new", *ADD, stdin=LINES), 10, "is new")


def test_a_given_pin_replaces_what_this_machine_remembers(team: Team) -> None:
    machine = team.machine

    def pin() -> dict[str, str]:
        found = re.search(r"^pin: (\w{64})", machine.ok("recipients", "list").out, re.MULTILINE)
        assert found is not None
        return {"FILEVAULT_PIN": found[1]}

    given = pin()
    with (team.store / team.file).open("a") as file:
        file.write(f"{team.ann}\n")
    # The local pin would refuse what this one stands for, and the other way round.
    machine.ok("add", "new", *ADD, stdin=LINES, env=pin())
    wrong = machine.run("add", "new", *ADD, "--force", stdin=LINES, env=given)
    refused(wrong, 10, "not the ones that the given pin stands for")
    refused(machine.run("add", "two", *ADD, stdin=LINES), 10, "added")
    assert KEY_ID in machine.ok("export", "one", "-n", env=given).out
    changed = machine.ok("recipients", "remove", team.ann, env=pin())
    assert f"pin: {given['FILEVAULT_PIN']}\n" in changed.out


def test_x25519_recipients_are_not_told_apart_and_all_items_encrypted(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    recipients = machine.vault / ".age-recipients"
    recipients.write_text("# Jon's\n" + recipients.read_text())
    machine.ok("add", "one", *ADD, stdin=LINES)
    ann = new_identity(tmp_path / "ann")
    assert "Reencrypted one." in machine.ok("recipients", "add", ann).out
    assert recipients.read_text().startswith("# Jon's\n")
    assert KEY_ID in machine.ok("export", "one", "-n", "--identity", str(tmp_path / "ann")).out
    machine.ok("recipients", "remove", ann)
    locked = machine.run("export", "one", "-n", "--identity", str(tmp_path / "ann"))
    assert locked.status == 5
    assert machine.run("recipients", "add", "age1nonsense").status == 2
    assert machine.run("recipients", "add", "AGE-SECRET-KEY-1QQ").status == 2
    assert ann not in recipients.read_text()


# A team whose keys are not all here


def test_a_member_whose_key_is_not_here_stops_writing_and_is_named(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    tool("pass")
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    OtherPrograms(machine).run("pass", "init", JON)
    text = f"secret00secret00secret00secret00secret00\naws_access_key_id: {KEY_ID}\n"
    OtherPrograms(machine).run("pass", "insert", "-m", "aws/work", stdin=text)
    gpg_id = machine.home / ".password-store/.gpg-id"
    gpg_id.write_text(f"{JON}\nzoe@example.com\n{'A' * 40}\n")
    adopted = machine.ok("init")
    assert "recipient: zoe@example.com (.gpg-id)\n" in adopted.out
    assert f"recipient: {'A' * 40} (.gpg-id)\n" in adopted.out
    assert KEY_ID in machine.ok("export", "work", "-n").out
    before = (machine.home / ".password-store/aws/work.gpg").read_bytes()
    for name in ("new", "work"):
        result = machine.run("add", name, *ADD, "--force", stdin=LINES)
        refused(result, 7, "cannot be encrypted to")
    refused(machine.run("recipients", "add", ANN), 7, "cannot be encrypted to")
    assert not (machine.home / ".password-store/aws/.gpg-id").exists()
    assert (machine.home / ".password-store/aws/work.gpg").read_bytes() == before
    machine.ok("recipients", "remove", "zoe@example.com", "A" * 40)
    machine.ok("add", "new", *ADD, stdin=LINES)
    assert gpg_id.read_text().startswith(f"{JON}\nzoe@example.com\n")  # others' entries' own
    shown = OtherPrograms(machine).run("pass", "show", "aws/new")
    assert KEY_ID in shown.out


def test_an_age_member_nobody_can_encrypt_to_is_named_and_removed(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    machine.ok("add", "work", *ADD, stdin=LINES)
    quantum = "age1pq1" + "q" * 1952
    with (machine.vault / ".age-recipients").open("a") as file:
        file.write(f"{quantum}\n")
    machine.ok("recipients", "accept")
    refused(machine.run("add", "two", *ADD, stdin=LINES), 7, "age1pq1", "recipients remove")
    refused(machine.run("recipients", "add", pair()[1]), 7, "age1pq1")
    machine.ok("recipients", "remove", quantum)
    machine.ok("add", "two", *ADD, stdin=LINES)
    assert quantum not in (machine.vault / ".age-recipients").read_text()


# Signed recipients


def test_signed_recipients_are_demanded_and_made(tmp_path: Path, keyrings: GpgHomes) -> None:
    tool("pass")
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    commit_identity(machine)
    signer = keyrings.fingerprints[JON]
    machine.env["PASSWORD_STORE_SIGNING_KEY"] = signer
    tools = OtherPrograms(machine)
    store = machine.home / ".password-store"
    machine.ok("init", "--recipient", JON)
    assert (store / ".gpg-id.sig").exists()
    tools.run("pass", "insert", "-m", "mail", stdin="hunter2\n")  # which verifies it
    machine.ok("git", "init", "--quiet")
    machine.ok("add", "work", *ADD, stdin=LINES)
    machine.ok("recipients", "add", ANN)
    assert (store / "aws/.gpg-id.sig").exists()
    tools.run("pass", "insert", "-m", "aws/mail", stdin="hunter2\n")
    assert machine.ok("git", "status", "--porcelain").out == ""
    machine.ok("add", "two", *ADD, stdin=LINES)
    # Whoever changes the file cannot sign it.
    ids = store / "aws/.gpg-id"
    ids.write_text(f"{keyrings.fingerprints[ANN]}\n")
    refused(machine.run("add", "three", *ADD, stdin=LINES), 6, "aws/.gpg-id")
    refused(machine.run("recipients", "accept"), 6, "aws/.gpg-id")
    assert KEY_ID in machine.ok("export", "work", "-n").out
    (store / "aws/.gpg-id.sig").unlink()
    refused(machine.run("add", "three", *ADD, stdin=LINES), 6, "is not signed")
    assert not (store / "aws/three.gpg").exists()
    tools.run("pass", "init", "-p", "aws", JON)  # signs it anew
    machine.ok("recipients", "accept")
    machine.ok("add", "three", *ADD, stdin=LINES)
