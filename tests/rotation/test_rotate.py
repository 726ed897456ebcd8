"""What `rotate` does when AWS and the disk behave."""

from __future__ import annotations

import fcntl
import json

import pytest

from filevault.vault.rotation_fields import RotationFields
from tests.fakes import User
from tests.fakes.clients import client_of
from tests.fakes.faults import error
from tests.samples import EXAMPLE_ID
from tests.worlds.providers import role_arn
from tests.worlds.rotation import RotationMachine

WHOLE = [
    "GetCallerIdentity",
    "ListAccessKeys",
    "CreateAccessKey",
    "GetCallerIdentity",
    "UpdateAccessKey",
    "DeleteAccessKey",
]
SERIAL = "arn:aws:iam::123456789012:mfa/jon"
DAY = 86400


def test_a_key_is_replaced_proven_and_the_old_one_deleted(rotating: RotationMachine) -> None:
    user = rotating.user()
    ended = rotating.rotate("jon")
    assert (ended.out, ended.err) == ("", "")
    assert rotating.aws.actions() == WHOLE
    rotating.check_rotated(user, "jon")
    assert rotating.may_call("jon") == user.arn


def test_the_old_key_is_proven_inactive_before_it_is_deleted(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon")
    update, delete = rotating.aws.calls[-2:]
    assert update.parameters["AccessKeyId"] == user.access_key_id
    assert update.parameters["Status"] == "Inactive"
    assert delete.parameters["AccessKeyId"] == user.access_key_id
    new = rotating.item("jon").key.access_key_id
    assert [call.access_key_id for call in rotating.aws.calls[-3:]] == [new] * 3


def test_the_time_at_which_iam_made_the_key_is_its_age(rotating: RotationMachine) -> None:
    rotating.user()
    rotating.aws.clock.advance(100 * DAY)
    rotating.rotate("jon")
    row = json.loads(rotating.run("list", "--json").out)[1]
    assert (row["created_from"], row["age_days"]) == ("iam", 0)


def test_without_mfa_no_session_is_made_because_iam_takes_none(rotating: RotationMachine) -> None:
    rotating.user()
    rotating.config("[profile jon]\n[profile alias]\nsource_profile = jon\n")
    rotating.rotate("alias")
    assert rotating.aws.actions() == WHOLE


def mfa_process(scene: RotationMachine) -> str:
    """A command that prints a code and notes that it was asked."""
    import sys

    from tests.worlds.aws_machine import REMOTE

    order = f'{{"serial": "{SERIAL}"}}'
    asked = scene.machine.home / "asked"
    return f"echo asked >> {asked}; {sys.executable} {REMOTE} {scene.aws.url} totp '{order}'"


def asked(scene: RotationMachine) -> int:
    """How often a code was asked for."""
    path = scene.machine.home / "asked"
    return len(path.read_text().splitlines()) if path.exists() else 0


def with_mfa(scene: RotationMachine, more: str = "") -> User:
    """Make a user with an MFA device, and a config that has it."""
    user = scene.user(mfa_serial=SERIAL)
    scene.config(
        f"[profile jon]\nmfa_serial = {SERIAL}\nmfa_process = {mfa_process(scene)}\n{more}"
    )
    return user


def test_mfa_takes_exactly_one_code_for_the_whole_run(rotating: RotationMachine) -> None:
    user = with_mfa(rotating)
    rotating.aws.delay_new_keys(seconds=25)
    rotating.rotate("jon")
    assert asked(rotating) == 1
    actions = rotating.aws.actions()
    assert actions[:4] == ["GetCallerIdentity", "GetSessionToken", *WHOLE[1:3]]
    assert actions[-2:] == WHOLE[-2:]
    rotating.check_rotated(user, "jon")


def test_the_session_of_a_rotation_is_not_kept(rotating: RotationMachine) -> None:
    with_mfa(rotating)
    rotating.rotate("jon")
    assert json.loads(rotating.run("list", "--json").out)[1]["sessions"] == []


def test_no_session_signs_with_the_key_itself(rotating: RotationMachine) -> None:
    user = with_mfa(rotating)
    rotating.rotate("jon", "--no-session")
    assert (asked(rotating), rotating.aws.actions()) == (0, WHOLE)
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize("option", [(), ("-n",)])
def test_a_role_changes_the_keys_of_the_user_by_name(
    rotating: RotationMachine, option: tuple[str, ...]
) -> None:
    user = rotating.user(denied=["iam:*"], path="/ops/")
    role = rotating.aws.add_role("rotator", trusts=[user])
    rotating.config(f"[profile admin]\nsource_profile = jon\nrole_arn = {role.arn}\n")
    rotating.rotate("admin", *option)
    assert rotating.aws.actions() == [WHOLE[0], "AssumeRole", *WHOLE[1:]]
    for call in rotating.aws.calls:
        if call.service == "iam":
            assert call.parameters["UserName"] == "jon"
            assert call.access_key_id.startswith("ASIA")
    rotating.check_rotated(user, "jon")


def test_a_chain_of_roles_and_aliases_leads_to_the_key_with_one_code(
    rotating: RotationMachine,
) -> None:
    user = with_mfa(
        rotating,
        f"[profile a]\nsource_profile = jon\nrole_arn = {role_arn('a')}\nmfa_serial = {SERIAL}\n"
        "[profile b]\nsource_profile = a\n"
        f"[profile c]\nsource_profile = b\nrole_arn = {role_arn('c')}\n"
        "[profile d]\nsource_profile = c\n",
    )
    first = rotating.aws.add_role("a", require_mfa=True, trusts=[user])
    rotating.aws.add_role("c", trusts=[first])
    rotating.rotate("d")
    assert asked(rotating) == 1
    assert rotating.aws.actions() == [
        WHOLE[0],
        "GetSessionToken",
        "AssumeRole",
        "AssumeRole",
        *WHOLE[1:],
    ]
    rotating.check_rotated(user, "jon")


def test_a_role_of_another_account_is_refused_before_anything_is_asked_of_it(
    rotating: RotationMachine,
) -> None:
    """There may be somebody else of the same name there."""
    user = rotating.user()
    other = rotating.aws.add_user("jon", account="999988887777")
    role = rotating.aws.add_role("rotator", account="999988887777", trusts=[user])
    rotating.config(f"[profile away]\nsource_profile = jon\nrole_arn = {role.arn}\n")
    ended = rotating.rotate("away", status=3)
    assert "999988887777" in ended.err
    assert "filevault rotate jon" in ended.err
    assert rotating.aws.actions() == ["GetCallerIdentity"]
    assert list(rotating.keys(other)) == [other.access_key_id]


@pytest.mark.parametrize("right", ["iam:GetUser", "iam:GetAccessKeyLastUsed"])
def test_a_right_that_is_not_needed_is_not_missed(rotating: RotationMachine, right: str) -> None:
    user = rotating.user(denied=[right])
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_without_the_right_to_list_keys_it_works_all_the_same(rotating: RotationMachine) -> None:
    user = rotating.user(denied=["iam:ListAccessKeys"])
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_a_policy_that_denies_without_mfa_is_told_with_the_way_out(
    rotating: RotationMachine,
) -> None:
    rotating.user()
    denial = (
        "User: arn:aws:iam::123456789012:user/jon is not authorized to perform: "
        "iam:CreateAccessKey on resource: user jon with an explicit deny in an "
        "identity-based policy"
    )
    rotating.aws.arm(error("AccessDenied", denial, 403), action="CreateAccessKey")
    ended = rotating.rotate("jon", status=8)
    assert "where they ask for MFA, set mfa_serial" in ended.err


def test_without_the_right_to_list_keys_a_second_key_is_told_by_aws(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:ListAccessKeys"])
    rotating.aws.add_access_key(user)
    ended = rotating.rotate("jon", status=8)
    assert "AccessKeysPerUser" in ended.err
    assert "iam:ListAccessKeys" in ended.err
    assert rotating.rotation("jon") == RotationFields()


def test_a_missing_right_to_make_keys_is_named_and_nothing_is_left(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:CreateAccessKey"])
    ended = rotating.rotate("jon", status=8)
    assert "allow iam:CreateAccessKey" in ended.err
    assert rotating.rotation("jon") == RotationFields()
    assert rotating.item("jon").key.access_key_id == user.access_key_id


@pytest.mark.parametrize("right", ["iam:UpdateAccessKey", "iam:DeleteAccessKey"])
def test_a_missing_right_to_end_the_old_key_is_named_and_can_be_given(
    rotating: RotationMachine, right: str
) -> None:
    user = rotating.user(denied=[right])
    ended = rotating.rotate("jon", status=12)
    assert f"allow {right}" in ended.err
    assert f"the old one, {user.access_key_id}, is still " in ended.err
    assert rotating.works("jon")
    user.denied.clear()
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")
    assert "CreateAccessKey" not in rotating.aws.actions()


def test_all_items_with_the_same_key_change_together(rotating: RotationMachine) -> None:
    user = rotating.user(profiles=("jon", "team/work", "z"))
    other = rotating.user("ann")
    found = rotating.report("team/work")
    assert found[0]["items"] == ["jon", "team/work", "z"]
    new = rotating.item("team/work").key
    assert new.access_key_id != user.access_key_id
    assert {rotating.item(name).key for name in ("jon", "team/work", "z")} == {new}
    assert rotating.item("ann").key.access_key_id == other.access_key_id
    assert rotating.keys(user) == {new.access_key_id: "Active"}


def test_sessions_made_from_the_old_key_are_dropped_and_others_stay(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(profiles=("jon", "same"))
    rotating.user("ann")
    role = rotating.aws.add_role("admin", trusts=[user])
    rotating.config(f"[profile admin]\nsource_profile = same\nrole_arn = {role.arn}\n")
    for name in ("jon", "same", "admin", "ann"):
        rotating.run("export", name)
    rotating.rotate("jon")
    listed = json.loads(rotating.run("list", "--json").out)
    assert [row["profile"] for row in listed if row["sessions"]] == ["ann"]


def test_notes_in_the_item_and_its_mfa_serial_stay(rotating: RotationMachine) -> None:
    rotating.user(mfa_serial=SERIAL)
    key = rotating.item("jon").key
    rotating.run(
        "add",
        "jon",
        "--stdin",
        "--force",
        "--no-config",
        "--mfa-serial",
        SERIAL,
        stdin=f"{key.access_key_id}\n{key.secret_access_key}\n".encode(),
    )
    rotating.rotate("jon")
    assert rotating.item("jon").mfa_serial == SERIAL


def test_two_keys_are_told_apart_and_nothing_is_guessed(rotating: RotationMachine) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    client_of("sts", rotating.aws.url, other).get_caller_identity()
    ended = rotating.rotate("jon", status=8)
    assert f"{user.access_key_id} is the one in the vault" in ended.err
    assert f"{other.access_key_id} is active, was made at " in ended.err
    assert "was last used at " in ended.err
    assert f"filevault rotate jon --delete-orphan {other.access_key_id}" in ended.err
    assert set(rotating.keys(user)) == {user.access_key_id, other.access_key_id}
    assert "CreateAccessKey" not in rotating.aws.actions()


def test_a_key_that_was_never_used_or_may_not_be_asked_about_is_told_so(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    other.status = "Inactive"
    assert f"{other.access_key_id} is inactive" in rotating.rotate("jon", status=8).err
    assert "was never used" in rotating.rotate("jon", status=8).err
    user.denied.add("iam:GetAccessKeyLastUsed")
    assert "iam:GetAccessKeyLastUsed is not allowed" in rotating.rotate("jon", status=8).err


def test_two_keys_that_are_both_in_the_vault_are_told_with_their_items(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    rotating.add("second", other.access_key_id, other.secret_access_key)
    ended = rotating.rotate("jon", status=8)
    assert (
        f"both are in the vault: {user.access_key_id} in 'jon', {other.access_key_id} in"
        in ended.err
    )
    assert "filevault remove second, then filevault rotate jon --delete-orphan" in ended.err
    rotating.run("remove", "-f", "second")
    rotating.rotate("jon", "--delete-orphan", other.access_key_id)
    rotating.check_rotated(user, "jon")


def test_the_other_key_is_deleted_on_word_and_the_rotation_goes_on(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    rotating.rotate("jon", "--delete-orphan", other.access_key_id)
    rotating.check_rotated(user, "jon")
    # Once it is gone, the same word does no harm.
    rotating.rotate("jon", "--delete-orphan", other.access_key_id)


def test_a_key_in_the_vault_is_no_orphan(rotating: RotationMachine) -> None:
    user = rotating.user()
    ended = rotating.rotate("jon", "--delete-orphan", user.access_key_id, status=2)
    assert "the vault contains its secret" in ended.err
    assert rotating.works("jon")
    assert rotating.aws.actions() == []


def test_the_old_key_can_be_kept_and_gives_way_to_the_next_rotation(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    found = rotating.report("jon", "--keep-old")[0]
    assert (found["result"], found["old_state"]) == ("rotated", "inactive")
    second = rotating.item("jon").key.access_key_id
    assert rotating.keys(user) == {user.access_key_id: "Inactive", second: "Active"}
    previous = rotating.rotation("jon").previous
    assert previous is not None
    assert previous.secret_access_key == user.secret_access_key
    rotating.rotate("jon", "--keep-old")
    third = rotating.item("jon").key.access_key_id
    assert third != second
    assert rotating.keys(user) == {second: "Inactive", third: "Active"}


def test_a_kept_key_stays_while_the_new_one_is_young(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--keep-old")
    found = rotating.report("jon", "--keep-old", "--older-than", "90d")[0]
    assert (found["result"], rotating.aws.actions()) == ("young", [])
    assert len(rotating.keys(user)) == 2


def test_grace_leaves_the_deletion_to_the_first_run_after_it(rotating: RotationMachine) -> None:
    user = rotating.user()
    found = rotating.report("jon", "--grace", "24h")[0]
    assert found["old_state"] == "inactive"
    assert found["until"] is not None
    second = rotating.item("jon").key.access_key_id
    rotating.aws.clock.advance(23 * 3600)
    assert rotating.report("jon", "--grace", "24h")[0]["result"] == "waiting"
    assert rotating.aws.actions() == []
    assert rotating.keys(user)[user.access_key_id] == "Inactive"
    rotating.aws.clock.advance(2 * 3600)
    assert rotating.report("jon", "--grace", "24h")[0]["result"] == "finished"
    assert rotating.keys(user) == {second: "Active"}
    rotating.check_rotated(user, "jon")


def test_only_a_grace_of_nothing_ends_a_time_of_grace(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "24h")
    assert rotating.report("jon")[0]["result"] == "waiting"
    assert rotating.report("jon", "--grace", "0")[0]["result"] == "finished"
    rotating.check_rotated(user, "jon")


def test_a_run_long_after_the_grace_deletes_and_rotates(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "24h")
    second = rotating.item("jon").key.access_key_id
    rotating.aws.clock.advance(30 * DAY)
    assert rotating.report("jon", "--grace", "24h")[0]["result"] == "rotated"
    assert rotating.keys(user)[second] == "Inactive"
    assert user.access_key_id not in rotating.keys(user)


def test_only_keys_of_an_age_are_rotated(rotating: RotationMachine) -> None:
    old = rotating.user("old")
    rotating.aws.clock.advance(60 * DAY)
    young = rotating.user("young")
    rotating.aws.clock.advance(31 * DAY)
    found = {
        row["profile"]: row["result"] for row in rotating.report("--all", "--older-than", "90d")
    }
    assert found == {"old": "rotated", "young": "young"}
    rotating.check_rotated(old, "old")
    assert rotating.item("young").key.access_key_id == young.access_key_id


def test_several_profiles_of_one_key_are_one_rotation(rotating: RotationMachine) -> None:
    user = rotating.user(profiles=("jon", "same"))
    rotating.config("[profile alias]\nsource_profile = jon\n")
    found = [row["result"] for row in rotating.report("alias", "jon", "same", "jon")]
    assert found == ["rotated", "same", "same"]
    assert rotating.aws.actions() == WHOLE
    rotating.check_rotated(user, "jon")


def test_a_part_that_fails_is_a_status_of_its_own(rotating: RotationMachine) -> None:
    good = rotating.user("good")
    rotating.user("bad", denied=["iam:CreateAccessKey"])
    ended = rotating.rotate("bad", "good", status=12)
    assert ended.err.count("filevault: error: bad: AWS refused CreateAccessKey") == 1
    rotating.check_rotated(good, "good")
    assert rotating.rotate("--all", status=12).err.count("filevault: error: ") == 1
    ended = rotating.rotate("bad", "nobody", status=8)
    assert ended.err.count("filevault: error: ") == 2


def test_an_item_that_cannot_be_opened_is_told_and_the_others_rotate(
    rotating: RotationMachine,
) -> None:
    user = rotating.user("good")
    rotating.user("torn")
    path = rotating.machine.vault / "torn.fv"
    path.write_bytes(path.read_bytes()[:-20])
    ended = rotating.rotate("good")
    assert "whether it contains the same key is not known" in ended.err
    rotating.check_rotated(user, "good")
    alone = rotating.rotate("torn", status=6).err
    assert "item 'torn' is damaged" in alone
    assert "whether it contains the same key" not in alone


def test_a_folder_that_cannot_be_looked_into_is_told(rotating: RotationMachine) -> None:
    user = rotating.user("good")
    (rotating.machine.vault / ("d/" * 65)).mkdir(parents=True)
    ended = rotating.rotate("good")
    assert "nested too deep for a vault; whether it contains the same key is not known" in ended.err
    rotating.check_rotated(user, "good")


def test_a_dry_run_calls_nothing_and_changes_nothing(rotating: RotationMachine) -> None:
    user = rotating.user(profiles=("jon", "same"))
    before = (rotating.machine.vault / "jon.fv").read_bytes()
    ended = rotating.rotate("jon", "--dry-run")
    assert ended.out == f"jon: {user.access_key_id} would be replaced (in jon, same)\n"
    assert rotating.report("jon", "--dry-run", "--older-than", "1d")[0]["result"] == "young"
    assert rotating.aws.actions() == []
    assert (rotating.machine.vault / "jon.fv").read_bytes() == before


@pytest.mark.parametrize(
    ("days", "planned", "real"), [(0.5, "waiting", "waiting"), (2, "unfinished", "finished")]
)
def test_a_dry_run_foretells_what_becomes_of_a_deferred_deletion(
    rotating: RotationMachine, days: float, planned: str, real: str
) -> None:
    rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    rotating.sleep(days * 86400)
    words = ("jon", "--grace", "1d")
    foretold, came = rotating.report(*words, "--dry-run")[0], rotating.report(*words)[0]
    assert (foretold["result"], came["result"]) == (planned, real)
    assert foretold["old_key"] == came["old_key"]


def test_a_dry_run_foretells_a_replacement_after_a_deferred_deletion(
    rotating: RotationMachine,
) -> None:
    rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    rotating.sleep(8 * 86400)
    words = ("jon", "--grace", "1d")
    foretold, came = rotating.report(*words, "--dry-run")[0], rotating.report(*words)[0]
    assert (foretold["result"], came["result"]) == ("planned", "rotated")
    assert foretold["old_key"] == came["old_key"]


def test_a_dry_run_does_not_wait_for_a_rotation_that_is_under_way(
    rotating: RotationMachine,
) -> None:
    rotating.user()
    (state,) = rotating.machine.state.iterdir()
    with open(state / "rotate.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert rotating.report("jon", "--dry-run")[0]["result"] == "planned"
        rotating.rotate("jon", status=5)


def test_json_has_no_secret_and_every_field(rotating: RotationMachine) -> None:
    user = rotating.user()
    found = rotating.report("jon")[0]
    new = rotating.item("jon").key.access_key_id
    assert found == {
        "profile": "jon",
        "result": "rotated",
        "item": "jon",
        "items": ["jon"],
        "user": "jon",
        "old_key": user.access_key_id,
        "new_key": new,
        "old_state": "deleted",
        "created": found["created"],
        "until": None,
        "orphan": None,
        "same_as": None,
        "error": None,
        "hint": None,
    }


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("jon", "--all"),
        ("",),
        ("jon", "--keep-old", "--grace", "1h"),
        ("--all", "--delete-orphan", "AKIA"),
        ("jon", "ann", "--delete-orphan", EXAMPLE_ID),
        ("jon", "--delete-orphan", ""),
        ("jon", "--delete-orphan", "akiaiosfodnn7example"),
        ("jon", "--older-than", "soon"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    rotating: RotationMachine, words: tuple[str, ...]
) -> None:
    rotating.user()
    rotating.rotate(*words, status=2)
    assert rotating.aws.actions() == []


@pytest.mark.parametrize(("name", "status"), [("nobody", 3), ("empty", 4)])
def test_a_profile_without_a_key_is_refused(
    rotating: RotationMachine, name: str, status: int
) -> None:
    rotating.config("[profile empty]\n")
    rotating.rotate(name, status=status)


def test_the_key_of_the_account_itself_is_rotated_without_a_name(rotating: RotationMachine) -> None:
    from filevault.aws.sts import Identity

    assert Identity("1", "arn:aws:iam::1:root").user_name is None
    assert Identity("1", "arn:aws:iam::1:user/a/b/jon").user_name == "jon"
    assert Identity("1", "arn:aws:sts::1:assumed-role/jon/x").user_name is None
