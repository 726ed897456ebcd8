"""The fake as a process of its own, with its control channel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes.clients import client
from tests.fakes.remote import RemoteFake
from tests.samples import EXAMPLE_ID, SECRET

ROOT = Path(__file__).parents[2]
SERIAL = "arn:aws:iam::123456789012:mfa/jonsmith"
ROLE = "arn:aws:iam::123456789012:role/admin"
SEED = {
    "users": [
        {
            "name": "jonsmith",
            "access_key_id": EXAMPLE_ID,
            "secret_access_key": SECRET,
            "mfa": True,
            "mfa_seed": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        }
    ],
    "roles": [{"name": "admin", "require_mfa": True, "max_session_duration": 7200}],
}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.serve", "--seed", "-", "--lifetime", "120"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(SEED))
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def remote(process: subprocess.Popen[str]) -> RemoteFake:
    assert process.stdout is not None
    return RemoteFake(process.stdout.readline().rstrip("\n"))


@pytest.fixture
def process_sts(remote: RemoteFake) -> Any:
    return client("sts", remote.url, EXAMPLE_ID, SECRET)


def test_the_process_serves_its_seed_and_its_record(remote: RemoteFake, process_sts: Any) -> None:
    answer = process_sts.assume_role(
        RoleArn=ROLE,
        RoleSessionName="jon",
        DurationSeconds=7200,
        SerialNumber=SERIAL,
        TokenCode=remote.totp(SERIAL),
    )
    (call,) = remote.calls()
    assert call["parameters"]["RoleArn"] == ROLE
    assert (call["outcome"], call["access_key_id"]) == ("ok", EXAMPLE_ID)
    assert call["returned_access_key_id"] == answer["Credentials"]["AccessKeyId"]
    session = remote.ask("state")["sessions"][answer["Credentials"]["AccessKeyId"]]
    assert (session["role"], session["mfa"]) == (ROLE, True)
    assert remote.actions() == ["AssumeRole"]
    remote.reset_calls()
    assert remote.calls() == []
    assert SECRET in remote.ask("issued_secrets")


def test_clock_and_faults_are_moved_from_outside(remote: RemoteFake, process_sts: Any) -> None:
    credentials = process_sts.get_session_token(DurationSeconds=900)["Credentials"]
    before = remote.advance(0)
    assert 900 <= remote.advance(900) - before < 910
    inside = client(
        "sts",
        remote.url,
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    )
    with pytest.raises(ClientError, match="ExpiredToken"):
        inside.get_caller_identity()
    remote.arm({"kind": "error", "code": "Odd", "message": "why not"}, action="GetSessionToken")
    process_sts.get_caller_identity()
    with pytest.raises(ClientError, match="why not"):
        process_sts.get_session_token()


def test_more_can_be_seeded_later_and_nonsense_is_refused(remote: RemoteFake) -> None:
    made = remote.ask("seed", users=[{"name": "late", "mfa": True}])["users"][0]
    late = client("sts", remote.url, made["access_key_id"], made["secret_access_key"])
    assert late.get_caller_identity()["Arn"] == made["arn"]
    for verb, order in (
        ("seed", {"users": [{"name": "x", "colour": "red"}]}),
        ("seed", {"people": []}),
        ("totp", {"serial": "none"}),
        ("nothing", {}),
    ):
        with pytest.raises(ValueError, match="error"):
            remote.ask(verb, **order)


def test_the_control_client_is_a_ready_mfa_process(remote: RemoteFake) -> None:
    remote.ask("clock", freeze=True)
    printed = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests/fakes/remote.py"),
            remote.url,
            "totp",
            json.dumps({"serial": SERIAL}),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    ).stdout
    assert printed == remote.totp(SERIAL) + "\n"


def test_the_process_ends_when_told(process: subprocess.Popen[str], remote: RemoteFake) -> None:
    remote.calls()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 0


def test_the_real_command_line_client_is_served(
    remote: RemoteFake, process_sts: Any, tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("aws")
    if not program.exists():
        pytest.skip("the AWS CLI is not installed beside this Python")
    printed = subprocess.run(
        [program, "sts", "get-caller-identity", "--query", "Arn", "--output", "text"],
        env={
            "HOME": str(tmp_path),
            "PATH": os.defpath,
            "AWS_ENDPOINT_URL": remote.url,
            "AWS_ACCESS_KEY_ID": EXAMPLE_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "eu-west-1",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "arn:aws:iam::123456789012:user/jonsmith\n"
    assert remote.calls()[0]["region"] == "eu-west-1"
