"""What names a cached session: each input of a call either changes the name or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.args import LEGACY_GLOBAL_STS_REGIONS
from botocore.config import Config

from filevault.aws import endpoint as endpoint_module
from filevault.aws.endpoint import Endpoint
from filevault.calls.assume_role import AssumeRole
from filevault.calls.get_session_token import SessionToken
from filevault.config.overrides import Overrides
from filevault.credentials import Credentials
from filevault.mfa.request import MfaRequest
from filevault.plan.planner import PlanOptions
from filevault.sessions import SessionName
from filevault.sessions.session_hash import session_hash
from filevault.sources.stored import StoredKey
from tests.fakes import FakeAws
from tests.worlds.providers import ProviderWorld, gst, role, role_arn

S = "arn:aws:iam::123456789012:mfa/u"
ITEM = "0" * 64
WEST = Endpoint("eu-west-1")
TOKEN = SessionToken("u", StoredKey("u"), 3600, WEST, MfaRequest(S, "one"))
ROLE = AssumeRole(
    "r",
    TOKEN,
    role_arn("r"),
    3600,
    WEST,
    None,
    "outside",
    "me",
    (("team", "blue"),),
    ("team",),
    "someone",
    MfaRequest(S, "one"),
)

MISS, HIT = True, False
# For each field of a step and of an endpoint: another value, and whether that misses.
ENDPOINTS: list[tuple[str, dict[str, Any], bool]] = [
    ("another region", {"region": "us-east-2"}, HIT),
    ("a region that is disabled by default", {"region": "af-south-1"}, HIT),
    ("another partition", {"region": "cn-north-1"}, MISS),
    ("GovCloud", {"region": "us-gov-west-1"}, MISS),
    ("a pseudo-region with FIPS", {"region": "fips-us-east-1"}, MISS),
    ("FIPS", {"use_fips": True}, MISS),
    ("dual-stack", {"use_dualstack": True}, HIT),
    ("an endpoint of its own", {"url": "https://sts.example.org"}, MISS),
    ("the regional endpoint by its URL", {"url": "https://sts.eu-west-1.amazonaws.com"}, MISS),
    ("the global endpoint", {"sts_regional_endpoints": "legacy"}, MISS),
    ("the global endpoint by its region", {"region": "aws-global"}, MISS),
    (
        "legacy in a region that has no global tokens",
        {"region": "af-south-1", "sts_regional_endpoints": "legacy"},
        HIT,
    ),
    (
        "legacy, but dual-stack",
        {"sts_regional_endpoints": "legacy", "use_dualstack": True},
        HIT,
    ),
]
TOKENS: list[tuple[str, dict[str, Any], bool]] = [
    ("the profile that asks", {"profile": "alias"}, HIT),
    ("a duration that was not asked for", {"duration": 28800}, HIT),
    ("a duration that was asked for", {"exact": True}, MISS),
    ("no MFA", {"mfa": None}, MISS),
    ("another device", {"mfa": MfaRequest(f"{S}2", "one")}, MISS),
    ("another program for codes", {"mfa": MfaRequest(S, "two")}, HIT),
]
ROLES: list[tuple[str, dict[str, Any], bool]] = [
    ("the profile that asks", {"profile": "alias"}, HIT),
    ("the key instead of the session", {"parent": StoredKey("u")}, MISS),
    ("a session of another region", {"parent": TOKEN._replace(endpoint=Endpoint("a"))}, HIT),
    ("a session without MFA", {"parent": TOKEN._replace(mfa=None)}, MISS),
    ("another role", {"role_arn": role_arn("other")}, MISS),
    ("another duration", {"duration": 900}, MISS),
    ("MFA", {"mfa": MfaRequest(S)}, MISS),
    ("another external id", {"external_id": None}, MISS),
    ("another session name", {"session_name": None}, MISS),
    ("other tags", {"tags": ()}, MISS),
    ("other transitive tags", {"transitive_tags": ()}, MISS),
    ("another source identity", {"source_identity": None}, MISS),
    ("how a fresh code would be had", {"fresh_mfa": None}, HIT),
]
CASES = [
    *(
        (f"{kind}: {what}", step, {"endpoint": WEST._replace(**change)}, misses)
        for what, change, misses in ENDPOINTS
        for kind, step in (("session", TOKEN), ("role", ROLE))
    ),
    *((f"session: {what}", TOKEN, change, misses) for what, change, misses in TOKENS),
    *((f"role: {what}", ROLE, change, misses) for what, change, misses in ROLES),
]


@pytest.mark.parametrize(
    ("step", "change", "misses"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_input_of_a_session_misses_or_hits_as_the_table_says(
    step: SessionToken | AssumeRole, change: dict[str, Any], misses: bool
) -> None:
    changed = step._replace(**change)
    assert changed != step
    assert (session_hash(changed, ITEM) != session_hash(step, ITEM)) == misses
    assert session_hash(changed, ITEM) != session_hash(changed, "1" * 64)


def fields(value: Any) -> set[str]:
    return set(type(value).__annotations__)


def test_the_table_has_every_field() -> None:
    assert {key for _, change, _ in ENDPOINTS for key in change} == fields(WEST)
    assert {key for _, change, _ in TOKENS for key in change} | {"parent", "endpoint"} == fields(
        TOKEN
    )
    assert {key for _, change, _ in ROLES for key in change} | {"endpoint"} == fields(ROLE)


def test_the_regions_of_global_tokens_are_botocores() -> None:
    assert set(LEGACY_GLOBAL_STS_REGIONS) == endpoint_module._LEGACY_GLOBAL


@pytest.mark.parametrize(
    ("region", "mode", "options"),
    [
        ("eu-west-1", "legacy", {}),
        ("eu-west-1", "regional", {}),
        ("af-south-1", "legacy", {}),
        ("us-gov-west-1", "legacy", {}),
        ("aws-global", "regional", {}),
        ("fips-us-east-1", "legacy", {}),
        ("us-east-1", "legacy", {"use_fips": True}),
        ("us-east-1", "legacy", {"use_dualstack": True}),
    ],
)
def test_which_calls_go_to_the_global_endpoint_is_what_botocore_does(
    region: str, mode: str, options: dict[str, bool]
) -> None:
    session = botocore.session.Session()
    session.set_config_variable("sts_regional_endpoints", mode)
    new_config: Any = Config
    client: Any = session.create_client(
        "sts",
        region_name=region,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=new_config(**{f"{key}_endpoint": value for key, value in options.items()}),
    )
    operation = client.meta.service_model.operation_model("GetCallerIdentity")
    url = client._resolve_endpoint_ruleset(operation, {}, {"client_region": region})[0]
    found = Endpoint(region, None, mode, **options)
    assert found.global_version_1 == (url == "https://sts.amazonaws.com")
    assert found.fips == ("fips" in url)


# The same with calls


CONFIG = f"""
[profile u]
mfa_serial = {S}
[profile r]
region = eu-west-1
source_profile = u
role_arn = {role_arn("r")}
mfa_serial = {S}
"""


@pytest.fixture
def rig(aws: FakeAws, tmp_path: Path) -> ProviderWorld:
    rig = ProviderWorld(aws, tmp_path, CONFIG)
    rig.store("u", mfa_serial=S)
    aws.add_role("r")
    return rig


def test_another_region_costs_no_other_code(rig: ProviderWorld) -> None:
    first = rig.run("u", overrides=Overrides(region="eu-west-1"))
    assert rig.made() == [gst(28800, S)]
    for region in ("us-east-1", "ap-south-1"):
        assert rig.run("u", overrides=Overrides(region=region)) == first
    rig.run("r", overrides=Overrides(region="us-east-1"))
    assert rig.made() == [role("r", 3600, by="kept")]
    rig.run("r")
    assert rig.made() == []
    assert len(rig.asked) == 1


def test_sessions_of_an_earlier_version_are_missed_without_a_word(rig: ProviderWorld) -> None:
    with rig.cache() as cache:
        old = SessionName("u", "get-session-token", "ab" * 16, "item:u")
        cache.store(old, Credentials("ASIAOLD", "secret", "token", int(rig.aws.clock()) + 28800))
    assert rig.run("u", PlanOptions()).access_key_id != "ASIAOLD"
    assert rig.made() == [gst(28800, S)]
    assert rig.warnings == []
    assert rig.kept() == [("u", "get-session-token")] * 2
