from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.credentials import Credentials
from filevault.errors import FilevaultError
from filevault.issued.child_environment import child_environment
from filevault.issued.export_formats import FORMATS, export
from filevault.issued.issued_credentials import IssuedCredentials
from tests.samples import EXAMPLE_ID, EXAMPLE_SESSION_ID, SECRET

EXPIRY = 1795470313
KEY = Credentials(EXAMPLE_ID, SECRET)
SESSION = Credentials(EXAMPLE_SESSION_ID, "s3cret+/=", "IQoJb3JpZ2luX2Vj//8=", EXPIRY)

values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
handouts = st.builds(
    IssuedCredentials,
    st.just("work"),
    st.builds(
        Credentials,
        values,
        values,
        session_token=st.none() | values,
        expiration=st.none() | st.just(EXPIRY),
        account_id=st.none() | st.just("123456789012"),
        arn=st.none(),
    ),
    st.none() | values,
    st.none() | values,
)


def test_a_long_term_key_has_neither_token_nor_expiry() -> None:
    assert IssuedCredentials("work", KEY).variables() == {
        "AWS_ACCESS_KEY_ID": KEY.access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret_access_key,
    }


def test_a_session_has_everything_in_the_order_in_which_it_is_printed() -> None:
    found = IssuedCredentials("work", SESSION, "eu-west-1", "http://127.0.0.1:1").variables()
    assert list(found.items()) == [
        ("AWS_ACCESS_KEY_ID", SESSION.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", SESSION.secret_access_key),
        ("AWS_SESSION_TOKEN", SESSION.session_token),
        ("AWS_CREDENTIAL_EXPIRATION", "2026-11-23T21:45:13Z"),
        ("AWS_SESSION_EXPIRATION", "2026-11-23T21:45:13Z"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", ["\n", "\r", "\x00", "\x1b[31m", "é", "\u2028", "\x7f"])
@pytest.mark.parametrize("place", ["key", "secret", "token", "region", "endpoint"])
def test_no_format_prints_a_value_that_could_break_out(form: str, bad: str, place: str) -> None:
    value = f"x{bad}y"
    handout = IssuedCredentials(
        "work",
        Credentials(
            value if place == "key" else "A",
            value if place == "secret" else "B",
            value if place == "token" else "C",
            EXPIRY,
        ),
        value if place == "region" else None,
        value if place == "endpoint" else None,
    )
    if form in ("json", "process") and place in ("region", "endpoint"):
        assert json.loads(export(handout, form))["AccessKeyId"] == "A"
        return
    with pytest.raises(FilevaultError):
        export(handout, form)


@given(handouts)
def test_env_reads_back_as_a_posix_shell_splits_it(handout: IssuedCredentials) -> None:
    words = shlex.split(export(handout, "env"))
    assert dict(word.split("=", 1) for word in words) == handout.variables()
    prefixed = export(handout, "export-env").splitlines()
    assert prefixed == [f"export {line}" for line in export(handout, "env").splitlines()]


@given(handouts)
def test_env_file_is_read_as_docker_reads_it(handout: IssuedCredentials) -> None:
    # docker/cli, pkg/kvfile: a line at a time; white space on the left goes; lines that begin
    # with # and empty lines are skipped; the name ends at the first =; what follows is the
    # value as it stands, with no quotes, escapes or expansion.
    found = {}
    for line in export(handout, "env-file").splitlines():
        line = line.lstrip()
        assert line
        assert not line.startswith("#")
        name, separator, value = line.partition("=")
        assert separator
        assert name == name.strip()
        assert " " not in name
        found[name] = value
    assert found == handout.variables()


@given(handouts)
def test_powershell_reads_back_by_its_rule_for_single_quotes(handout: IssuedCredentials) -> None:
    # about_Quoting_Rules: in single quotes everything is literal, two quotes are one. PowerShell
    # also takes the typographic quotes for quotes, but those are not ASCII.
    found = {}
    for line in export(handout, "powershell").splitlines():
        name, separator, quoted = line.partition(" = ")
        assert separator
        assert quoted[0] == quoted[-1] == "'"
        inner = quoted[1:-1]
        assert "'" not in inner.replace("''", "")
        found[name.removeprefix("$Env:")] = inner.replace("''", "'")
    assert found == handout.variables()


@given(handouts)
def test_json_is_the_contract_of_credential_process(handout: IssuedCredentials) -> None:
    text = export(handout, "json")
    body = json.loads(text)
    given = handout.credentials
    assert text.endswith("}\n")
    assert body.pop("Version") is not True
    assert json.loads(text)["Version"] == 1
    expected = {
        "AccessKeyId": given.access_key_id,
        "SecretAccessKey": given.secret_access_key,
        "SessionToken": given.session_token,
        "Expiration": None if given.expiration is None else "2026-11-23T21:45:13Z",
        "AccountId": given.account_id,
    }
    assert body == {name: value for name, value in expected.items() if value is not None}


def test_json_of_a_key_leaves_out_what_there_is_not() -> None:
    assert export(IssuedCredentials("work", KEY), "json") == (
        '{\n  "Version": 1,\n  "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",\n'
        '  "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"\n}\n'
    )


def test_ini_is_a_section_of_the_credentials_file() -> None:
    assert export(IssuedCredentials("work", SESSION, "eu-west-1"), "ini") == (
        f"[work]\naws_access_key_id={EXAMPLE_SESSION_ID}\naws_secret_access_key=s3cret+/=\n"
        "aws_session_token=IQoJb3JpZ2luX2Vj//8=\n"
        "aws_credential_expiration=2026-11-23T21:45:13Z\nregion=eu-west-1\n\n"
    )


@pytest.mark.parametrize("name", ["a]b", "a\nb", "a\x1bb"])
def test_ini_refuses_a_name_that_would_be_another_section(name: str) -> None:
    with pytest.raises(FilevaultError, match="section"):
        export(IssuedCredentials(name, KEY), "ini")


def test_nothing_is_quoted_that_need_not_be() -> None:
    usual = IssuedCredentials("work", SESSION, "eu-west-1", "http://127.0.0.1:8080")
    for form in ("env", "export-env", "fish", "env-file"):
        assert "'" not in export(usual, form)


def test_the_childs_environment_is_the_parents_cleaned_with_the_handout() -> None:
    parent = {"PATH": "/bin", "AWS_CONFIG_FILE": "/c", "AWS_PROFILE": "x", "AWS_CONTAINER_X": "y"}
    child = child_environment(parent, IssuedCredentials("work", KEY))
    assert child == {
        "PATH": "/bin",
        "AWS_CONFIG_FILE": "/c",
        "AWS_VAULT": "work",
        "AWS_ACCESS_KEY_ID": KEY.access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret_access_key,
    }
    assert parent["AWS_PROFILE"] == "x"


@given(st.dictionaries(st.sampled_from(["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]), values))
def test_no_token_of_the_parent_reaches_the_child(parent: dict[str, str]) -> None:
    assert not parent.keys() & child_environment(parent, IssuedCredentials("work", KEY)).keys()
