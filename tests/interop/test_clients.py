"""Which key id real clients sign with inside `exec`, and at which address."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.configloader
import pytest

from filevault.cli.sdk_profile import warning
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.interop.javascript import JavaScript, javascript
from tests.interop.recorder import MACHINE_KEY, Recorder
from tests.launch.installed import install
from tests.samples import EXAMPLE_ID, SECRET
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import Machine

__all__ = ["javascript"]

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[2] / "docs/how-to/services.md"
IDENTITY = """
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const client = new STSClient({});
client.send(new GetCallerIdentityCommand({})).catch((error) => {
  console.error(error.name);
  process.exit(1);
});
"""
BOTO3 = """
import boto3
boto3.client("sts").get_caller_identity()
boto3.client("s3").list_buckets()
boto3.client("dynamodb").list_tables()
boto3.client("bedrock").list_foundation_models()
"""


@pytest.fixture
def general() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder
    assert recorder.defects == []


@pytest.fixture
def storage() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder
    assert recorder.defects == []


@pytest.fixture
def client_machine(
    machine: Machine, aws: FakeAws, general: Recorder, storage: Recorder
) -> AwsMachine:
    """A profile with one address for S3 and another for the rest; sessions come from the fake."""
    found = AwsMachine(machine, aws)
    machine.write_config(
        f"[services own]\ns3 =\n  endpoint_url = {storage.url}\n"
        f"[profile jonsmith]\nregion = {REGION}\nendpoint_url = {general.url}\nservices = own\n"
    )
    program = install(machine)
    machine.env |= {
        "AWS_ENDPOINT_URL_STS": aws.url,
        "FILEVAULT_KEY_FILE": str(machine.home / "key"),
    }
    machine.ok("init", "--new-key-file", str(machine.home / "key"), "--no-passphrase")
    found.store()
    machine.ok("export", "jonsmith")
    # Whatever a client finds here leads it elsewhere.
    machine.env |= intruders(general.url)
    machine.env["PATH"] = f"{program.parent}:{machine.env['PATH']}"
    return found


def intruders(url: str) -> dict[str, str]:
    """Return what makes some client sign as somebody else."""
    return {
        "AWS_ACCESS_KEY": "INTRUDER",
        "AWS_SECRET_KEY": "INTRUDER",
        "AWS_BEARER_TOKEN_BEDROCK": "INTRUDER",
        "AWS_SECURITY_TOKEN": "INTRUDER",
        "AWS_PROFILE": "nowhere",
        "AWS_DEFAULT_PROFILE": "nowhere",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/role",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/hostname",
        "AWS_ROLE_SESSION_NAME": "x",
        "AWS_ACCOUNT_ID": "777777777777",
        "AWS_CREDENTIAL_EXPIRATION": "1999-01-01T00:00:00Z",
        "AWS_USE_FIPS_ENDPOINT": "",
        "AWS_DEFAULT_REGION": "",
        "AWS_CA_BUNDLE": "",
    }


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_client_signs_with_the_session_and_calls_the_profiles_addresses(
    client_machine: AwsMachine, general: Recorder, storage: Recorder, javascript: JavaScript
) -> None:
    session = next(iter(client_machine.aws.directory.sessions.values()))
    key = session.access_key_id
    for recorder in (general, storage):
        recorder.secrets[key] = session.secret_access_key
    s3cmd = ["s3cmd", "-c", "/nowhere/s3cfg", f"--host={storage.url[7:]}", "--no-ssl"]
    rclone = {"TYPE": "s3", "PROVIDER": "Other", "ENV_AUTH": "true", "ENDPOINT": storage.url}
    env: dict[str, str | None] = {f"RCLONE_CONFIG_X_{k}": v for k, v in rclone.items()}
    env["RCLONE_CONFIG"] = "/dev/null"
    env["AWS_ENDPOINT_URL_STS"] = general.url
    clients: dict[str, tuple[list[str], list[str], list[str]]] = {
        # command, requests to the general address, requests to that of S3
        "boto3": (
            script(BOTO3),
            ["GetCallerIdentity", "ListTables", "GET /foundation-models"],
            ["GET /"],
        ),
        "aws": (["aws", "s3api", "list-buckets"], [], ["GET /"]),
        "javascript": (javascript.command(IDENTITY), ["GetCallerIdentity"], []),
        "s3cmd": ([*s3cmd, f"--host-bucket={storage.url[7:]}", "ls"], [], ["GET /"]),
        "s5cmd": (["s5cmd", "--endpoint-url", storage.url, "ls"], [], ["GET /"]),
        "rclone": ([tool("rclone"), "lsd", "x:"], [], ["GET /"]),
    }
    for name, (command, wanted, stored) in clients.items():
        # The session was obtained at another STS; it is in the cache whatever the address.
        run = [*("exec", "jonsmith", "--"), "env", f"AWS_ENDPOINT_URL_STS={general.url}", *command]
        result = client_machine.machine.run(
            *run, env={**env, "AWS_ENDPOINT_URL_STS": client_machine.aws.url}
        )
        assert result.status == 0, (name, result)
        assert [each.what for each in general.seen] == wanted, name
        assert [each.what for each in storage.seen] == stored, name
        seen = [*general.seen, *storage.seen]
        assert {(each.key_id, each.token) for each in seen} == {(key, session.session_token)}, name
        general.seen.clear()
        storage.seen.clear()


FIPS = """
import json, boto3, os
print(json.dumps([boto3.client(name).meta.endpoint_url for name in ("s3", "sts", "kms")]))
"""
FIPS_JS = """
const { STSClient } = require("@aws-sdk/client-sts");
const client = new STSClient({});
Promise.all([client.config.useFipsEndpoint(), client.config.useDualstackEndpoint(),
             client.config.region()]).then((found) => console.log(JSON.stringify(found)));
"""


def test_a_fips_profiles_command_calls_fips_endpoints(
    machine: Machine, javascript: JavaScript
) -> None:
    machine.with_vault()
    machine.write_config("[profile gov]\nregion = us-gov-west-1\nuse_fips_endpoint = true\n")
    machine.add("gov", EXAMPLE_ID, SECRET)
    run = ("exec", "gov", "-n", "--")
    found = machine.ok(*run, *script(FIPS)).out
    assert json.loads(found) == [
        "https://s3-fips.us-gov-west-1.amazonaws.com",
        "https://sts.us-gov-west-1.amazonaws.com",  # which is a FIPS endpoint there
        "https://kms-fips.us-gov-west-1.amazonaws.com",
    ]
    found = machine.ok(*run, *javascript.command(FIPS_JS), env={"AWS_REGION": ""}).out
    assert json.loads(found) == [True, False, "us-gov-west-1"]


# An SDK's own profile, far from the shell that wrote it.


@pytest.mark.parametrize("kind", ["file", "age"])
def test_an_sdk_profile_works_from_crons_path_and_another_folder(
    machine: Machine, aws: FakeAws, javascript: JavaScript, kind: str
) -> None:
    user = aws.add_user("app")
    program = install(machine)
    folder = machine.home / "my vaults"
    folder.mkdir()
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    options: tuple[str, ...] = ("--vault", "my vaults/it's #1")
    if kind == "file":
        machine.ok(*options, "init", "--new-key-file", "key", "--no-passphrase")
        secret = {"FILEVAULT_KEY_FILE": str(machine.home / "key")}
    else:
        options = (*options, "--backend", "age", "--prefix", "team/aws")
        machine.ok(*options, "init", "--no-passphrase")
        secret = {}
    machine.env |= secret
    config = machine.home / ".config/filevault/config.toml"
    config.unlink(missing_ok=True)  # `init` noted the vault there
    text = f"{user.access_key_id}\n{user.secret_access_key}\n"
    machine.ok(
        *options, "add", "app", "--stdin", "--sdk-profile=-sdk", "--region", REGION, stdin=text
    )
    process = next(
        line for line in machine.config.read_text().splitlines() if "credential_process" in line
    )
    words = shlex.split(process.partition(" = ")[2])
    assert words[0] == str(program)
    assert words[words.index("--vault") + 1] == str(folder / "it's #1")
    assert ("--prefix" in words) is (kind == "age")
    machine.ok(*options, "export", "app")
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(machine.home),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_PROFILE": "-sdk",
        "AWS_EC2_METADATA_DISABLED": "true",
        **secret,
    }
    clients = [[str(BIN / "aws"), "sts", "get-caller-identity"]]
    if kind == "file":
        clients += [
            script("import boto3; boto3.client('sts').get_caller_identity()"),
            javascript.command(IDENTITY),
        ]
    for command in clients:
        done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
    assert aws.actions() == ["GetSessionToken"] + ["GetCallerIdentity"] * len(clients)
    assert len({call.access_key_id for call in aws.calls[1:]}) == 1


def test_a_client_asks_through_the_profile_that_it_gets_instead_of_credentials(
    machine: Machine, aws: FakeAws
) -> None:
    user = aws.add_user("app")
    install(machine)
    provided = machine.home / "credentials"
    provided.mkdir(mode=0o700)
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    machine.ok("init", "--new-key-file", str(provided / "filevault-key"), "--no-passphrase")
    machine.env |= {"CREDENTIALS_DIRECTORY": str(provided), "AWS_VAULT_PROFILE_ENV": "true"}
    text = f"{user.access_key_id}\n{user.secret_access_key}\n"
    words = ("--stdin", "--sdk-profile", "app-sdk", "--region", REGION)
    machine.ok("add", "app", *words, stdin=text)
    code = "import boto3; boto3.client('sts').get_caller_identity()"
    stale = intruders(f"{aws.url}/nowhere")
    result = machine.ok("exec", "app", "--", *script(code), env=stale)
    assert result.err == ""
    assert aws.actions() == ["GetSessionToken", "GetCallerIdentity"]
    assert aws.calls[1].access_key_id == aws.calls[0].returned_access_key_id


def documented() -> tuple[dict[str, str], list[str]]:
    """Return what the page sets and unsets for a program that has a profile of its own."""
    section = PAGE.read_text(encoding="utf-8").partition("## Credentials that refresh")[2]
    lines = re.findall(r"^(Unset)?Environment=(.+)$", section, re.MULTILINE)
    found = dict(line.split("=", 1) for unset, line in lines if not unset)
    return found, " ".join(line for unset, line in lines if unset).split()


@pytest.mark.parametrize("client", ["javascript", "boto3"])
def test_what_the_page_sets_and_unsets_keeps_the_machines_role_out(
    machine: Machine, general: Recorder, javascript: JavaScript, client: str
) -> None:
    """Of a locked vault, and in a pod, no SDK becomes the machine."""
    machine.write_config(
        "[profile app-sdk]\nregion = eu-west-1\n"
        "credential_process = /bin/sh -c 'echo locked >&2; exit 5'\n"
    )
    wanted, unset = documented()
    assert wanted == {"AWS_PROFILE": "app-sdk", "AWS_EC2_METADATA_DISABLED": "true"}
    token = machine.home / "token"
    token.write_text("token")
    env = {
        **machine.environment({"LAUNCH": None, "AWS_EC2_METADATA_DISABLED": None}),
        "AWS_ENDPOINT_URL": general.url,
        "AWS_PROFILE": "app-sdk",
    }
    dangers = {
        "javascript": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{general.url}/role"},
        "boto3": {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pod",
        },
    }
    env |= dangers[client]
    code = "import boto3; boto3.client('sts').get_caller_identity()"
    command = javascript.command(IDENTITY) if client == "javascript" else script(code)
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # the danger is real
    assert general.signers() == {MACHINE_KEY}
    env = {name: value for name, value in {**env, **wanted}.items() if name not in unset}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert general.signers() == set()


READ = """
const { fromIni } = require("@aws-sdk/credential-provider-ini");
const names = JSON.parse(process.argv[2] ?? process.env.NAMES);
Promise.all(names.map((profile) => fromIni({ profile })().then(() => profile, () => null)))
  .then((found) => console.log(JSON.stringify(found.filter((name) => name !== null))));
"""


def test_the_names_that_are_warned_of_are_those_that_some_sdk_cannot_read(
    machine: Machine, javascript: JavaScript
) -> None:
    from filevault.config.aws_config_edit import profile_section

    marks = [chr(code) for code in range(0x20, 0x7F) if not chr(code).isalnum()]
    names = [f"a{mark}b" for mark in [*marks, "é", "Я"]] + ["-ab", "A9", "_", "default"]
    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}
    machine.write_config("".join(profile_section(name, keys) for name in names))
    found = botocore.configloader.load_config(str(machine.config))["profiles"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(machine.home), "NAMES": json.dumps(names)}
    done = javascript.run(READ, env)
    assert done.returncode == 0, done.stderr
    both = [name for name in json.loads(done.stdout) if name in found]
    assert [name for name in names if warning(name) is None] == both
