"""`recipients`: what is left of a change, ours or another member's, is seen and can be finished."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.faults.harness import HarnessCommand, Snapshot, run_with_fault, survey
from tests.samples import ANN, JON, KEY_ID, LINES, ZOE
from tests.worlds.age_store import new_identity, protect_file
from tests.worlds.backend_machine import GpgHomes
from tests.worlds.machine import Machine, TypedAnswer
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine
from tests.worlds.team import ADD, NAMES, Team, refused

NO_STATE = {"XDG_STATE_HOME": "/proc/nowhere"}


def renames(command: HarnessCommand, machine: Machine) -> list[int]:
    return [n for n, call in enumerate(survey(command, machine).calls) if call.name == "rename"]


def pin_of(machine: Machine) -> str:
    found = re.search(r"^pin: (\w{64})", machine.ok("recipients", "list").out, re.MULTILINE)
    assert found is not None
    return found[1]


# Which items are touched


def test_items_under_recipients_that_did_not_change_are_left_alone(team: Team) -> None:
    team.write_recipients(team.zoe, folder="team")
    team.encrypt("team/two", team.zoe, team.ann)  # which is Zoe's to put right
    team.machine.run("recipients", "accept")  # it cannot open team/two, and says so
    before = team.path("team/two").read_bytes()
    added = team.machine.ok("recipients", "add", team.ann)
    assert added.out.count("Reencrypted ") == 2
    assert team.path("team/two").read_bytes() == before
    assert team.noted() == {}
    assert "may be encrypted" not in team.machine.ok("recipients", "list").err


def test_a_run_that_goes_on_keeps_to_the_places_of_the_change(team: Team) -> None:
    team.write_recipients(team.zoe, folder="team")
    team.machine.ok("recipients", "accept")  # team/two is left encrypted to Jon
    command = HarnessCommand(("recipients", "add", team.ann))
    start = Snapshot.take(team.machine.home)
    places = renames(command, team.machine)
    start.restore()
    assert run_with_fault(command, team.machine, at=places[-2], mode="kill").status == -9
    noted = team.noted()
    assert set(noted) == {"pending", "unfinished"}
    assert "may be encrypted to others" in team.machine.ok("recipients", "list").err
    team.encrypt("team/two", team.jon, team.zoe)
    before = team.path("team/two").read_bytes()
    team.write_recipients(team.jon, team.zoe, folder="team")
    team.machine.ok("recipients", "accept")
    assert survey(command, team.machine).status == 0
    assert (team.whom("one"), team.whom("three"), team.noted()) == (2, 2, {})
    assert team.path("team/two").read_bytes() == before


def test_only_the_removal_that_was_cut_off_goes_on_without_a_recipient(team: Team) -> None:
    team.machine.ok("recipients", "add", team.ann)
    command = HarnessCommand(("recipients", "remove", team.ann))
    start = Snapshot.take(team.machine.home)
    places = renames(command, team.machine)
    start.restore()
    assert run_with_fault(command, team.machine, at=places[-2], mode="kill").status == -9
    before = (team.files(), team.noted())
    refused(team.machine.run("recipients", "remove", team.zoe), 2, "is not a recipient")
    refused(team.machine.run("recipients", "remove", team.ann, team.zoe), 2, "is not a recipient")
    assert (team.files(), team.noted()) == before
    team.machine.ok("recipients", "remove", team.ann)
    assert ({team.whom(name) for name in NAMES}, team.noted()) == ({1}, {})
    refused(team.machine.run("recipients", "remove", team.ann), 2, "is not a recipient")
    for subject in team.subjects():
        assert subject.startswith(("Add", "Configure")) or team.jon in subject, subject


def test_a_removal_from_several_files_that_was_killed_anywhere_is_finished(team: Team) -> None:
    team.write_recipients(team.jon, team.ann, folder="team")
    team.machine.ok("recipients", "accept")
    team.machine.ok("recipients", "add", team.ann)
    command = HarnessCommand(("recipients", "remove", team.ann))
    start = Snapshot.take(team.machine.home)
    places = renames(command, team.machine)
    for place in places:
        start.restore()
        assert run_with_fault(command, team.machine, at=place, mode="kill").status == -9
        again = survey(command, team.machine)
        assert again.status == 0, (place, again)
        assert team.recipients == [team.jon]
        assert (team.root / "team" / Path(team.file).name).read_text() == f"{team.jon}\n"
        assert ({team.whom(name) for name in NAMES}, team.noted()) == ({1}, {})


# What others have changed


@pytest.mark.parametrize("action", ["add", "remove"])
def test_items_are_encrypted_anew_after_a_change_by_hand_was_accepted(
    team: Team, action: str
) -> None:
    if action == "remove":
        team.machine.ok("recipients", "add", team.ann)
    team.write_recipients(team.jon, *([team.ann] if action == "add" else []))
    accepted = team.machine.ok("recipients", "accept")
    assert "3 items are encrypted to others than the recipients now: one, team/two" in accepted.err
    assert "filevault recipients add " in accepted.err
    done = team.machine.ok("recipients", action, team.ann)
    assert done.out.count("Reencrypted ") == 3
    assert {team.whom(name) for name in NAMES} == {2 if action == "add" else 1}
    assert team.clean()
    assert "already" in team.machine.ok("recipients", "add", team.jon).out


def test_a_change_that_needs_nothing_leaves_nothing_to_do(team: Team) -> None:
    team.write_recipients(team.jon, team.ann)
    for name in NAMES:
        team.encrypt(name, team.jon, team.ann)
    accepted = team.machine.ok("recipients", "accept")
    assert "encrypted to others" not in accepted.err
    assert team.noted() == {}
    assert "already" in team.machine.ok("recipients", "add", team.jon).out


def test_items_of_x25519_recipients_are_encrypted_anew_after_an_exchange(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    machine.ok("add", "one", *ADD, stdin=LINES)
    ann, zoe = new_identity(tmp_path / "ann"), new_identity(tmp_path / "zoe")
    machine.ok("recipients", "add", ann)
    recipients = machine.vault / ".age-recipients"
    recipients.write_text(recipients.read_text().replace(ann, zoe))
    accepted = machine.ok("recipients", "accept")
    assert "1 item is perhaps encrypted to others than the recipients now: one" in accepted.err
    assert "Reencrypted one." in machine.ok("recipients", "add", zoe).out
    assert KEY_ID in machine.ok("export", "one", "-n", "--identity", str(tmp_path / "zoe")).out
    assert machine.run("export", "one", "-n", "--identity", str(tmp_path / "ann")).status == 5
    assert "already" in machine.ok("recipients", "add", zoe).out


@pytest.mark.parametrize("action", ["add", "remove"])
def test_where_nothing_is_remembered_the_items_tell_what_is_left(team: Team, action: str) -> None:
    if action == "remove":
        team.machine.ok("recipients", "add", team.ann)
    whole = team.path("three").read_bytes()
    team.path("three").write_bytes(whole[:-5])
    env: dict[str, str | None] = {**NO_STATE, "FILEVAULT_PIN": pin_of(team.machine)}
    unknown = team.machine.run("recipients", action, team.ann, env=env)
    refused(unknown, 10, "is not used", "hint: FILEVAULT_GIT=adopt uses")
    env["FILEVAULT_GIT"] = "adopt"
    assert team.machine.run("recipients", action, team.ann, env=env).status == 12
    team.path("three").write_bytes(whole)
    env["FILEVAULT_PIN"] = pin_of(team.machine)
    again = team.machine.ok("recipients", action, team.ann, env=env)
    assert again.out.count("Reencrypted ") == again.out.count("Reencrypted three.") == 1
    assert {team.whom(name) for name in NAMES} == {2 if action == "add" else 1}
    if action == "remove":
        refused(
            team.machine.run("recipients", "remove", team.ann, env=env), 2, "is not a recipient"
        )
    else:
        assert "already" in team.machine.ok("recipients", "add", team.ann, env=env).out


# Nothing is begun that cannot be done


def test_where_nothing_can_be_opened_nothing_is_changed(team: Team, keyrings: GpgHomes) -> None:
    env = (
        keyrings.empty.env()
        if team.kind == "pass"
        else {"FILEVAULT_AGE_IDENTITY_FILE": None, "XDG_CONFIG_HOME": "/proc/nowhere"}
    )
    if team.kind == "pass":  # whom to encrypt to is known, what opens it is not here
        for name in (JON, ANN):
            keyrings.empty.import_key(keyrings.jon.export_key(name))
    before = (team.files(), team.recipients, team.noted())
    result = team.machine.run("recipients", "add", team.ann, env=env)
    refused(result, 5)
    assert (team.files(), team.recipients, team.noted()) == before


def test_a_wrong_passphrase_is_asked_for_three_times_for_all_items_together(
    tmp_path: Path,
) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    protect_file(machine.home / ".config/filevault/identities", "correct horse battery staple")
    for name in NAMES:
        machine.ok("add", name, *ADD, stdin=LINES)
    ann = new_identity(tmp_path / "ann")
    wrong = [TypedAnswer("Passphrase for", f"wrong {number}") for number in range(3)]
    result = machine.on_terminal("recipients", "add", ann, answers=wrong)
    assert (result.status, result.tty.count("Passphrase for")) == (5, 3), result
    assert ann not in (machine.vault / ".age-recipients").read_text()


def test_what_is_locked_ends_the_run_and_is_asked_for_once(tmp_path: Path) -> None:
    tool("gpg")
    gpg = GpgHome()
    try:
        jon, ann, zoe = gpg.make_key(JON), gpg.make_key(ANN), gpg.make_key(ZOE, "open sesame")
        machine = pass_machine(tmp_path / "home", gpg)
        machine.ok("init", "--recipient", JON)
        root = machine.home / ".password-store/aws"
        (root / "team").mkdir(parents=True)
        (root / ".gpg-id").write_text(f"{jon}\n{ann}\n")
        (root / "team/.gpg-id").write_text(f"{ann}\n{zoe}\n")
        machine.ok("recipients", "accept")
        for name in ("one", "team/a", "team/b"):
            machine.ok("add", name, *ADD, stdin=LINES)
        gpg.forget_passphrases()
        OtherPrograms(machine).run("gpg", "--batch", "--yes", "--delete-secret-keys", ann)
        result = machine.run("recipients", "remove", ANN)
        assert (result.status, result.out.count("Reencrypted one.")) == (12, 1), result
        assert "2 of 3 items are still as they were: team/a, team/b" in result.err
        assert result.err.count("warning: team/") == 1
        refused(machine.run("recipients", "remove", ANN), 5, "needs its passphrase")
        given = {"FILEVAULT_PASSPHRASE": "open sesame"}
        again = machine.ok("recipients", "remove", ANN, env=given)
        assert again.out.count("Reencrypted ") == 2
        # Now that a locked key is all there is, nothing is begun without it.
        (root / ".gpg-id").unlink()
        (root / "one.gpg").unlink()
        machine.ok("recipients", "accept")
        gpg.forget_passphrases()
        machine.ok("--prefix", "aws/team", "init")
        before = (root / "team/.gpg-id").read_text()
        locked = machine.run("--prefix", "aws/team", "recipients", "add", JON)
        refused(locked, 5, "needs its passphrase")
        assert (root / "team/.gpg-id").read_text() == before
    finally:
        gpg.close()


def test_who_would_be_shut_out_is_asked_or_refused(team: Team) -> None:
    machine = team.machine
    machine.ok("recipients", "add", team.zoe)
    before = (team.files(), team.recipients)
    refused(machine.run("recipients", "remove", team.jon), 5, "no key that is here", "--force")
    question = TypedAnswer("Remove them all the same?", "n")
    declined = machine.on_terminal("recipients", "remove", team.jon, answers=[question])
    assert (declined.status, declined.out) == (0, "")
    assert "nothing was changed" in declined.err
    assert (team.files(), team.recipients) == before
    refused(machine.run("recipients", "add", team.ann, "--force"), 2, "--force")
    machine.ok("recipients", "remove", team.jon, "--force")
    assert team.recipients == [team.zoe]
    assert machine.run("export", "one", "-n").status == 5


def test_a_folder_that_somebody_has_alone_is_named_and_left_alone(team: Team) -> None:
    machine = team.machine
    machine.ok("recipients", "add", team.ann)
    own = team.write_recipients(team.ann, folder="team")
    machine.ok("recipients", "accept")
    result = machine.run("recipients", "remove", team.ann)
    assert result.status == 12
    shown = str(own.relative_to(team.store))
    assert f"'{shown}' would have no recipient left" in result.err
    assert f"removed, but not from '{shown}'" in result.err
    assert (team.recipients, own.read_text()) == ([team.jon], f"{team.ann}\n")
    assert (team.whom("one"), team.whom("three")) == (1, 1)
    refused(machine.run("recipients", "remove", team.ann), 2, "the last recipient of", shown)


# An address of two keys


def test_an_address_of_several_keys_gives_way_to_one_of_them(tmp_path: Path) -> None:
    tool("gpg")
    gpg = GpgHome()
    try:
        first = gpg.make_key(JON)
        machine = pass_machine(tmp_path / "home", gpg)
        commit_identity(machine)
        store = machine.home / ".password-store"
        machine.ok("init", "--recipient", JON)
        machine.ok("add", "one", *ADD, stdin=LINES)
        (store / ".gpg-id").rename(store / "aws/.gpg-id")
        ids = store / "aws/.gpg-id"
        ids.write_text(f"# Jon\n{JON}\n")
        below = store / "aws/team/.gpg-id"
        below.parent.mkdir()
        below.write_text(f"{JON}\n")
        machine.ok("recipients", "accept")
        gpg.make_key(f"Jon at work <{JON}>")
        refused(machine.run("add", "two", *ADD, stdin=LINES), 10, JON)
        machine.ok("recipients", "accept")
        refused(machine.run("add", "two", *ADD, stdin=LINES), 7, "full fingerprint", first)
        refused(machine.run("recipients", "remove", JON), 2, "the last recipient")
        refused(machine.run("recipients", "add", JON), 7, "full fingerprint", first)
        machine.ok("recipients", "add", first)
        assert ids.read_text() == f"# Jon\n{first}\n"
        assert below.read_text() == f"{first}\n"
        machine.ok("add", "two", *ADD, stdin=LINES)
    finally:
        gpg.close()


# Signed recipients


def test_a_signed_change_that_was_killed_anywhere_is_finished(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    commit_identity(machine)
    machine.env["PASSWORD_STORE_SIGNING_KEY"] = keyrings.fingerprints[JON]
    machine.ok("init", "--recipient", JON)
    machine.ok("--prefix", "", "add", "one", *ADD, stdin=LINES)
    machine.env["FILEVAULT_PREFIX"] = ""
    machine.ok("init")
    ids = machine.home / ".password-store/.gpg-id"
    ann = keyrings.fingerprints[ANN]
    command = HarnessCommand(("recipients", "add", ANN))
    start = Snapshot.take(machine.home)
    calls = survey(command, machine).calls
    places = [n for n, call in enumerate(calls) if call.name == "rename"]
    assert sum(call.target.endswith(".gpg-id.sig") for call in calls) == 1
    for place in places:
        start.restore()
        assert run_with_fault(command, machine, at=place, mode="kill").status == -9
        again = survey(command, machine)
        assert again.status == 0, (calls[place], again)
        assert ann in ids.read_text()
        assert KEY_ID in machine.ok("export", "one", "-n").out
        assert machine.ok("add", "two", *ADD, stdin=LINES).status == 0
    # Between signature and file: nothing that somebody else puts there is taken for ours.
    between = next(n for n in places if calls[n].target.endswith(".gpg-id"))
    start.restore()
    assert run_with_fault(command, machine, at=between, mode="kill").status == -9
    before = ids.read_bytes()
    refused(machine.run("add", "two", *ADD, stdin=LINES), 6, ".gpg-id", "was interrupted here")
    for action in ("accept", "list"):
        refused(machine.run("recipients", action), 6, ".gpg-id")
    ids.write_bytes(before + f"{ann}\n".encode() + b"# and more\n")
    refused(machine.run("recipients", "add", ANN), 6, ".gpg-id")
    ids.write_bytes(before)
    tools = OtherPrograms(machine)
    machine.ok("recipients", "add", ANN)
    tools.run("gpg", "--verify", f"{ids}.sig", str(ids))
