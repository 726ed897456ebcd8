"""`--explain`, and the warnings about lines and options that have no effect."""

from __future__ import annotations

import re

import pytest

from tests.samples import EXAMPLE_ID
from tests.worlds.aws_machine import REGION, SERIAL, AwsMachine
from tests.worlds.machine import ROOT

SAMPLES = {
    "AWS_REGION": "eu-west-3",
    "AWS_DEFAULT_REGION": "eu-west-3",
    "AWS_MFA_SERIAL": SERIAL,
    "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
    "AWS_ENDPOINT_URL": "https://user:hidden@aws.example.org/path",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "false",
    "AWS_ENDPOINT_URL_STS": "https://user:hidden@sts.example.org/path",
    "AWS_ENDPOINT_URL_IAM": "https://iam.example.org",
    "AWS_CA_BUNDLE": str(ROOT / "README.md"),
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/other",
    "AWS_ROLE_SESSION_NAME": "me",
    "AWS_SESSION_TAGS": "team=blue",
    "AWS_TRANSITIVE_TAGS": "team",
    "AWS_SOURCE_IDENTITY": "jon",
    "AWS_PROFILE": "jonsmith",
    "AWS_VAULT_DURATION": "30m",
    "AWS_MIN_TTL": "10m",
}
OTHER_COMMANDS = {"AWS_ENDPOINT_URL_SIGNIN"}


def documented() -> set[str]:
    """Return the variables that override a profile, as the documentation lists them."""
    text = (ROOT / "docs/reference/environment.md").read_text()
    table = text.partition("## Overriding a profile")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_value_that_came_from_a_variable_is_named_with_it(plain: AwsMachine) -> None:
    assert documented() - OTHER_COMMANDS <= set(SAMPLES)
    out = plain.machine.ok("export", "--explain", env=SAMPLES).out
    named = dict(
        re.findall(r"^  - (AWS_\w+): (.+)$", out.partition("from variables:")[2], re.MULTILINE)
    )
    # The second name of the region loses to the first.
    assert set(named) == set(SAMPLES) - {"AWS_DEFAULT_REGION"}
    assert named["AWS_REGION"] == "region eu-west-3"
    assert named["AWS_ENDPOINT_URL"] == "endpoint_url https://aws.example.org"
    assert "hidden" not in out
    options = ("--region", "us-east-2", "-d", "20m", "--min-ttl", "5m", "--", "true")
    out = plain.machine.ok("exec", "jonsmith", "--explain", *options, env=SAMPLES).out
    rest = set(re.findall(r"^  - (AWS_\w+):", out, re.MULTILINE))
    assert rest == set(named) - {"AWS_REGION", "AWS_PROFILE", "AWS_VAULT_DURATION", "AWS_MIN_TTL"}
    assert "from variables" not in plain.machine.ok("export", "jonsmith", "--explain").out


def test_the_identity_of_a_pod_is_no_override(plain: AwsMachine) -> None:
    pod = {
        "AWS_ROLE_ARN": plain.role.arn,
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
        "AWS_ROLE_SESSION_NAME": "pod",
    }
    out = plain.machine.ok("export", "jonsmith", "--explain", env=pod).out
    assert "AssumeRole" not in out
    assert (
        "ignored, because together they are the identity of a pod: AWS_ROLE_ARN, "
        "AWS_ROLE_SESSION_NAME, AWS_WEB_IDENTITY_TOKEN_FILE"
    ) in out
    plain.machine.ok("export", "jonsmith", env=pod)
    assert plain.aws.actions() == ["GetSessionToken"]
    for missing in ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"):
        alone = {name: value for name, value in pod.items() if name != missing}
        out = plain.machine.ok("export", "jonsmith", "--explain", env=alone).out
        assert ("AssumeRole" in out) == ("AWS_ROLE_ARN" in alone)
        assert "identity of a pod" not in out


def test_a_stored_key_that_goes_before_other_sources_is_told(plain: AwsMachine) -> None:
    lines = (
        "source_profile = jonsmith",
        "sso_start_url = https://x.example/start",
        "web_identity_token_file = /run/token",
        "credential_process = cat x",
        "credential_source = Environment",
        "login_session = arn:aws:iam::123456789012:user/jon",
        f"aws_access_key_id = {EXAMPLE_ID}",
    )
    body = "\n".join((*lines, f"role_arn = {plain.role.arn}", f"region = {REGION}"))
    plain.store("default").configure(mfa=False, more=f"[default]\n{body}\n")
    result = plain.machine.ok("export", "default", "--explain")
    names = [line.partition(" ")[0] for line in lines]
    assert result.err == (
        "filevault: warning: profile 'default' has a stored key and also "
        f"{' and '.join(names)}: the stored key is used\n"
    )
    assert "default: stored key" in result.out
    assert f"its stored key signs and goes before {', '.join(names)}" in result.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", False),
        ("--vault {vault} --key-file /etc/key --strict ", False),
        ("--vault {home}/elsewhere ", True),
        ("--backend pass ", True),
    ],
)
def test_filevault_itself_is_no_other_source_unless_it_uses_another_vault(
    plain: AwsMachine, words: str, told: bool
) -> None:
    machine = plain.machine
    given = words.format(vault=machine.vault, home=machine.home)
    machine.write_config(
        f"[profile jonsmith]\nregion = {REGION}\n"
        f"credential_process = filevault {given}export jonsmith --format json\n"
    )
    result = machine.ok("export", "jonsmith", "--explain")
    assert ("has a stored key and also credential_process" in result.err) == told
    assert ("goes before credential_process" in result.out) == told


def test_a_token_code_that_no_call_needs_is_told(plain: AwsMachine) -> None:
    said = "the code of --mfa-token was not used: no call needed one"
    assert said in plain.machine.ok("export", "jonsmith", "-t", "123456").err
    assert said in plain.machine.ok("export", "jonsmith", "-t", "-", stdin="123456\n").err
    assert said not in plain.machine.ok("export", "jonsmith").err


@pytest.mark.parametrize("header", ["jonsmith", "Profile jonsmith"])
def test_a_section_that_is_no_profiles_is_told_beside_its_key(
    plain: AwsMachine, header: str
) -> None:
    plain.machine.write_config(f"[default]\nregion = us-east-1\n[{header}]\nregion = eu-west-1\n")
    result = plain.machine.ok("export", "-n", "jonsmith")
    assert "AWS_REGION=us-east-1" in result.out
    assert f"the section [{header}] in " in result.err
    assert "write [profile jonsmith]" in result.err


def test_a_region_that_is_none_is_refused_in_our_words(plain: AwsMachine) -> None:
    for argv, env in (
        (("export", "jonsmith", "--region", "EU-WEST-1"), {}),
        (("export", "jonsmith", "--explain"), {"AWS_DEFAULT_REGION": "eu-west-1 "}),
    ):
        result = plain.machine.run(*argv, env=env)
        assert (result.status, result.out) == (3, "")
        assert "is not the name of a region" in result.err
        assert "names of regions are in lower case: eu-west-1" in result.err
    plain.machine.write_config("[profile jonsmith]\nregion = eu-west-1 # x\n")
    result = plain.machine.run("export", "jonsmith", "--explain")
    assert result.status == 3
    assert "region in line 2 of" in result.err


def test_a_role_without_a_source_names_the_vault_that_is_not_there(scene: AwsMachine) -> None:
    scene.machine.write_config(f"[profile r]\nrole_arn = {scene.role.arn}\n")
    result = scene.machine.run("export", "r")
    assert result.status == 3
    assert "neither a source_profile nor a stored key" in result.err
    assert "there is no vault at" in result.err


def test_a_key_that_aws_does_not_know_is_named_in_the_hint(plain: AwsMachine) -> None:
    """The role's call is signed by the key of another profile: that one is to be stored again."""
    plain.user.keys[plain.user.access_key_id].status = "Inactive"
    result = plain.machine.run("export", "admin")
    assert result.status == 8
    assert "filevault add jonsmith --force stores another" in result.err
