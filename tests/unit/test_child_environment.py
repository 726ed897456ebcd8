"""What a command inherits and gets, each variable with each verb and format.

The lists are the contract's, not the program's: the test fails if the program's table loses one.
"""

from __future__ import annotations

import json
import re
import shlex

import pytest

from filevault.config import aws_variables
from filevault.config.aws_variables import (
    MARKER,
    OVERRIDDEN,
    VARIABLES,
    ChildSettings,
    marker_text,
    unchanged_settings,
)
from filevault.config.settings import GlobalOptions, Settings
from filevault.credentials import Credentials
from filevault.errors import FilevaultError
from filevault.issued.child_environment import child_environment
from filevault.issued.export_formats import FORMATS, export
from filevault.issued.issued_credentials import (
    ContainerVariables,
    IssuedCredentials,
    MetadataVariables,
)
from tests.samples import EXAMPLE_ID, EXAMPLE_SESSION_ID

NEVER_INHERITED = [
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_BEARER_TOKEN_CODECATALYST",
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
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ACCOUNT_ID",
    "AWS_CREDENTIAL_SCOPE",
]
REMOVED_WHERE_EMPTY = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_CA_BUNDLE",
]
KEPT = [
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_EC2_METADATA_SERVICE_TIMEOUT",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PAGER",
    "AWS_RETRY_MODE",
    "AWS_VAULT_PROMPT",
    "FILEVAULT_DIR",
    "AWS_ACCESS_KEY_IDENTITY",  # only begins like one
]
SESSION = Credentials(EXAMPLE_SESSION_ID, "s3cret+/=", "IQoJb3JpZ2luX2Vj//8=", 1795470313)
FULL = IssuedCredentials(
    "work",
    SESSION,
    "us-gov-west-1",
    "http://127.0.0.1:1",
    "111122223333",
    ChildSettings(
        (("s3", "http://127.0.0.1:2"), ("elastic_beanstalk", "http://127.0.0.1:3")),
        ignore_configured_endpoint_urls=True,
        use_fips_endpoint=True,
        use_dualstack_endpoint=True,
        sts_regional_endpoints="legacy",
        account_id_endpoint_mode="disabled",
        ca_bundle="/etc/ssl/our.pem",
    ),
)
BARE = IssuedCredentials("work", Credentials(EXAMPLE_ID, "secret"))
# Every variable that is set, with the key that carries it in an ini file and in JSON.
GIVEN = [
    ("AWS_ACCESS_KEY_ID", SESSION.access_key_id, "aws_access_key_id", "AccessKeyId"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret+/=", "aws_secret_access_key", "SecretAccessKey"),
    ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2Vj//8=", "aws_session_token", "SessionToken"),
    (
        "AWS_CREDENTIAL_EXPIRATION",
        "2026-11-23T21:45:13Z",
        "aws_credential_expiration",
        "Expiration",
    ),
    ("AWS_SESSION_EXPIRATION", "2026-11-23T21:45:13Z", None, None),
    ("AWS_REGION", "us-gov-west-1", "region", None),
    ("AWS_DEFAULT_REGION", "us-gov-west-1", None, None),
    ("AWS_ACCOUNT_ID", "111122223333", "aws_account_id", "AccountId"),
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "endpoint_url", None),
    ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2", None, None),
    ("AWS_ENDPOINT_URL_ELASTIC_BEANSTALK", "http://127.0.0.1:3", None, None),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", "ignore_configured_endpoint_urls", None),
    ("AWS_USE_FIPS_ENDPOINT", "true", "use_fips_endpoint", None),
    ("AWS_USE_DUALSTACK_ENDPOINT", "true", "use_dualstack_endpoint", None),
    ("AWS_STS_REGIONAL_ENDPOINTS", "legacy", "sts_regional_endpoints", None),
    ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled", "account_id_endpoint_mode", None),
    ("AWS_CA_BUNDLE", "/etc/ssl/our.pem", "ca_bundle", None),
]


@pytest.mark.parametrize("name", NEVER_INHERITED)
def test_another_identity_is_not_inherited(name: str) -> None:
    assert child_environment({name: "another"}, BARE).get(name) != "another"
    assert FULL.variables().get(name) == child_environment({name: "another"}, FULL).get(name)


@pytest.mark.parametrize("name", REMOVED_WHERE_EMPTY)
def test_an_empty_setting_is_removed_and_another_one_stays(name: str) -> None:
    assert name not in child_environment({name: ""}, BARE)
    assert child_environment({name: "mine"}, BARE)[name] == "mine"


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("value", ["true", ""])
def test_what_is_the_users_stays(name: str, value: str) -> None:
    assert child_environment({name: value}, FULL)[name] == value


def test_the_lists_cover_the_programs_table() -> None:
    named = {*NEVER_INHERITED, *REMOVED_WHERE_EMPTY, *(row[0] for row in GIVEN)}
    for each in VARIABLES:
        pattern = re.escape(each.name).replace(r"\*", ".*")
        assert any(re.fullmatch(pattern, name) for name in named), each.name


def test_a_full_handout_sets_exactly_these() -> None:
    wanted = {name: value for name, value, _ini, _json in GIVEN}
    assert FULL.variables() == wanted
    child = child_environment({}, FULL)
    assert child.pop(MARKER)
    assert child == {"AWS_VAULT": "work", **wanted}


def _printed(form: str, text: str) -> dict[str, str]:
    """Read a format's lines back as its reader would take usual values."""
    if form in ("json", "process"):
        return {key: str(value) for key, value in json.loads(text).items()}
    patterns = {
        "fish": r"set -gx (\w+) (.*)",
        "powershell": r"\$Env:(\w+) = '(.*)'",
        "windows-cmd": r"set (\w+)=(.*)",
        "export-env": r"export (\w+)=(.*)",
    }
    return dict(re.findall(f"^{patterns.get(form, '(.+?)=(.*)')}$", text, re.MULTILINE))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "value", "ini", "key"), GIVEN)
def test_each_format_has_each_variable_that_it_can_carry(
    form: str, name: str, value: str, ini: str | None, key: str | None
) -> None:
    place = {"ini": ini, "json": key, "process": key}.get(form, name)
    printed = _printed(form, export(FULL, form))
    if place is not None:
        assert printed[place] == value
    # Of what a long-term key does not have, nothing is printed.
    bare = _printed(form, export(BARE, form))
    assert place in bare or name not in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    )
    assert len(bare) == {"json": 3, "process": 3}.get(form, 2)


def test_a_profile_instead_of_credentials_leaves_no_credential() -> None:
    parent = dict.fromkeys(NEVER_INHERITED, "another")
    child = child_environment(parent, FULL._replace(sdk_profile="work-sdk"))
    assert child.keys() & set(NEVER_INHERITED) == {"AWS_PROFILE"}
    assert child["AWS_PROFILE"] == "work-sdk"
    assert child["AWS_EC2_METADATA_DISABLED"] == "true"
    assert child["AWS_REGION"] == "us-gov-west-1"
    assert SESSION.secret_access_key not in "".join(child.values())


# A filevault inside.


def _inner(environ: dict[str, str]) -> dict[str, str]:
    return dict(Settings.capture(GlobalOptions(), dict(environ)).environ)


@pytest.mark.parametrize("name", [row[0] for row in GIVEN if aws_variables.is_setting(row[0])])
def test_what_exec_set_is_no_override_until_it_is_changed(name: str) -> None:
    child = child_environment({"PATH": "/bin"}, FULL)
    assert name not in _inner(child)
    assert _inner({**child, name: "changed"})[name] == "changed"
    # The same value was the user's before, and is so inside.
    assert _inner(child_environment({name: child[name]}, FULL))[name] == child[name]


def test_a_switch_of_the_user_stays_one_in_the_words_that_sdks_read() -> None:
    child = child_environment({"AWS_USE_FIPS_ENDPOINT": "1"}, FULL)
    assert child["AWS_USE_FIPS_ENDPOINT"] == "true"
    assert "AWS_USE_FIPS_ENDPOINT" in _inner(child)


def test_a_region_option_is_no_override_inside() -> None:
    child = child_environment({"AWS_REGION": "eu-west-1"}, FULL)
    assert child["AWS_REGION"] == "us-gov-west-1"
    assert "AWS_REGION" not in _inner(child)


NOT_INHERITED = {"AWS_VAULT", *NEVER_INHERITED}
ENDPOINTS = {
    "container": BARE._replace(container=ContainerVariables("http://127.0.0.1:1/", "token")),
    "metadata": BARE._replace(metadata=MetadataVariables("http://127.0.0.1:1/", version_1=False)),
    "version 1": BARE._replace(metadata=MetadataVariables("http://127.0.0.1:1/", version_1=True)),
    "profile": BARE._replace(sdk_profile="work-sdk"),
}
OWN: list[dict[str, str]] = [
    {},
    dict.fromkeys(OVERRIDDEN, ""),
    dict.fromkeys(OVERRIDDEN, "true"),
    dict.fromkeys(OVERRIDDEN, "false"),
    dict.fromkeys(OVERRIDDEN, "/a b%20=+c"),
    dict.fromkeys(OVERRIDDEN, "/dev/null"),
]


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("kind", ENDPOINTS)
def test_what_an_endpoint_overrides_is_the_users_again_inside(
    kind: str, own: dict[str, str]
) -> None:
    environ = {"PATH": "/bin", **own}
    once = _inner(child_environment(environ, ENDPOINTS[kind]))
    assert {name: value for name, value in once.items() if name not in NOT_INHERITED} == environ
    for inner in ENDPOINTS.values():
        twice = _inner(child_environment(once, inner))
        assert {name: value for name, value in twice.items() if name in OVERRIDDEN} == own
    plain = child_environment(once, BARE)
    assert {name: value for name, value in plain.items() if name in OVERRIDDEN} == own


@pytest.mark.parametrize("kind", ["container", "metadata"])
def test_no_sdk_reads_the_credentials_file_beside_an_endpoint(kind: str) -> None:
    child = child_environment({"HOME": "/h"}, ENDPOINTS[kind])
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CREDENTIAL_PROFILES_FILE"):
        assert child[name] == "/dev/null"
    assert child["AWS_SDK_LOAD_CONFIG"] == "1"  # the JavaScript SDK v2 reads it otherwise
    assert "AWS_SDK_LOAD_CONFIG" not in child_environment(_inner(child), BARE)


def test_what_an_endpoint_overrode_and_was_changed_since_stays_changed() -> None:
    child = child_environment({"AWS_EC2_METADATA_DISABLED": "true"}, ENDPOINTS["metadata"])
    assert "AWS_EC2_METADATA_DISABLED" not in child  # the JavaScript SDK v2 takes any value as true
    child["AWS_EC2_METADATA_DISABLED"] = "mine"
    assert _inner(child)["AWS_EC2_METADATA_DISABLED"] == "mine"


def test_the_marker_itself_goes_no_further() -> None:
    inner = _inner(child_environment({}, FULL))
    assert MARKER not in inner
    assert MARKER not in child_environment(inner, BARE)


def test_values_survive_the_marker() -> None:
    values = {"AWS_CA_BUNDLE": "/a b%20c/100%25 ca.pem", "AWS_ENDPOINT_URL": "http://x/?a=b%2520c"}
    assert list(unchanged_settings({MARKER: marker_text(values), **values})) == list(values)


@pytest.mark.parametrize(
    "marker",
    [
        "AWS_REGION",
        "AWS_REGION=eu-west-1 PATH=/bin",
        "AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=AKIA",
        "AWS_REGION=eu-west-1 AWS_CONFIG_FILE=/c",
        "AWS_REGION=eu-west-1 HOME=/h",
        "AWS_REGION=eu-west-1  AWS_DEFAULT_REGION=x",
        " ".join(["AWS_REGION=eu-west-1"] * 600),
        "AWS_REGION=eu-west-1 AWS_CA_BUNDLE=" + "x" * 40000,
        "AWS_REGION=us-east-1",
        "AWS_REGION=eu-west-1 +AWS_REGION=us-east-1",
        "AWS_REGION=eu-west-1 +PATH=/evil",
        "+AWS_EC2_METADATA_DISABLED=no no",
        "+AWS_EC2_METADATA_DISABLED=true +HOME=/evil",
        "\udcff=\udcff",
        "",
    ],
)
def test_a_marker_that_filevault_did_not_write_does_nothing(marker: str) -> None:
    environ = {
        "AWS_REGION": "eu-west-1",
        "PATH": "/bin",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_CONFIG_FILE": "/c",
        "HOME": "/h",
    }
    assert _inner({**environ, MARKER: marker}) == environ


def test_helper_programs_get_no_credential_in_any_form() -> None:
    environ = dict.fromkeys(NEVER_INHERITED, "another")
    left = Settings.capture(GlobalOptions(), environ).program_environment()
    secret = re.compile(r"KEY|TOKEN(?!_FILE)|CONTAINER")
    assert [name for name in left if secret.search(name)] == []


def test_empty_variables_of_botocore_are_gone_for_its_calls_only() -> None:
    environ = {"AWS_CA_BUNDLE": "", "AWS_RETRY_MODE": "", "AWS_PAGER": "", "LANG": ""}
    settings = Settings.capture(GlobalOptions(), environ)
    assert environ == {"LANG": ""}
    assert settings.environ["AWS_PAGER"] == ""


def test_windows_cmd_takes_usual_values_bare_and_refuses_what_cmd_would_change() -> None:
    assert export(BARE, "windows-cmd") == (
        f"set AWS_ACCESS_KEY_ID={EXAMPLE_ID}\nset AWS_SECRET_ACCESS_KEY=secret\n"
    )
    odd = BARE._replace(endpoint_url="http://h/?a&b|c")
    assert 'set "AWS_ENDPOINT_URL=http://h/?a&b|c"\n' in export(odd, "windows-cmd")
    for character in '"%!':
        with pytest.raises(FilevaultError, match="cmd.exe"):
            export(BARE._replace(endpoint_url=f"http://h/{character}x"), "windows-cmd")


def test_a_path_may_hold_letters_of_every_script() -> None:
    path = "/home/zoë/our ca.pem"
    handout = BARE._replace(settings=ChildSettings(ca_bundle=path))
    assert child_environment({}, handout)["AWS_CA_BUNDLE"] == path
    assert f"AWS_CA_BUNDLE='{path}'\n" in export(handout, "env")
    # PowerShell takes typographic quotes for quotes.
    with pytest.raises(FilevaultError, match="not ASCII"):
        export(handout, "powershell")
    # What the user has set and filevault hands through is not judged.
    odd = {"AWS_CA_BUNDLE": "/\udcff"}
    handout = BARE._replace(settings=ChildSettings(ca_bundle=odd["AWS_CA_BUNDLE"]))
    assert child_environment(odd, handout)["AWS_CA_BUNDLE"] == odd["AWS_CA_BUNDLE"]
    with pytest.raises(FilevaultError, match="characters"):
        child_environment({}, handout)


LINE_FORMATS = [form for form in FORMATS if form not in ("json", "process")]


@pytest.mark.parametrize("form", [*LINE_FORMATS, "exec"])
@pytest.mark.parametrize("bad", ["\n", "\r", "\x1b[31m", "\x7f", "\u2028"])
def test_no_setting_can_break_out_of_its_line(form: str, bad: str) -> None:
    value = f"x{bad}y"
    texts = ("sts_regional_endpoints", "account_id_endpoint_mode", "ca_bundle")
    wrong = [ChildSettings()._replace(**{name: value}) for name in texts]
    wrong += [] if form == "ini" else [ChildSettings((("s3", value),))]
    for settings in wrong:
        handout = BARE._replace(settings=settings)
        with pytest.raises(FilevaultError, match="characters"):
            child_environment({}, handout) if form == "exec" else export(handout, form)


@pytest.mark.parametrize("service", ["s3 x", "s3=x", "S3", "s-3", "", "é"])
def test_a_name_that_no_service_has_makes_no_variable(service: str) -> None:
    handout = BARE._replace(settings=ChildSettings(((service, "http://h"),)))
    assert handout.variables() == BARE.variables()


def test_json_and_process_are_the_same() -> None:
    assert export(FULL, "process") == export(FULL, "json")


def test_ini_of_a_services_section_is_not_a_section_of_its_own() -> None:
    text = export(FULL, "ini")
    assert text.count("[") == 1
    assert shlex.split(text)  # one key a line, nothing quoted
