"""A second opinion: moto's server with enforced policies, and the real AWS CLI before and after.

The actions are those of the policy on the page about rotation: they are enough, and what the page
says of each holds. moto takes every call of IAM for one on `*`, so the resource is held against
the calls that the fake has recorded.
"""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.worlds.machine import Machine
from tests.worlds.rotation import RotationMachine

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/rotate-from-cron.md"
REGION = "eu-west-1"


@pytest.fixture
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    post(f"{url}/moto-api/reset")
    yield url
    # The state outlives the server, in this process.
    post(f"{url}/moto-api/reset-auth", b"inf")
    post(f"{url}/moto-api/reset")
    server.stop()


def post(url: str, data: bytes = b"") -> None:
    """Give moto an order."""
    headers = {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30):
        pass


def admin(url: str) -> Any:
    """Return a client of IAM for preparing, before policies are enforced."""
    make: Any = boto3.client
    return make(
        "iam",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def of_page() -> dict[str, Any]:
    """Return the policy of the page."""
    block = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    document: dict[str, Any] = json.loads(block[1])
    return document


def policy(*without: str) -> dict[str, Any]:
    """Return the policy of the page, without some of its actions, for every resource."""
    document = of_page()
    statement = document["Statement"][0]
    statement["Resource"] = "*"
    statement["Action"] = [action for action in statement["Action"] if action not in without]
    return document


def enforced(moto: str, machine: Machine, *without: str) -> dict[str, str]:
    """Let moto know a user with the policy, store its key, and enforce. Returns the first key."""
    iam = admin(moto)
    iam.create_user(UserName="deploy")
    document = json.dumps(policy(*without))
    iam.put_user_policy(UserName="deploy", PolicyName="rotate", PolicyDocument=document)
    made = iam.create_access_key(UserName="deploy")
    machine.env["AWS_ENDPOINT_URL"] = moto
    machine.env["AWS_MAX_ATTEMPTS"] = "1"
    machine.write_config(f"[profile deploy]\nregion = {REGION}\n")
    text = json.dumps(made, default=lambda moment: moment.isoformat())
    machine.with_vault().ok("add", "deploy", "--stdin", "--no-config", stdin=text)
    post(f"{moto}/moto-api/reset-auth", b"0")
    key: dict[str, str] = made["AccessKey"]
    return key


def aws_cli(machine: Machine, key_id: str, secret: str, *argv: str) -> tuple[int, str]:
    """Run the real AWS CLI with a key."""
    done = subprocess.run(
        ["aws", "--region", REGION, "--output", "json", *argv],
        env=machine.environment(
            {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret, "LAUNCH": None}
        ),
        capture_output=True,
        text=True,
        cwd=machine.home,
    )
    return done.returncode, done.stdout + done.stderr


def stored(machine: Machine) -> tuple[str, str]:
    """Return the key that the vault hands out."""
    given = json.loads(machine.ok("export", "deploy", "--no-session", "--format", "json").out)
    return given["AccessKeyId"], given["SecretAccessKey"]


def key_ids(machine: Machine) -> list[str]:
    """Ask the AWS CLI, with the key in the vault, which keys the user has."""
    status, said = aws_cli(machine, *stored(machine), "iam", "list-access-keys")
    assert status == 0, said
    return [key["AccessKeyId"] for key in json.loads(said)["AccessKeyMetadata"]]


def test_the_policy_of_the_page_is_enough_and_the_aws_cli_agrees(
    moto: str, machine: Machine
) -> None:
    old = enforced(moto, machine)
    assert key_ids(machine) == [old["AccessKeyId"]]
    result = machine.ok("rotate", "deploy")
    assert (result.out, result.err) == ("", "")
    new_id, secret = stored(machine)
    assert new_id != old["AccessKeyId"]
    status, said = aws_cli(machine, new_id, secret, "sts", "get-caller-identity")
    assert status == 0
    assert json.loads(said)["Arn"].endswith(":user/deploy")
    assert key_ids(machine) == [new_id]
    status, said = aws_cli(
        machine, old["AccessKeyId"], old["SecretAccessKey"], "iam", "list-access-keys"
    )
    assert status != 0, said
    # And the policy allows nothing else.
    status, said = aws_cli(machine, new_id, secret, "iam", "list-users")
    assert "not authorized" in said


@pytest.mark.parametrize(
    ("right", "status"),
    [
        ("iam:ListAccessKeys", 0),
        ("iam:GetAccessKeyLastUsed", 0),
        ("iam:CreateAccessKey", 8),
        ("iam:UpdateAccessKey", 12),
        ("iam:DeleteAccessKey", 12),
    ],
)
def test_a_right_that_is_taken_out_is_named_or_not_needed(
    moto: str, machine: Machine, right: str, status: int
) -> None:
    old = enforced(moto, machine, right)
    result = machine.run("rotate", "deploy")
    assert result.status == status, result
    assert (f"not authorized to perform: {right}" in result.err) == (status != 0)
    assert (stored(machine)[0] == old["AccessKeyId"]) == (status == 8)


def test_two_keys_are_told_apart_by_moto_too(moto: str, machine: Machine) -> None:
    old = enforced(moto, machine)
    other = stored(machine)
    status, said = aws_cli(machine, *other, "iam", "create-access-key")
    assert status == 0, said
    second = json.loads(said)["AccessKey"]["AccessKeyId"]
    result = machine.run("rotate", "deploy")
    assert result.status == 8
    assert f"filevault rotate deploy --delete-orphan {second}" in result.err
    machine.ok("rotate", "deploy", "--delete-orphan", second)
    assert key_ids(machine) == [stored(machine)[0]]
    assert stored(machine)[0] not in (old["AccessKeyId"], second)


def test_the_policy_of_the_page_allows_each_call_on_the_user_itself_alone(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    (statement,) = of_page()["Statement"]
    resource = statement["Resource"].replace("${aws:username}", "jon")
    assert "$" not in resource
    used = set()
    for status, words in ((8, ()), (0, ("--delete-orphan", other.access_key_id))):
        rotating.rotate("jon", *words, status=status)
        for call in rotating.aws.calls:
            if call.service == "iam":
                whose = call.parameters.get("UserName", "jon")
                arn = f"arn:aws:iam::{user.account}:user/{whose}"
                assert fnmatch.fnmatchcase(arn, resource)
                used.add(f"iam:{call.action}")
    assert used == set(statement["Action"]), "the policy has too much or too little"
    assert fnmatch.fnmatchcase(user.arn, resource)
    for elsewhere in ("user/eve", "user/ops/jon", "role/jon", "user/jon2"):
        assert not fnmatch.fnmatchcase(f"arn:aws:iam::{user.account}:{elsewhere}", resource)
