"""`rotate` of several keys: one that fails takes nothing from the others."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.fakes import User
from tests.fakes.faults import stall
from tests.rotation.test_rotate import SERIAL, asked, mfa_process
from tests.worlds.machine import TIMEOUT
from tests.worlds.rotation import RotationMachine

AWAY = "arn:aws:iam::999988887777:role/away"


def test_a_profile_with_a_bad_setting_is_told_and_the_others_rotate(
    rotating: RotationMachine,
) -> None:
    first, _, last = (rotating.user(name) for name in "abc")
    del rotating.machine.env["AWS_ENDPOINT_URL"]
    here = f"endpoint_url = {rotating.aws.url}\n"
    rotating.config(
        f"[profile a]\n{here}[profile b]\nrole_arn = {AWAY}\nendpoint_url = http://10.0.0.1\n"
        f"[profile c]\n{here}"
    )
    found = {row["profile"]: row for row in rotating.report("--all", status=12)}
    assert [found[name]["result"] for name in "abc"] == ["rotated", "failed", "rotated"]
    assert "http://10.0.0.1" in found["b"]["error"]
    rotating.check_rotated(first, "a")
    rotating.check_rotated(last, "c")


def test_the_first_of_several_names_may_be_the_wrong_one(rotating: RotationMachine) -> None:
    user = rotating.user()
    assert [row["result"] for row in rotating.report("nobody", "jon", status=12)] == [
        "failed",
        "rotated",
    ]
    rotating.check_rotated(user, "jon")


def test_a_key_that_one_profile_cannot_rotate_is_left_to_the_next(
    rotating: RotationMachine,
) -> None:
    user = rotating.user(profiles=("b",))
    rotating.config(f"[profile a]\nsource_profile = b\nrole_arn = {AWAY}\n")
    found = rotating.report("a", "b")
    assert [(row["result"], row["same_as"]) for row in found] == [("same", "b"), ("rotated", None)]
    rotating.check_rotated(user, "b")


def test_a_key_that_no_profile_can_rotate_is_a_failure_of_each(rotating: RotationMachine) -> None:
    rotating.user(profiles=("a", "b"), denied=["iam:CreateAccessKey"])
    assert [row["result"] for row in rotating.report("a", "b", status=8)] == ["failed", "failed"]


def test_the_profile_that_dealt_with_the_key_is_named(rotating: RotationMachine) -> None:
    rotating.user(profiles=("a", "b"))
    ended = rotating.rotate("--all", "--dry-run")
    assert "b: has the key of a, which is done already" in ended.out
    assert rotating.report("b", "a")[1]["same_as"] == "b"


def test_all_rotates_a_key_whose_own_section_has_a_role_of_elsewhere(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    rotating.config(f"[profile jon]\nrole_arn = {AWAY}\n")
    assert rotating.report("--all")[0]["result"] == "rotated"
    assert "AssumeRole" not in rotating.aws.actions()
    rotating.check_rotated(user, "jon")


def test_all_rotates_a_key_whose_own_role_may_not(rotating: RotationMachine) -> None:
    user = rotating.user()
    role = rotating.aws.add_role("dev", trusts=[user])
    role.denied.update({"iam:CreateAccessKey"})
    rotating.config(f"[profile jon]\nrole_arn = {role.arn}\n")
    rotating.rotate("--all")
    rotating.check_rotated(user, "jon")


def test_the_hint_for_a_role_of_elsewhere_names_it_and_works(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.config(f"[profile jon]\nrole_arn = {AWAY}\n[profile up]\nsource_profile = jon\n")
    for name in ("jon", "up"):
        ended = rotating.rotate(name, status=3)
        assert AWAY in ended.err
        assert ended.err.endswith(": filevault rotate -n jon\n")
    rotating.rotate("-n", "jon")
    rotating.check_rotated(user, "jon")


def test_the_hint_for_a_role_without_the_rights_names_the_way_without_it(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    role = rotating.aws.add_role("dev", trusts=[user])
    role.denied.update({"iam:CreateAccessKey"})
    rotating.config(f"[profile jon]\nrole_arn = {role.arn}\n")
    ended = rotating.rotate("jon", status=8)
    assert "allow iam:CreateAccessKey in the policies of" in ended.err
    assert f"or without the role {role.arn}: filevault rotate -n jon" in ended.err


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_tells_what_is_done_and_who_does_the_rest(
    rotating: RotationMachine, as_json: bool
) -> None:
    done = rotating.user("a")
    cut = rotating.user("b")
    rotating.aws.arm(stall(TIMEOUT), action="GetCallerIdentity", nth=3)
    process = rotating.machine.popen("rotate", "--all", *["--json"] * as_json)
    deadline = time.monotonic() + TIMEOUT
    while rotating.aws.actions().count("DeleteAccessKey") < 1 or not rotating.aws.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    rotating.aws.faults.release()
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    new = rotating.item("a").key.access_key_id
    if as_json:
        assert [(row["profile"], row["new_key"]) for row in json.loads(out)] == [("a", new)]
    else:
        assert out.decode() == f"a: {new} takes the place of {done.access_key_id} (in a)\n"
    assert b"which does the rest too: 1 of 2 profiles are done" in err
    rotating.machine.ok("rotate", "b")
    rotating.check_rotated(cut, "b")


def with_own_role(scene: RotationMachine, denied: set[str]) -> User:
    """Make a user whose own section has an MFA device and a role without some rights."""
    user = scene.user(mfa_serial=SERIAL)
    role = scene.aws.add_role("dev", require_mfa=True, trusts=[user])
    role.denied.update(denied)
    scene.config(
        f"[profile jon]\nrole_arn = {role.arn}\nmfa_serial = {SERIAL}\n"
        f"mfa_process = {mfa_process(scene)}\n"
    )
    return user


def test_all_takes_one_code_for_a_key_whose_own_role_may_not(rotating: RotationMachine) -> None:
    """The fake refuses a second code: the session with MFA serves the role and the user."""
    user = with_own_role(rotating, {"iam:CreateAccessKey"})
    rotating.rotate("--all")
    assert asked(rotating) == 1
    assert rotating.aws.actions().count("GetSessionToken") == 1
    assert "AssumeRole" in rotating.aws.actions()
    rotating.check_rotated(user, "jon")


def test_a_key_that_neither_role_nor_user_can_rotate_is_told_with_both_reasons(
    rotating: RotationMachine,
) -> None:
    user = with_own_role(rotating, {"iam:CreateAccessKey"})
    user.denied.add("iam:CreateAccessKey")
    ended = rotating.rotate("--all", status=8)
    assert "assumed-role/dev" in ended.err
    assert "; without the role: AWS refused CreateAccessKey" in ended.err
    assert asked(rotating) == 1


def test_a_refused_code_is_not_asked_for_again_without_the_role(rotating: RotationMachine) -> None:
    with_own_role(rotating, set())
    (home := rotating.machine.home / "wrong").write_text("")
    text = (rotating.machine.home / ".aws/config").read_text()
    process = f"mfa_process = echo asked >> {home}; echo 000000"
    lines = [process if line.startswith("mfa_process") else line for line in text.splitlines()]
    rotating.machine.write_config("\n".join(lines) + "\n")
    assert "token code is wrong" in rotating.rotate("--all", status=8).err
    assert home.read_text().count("asked") == 1
