"""What was promised of an old key holds, and what was known of its age, whatever comes later."""

from __future__ import annotations

import pytest

from filevault.rotation import retry
from filevault.vault.rotation_fields import RotationFields, with_rotation
from tests.fakes.faults import drop, error, server_error
from tests.worlds.rotation import RotationMachine

DAY = 86400
UNKNOWN = error("InvalidClientTokenId", "The security token included is invalid.", 403)
NIGHTLY = ("--all", "--older-than", "90d")


def unfinished(scene: RotationMachine) -> None:
    """Let the old key be active, and the item say that it is still to be retired."""
    rotation = scene.rotation("jon")._replace(started=scene.now(), deactivated=None)
    assert rotation.previous is not None
    scene.aws.directory.keys[rotation.previous.access_key_id].status = "Active"
    scene.store("jon", with_rotation(scene.text("jon"), rotation))


@pytest.mark.parametrize("more", [(), ("--grace", "1s"), ("--grace", "0"), ("--keep-old",)])
def test_a_kept_key_goes_only_when_the_new_one_is_due(
    rotating: RotationMachine, more: tuple[str, ...]
) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--keep-old")
    second = rotating.item("jon").key.access_key_id
    rotating.sleep(89 * DAY)
    planned = rotating.report(*NIGHTLY, *more, "--dry-run")
    assert rotating.report(*NIGHTLY, *more) == planned
    assert (planned[0]["result"], rotating.aws.actions()) == ("young", [])
    assert rotating.keys(user)[user.access_key_id] == "Inactive"
    rotating.sleep(DAY)
    assert rotating.report(*NIGHTLY, *more, "--dry-run")[0]["result"] == "planned"
    assert rotating.report(*NIGHTLY, *more)[0]["result"] == "rotated"
    assert user.access_key_id not in rotating.keys(user)
    assert rotating.item("jon").key.access_key_id != second


@pytest.mark.parametrize("more", [(), ("--grace", "1s"), ("--keep-old",)])
def test_a_time_of_grace_is_the_one_that_was_promised(
    rotating: RotationMachine, more: tuple[str, ...]
) -> None:
    user = rotating.user()
    until = rotating.report("jon", "--grace", "30d")[0]["until"]
    rotating.sleep(30 * DAY - 60)
    planned = rotating.report(*NIGHTLY, *more, "--dry-run")
    assert rotating.report(*NIGHTLY, *more) == planned
    assert (planned[0]["result"], planned[0]["until"]) == ("waiting", until)
    assert rotating.keys(user)[user.access_key_id] == "Inactive"
    rotating.sleep(61)
    assert rotating.report(*NIGHTLY, *more)[0]["result"] == "finished"
    rotating.check_rotated(user, "jon")


def test_a_promise_outlives_a_run_that_was_cut_off(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.aws.arm(server_error(), action="UpdateAccessKey", times=1000)
    rotating.rotate("jon", "--grace", "30d", status=12)
    rotating.aws.faults.clear()
    rotating.sleep(8 * DAY)
    found = rotating.report("jon")[0]
    assert (found["result"], found["old_state"]) == ("finished", "inactive")
    assert found["until"] is not None
    assert rotating.keys(user)[user.access_key_id] == "Inactive"


def test_an_item_without_a_promise_goes_by_what_each_run_asks_for(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "30d")
    old = rotating.rotation("jon")
    only = RotationFields(previous=old.previous, deactivated=old.deactivated)
    rotating.store("jon", with_rotation(rotating.text("jon"), only))
    assert rotating.report("jon", "--grace", "1d")[0]["result"] == "waiting"
    assert rotating.report("jon")[0]["result"] == "finished"
    rotating.check_rotated(user, "jon")


def test_a_failure_lets_no_key_of_unknown_age_look_young(rotating: RotationMachine) -> None:
    user = rotating.user(denied=["iam:CreateAccessKey"])
    text = f"{user.secret_access_key}\naws_access_key_id: {user.access_key_id}\nnote: x\n"
    rotating.store("jon", text.encode())
    rotating.rotate(*NIGHTLY, status=8)
    assert rotating.item("jon").created is None
    user.denied.clear()
    assert rotating.report(*NIGHTLY)[0]["result"] == "rotated"
    assert b"\nnote: x\n" in rotating.text("jon")


def test_a_key_that_is_handed_out_again_is_as_old_as_before(rotating: RotationMachine) -> None:
    user = rotating.user()
    before = rotating.item("jon")
    rotating.sleep(100 * DAY)
    rotating.rotate("jon", "--grace", "1d")
    unfinished(rotating)
    new = rotating.item("jon").key
    rotating.aws.directory.delete_access_key(user.keys[new.access_key_id])
    assert "is the current key again" in rotating.rotate("jon", status=None).err
    after = rotating.item("jon")
    assert (after.key, after.created, after.created_from) == (
        before.key,
        before.created,
        before.created_from,
    )


def test_a_new_key_that_is_refused_for_a_moment_is_not_given_up(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    new = rotating.item("jon").key
    unfinished(rotating)
    rotating.aws.arm(UNKNOWN, action="GetCallerIdentity", times=2)
    rotating.rotate("jon", "--grace", "0")
    assert rotating.item("jon").key == new
    rotating.check_rotated(user, "jon")


def test_a_new_key_that_iam_lists_is_not_given_up(
    rotating: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    new = rotating.item("jon").key
    unfinished(rotating)
    monkeypatch.setattr(retry, "TIMEOUT", 0)
    rotating.aws.arm(UNKNOWN, action="GetCallerIdentity")  # what follows is asked with the old key
    rotating.rotate("jon", status=12)
    assert rotating.aws.actions() == ["GetCallerIdentity"] * 3 + ["ListAccessKeys"]
    assert rotating.item("jon").key == new


def test_without_the_list_an_old_key_that_works_again_is_left_alone(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:ListAccessKeys"])
    rotating.rotate("jon", "--grace", "24h")
    rotating.aws.directory.keys[user.access_key_id].status = "Active"
    rotating.sleep(2 * DAY)
    assert "was made active again" in rotating.rotate("jon", status=8).err
    assert rotating.keys(user)[user.access_key_id] == "Active"
    rotating.aws.directory.keys[user.access_key_id].status = "Inactive"
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_what_is_not_known_of_the_old_key_is_not_said(rotating: RotationMachine) -> None:
    rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    unfinished(rotating)
    rotating.aws.arm(server_error(), action="GetCallerIdentity", times=1000)
    ended = rotating.rotate("jon", status=12)
    assert "is not gone: " in ended.err
    assert "None" not in ended.err


def test_no_hint_throws_the_other_key_away_unsaid(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "1d")
    rotating.sleep(2 * DAY)
    rotating.aws.arm(UNKNOWN, action="GetCallerIdentity", times=1000)
    ended = rotating.rotate("jon", status=8)
    assert f"throws away the secret of {user.access_key_id}" in ended.err


def test_a_dry_run_tells_of_a_run_that_was_cut_off(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.store("jon", with_rotation(rotating.text("jon"), RotationFields(rotating.now(), ())))
    ended = rotating.rotate("jon", "--dry-run")
    assert "an earlier run was cut off: AWS would be asked" in ended.out
    found = rotating.report("jon", "--dry-run")[0]
    assert (found["result"], found["old_key"]) == ("unfinished", user.access_key_id)


def test_a_dry_run_tells_of_an_orphan_and_refuses_one_of_the_vault(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    words = ("jon", "--dry-run", "--delete-orphan")
    other = rotating.aws.add_access_key(user).access_key_id
    assert f"{other} would be deleted first" in rotating.rotate(*words, other).out
    assert rotating.report(*words, other)[0]["orphan"] == other
    assert (
        "the vault contains its secret" in rotating.rotate(*words, user.access_key_id, status=2).err
    )
    assert other in rotating.keys(user)


def test_a_list_that_does_not_show_a_key_yet_is_no_proof_that_there_is_none(
    rotating: RotationMachine,
) -> None:
    rotating.user()
    rotating.aws.arm(drop(), action="CreateAccessKey")
    ended = rotating.rotate("jon", status=9)
    assert "whether AWS has made a key all the same is not known" in ended.err
