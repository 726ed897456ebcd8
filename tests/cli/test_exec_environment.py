"""The command's environment, compared whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import PASSPHRASE

SHOW = ("--", sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))")

# What the contract removes, every one of them set beforehand.
REMOVED = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_SESSION_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SDK_LOAD_CONFIG",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ACCOUNT_ID",
    "AWS_CREDENTIAL_SCOPE",
    "FILEVAULT_NEW_PASSPHRASE",
    "FILEVAULT_NEW_PASSPHRASE_FILE",
    "FILEVAULT_AGE_IDENTITY",
    "FILEVAULT_AGE_IDENTITY_FILE",
    "FILEVAULT_AGE_IDENTITY_COMMAND",
    "AWS_VAULT_FILE_PASSPHRASE",
]
KEPT = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_EC2_METADATA_V1_DISABLED": "true",
    "AWS_CONFIG_FILE": None,
    "AWS_SHARED_CREDENTIALS_FILE": "/elsewhere",
    "AWS_PAGER": "",
    "AWS_VAULT_PROMPT": "terminal",
    "FILEVAULT_PROMPT": "terminal",
    "FILEVAULT_DIR": "",
    "TERM": "dumb",
    "ODD NAME": "x",
    "UNICODE": "é",
    "BYTES": "\udcff",
}


def child(scene: AwsMachine, *argv: str, **env: str | None) -> dict[str, str]:
    found: dict[str, str] = json.loads(scene.machine.ok(*argv, *SHOW, env=env).out)
    found.pop("LC_CTYPE", None)  # the Python that prints sets it
    found.pop("FILEVAULT_SET", None)  # has tests of its own
    return found


def parent(scene: AwsMachine) -> dict[str, str]:
    """What the command inherits: everything but the harness's orders and the secret."""
    env = scene.machine.environment()
    for name in ("LAUNCH", "FILEVAULT_PASSPHRASE"):
        env.pop(name, None)
    return env


def test_a_sessions_environment_is_the_parents_with_nothing_else_changed(plain: AwsMachine) -> None:
    kept = {**KEPT, "AWS_CONFIG_FILE": str(plain.machine.config)}
    stale = {**dict.fromkeys(REMOVED, "stale"), "AWS_VAULT": "outer"}
    # A role of the environment is an override of AWS Vault's, and its own test.
    found = child(plain, "exec", "jonsmith", **kept, **stale)
    session = plain.aws.session(found["AWS_ACCESS_KEY_ID"])
    expiration = found["AWS_CREDENTIAL_EXPIRATION"]
    assert found == {
        **parent(plain),
        **kept,
        "AWS_VAULT": "jonsmith",
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
        "AWS_CREDENTIAL_EXPIRATION": expiration,
        "AWS_SESSION_EXPIRATION": expiration,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": plain.aws.url,
    }
    from tests.fakes.clock import iso

    assert expiration == iso(session.expiration)


@pytest.mark.parametrize("given", [{}, {"LC_CTYPE": "C.UTF-8"}, {"LC_ALL": "C"}])
def test_the_locale_that_python_gives_itself_is_not_inherited(
    tmp_path: Path, given: dict[str, str]
) -> None:
    """As cron and systemd start it: without a locale."""
    key = '{"Version": 1, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}'
    config = tmp_path / "config"
    config.write_text(f"[profile p]\ncredential_process = echo '{key}'\n")
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "AWS_CONFIG_FILE": str(config), **given}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "filevault", "exec", "p", "--", "/usr/bin/env"],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: value for name, value in found.items() if name.startswith("L")} == given


def test_a_long_term_keys_environment_has_no_token_and_no_expiry(ready: AwsMachine) -> None:
    stale = dict.fromkeys(REMOVED, "stale")
    found = child(ready, "exec", "jonsmith", "--no-session", **stale)
    assert found == {
        **parent(ready),
        "AWS_VAULT": "jonsmith",
        "AWS_ACCESS_KEY_ID": ready.user.access_key_id,
        "AWS_SECRET_ACCESS_KEY": ready.user.secret_access_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": ready.aws.url,
    }


@pytest.mark.parametrize("suffix", ["", "_FD", "_FILE", "_COMMAND"])
@pytest.mark.parametrize("prefix", ["FILEVAULT_PASSPHRASE", "FILEVAULT_KEY"])
def test_no_source_of_a_secret_reaches_the_command(
    plain: AwsMachine, prefix: str, suffix: str
) -> None:
    plain.machine.ok("export", "jonsmith")
    options = ("--passphrase-file", str(plain.machine.home / "p"))
    (plain.machine.home / "p").write_text(PASSPHRASE)
    (plain.machine.home / "p").chmod(0o600)
    env = {"FILEVAULT_PASSPHRASE": None, prefix + suffix: "999"}
    found = child(plain, "exec", "jonsmith", *options, **env)
    assert found.keys() == child(plain, "exec", "jonsmith", *options).keys()
    assert not any(name.startswith(prefix) for name in found)


def test_a_role_of_the_environment_is_used_and_goes(plain: AwsMachine) -> None:
    role = plain.aws.add_role("other")
    found = child(plain, "exec", "jonsmith", AWS_ROLE_ARN=role.arn, AWS_ROLE_SESSION_NAME="me")
    assert plain.aws.session(found["AWS_ACCESS_KEY_ID"]).role is role
    assert "AWS_ROLE_ARN" not in found
    assert "AWS_ROLE_SESSION_NAME" not in found


def test_without_a_region_none_is_invented(ready: AwsMachine) -> None:
    ready.machine.write_config("[profile jonsmith]\n")
    found = child(ready, "exec", "jonsmith", "--no-session")
    assert not found.keys() & {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}


def test_a_region_of_the_command_line_beats_all_others(ready: AwsMachine) -> None:
    found = child(ready, "exec", "jonsmith", "-n", "--region", "ap-south-1", AWS_REGION="us-west-2")
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "ap-south-1"
