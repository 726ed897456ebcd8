"""The table of variables that override settings of a profile."""

from __future__ import annotations

import pytest

from filevault.config.overrides import (
    VARIABLES,
    Overrides,
    pod_variables,
    read_overrides,
    used_variables,
)
from filevault.config.settings import Settings
from filevault.errors import ConfigError, UsageError


def test_every_override_has_its_variable() -> None:
    assert {each.setting for each in VARIABLES} >= set(Overrides._fields)


def test_the_option_beats_the_variable_and_the_first_variable_the_second() -> None:
    environ = {"AWS_DEFAULT_REGION": "eu-west-1"}
    assert read_overrides(Settings(environ), None).region == "eu-west-1"
    environ["AWS_REGION"] = "eu-west-2"
    assert read_overrides(Settings(environ), "").region == "eu-west-2"
    assert read_overrides(Settings(environ), "eu-west-3").region == "eu-west-3"
    assert [each.name for each in used_variables(Settings(environ), ())] == ["AWS_REGION"]
    assert used_variables(Settings(environ), ("region",)) == []


def test_wrong_values_are_refused_with_the_variables_name() -> None:
    with pytest.raises(ConfigError, match="AWS_DEFAULT_REGION"):
        read_overrides(Settings({"AWS_DEFAULT_REGION": "EU"}), None)
    with pytest.raises(UsageError, match="AWS_USE_FIPS_ENDPOINT"):
        read_overrides(Settings({"AWS_USE_FIPS_ENDPOINT": "perhaps"}), None)


def test_endpoints_are_told_apart_by_service() -> None:
    environ = {"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_STS": "https://b"}
    environ |= {"AWS_ENDPOINT_URL_IAM": "", "AWS_ENDPOINT_URLS": "https://c"}
    assert read_overrides(Settings(environ), None).endpoint_urls == {
        "": "https://a",
        "sts": "https://b",
    }


def test_only_the_target_gets_its_role_and_tags() -> None:
    given = Overrides(region="eu-west-1", role_arn="arn", session_tags="a=b", mfa_serial="device")
    assert given.for_parents() == Overrides(region="eu-west-1", mfa_serial="device")


def test_the_identity_of_a_pod_overrides_nothing() -> None:
    environ = {"AWS_ROLE_ARN": "arn", "AWS_SESSION_TAGS": "a=b"}
    assert read_overrides(Settings(environ), None).role_arn == "arn"
    pod = Settings({**environ, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"})
    assert pod_variables(pod) == ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
    assert read_overrides(pod, None) == Overrides(session_tags="a=b")
