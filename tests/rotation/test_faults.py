"""AWS throttles, drops, fails and is slow; the disk is full: what `rotate` does then."""

from __future__ import annotations

import boto3  # noqa: F401 - loaded once, not by each child
import pytest

from filevault.cli.commands import rotate  # noqa: F401
from filevault.rotation.retry import TIMEOUT
from filevault.vault.rotation_fields import RotationFields
from tests.fakes.faults import drop, error, server_error, throttle
from tests.faults.harness import run_with_fault
from tests.rotation.test_kill_matrix import KillStage
from tests.worlds.rotation import RotationMachine

CALLS = (
    ("GetCallerIdentity", 1),
    ("ListAccessKeys", 1),
    ("CreateAccessKey", 1),
    ("GetCallerIdentity", 2),
    ("UpdateAccessKey", 1),
    ("DeleteAccessKey", 1),
)
FAULTS = {
    "throttled": throttle(),
    "dropped before": drop(),
    "dropped after": drop("after"),
    "500 before": server_error(),
    "500 after": server_error("after"),
}
SERIAL = "arn:aws:iam::123456789012:mfa/jon"
# These are made again by themselves when AWS is to know the new key.
PATIENT = {("GetCallerIdentity", 2), ("UpdateAccessKey", 1), ("DeleteAccessKey", 1)}


@pytest.mark.parametrize("seconds", [0, 5, 25])
def test_a_new_key_that_aws_learns_of_late_is_waited_for(
    rotating: RotationMachine, seconds: int
) -> None:
    user = rotating.user()
    rotating.aws.delay_new_keys(seconds=seconds)
    rotating.rotate("jon")
    assert seconds <= sum(rotating.slept) <= seconds + 8
    refused = [call for call in rotating.aws.calls if call.outcome == "InvalidClientTokenId"]
    assert bool(refused) == bool(seconds)
    assert {call.action for call in refused} <= {"GetCallerIdentity"}
    rotating.check_rotated(user, "jon")


def test_parts_of_aws_that_learn_of_it_later_still_are_waited_for(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    unknown = error("InvalidClientTokenId", "The security token included is invalid.", 403)
    rotating.aws.arm(unknown, action="UpdateAccessKey", times=3)
    rotating.aws.arm(unknown, action="DeleteAccessKey", times=2)
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_a_key_that_never_works_is_taken_back(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.aws.delay_new_keys(seconds=10**6)
    ended = rotating.rotate("jon", status=8)
    assert "the new key was deleted again, the old one is untouched" in ended.err
    assert TIMEOUT - 30 < sum(rotating.slept) <= TIMEOUT  # the calls take some of it
    assert rotating.keys(user) == {user.access_key_id: "Active"}
    assert (rotating.works("jon"), rotating.rotation("jon")) == (True, RotationFields())
    rotating.aws.delay_new_keys()
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_a_key_that_cannot_be_taken_back_stays_in_the_vault_and_is_named(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:DeleteAccessKey"])
    rotating.aws.delay_new_keys(seconds=200)
    ended = rotating.rotate("jon", status=8)
    new = rotating.rotation("jon").next
    assert new is not None
    assert f"the new key {new.access_key_id} could not be deleted at AWS" in ended.err
    user.denied.clear()
    rotating.aws.clock.advance(200)
    assert rotating.report("jon")[0]["result"] == "finished"
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("action", "nth"), CALLS)
def test_a_call_that_fails_once_costs_nothing(
    rotating: RotationMachine, action: str, nth: int, fault: str
) -> None:
    user = rotating.user()
    rotating.aws.arm(FAULTS[fault], action=action, nth=nth)
    ended = rotating.rotate("jon", status=None)
    assert rotating.works("jon")
    created = [call for call in rotating.aws.calls if call.returned_access_key_id]
    assert len(created) <= 1, "a second key was made"
    if (action, nth) in PATIENT:
        assert ended.status == 0, ended
    else:
        assert ended.status in (8, 9), ended
        assert ended.err.count("filevault: error: ") == 1
        assert rotating.item("jon").key.access_key_id == user.access_key_id
    if action == "CreateAccessKey" and "after" in fault:
        orphan = created[0].returned_access_key_id
        assert orphan is not None
        assert f"AWS has made the key {orphan} all the same, and its secret is lost" in ended.err
        assert f"filevault rotate jon --delete-orphan {orphan}" in ended.err
        again = rotating.rotate("jon", status=8)
        assert f"was cut off when AWS had made the key {orphan}" in again.err
        rotating.rotate("jon", "--delete-orphan", orphan)
    elif ended.status:
        assert set(rotating.keys(user)) == {user.access_key_id}
        rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("action", ["GetSessionToken", "AssumeRole"])
def test_a_session_that_cannot_be_had_once_costs_nothing(
    rotating: RotationMachine, action: str, fault: str
) -> None:
    """A code that AWS may have taken is spent, so that the next run brings another."""
    user = rotating.user(mfa_serial=SERIAL)
    role = rotating.aws.add_role("rotator", trusts=[user])
    rotating.config(
        f"[profile jon]\nmfa_serial = {SERIAL}\n"
        f"[profile admin]\nsource_profile = jon\nrole_arn = {role.arn}\nmfa_serial = {SERIAL}\n"
    )
    rotating.aws.arm(FAULTS[fault], action=action)
    ended = rotating.rotate("admin", "-t", user.totp(SERIAL), status=None)
    assert ended.status in (8, 9), ended
    assert ended.err.count("filevault: error: ") == 1
    assert rotating.aws.actions().count("CreateAccessKey") == 0
    assert rotating.keys(user) == {user.access_key_id: "Active"}
    rotating.sleep(60)
    rotating.rotate("admin", "-t", user.totp(SERIAL))
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_last_use_that_cannot_be_had_is_told_as_not_known(
    rotating: RotationMachine, fault: str
) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    rotating.aws.arm(FAULTS[fault], action="GetAccessKeyLastUsed", times=3)
    ended = rotating.rotate("jon", status=8)
    assert f"{other.access_key_id} is active" in ended.err
    assert "when it was last used is not known (IAM does not say)" in ended.err
    assert set(rotating.keys(user)) == {user.access_key_id, other.access_key_id}


@pytest.mark.parametrize("fault", ["dropped after", "500 after"])
def test_making_a_key_is_not_tried_again_even_where_botocore_may(
    rotating: RotationMachine, fault: str
) -> None:
    """Five attempts are allowed, and one is made."""
    user = rotating.user()
    rotating.machine.env["AWS_MAX_ATTEMPTS"] = "5"
    rotating.aws.arm(FAULTS[fault], action="CreateAccessKey")
    rotating.rotate("jon", status=None)
    assert rotating.aws.actions().count("CreateAccessKey") == 1
    assert len(user.keys) == 2


def test_making_a_key_is_tried_again_where_it_was_not_taken(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.machine.env["AWS_MAX_ATTEMPTS"] = "3"
    rotating.aws.arm(throttle(), action="CreateAccessKey")
    rotating.rotate("jon")
    assert rotating.aws.actions().count("CreateAccessKey") == 2
    rotating.check_rotated(user, "jon")


def test_a_lost_answer_without_the_right_to_list_is_told_as_not_known(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:ListAccessKeys"])
    rotating.aws.arm(drop("after"), action="CreateAccessKey")
    ended = rotating.rotate("jon", status=9)
    assert "whether AWS has made a key all the same is not known" in ended.err
    again = rotating.rotate("jon", status=8)
    assert "--delete-orphan KEYID" in again.err
    (orphan,) = set(rotating.keys(user)) - {user.access_key_id}
    rotating.rotate("jon", "--delete-orphan", orphan)
    rotating.check_rotated(user, "jon")


@pytest.mark.parametrize("action", ["UpdateAccessKey", "DeleteAccessKey"])
def test_a_call_that_fails_for_good_after_the_switch_is_partly_done(
    rotating: RotationMachine, action: str
) -> None:
    user = rotating.user()
    rotating.aws.arm(server_error(), action=action, times=1000)
    found = rotating.report("jon", status=12)[0]
    assert (found["result"], rotating.works("jon")) == ("partly", True)
    rotating.aws.faults.clear()
    assert rotating.report("jon")[0]["result"] == "finished"
    rotating.check_rotated(user, "jon")


def test_a_new_key_of_somebody_else_is_taken_back(rotating: RotationMachine) -> None:
    """No AWS does that; a proxy or a wrong endpoint could."""
    user = rotating.user()
    before = rotating.aws.sts.actions["GetCallerIdentity"]
    count = [0]

    def other(caller: object, parameters: object) -> object:
        count[0] += 1
        found = before(caller, parameters)  # type: ignore[arg-type]
        if count[0] > 1:
            return {**found, "Arn": "arn:aws:iam::123456789012:user/eve"}  # type: ignore[dict-item]
        return found

    rotating.aws.sts.actions = {**rotating.aws.sts.actions, "GetCallerIdentity": other}  # type: ignore[dict-item]
    ended = rotating.rotate("jon", status=8)
    assert "belongs to arn:aws:iam::123456789012:user/eve" in ended.err
    assert rotating.keys(user) == {user.access_key_id: "Active"}
    assert rotating.rotation("jon") == RotationFields()


def test_a_stored_next_key_serves_where_somebody_deleted_the_old_one(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(denied=["iam:DeleteAccessKey"])
    rotating.aws.delay_new_keys(seconds=200)
    rotating.rotate("jon", status=8)
    user.denied.clear()
    rotating.aws.clock.advance(200)
    rotating.aws.directory.delete_access_key(user.keys[user.access_key_id])
    rotating.rotate("jon")
    rotating.check_rotated(user, "jon")


def test_a_stored_next_key_that_is_gone_is_forgotten(rotating: RotationMachine) -> None:
    user = rotating.user(denied=["iam:DeleteAccessKey"])
    rotating.aws.delay_new_keys(seconds=200)
    rotating.rotate("jon", status=8)
    user.denied.clear()
    rotating.aws.delay_new_keys()
    new = rotating.rotation("jon").next
    assert new is not None
    rotating.aws.directory.delete_access_key(user.keys[new.access_key_id])
    assert rotating.report("jon")[0]["result"] == "rotated"
    rotating.check_rotated(user, "jon")


def test_an_item_that_somebody_changed_meanwhile_is_left_alone(rotating: RotationMachine) -> None:
    """The new key is taken back; what they stored stays."""
    user = rotating.user()
    ann = rotating.aws.add_user("ann")
    original = rotating.aws.iam.actions["CreateAccessKey"]

    def meanwhile(caller: object, parameters: object) -> object:
        made = original(caller, parameters)  # type: ignore[arg-type]
        path = rotating.machine.vault / "jon.fv"
        path.write_bytes(theirs)
        return made

    rotating.add("jon2", ann.access_key_id, ann.secret_access_key)
    before = (rotating.machine.vault / "jon.fv").read_bytes()
    rotating.run(
        "add", "jon", "--stdin", "--force", "--no-config",
        stdin=f"{ann.access_key_id}\n{ann.secret_access_key}\n".encode(),
    )  # fmt: skip
    theirs = (rotating.machine.vault / "jon.fv").read_bytes()
    (rotating.machine.vault / "jon.fv").write_bytes(before)
    rotating.aws.iam.actions = {**rotating.aws.iam.actions, "CreateAccessKey": meanwhile}  # type: ignore[dict-item]
    ended = rotating.rotate("jon", status=7)
    assert "was changed by another process" in ended.err
    assert rotating.keys(user) == {user.access_key_id: "Active"}
    assert (rotating.machine.vault / "jon.fv").read_bytes() == theirs


def test_two_rotations_of_a_vault_never_overlap(rotating: RotationMachine) -> None:
    """The second one is given up at once, while the first one waits for AWS."""
    user = rotating.user()
    rotating.aws.delay_new_keys(seconds=5)
    inner: list[int] = []
    advance = rotating.aws.clock.advance

    def sleep(seconds: float) -> None:
        if not inner:
            inner.append(0)
            ended = rotating.run("rotate", "jon", status=5)
            assert "another rotation of this vault is under way" in ended.err
        advance(seconds)

    rotating.sleep = sleep  # type: ignore[method-assign]
    rotating.rotate("jon")
    assert inner
    rotating.check_rotated(user, "jon")


def fill_the_disk(
    scene: RotationMachine, names: tuple[str, ...], mode: str, *, lasting: bool
) -> set[int]:
    """Let each call of these names fail, and return the statuses."""
    stage = KillStage(scene)
    ends = set()
    for number, call in enumerate(stage.whole.calls):
        if call.name not in names:
            continue
        stage.reset()
        try:
            outcome = run_with_fault(
                stage.command, scene.machine, at=number, mode=mode, lasting=lasting
            )
            ends.add(outcome.status)
            assert outcome.status in (0, 7, 12), outcome
            assert len(outcome.errors) == (outcome.status != 0), outcome
            stage.check_nothing_is_lost()
            assert stage.user.keys.keys() <= stage.held(), "an orphan is left"
            stage.check_second_run()
        except AssertionError as failure:
            raise AssertionError(f"{mode} at {number}, {call}: {failure}") from failure
    return ends


@pytest.mark.parametrize("name", ["open", "write", "rename"])
def test_a_disk_that_is_full_once_leaves_no_orphan(name: str, rotating: RotationMachine) -> None:
    assert fill_the_disk(rotating, (name,), "ENOSPC", lasting=False) == {0, 7, 12}


def test_a_disk_that_stays_full_leaves_no_orphan(rotating: RotationMachine) -> None:
    assert fill_the_disk(rotating, ("write",), "ENOSPC", lasting=True) == {0, 7, 12}


def test_a_disk_that_promises_nothing_leaves_no_orphan(rotating: RotationMachine) -> None:
    assert fill_the_disk(rotating, ("fsync",), "EIO", lasting=False) == {0, 7, 12}


@pytest.mark.torture
@pytest.mark.parametrize("mode", ["ENOSPC", "EIO", "EROFS", "EINTR"])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_file_system_that_fails_anywhere_leaves_no_orphan(
    mode: str, lasting: bool, rotating: RotationMachine
) -> None:
    names = ("open", "write", "fchmod", "fsync", "close", "rename", "flock", "unlock", "unlink")
    assert 7 in fill_the_disk(rotating, names, mode, lasting=lasting)


def test_a_full_disk_where_the_new_key_cannot_be_deleted_names_it(
    rotating: RotationMachine,
) -> None:
    stage = KillStage(rotating)
    calls = stage.whole.calls
    create = next(number for number, call in enumerate(calls) if call.path == "CreateAccessKey")
    write = next(n for n, call in enumerate(calls) if n > create and call.name == "write")
    stage.reset()
    stage.user.denied.add("iam:DeleteAccessKey")
    outcome = run_with_fault(stage.command, rotating.machine, at=write, mode="ENOSPC", lasting=True)
    (orphan,) = stage.user.keys.keys() - stage.held()
    assert outcome.status == 7
    assert f"the new key {orphan} could not be deleted at AWS" in outcome.err
    assert f"--delete-orphan {orphan}" in outcome.err
    stage.user.denied.clear()
    stage.check_second_run()
