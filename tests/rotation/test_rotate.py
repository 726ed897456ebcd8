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


def test_a_key_is_replaced_proven_and_the_old_one_deleted(scene: RotationMachine) -> None:
    user = scene.user()
    ended = scene.rotate("jon")
    assert (ended.out, ended.err) == ("", "")
    assert scene.aws.actions() == WHOLE
    scene.check_rotated(user, "jon")
    assert scene.may_call("jon") == user.arn


def test_the_old_key_is_proven_inactive_before_it_is_deleted(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon")
    update, delete = scene.aws.calls[-2:]
    assert update.parameters["AccessKeyId"] == user.access_key_id
    assert update.parameters["Status"] == "Inactive"
    assert delete.parameters["AccessKeyId"] == user.access_key_id
    new = scene.item("jon").key.access_key_id
    assert [call.access_key_id for call in scene.aws.calls[-3:]] == [new] * 3


def test_the_time_at_which_iam_made_the_key_is_its_age(scene: RotationMachine) -> None:
    scene.user()
    scene.aws.clock.advance(100 * DAY)
    scene.rotate("jon")
    row = json.loads(scene.run("list", "--json").out)[1]
    assert (row["created_from"], row["age_days"]) == ("iam", 0)


def test_without_mfa_no_session_is_made_because_iam_takes_none(scene: RotationMachine) -> None:
    scene.user()
    scene.config("[profile jon]\n[profile alias]\nsource_profile = jon\n")
    scene.rotate("alias")
    assert scene.aws.actions() == WHOLE


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


def test_mfa_takes_exactly_one_code_for_the_whole_run(scene: RotationMachine) -> None:
    user = with_mfa(scene)
    scene.aws.delay_new_keys(seconds=25)
    scene.rotate("jon")
    assert asked(scene) == 1
    actions = scene.aws.actions()
    assert actions[:4] == ["GetCallerIdentity", "GetSessionToken", *WHOLE[1:3]]
    assert actions[-2:] == WHOLE[-2:]
    scene.check_rotated(user, "jon")


def test_the_session_of_a_rotation_is_not_kept(scene: RotationMachine) -> None:
    with_mfa(scene)
    scene.rotate("jon")
    assert json.loads(scene.run("list", "--json").out)[1]["sessions"] == []


def test_no_session_signs_with_the_key_itself(scene: RotationMachine) -> None:
    user = with_mfa(scene)
    scene.rotate("jon", "--no-session")
    assert (asked(scene), scene.aws.actions()) == (0, WHOLE)
    scene.check_rotated(user, "jon")


@pytest.mark.parametrize("option", [(), ("-n",)])
def test_a_role_changes_the_keys_of_the_user_by_name(
    scene: RotationMachine, option: tuple[str, ...]
) -> None:
    user = scene.user(denied=["iam:*"], path="/ops/")
    role = scene.aws.add_role("rotator", trusts=[user])
    scene.config(f"[profile admin]\nsource_profile = jon\nrole_arn = {role.arn}\n")
    scene.rotate("admin", *option)
    assert scene.aws.actions() == [WHOLE[0], "AssumeRole", *WHOLE[1:]]
    for call in scene.aws.calls:
        if call.service == "iam":
            assert call.parameters["UserName"] == "jon"
            assert call.access_key_id.startswith("ASIA")
    scene.check_rotated(user, "jon")


def test_a_chain_of_roles_and_aliases_leads_to_the_key_with_one_code(
    scene: RotationMachine,
) -> None:
    user = with_mfa(
        scene,
        f"[profile a]\nsource_profile = jon\nrole_arn = {role_arn('a')}\nmfa_serial = {SERIAL}\n"
        "[profile b]\nsource_profile = a\n"
        f"[profile c]\nsource_profile = b\nrole_arn = {role_arn('c')}\n"
        "[profile d]\nsource_profile = c\n",
    )
    first = scene.aws.add_role("a", require_mfa=True, trusts=[user])
    scene.aws.add_role("c", trusts=[first])
    scene.rotate("d")
    assert asked(scene) == 1
    assert scene.aws.actions() == [
        WHOLE[0],
        "GetSessionToken",
        "AssumeRole",
        "AssumeRole",
        *WHOLE[1:],
    ]
    scene.check_rotated(user, "jon")


def test_a_role_of_another_account_is_refused_before_anything_is_asked_of_it(
    scene: RotationMachine,
) -> None:
    """There may be somebody else of the same name there."""
    user = scene.user()
    other = scene.aws.add_user("jon", account="999988887777")
    role = scene.aws.add_role("rotator", account="999988887777", trusts=[user])
    scene.config(f"[profile away]\nsource_profile = jon\nrole_arn = {role.arn}\n")
    ended = scene.rotate("away", status=3)
    assert "999988887777" in ended.err
    assert "filevault rotate jon" in ended.err
    assert scene.aws.actions() == ["GetCallerIdentity"]
    assert list(scene.keys(other)) == [other.access_key_id]


@pytest.mark.parametrize("right", ["iam:GetUser", "iam:GetAccessKeyLastUsed"])
def test_a_right_that_is_not_needed_is_not_missed(scene: RotationMachine, right: str) -> None:
    user = scene.user(denied=[right])
    scene.rotate("jon")
    scene.check_rotated(user, "jon")


def test_without_the_right_to_list_keys_it_works_all_the_same(scene: RotationMachine) -> None:
    user = scene.user(denied=["iam:ListAccessKeys"])
    scene.rotate("jon")
    scene.check_rotated(user, "jon")


def test_a_policy_that_denies_without_mfa_is_told_with_the_way_out(scene: RotationMachine) -> None:
    scene.user()
    denial = (
        "User: arn:aws:iam::123456789012:user/jon is not authorized to perform: "
        "iam:CreateAccessKey on resource: user jon with an explicit deny in an "
        "identity-based policy"
    )
    scene.aws.arm(error("AccessDenied", denial, 403), action="CreateAccessKey")
    ended = scene.rotate("jon", status=8)
    assert "where they ask for MFA, set mfa_serial" in ended.err


def test_without_the_right_to_list_keys_a_second_key_is_told_by_aws(scene: RotationMachine) -> None:
    user = scene.user(denied=["iam:ListAccessKeys"])
    scene.aws.add_access_key(user)
    ended = scene.rotate("jon", status=8)
    assert "AccessKeysPerUser" in ended.err
    assert "iam:ListAccessKeys" in ended.err
    assert scene.rotation("jon") == RotationFields()


def test_a_missing_right_to_make_keys_is_named_and_nothing_is_left(scene: RotationMachine) -> None:
    user = scene.user(denied=["iam:CreateAccessKey"])
    ended = scene.rotate("jon", status=8)
    assert "allow iam:CreateAccessKey" in ended.err
    assert scene.rotation("jon") == RotationFields()
    assert scene.item("jon").key.access_key_id == user.access_key_id


@pytest.mark.parametrize("right", ["iam:UpdateAccessKey", "iam:DeleteAccessKey"])
def test_a_missing_right_to_end_the_old_key_is_named_and_can_be_given(
    scene: RotationMachine, right: str
) -> None:
    user = scene.user(denied=[right])
    ended = scene.rotate("jon", status=12)
    assert f"allow {right}" in ended.err
    assert f"the old one, {user.access_key_id}, is still " in ended.err
    assert scene.works("jon")
    user.denied.clear()
    scene.rotate("jon")
    scene.check_rotated(user, "jon")
    assert "CreateAccessKey" not in scene.aws.actions()


def test_all_items_with_the_same_key_change_together(scene: RotationMachine) -> None:
    user = scene.user(profiles=("jon", "team/work", "z"))
    other = scene.user("ann")
    found = scene.report("team/work")
    assert found[0]["items"] == ["jon", "team/work", "z"]
    new = scene.item("team/work").key
    assert new.access_key_id != user.access_key_id
    assert {scene.item(name).key for name in ("jon", "team/work", "z")} == {new}
    assert scene.item("ann").key.access_key_id == other.access_key_id
    assert scene.keys(user) == {new.access_key_id: "Active"}


def test_sessions_made_from_the_old_key_are_dropped_and_others_stay(scene: RotationMachine) -> None:
    user = scene.user(profiles=("jon", "same"))
    scene.user("ann")
    role = scene.aws.add_role("admin", trusts=[user])
    scene.config(f"[profile admin]\nsource_profile = same\nrole_arn = {role.arn}\n")
    for name in ("jon", "same", "admin", "ann"):
        scene.run("export", name)
    scene.rotate("jon")
    listed = json.loads(scene.run("list", "--json").out)
    assert [row["profile"] for row in listed if row["sessions"]] == ["ann"]


def test_notes_in_the_item_and_its_mfa_serial_stay(scene: RotationMachine) -> None:
    scene.user(mfa_serial=SERIAL)
    key = scene.item("jon").key
    scene.run(
        "add",
        "jon",
        "--stdin",
        "--force",
        "--no-config",
        "--mfa-serial",
        SERIAL,
        stdin=f"{key.access_key_id}\n{key.secret_access_key}\n".encode(),
    )
    scene.rotate("jon")
    assert scene.item("jon").mfa_serial == SERIAL


def test_two_keys_are_told_apart_and_nothing_is_guessed(scene: RotationMachine) -> None:
    user = scene.user()
    other = scene.aws.add_access_key(user)
    client_of("sts", scene.aws.url, other).get_caller_identity()
    ended = scene.rotate("jon", status=8)
    assert f"{user.access_key_id} is the one in the vault" in ended.err
    assert f"{other.access_key_id} is active, was made at " in ended.err
    assert "was last used at " in ended.err
    assert f"filevault rotate jon --delete-orphan {other.access_key_id}" in ended.err
    assert set(scene.keys(user)) == {user.access_key_id, other.access_key_id}
    assert "CreateAccessKey" not in scene.aws.actions()


def test_a_key_that_was_never_used_or_may_not_be_asked_about_is_told_so(
    scene: RotationMachine,
) -> None:
    user = scene.user()
    other = scene.aws.add_access_key(user)
    other.status = "Inactive"
    assert f"{other.access_key_id} is inactive" in scene.rotate("jon", status=8).err
    assert "was never used" in scene.rotate("jon", status=8).err
    user.denied.add("iam:GetAccessKeyLastUsed")
    assert "iam:GetAccessKeyLastUsed is not allowed" in scene.rotate("jon", status=8).err


def test_two_keys_that_are_both_in_the_vault_are_told_with_their_items(
    scene: RotationMachine,
) -> None:
    user = scene.user()
    other = scene.aws.add_access_key(user)
    scene.add("second", other.access_key_id, other.secret_access_key)
    ended = scene.rotate("jon", status=8)
    assert (
        f"both are in the vault: {user.access_key_id} in 'jon', {other.access_key_id} in"
        in ended.err
    )
    assert "filevault remove second, then filevault rotate jon --delete-orphan" in ended.err
    scene.run("remove", "-f", "second")
    scene.rotate("jon", "--delete-orphan", other.access_key_id)
    scene.check_rotated(user, "jon")


def test_the_other_key_is_deleted_on_word_and_the_rotation_goes_on(scene: RotationMachine) -> None:
    user = scene.user()
    other = scene.aws.add_access_key(user)
    scene.rotate("jon", "--delete-orphan", other.access_key_id)
    scene.check_rotated(user, "jon")
    # Once it is gone, the same word does no harm.
    scene.rotate("jon", "--delete-orphan", other.access_key_id)


def test_a_key_in_the_vault_is_no_orphan(scene: RotationMachine) -> None:
    user = scene.user()
    ended = scene.rotate("jon", "--delete-orphan", user.access_key_id, status=2)
    assert "the vault contains its secret" in ended.err
    assert scene.works("jon")
    assert scene.aws.actions() == []


def test_the_old_key_can_be_kept_and_gives_way_to_the_next_rotation(scene: RotationMachine) -> None:
    user = scene.user()
    found = scene.report("jon", "--keep-old")[0]
    assert (found["result"], found["old_state"]) == ("rotated", "inactive")
    second = scene.item("jon").key.access_key_id
    assert scene.keys(user) == {user.access_key_id: "Inactive", second: "Active"}
    previous = scene.rotation("jon").previous
    assert previous is not None
    assert previous.secret_access_key == user.secret_access_key
    scene.rotate("jon", "--keep-old")
    third = scene.item("jon").key.access_key_id
    assert third != second
    assert scene.keys(user) == {second: "Inactive", third: "Active"}


def test_a_kept_key_stays_while_the_new_one_is_young(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--keep-old")
    found = scene.report("jon", "--keep-old", "--older-than", "90d")[0]
    assert (found["result"], scene.aws.actions()) == ("young", [])
    assert len(scene.keys(user)) == 2


def test_grace_leaves_the_deletion_to_the_first_run_after_it(scene: RotationMachine) -> None:
    user = scene.user()
    found = scene.report("jon", "--grace", "24h")[0]
    assert found["old_state"] == "inactive"
    assert found["until"] is not None
    second = scene.item("jon").key.access_key_id
    scene.aws.clock.advance(23 * 3600)
    assert scene.report("jon", "--grace", "24h")[0]["result"] == "waiting"
    assert scene.aws.actions() == []
    assert scene.keys(user)[user.access_key_id] == "Inactive"
    scene.aws.clock.advance(2 * 3600)
    assert scene.report("jon", "--grace", "24h")[0]["result"] == "finished"
    assert scene.keys(user) == {second: "Active"}
    scene.check_rotated(user, "jon")


def test_only_a_grace_of_nothing_ends_a_time_of_grace(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "24h")
    assert scene.report("jon")[0]["result"] == "waiting"
    assert scene.report("jon", "--grace", "0")[0]["result"] == "finished"
    scene.check_rotated(user, "jon")


def test_a_run_long_after_the_grace_deletes_and_rotates(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "24h")
    second = scene.item("jon").key.access_key_id
    scene.aws.clock.advance(30 * DAY)
    assert scene.report("jon", "--grace", "24h")[0]["result"] == "rotated"
    assert scene.keys(user)[second] == "Inactive"
    assert user.access_key_id not in scene.keys(user)


def test_only_keys_of_an_age_are_rotated(scene: RotationMachine) -> None:
    old = scene.user("old")
    scene.aws.clock.advance(60 * DAY)
    young = scene.user("young")
    scene.aws.clock.advance(31 * DAY)
    found = {row["profile"]: row["result"] for row in scene.report("--all", "--older-than", "90d")}
    assert found == {"old": "rotated", "young": "young"}
    scene.check_rotated(old, "old")
    assert scene.item("young").key.access_key_id == young.access_key_id


def test_several_profiles_of_one_key_are_one_rotation(scene: RotationMachine) -> None:
    user = scene.user(profiles=("jon", "same"))
    scene.config("[profile alias]\nsource_profile = jon\n")
    found = [row["result"] for row in scene.report("alias", "jon", "same", "jon")]
    assert found == ["rotated", "same", "same"]
    assert scene.aws.actions() == WHOLE
    scene.check_rotated(user, "jon")


def test_a_part_that_fails_is_a_status_of_its_own(scene: RotationMachine) -> None:
    good = scene.user("good")
    scene.user("bad", denied=["iam:CreateAccessKey"])
    ended = scene.rotate("bad", "good", status=12)
    assert ended.err.count("filevault: error: bad: AWS refused CreateAccessKey") == 1
    scene.check_rotated(good, "good")
    assert scene.rotate("--all", status=12).err.count("filevault: error: ") == 1
    ended = scene.rotate("bad", "nobody", status=8)
    assert ended.err.count("filevault: error: ") == 2


def test_an_item_that_cannot_be_opened_is_told_and_the_others_rotate(
    scene: RotationMachine,
) -> None:
    user = scene.user("good")
    scene.user("torn")
    path = scene.machine.vault / "torn.fv"
    path.write_bytes(path.read_bytes()[:-20])
    ended = scene.rotate("good")
    assert "whether it contains the same key is not known" in ended.err
    scene.check_rotated(user, "good")
    assert "torn" in scene.rotate("torn", status=6).err


def test_a_dry_run_calls_nothing_and_changes_nothing(scene: RotationMachine) -> None:
    user = scene.user(profiles=("jon", "same"))
    before = (scene.machine.vault / "jon.fv").read_bytes()
    ended = scene.rotate("jon", "--dry-run")
    assert ended.out == f"jon: {user.access_key_id} would be replaced (in jon, same)\n"
    assert scene.report("jon", "--dry-run", "--older-than", "1d")[0]["result"] == "young"
    assert scene.aws.actions() == []
    assert (scene.machine.vault / "jon.fv").read_bytes() == before


@pytest.mark.parametrize(
    ("days", "planned", "real"), [(0.5, "waiting", "waiting"), (2, "unfinished", "finished")]
)
def test_a_dry_run_foretells_what_becomes_of_a_deferred_deletion(
    scene: RotationMachine, days: float, planned: str, real: str
) -> None:
    scene.user()
    scene.rotate("jon", "--grace", "1d")
    scene.sleep(days * 86400)
    words = ("jon", "--grace", "1d")
    foretold, came = scene.report(*words, "--dry-run")[0], scene.report(*words)[0]
    assert (foretold["result"], came["result"]) == (planned, real)
    assert foretold["old_key"] == came["old_key"]


def test_a_dry_run_foretells_a_replacement_after_a_deferred_deletion(
    scene: RotationMachine,
) -> None:
    scene.user()
    scene.rotate("jon", "--grace", "1d")
    scene.sleep(8 * 86400)
    words = ("jon", "--grace", "1d")
    foretold, came = scene.report(*words, "--dry-run")[0], scene.report(*words)[0]
    assert (foretold["result"], came["result"]) == ("planned", "rotated")
    assert foretold["old_key"] == came["old_key"]


def test_a_dry_run_does_not_wait_for_a_rotation_that_is_under_way(scene: RotationMachine) -> None:
    scene.user()
    (state,) = scene.machine.state.iterdir()
    with open(state / "rotate.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert scene.report("jon", "--dry-run")[0]["result"] == "planned"
        scene.rotate("jon", status=5)


def test_json_has_no_secret_and_every_field(scene: RotationMachine) -> None:
    user = scene.user()
    found = scene.report("jon")[0]
    new = scene.item("jon").key.access_key_id
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
    scene: RotationMachine, words: tuple[str, ...]
) -> None:
    scene.user()
    scene.rotate(*words, status=2)
    assert scene.aws.actions() == []


@pytest.mark.parametrize(("name", "status"), [("nobody", 3), ("empty", 4)])
def test_a_profile_without_a_key_is_refused(scene: RotationMachine, name: str, status: int) -> None:
    scene.config("[profile empty]\n")
    scene.rotate(name, status=status)


def test_the_key_of_the_account_itself_is_rotated_without_a_name(scene: RotationMachine) -> None:
    from filevault.aws.sts import Identity

    assert Identity("1", "arn:aws:iam::1:root").user_name is None
    assert Identity("1", "arn:aws:iam::1:user/a/b/jon").user_name == "jon"
    assert Identity("1", "arn:aws:sts::1:assumed-role/jon/x").user_name is None
