"""Real clients of AWS fed by filevault: boto3, the AWS CLI, and botocore's own file readers."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest

from tests.fakes import FakeAws
from tests.fakes.clock import iso
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import Machine

AWS = str(Path(sys.executable).with_name("aws"))


@pytest.fixture
def sdk_machine(machine: Machine, aws: FakeAws) -> AwsMachine:
    """A vault with a key, an SDK profile for it, and `filevault` on the PATH."""
    found = AwsMachine(machine, aws).configure(mfa=False).store()
    program = machine.home / "bin/filevault"
    program.parent.mkdir()
    orders = machine.environment()["LAUNCH"]
    program.write_text(
        f'#!/bin/sh\nLAUNCH={shlex.quote(orders)} exec {shlex.join(machine.launcher)} "$@"\n'
    )
    program.chmod(0o755)
    machine.env["PATH"] = f"{program.parent}:{machine.env['PATH']}"
    machine.write_config(
        machine.config.read_text()
        + f"[profile sdk]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
        + "credential_process = filevault export jonsmith --format json\n"
    )
    return found


@pytest.fixture
def in_its_environment(sdk_machine: AwsMachine, monkeypatch: pytest.MonkeyPatch) -> AwsMachine:
    """This very process sees the machine's environment."""
    for name, value in sdk_machine.machine.env.items():
        monkeypatch.setenv(name, value)
    return sdk_machine


def arn(scene: AwsMachine, *argv: str) -> str:
    """Ask the AWS CLI who it is."""
    done = subprocess.run(
        [AWS, *argv, "sts", "get-caller-identity", "--output", "json"],
        env=scene.machine.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["Arn"])


def test_botocore_takes_the_process_as_written(in_its_environment: AwsMachine) -> None:
    scene = in_its_environment
    credentials = botocore.session.Session(profile="sdk").get_credentials()
    assert credentials is not None
    assert credentials.method == "custom-process"
    session = scene.aws.session(credentials.access_key)
    assert credentials.get_frozen_credentials()[:3] == (
        session.access_key_id,
        session.secret_access_key,
        session.session_token,
    )
    assert iso(session.expiration) == iso(vars(credentials)["_expiry_time"].timestamp())


def test_boto3_opens_a_chain_on_a_web_identity(in_its_environment: AwsMachine) -> None:
    import boto3

    scene = in_its_environment
    aws, machine = scene.aws, scene.machine
    provider = aws.add_identity_provider("https://ci.example")
    job, admin = aws.add_role("job"), aws.add_role("top")
    aws.trust_web_identity(job, provider, "me")
    token = machine.home / "token"
    token.write_text(provider.issue("me"))
    common = f"region = {REGION}\nendpoint_url = {aws.url}\n"
    machine.write_config(
        f"[profile job]\n{common}role_arn = {job.arn}\nweb_identity_token_file = {token}\n"
        f"[profile admin]\n{common}role_arn = {admin.arn}\nsource_profile = job\n"
        f"[profile sdk]\n{common}credential_process = filevault export admin --format json\n"
    )
    sts = boto3.Session(profile_name="sdk").client("sts")
    assert ":assumed-role/top/" in sts.get_caller_identity()["Arn"]
    assert aws.actions() == ["AssumeRoleWithWebIdentity", "AssumeRole", "GetCallerIdentity"]


def test_boto3_calls_with_what_the_process_gave(in_its_environment: AwsMachine) -> None:
    import boto3

    sts = boto3.Session(profile_name="sdk").client("sts")
    assert sts.get_caller_identity()["Arn"] == in_its_environment.user.arn
    sts.get_caller_identity()
    assert in_its_environment.aws.actions().count("GetSessionToken") == 1


def test_a_long_term_key_serves_a_process_too(in_its_environment: AwsMachine) -> None:
    scene = in_its_environment
    config = scene.machine.config
    config.write_text(config.read_text().replace("--format json", "-n --format json"))
    credentials = botocore.session.Session(profile="sdk").get_credentials()
    assert credentials is not None
    assert credentials.get_frozen_credentials()[:3] == (
        scene.user.access_key_id,
        scene.user.secret_access_key,
        None,
    )


def test_the_aws_cli_through_the_process(sdk_machine: AwsMachine) -> None:
    assert arn(sdk_machine, "--profile", "sdk") == sdk_machine.user.arn


def test_the_aws_cli_inside_exec(sdk_machine: AwsMachine) -> None:
    command = ("--", AWS, "sts", "get-caller-identity")
    sdk_machine.role.require_mfa = False
    ran = sdk_machine.machine.ok("exec", "admin", *command, env={"AWS_PROFILE": "nowhere"})
    assert f":assumed-role/{sdk_machine.role.name}/" in json.loads(ran.out)["Arn"]


def test_an_sdk_profile_that_add_wrote_works_at_once(in_its_environment: AwsMachine) -> None:
    scene = in_its_environment
    user = scene.aws.add_user("second")
    scene.machine.ok(
        "add",
        "second user",
        "--stdin",
        "--sdk-profile",
        "second-sdk",
        "--region",
        REGION,
        stdin=f"{user.access_key_id}\n{user.secret_access_key}\n",
        env={"AWS_ENDPOINT_URL": scene.aws.url},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", scene.aws.url)
        found = botocore.session.Session(profile="second-sdk").get_credentials()
    assert found is not None
    assert scene.aws.session(found.access_key).user is user


def test_ini_reads_back_as_botocores_credentials_file(in_its_environment: AwsMachine) -> None:
    scene = in_its_environment
    text = scene.machine.ok("export", "jonsmith", "--format", "ini").out
    path = scene.machine.home / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        session = botocore.session.Session(profile="jonsmith")
        credentials = session.get_credentials()
        assert credentials is not None
        assert credentials.method == "shared-credentials-file"
        assert session.get_config_variable("region") == REGION
    given = scene.aws.session(credentials.access_key)
    assert credentials.get_frozen_credentials()[:3] == (
        given.access_key_id,
        given.secret_access_key,
        given.session_token,
    )


def test_every_format_gives_the_same_session(sdk_machine: AwsMachine) -> None:
    def shown(form: str) -> str:
        return sdk_machine.machine.ok("export", "jonsmith", "--format", form).out

    (session,) = [sdk_machine.aws.session(json.loads(shown("json"))["AccessKeyId"])]
    for form in ("env", "export-env", "ini", "fish", "powershell", "env-file"):
        text = shown(form)
        for value in (session.access_key_id, session.secret_access_key, session.session_token):
            assert value in text
    assert sdk_machine.aws.actions() == ["GetSessionToken"]
