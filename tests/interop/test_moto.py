"""The main job against moto's server: a second opinion on the wire format.

moto knows no MFA and no expiry (the strict fake does); it does check keys and identities.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.cli.test_login import sign_in_service
from tests.worlds.machine import Machine

REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/admin"


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _client(url: str, service: str, **credentials: str) -> Any:
    make: Any = boto3.client
    return make(service, region_name=REGION, endpoint_url=url, **credentials)


@pytest.fixture
def moto_user(moto_server: str, machine: Machine) -> Machine:
    """A machine whose vault holds the key of an IAM user that moto knows."""
    iam = _client(moto_server, "iam", aws_access_key_id="any", aws_secret_access_key="any")
    name = f"jonsmith-{machine.home.parent.name}"
    iam.create_user(UserName=name)
    created = json.dumps(
        iam.create_access_key(UserName=name), default=lambda moment: moment.isoformat()
    )
    machine.env["AWS_ENDPOINT_URL"] = moto_server
    machine.with_vault().ok("add", "work", "--stdin", "--no-config", stdin=created)
    machine.write_config(
        f"[profile work]\nregion={REGION}\n"
        f"[profile admin]\nregion={REGION}\nsource_profile=work\nrole_arn={ROLE}\n"
    )
    return machine


def test_the_stored_key_is_the_one_that_iam_made(moto_user: Machine) -> None:
    given = json.loads(moto_user.ok("export", "work", "--no-session", "--format", "json").out)
    sts = _client(
        moto_user.env["AWS_ENDPOINT_URL"],
        "sts",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
    )
    assert ":user/jonsmith" in sts.get_caller_identity()["Arn"]


def test_a_session_and_a_role_are_obtained_and_cached(moto_user: Machine) -> None:
    session = json.loads(moto_user.ok("export", "work", "--format", "json").out)
    assert session["Version"] == 1
    assert session["SessionToken"]
    role = moto_user.ok("export", "admin", "--format", "json").out
    assert moto_user.ok("export", "admin", "--format", "json").out == role
    given = json.loads(role)
    sts = _client(
        moto_user.env["AWS_ENDPOINT_URL"],
        "sts",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    assert ":assumed-role/admin/" in sts.get_caller_identity()["Arn"]
    listed = json.loads(moto_user.ok("list", "--json").out)
    found = {row["profile"]: [s["operation"] for s in row["sessions"]] for row in listed}
    assert found == {"work": ["get-session-token"], "admin": ["assume-role"]}


def test_the_aws_cli_runs_as_the_role(moto_user: Machine) -> None:
    result = moto_user.ok("exec", "admin", "--", "aws", "sts", "get-caller-identity")
    assert json.loads(result.out)["Arn"].startswith("arn:aws:sts::123456789012:assumed-role/admin/")


def test_user_and_role_sign_in_with_what_sts_gives(moto_user: Machine) -> None:
    """moto has no sign-in service; one that takes everything notes whose credentials came."""
    for profile, kind in (("work", "federated-user/jonsmith"), ("admin", "assumed-role/admin")):
        with sign_in_service(200, b'{"SigninToken": "once"}') as (url, seen):
            env = {"AWS_ENDPOINT_URL_SIGNIN": url}
            assert moto_user.ok("login", profile, "-s", env=env).out.endswith("&SigninToken=once\n")
        (sent,) = seen
        given = json.loads(parse_qs(sent.partition(b" ")[2].decode())["Session"][0])
        sts = _client(
            moto_user.env["AWS_ENDPOINT_URL"],
            "sts",
            aws_access_key_id=given["sessionId"],
            aws_secret_access_key=given["sessionKey"],
            aws_session_token=given["sessionToken"],
        )
        if profile == "admin":  # moto forgets whose a federated user's session is
            assert f":{kind}/" in sts.get_caller_identity()["Arn"]


def test_created_date_of_iam_is_taken_over(moto_user: Machine) -> None:
    row = json.loads(moto_user.ok("list", "--json").out)[0]
    assert (row["created_from"], row["age_days"]) == ("iam", 0)


def test_the_sdk_profile_works_through_credential_process(moto_user: Machine) -> None:
    moto_user.ok("export", "admin")  # so that the process below finds a session
    with moto_user.config.open("a", encoding="utf-8") as file:
        file.write(
            "[profile sdk]\nregion=eu-west-1\n"
            f"credential_process = {' '.join(moto_user.launcher)} export admin --format json\n"
        )
    done = subprocess.run(
        ["aws", "sts", "get-caller-identity", "--profile", "sdk"],
        env=moto_user.environment(),
        capture_output=True,
        text=True,
        cwd=moto_user.home,
    )
    assert done.returncode == 0, done.stderr
    assert ":assumed-role/admin/" in json.loads(done.stdout)["Arn"]
