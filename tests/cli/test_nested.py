"""filevault inside its own `exec`, and profiles that are filevault's own `credential_process`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import botocore
import pytest

from tests.launch.installed import install
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import PASSPHRASE, ProcessResult

SHOW = (sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))")
BUNDLE = Path(botocore.__file__).with_name("cacert.pem")


@pytest.fixture
def nested(plain: AwsMachine) -> AwsMachine:
    """Profiles whose regions and addresses differ, and filevault as a program."""
    install(plain.machine)
    plain.role.require_mfa = False
    url = plain.aws.url
    other = url.replace("127.0.0.1", "localhost")  # the same server by another name
    plain.machine.write_config(
        f"[profile jonsmith]\nregion = {REGION}\nendpoint_url = {url}\n"
        f"[profile admin]\nregion = us-west-2\nendpoint_url = {url}\nsource_profile = jonsmith\n"
        f"role_arn = {plain.role.arn}\n"
        "[services elsewhere]\n"
        f"sts =\n  endpoint_url = {other}\ns3 =\n  endpoint_url = http://localhost:1\n"
        f"[profile outer]\nregion = ap-south-1\nsource_profile = jonsmith\n"
        f"endpoint_url = {other}\nservices = elsewhere\nuse_fips_endpoint = true\n"
        f"ca_bundle = {BUNDLE}\n"
    )
    return plain


def inside(scene: AwsMachine, profile: str, *argv: str, **env: str | None) -> ProcessResult:
    """Run a command within `exec PROFILE`."""
    return scene.machine.ok("exec", profile, "--", *argv, env=env)


def program(scene: AwsMachine) -> str:
    return scene.machine.launcher[0]


def given(result: ProcessResult) -> dict[str, str]:
    found: dict[str, str] = json.loads(result.out)
    return found


def test_the_environment_of_an_inner_exec_is_that_of_its_own_profile(nested: AwsMachine) -> None:
    secret = {"FILEVAULT_PASSPHRASE": nested.machine.env.pop("FILEVAULT_PASSPHRASE")}
    secrets = nested.machine.home / "p"
    secrets.write_text(secret["FILEVAULT_PASSPHRASE"])
    secrets.chmod(0o600)
    option = ("--passphrase-file", str(secrets))
    inner = (program(nested), *option, "exec", "jonsmith", "--", *SHOW)
    alone = given(nested.machine.ok(*option, "exec", "jonsmith", "--", *SHOW))
    twice = given(nested.machine.ok(*option, "exec", "outer", "--", *inner))
    assert twice == alone
    # What is changed inside is the user's.
    changed = ("env", "AWS_REGION=sa-east-1", "AWS_ENDPOINT_URL_S3=http://localhost:2", *inner)
    found = given(nested.machine.ok(*option, "exec", "outer", "--", *changed))
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "sa-east-1"
    assert found["AWS_ENDPOINT_URL_S3"] == "http://localhost:2"
    assert found["AWS_ENDPOINT_URL"] == nested.aws.url
    # What was the user's before is so inside as well.
    env = {"AWS_REGION": "sa-east-1"}
    found = given(nested.machine.ok(*option, "exec", "outer", "--", *inner, env=env))
    assert found["AWS_REGION"] == "sa-east-1"
    assert found["AWS_ENDPOINT_URL"] == nested.aws.url


@pytest.mark.parametrize(("outer", "inner"), [("outer", "admin"), ("admin", "jonsmith")])
def test_a_process_inside_finds_the_kept_session(
    nested: AwsMachine, outer: str, inner: str
) -> None:
    secrets = nested.machine.home / "p"
    secrets.write_text(nested.machine.env["FILEVAULT_PASSPHRASE"])
    secrets.chmod(0o600)
    option = ("--passphrase-file", str(secrets))
    export = ("export", inner, "--format", "json")
    kept = nested.machine.ok(*export).out
    nested.machine.ok("export", outer)
    nested.aws.reset_calls()
    command = (program(nested), *option, *export)
    assert nested.machine.ok("exec", outer, "--", *command).out == kept
    assert nested.aws.actions() == []


def test_an_sdk_profile_of_ours_means_its_target(nested: AwsMachine) -> None:
    machine = nested.machine
    machine.write_config(
        machine.config.read_text()
        + f"[profile sdk]\nregion = eu-central-1\nendpoint_url = {nested.aws.url}\n"
        "credential_process = /opt/bin/filevault export jonsmith --format json\n"
        f"[profile chained]\nregion = {REGION}\nendpoint_url = {nested.aws.url}\n"
        f"source_profile = sdk\nrole_arn = {nested.role.arn}\n"
        "[profile far]\n"
        "credential_process = filevault --vault /elsewhere export jonsmith --format json\n"
        "[profile loop]\ncredential_process = filevault export loop --format json\n"
        "[profile other]\ncredential_process = other export jonsmith --format json\n"
    )
    found = given(inside(nested, "sdk", *SHOW))
    assert found["AWS_REGION"] == "eu-central-1"
    assert nested.aws.session(found["AWS_ACCESS_KEY_ID"]).user is nested.user
    found = given(inside(nested, "chained", *SHOW))
    assert nested.aws.session(found["AWS_ACCESS_KEY_ID"]).role is nested.role
    for profile, status, text in (
        # Another vault's profile is what any program prints.
        ("far", 8, "credential_process of profile 'far' failed with status"),
        ("loop", 4, "filevault add loop stores a key for it"),
        ("other", 7, "credential_process of profile 'other': there is no program 'other'"),
    ):
        result = machine.run("export", profile)
        assert (result.status, text in result.err) == (status, True), result
        assert profile == "other" or "another key" not in result.err


def test_a_profile_instead_of_credentials(nested: AwsMachine) -> None:
    machine = nested.machine
    nothing = machine.run("exec", "jonsmith", "--", "true", env={"AWS_VAULT_PROFILE_ENV": "1"})
    assert nothing.status == 125
    assert "AWS_VAULT_PROFILE_ENV is set, but the AWS config has no profile" in nothing.err
    assert f"add [profile jonsmith-sdk] with credential_process = {program(nested)} export" in (
        nothing.err
    )
    machine.write_config(
        machine.config.read_text() + '[profile "my key"]\nsource_profile = jonsmith\n'
    )
    spaced = machine.run("exec", "my key", "--", "true", env={"AWS_VAULT_PROFILE_ENV": "1"})
    assert 'add [profile "my key-sdk"] with credential_process = ' in spaced.err
    assert f"{program(nested)} export 'my key' --format json" in spaced.err
    machine.write_config(
        machine.config.read_text()
        + "[profile sdk]\ncredential_process = filevault export jonsmith --format json\n"
    )
    stale = {"AWS_ROLE_SESSION_NAME": "x", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://h"}
    result = inside(nested, "jonsmith", *SHOW, AWS_VAULT_PROFILE_ENV="true", **stale)
    found = given(result)
    assert found["AWS_PROFILE"] == "sdk"
    assert found["AWS_EC2_METADATA_DISABLED"] == "true"
    assert found["AWS_REGION"] == REGION
    assert found["AWS_VAULT"] == "jonsmith"
    assert not found.keys() & {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", *stale}
    assert "without FILEVAULT_PASSPHRASE" in result.err
    assert nested.aws.actions() == ["GetSessionToken"]
    wrong = machine.run("exec", "jonsmith", "--", "true", env={"AWS_VAULT_PROFILE_ENV": "yes"})
    assert wrong.status == 125
    assert "AWS_VAULT_PROFILE_ENV is neither true nor false" in wrong.err


def test_the_account_is_handed_on_in_every_way(nested: AwsMachine) -> None:
    config = nested.machine.config
    config.write_text(
        config.read_text().replace("jonsmith]\n", "jonsmith]\naws_account_id = 111122223333\n", 1)
    )
    printed = nested.machine.ok("export", "jonsmith", "--format", "json")
    assert (json.loads(printed.out)["AccountId"], printed.err) == ("111122223333", "")
    found = given(inside(nested, "admin", *SHOW, AWS_ACCOUNT_ID="777777777777"))
    assert found["AWS_ACCOUNT_ID"] == "123456789012"


def test_a_malformed_account_is_an_error(nested: AwsMachine) -> None:
    nested.machine.write_config("[profile jonsmith]\naws_account_id = 1111-2222-3333\n")
    result = nested.machine.run("export", "jonsmith", "-n")
    assert result.status == 3
    assert "is no AWS account id of 12 digits" in result.err


def test_ini_says_which_addresses_it_cannot_hold(nested: AwsMachine) -> None:
    result = nested.machine.ok("export", "outer", "-n", "--format", "ini")
    assert "use_fips_endpoint=true\n" in result.out
    assert f"ca_bundle={BUNDLE}\n" in result.out
    assert "left out: sts, s3" in result.err


@pytest.mark.parametrize("server", ["--server", "--ec2-server"])
def test_an_exec_inside_an_endpoint_gets_the_users_own_safeguards(
    nested: AwsMachine, server: str
) -> None:
    """Not what the outer endpoint needed; from the hot lane as well."""
    own = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/my own"}
    script = 'export FILEVAULT_PASSPHRASE="$P"; "$0" exec admin -- true; "$0" exec admin -- "$@"'
    words = ("exec", server, "jonsmith", "--", "sh", "-c", script, program(nested), *SHOW)
    found = given(nested.machine.ok(*words, env={**own, "P": PASSPHRASE}))
    assert {name: found[name] for name in own} == own
    assert found["AWS_VAULT"] == "admin"
    others = ("AWS_EC2_METADATA", "AWS_CREDENTIAL_PROFILES", "AWS_CONTAINER")
    assert [name for name in found if name.startswith(others) and name not in own] == []
