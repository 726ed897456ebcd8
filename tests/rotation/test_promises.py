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
    scene: RotationMachine, more: tuple[str, ...]
) -> None:
    user = scene.user()
    scene.rotate("jon", "--keep-old")
    second = scene.item("jon").key.access_key_id
    scene.sleep(89 * DAY)
    planned = scene.report(*NIGHTLY, *more, "--dry-run")
    assert scene.report(*NIGHTLY, *more) == planned
    assert (planned[0]["result"], scene.aws.actions()) == ("young", [])
    assert scene.keys(user)[user.access_key_id] == "Inactive"
    scene.sleep(DAY)
    assert scene.report(*NIGHTLY, *more, "--dry-run")[0]["result"] == "planned"
    assert scene.report(*NIGHTLY, *more)[0]["result"] == "rotated"
    assert user.access_key_id not in scene.keys(user)
    assert scene.item("jon").key.access_key_id != second


@pytest.mark.parametrize("more", [(), ("--grace", "1s"), ("--keep-old",)])
def test_a_time_of_grace_is_the_one_that_was_promised(
    scene: RotationMachine, more: tuple[str, ...]
) -> None:
    user = scene.user()
    until = scene.report("jon", "--grace", "30d")[0]["until"]
    scene.sleep(30 * DAY - 60)
    planned = scene.report(*NIGHTLY, *more, "--dry-run")
    assert scene.report(*NIGHTLY, *more) == planned
    assert (planned[0]["result"], planned[0]["until"]) == ("waiting", until)
    assert scene.keys(user)[user.access_key_id] == "Inactive"
    scene.sleep(61)
    assert scene.report(*NIGHTLY, *more)[0]["result"] == "finished"
    scene.check_rotated(user, "jon")


def test_a_promise_outlives_a_run_that_was_cut_off(scene: RotationMachine) -> None:
    user = scene.user()
    scene.aws.arm(server_error(), action="UpdateAccessKey", times=1000)
    scene.rotate("jon", "--grace", "30d", status=12)
    scene.aws.faults.clear()
    scene.sleep(8 * DAY)
    found = scene.report("jon")[0]
    assert (found["result"], found["old_state"]) == ("finished", "inactive")
    assert found["until"] is not None
    assert scene.keys(user)[user.access_key_id] == "Inactive"


def test_an_item_without_a_promise_goes_by_what_each_run_asks_for(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "30d")
    old = scene.rotation("jon")
    only = RotationFields(previous=old.previous, deactivated=old.deactivated)
    scene.store("jon", with_rotation(scene.text("jon"), only))
    assert scene.report("jon", "--grace", "1d")[0]["result"] == "waiting"
    assert scene.report("jon")[0]["result"] == "finished"
    scene.check_rotated(user, "jon")


def test_a_failure_lets_no_key_of_unknown_age_look_young(scene: RotationMachine) -> None:
    user = scene.user(denied=["iam:CreateAccessKey"])
    text = f"{user.secret_access_key}\naws_access_key_id: {user.access_key_id}\nnote: x\n"
    scene.store("jon", text.encode())
    scene.rotate(*NIGHTLY, status=8)
    assert scene.item("jon").created is None
    user.denied.clear()
    assert scene.report(*NIGHTLY)[0]["result"] == "rotated"
    assert b"\nnote: x\n" in scene.text("jon")


def test_a_key_that_is_handed_out_again_is_as_old_as_before(scene: RotationMachine) -> None:
    user = scene.user()
    before = scene.item("jon")
    scene.sleep(100 * DAY)
    scene.rotate("jon", "--grace", "1d")
    unfinished(scene)
    new = scene.item("jon").key
    scene.aws.directory.delete_access_key(user.keys[new.access_key_id])
    assert "is the current key again" in scene.rotate("jon", status=None).err
    after = scene.item("jon")
    assert (after.key, after.created, after.created_from) == (
        before.key,
        before.created,
        before.created_from,
    )


def test_a_new_key_that_is_refused_for_a_moment_is_not_given_up(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "1d")
    new = scene.item("jon").key
    unfinished(scene)
    scene.aws.arm(UNKNOWN, action="GetCallerIdentity", times=2)
    scene.rotate("jon", "--grace", "0")
    assert scene.item("jon").key == new
    scene.check_rotated(user, "jon")


def test_a_new_key_that_iam_lists_is_not_given_up(
    scene: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.user()
    scene.rotate("jon", "--grace", "1d")
    new = scene.item("jon").key
    unfinished(scene)
    monkeypatch.setattr(retry.Retry.__init__, "__defaults__", (0,))
    scene.aws.arm(UNKNOWN, action="GetCallerIdentity")  # what follows is asked with the old key
    scene.rotate("jon", status=12)
    assert scene.aws.actions() == ["GetCallerIdentity"] * 3 + ["ListAccessKeys"]
    assert scene.item("jon").key == new


def test_without_the_list_an_old_key_that_works_again_is_left_alone(scene: RotationMachine) -> None:
    user = scene.user(denied=["iam:ListAccessKeys"])
    scene.rotate("jon", "--grace", "24h")
    scene.aws.directory.keys[user.access_key_id].status = "Active"
    scene.sleep(2 * DAY)
    assert "was made active again" in scene.rotate("jon", status=8).err
    assert scene.keys(user)[user.access_key_id] == "Active"
    scene.aws.directory.keys[user.access_key_id].status = "Inactive"
    scene.rotate("jon")
    scene.check_rotated(user, "jon")


def test_what_is_not_known_of_the_old_key_is_not_said(scene: RotationMachine) -> None:
    scene.user()
    scene.rotate("jon", "--grace", "1d")
    unfinished(scene)
    scene.aws.arm(server_error(), action="GetCallerIdentity", times=1000)
    ended = scene.rotate("jon", status=12)
    assert "is not gone: " in ended.err
    assert "None" not in ended.err


def test_no_hint_throws_the_other_key_away_unsaid(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "1d")
    scene.sleep(2 * DAY)
    scene.aws.arm(UNKNOWN, action="GetCallerIdentity", times=1000)
    ended = scene.rotate("jon", status=8)
    assert f"throws away the secret of {user.access_key_id}" in ended.err


def test_a_dry_run_tells_of_a_run_that_was_cut_off(scene: RotationMachine) -> None:
    user = scene.user()
    scene.store("jon", with_rotation(scene.text("jon"), RotationFields(scene.now(), ())))
    ended = scene.rotate("jon", "--dry-run")
    assert "an earlier run was cut off: AWS would be asked" in ended.out
    found = scene.report("jon", "--dry-run")[0]
    assert (found["result"], found["old_key"]) == ("unfinished", user.access_key_id)


def test_a_dry_run_tells_of_an_orphan_and_refuses_one_of_the_vault(scene: RotationMachine) -> None:
    user = scene.user()
    words = ("jon", "--dry-run", "--delete-orphan")
    other = scene.aws.add_access_key(user).access_key_id
    assert f"{other} would be deleted first" in scene.rotate(*words, other).out
    assert scene.report(*words, other)[0]["orphan"] == other
    assert "the vault contains its secret" in scene.rotate(*words, user.access_key_id, status=2).err
    assert other in scene.keys(user)


def test_a_list_that_does_not_show_a_key_yet_is_no_proof_that_there_is_none(
    scene: RotationMachine,
) -> None:
    scene.user()
    scene.aws.arm(drop(), action="CreateAccessKey")
    ended = scene.rotate("jon", status=9)
    assert "whether AWS has made a key all the same is not known" in ended.err
