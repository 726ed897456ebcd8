"""The plan as data: why each call, what is refused before any call, and how it is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.aws.endpoint import Endpoint
from filevault.calls.assume_role import AssumeRole
from filevault.calls.call import calls_of
from filevault.calls.get_federation_token import FederationToken
from filevault.calls.get_session_token import SessionToken
from filevault.config.aws_config import AwsConfig
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.errors import (
    ConfigError,
    FilevaultError,
    NoCredentialsError,
    NoSourceError,
    UsageError,
)
from filevault.mfa.request import MfaRequest
from filevault.plan.explain import explain
from filevault.plan.planner import Plan, PlanOptions, plan
from filevault.sessions.session_hash import session_hash, session_name
from filevault.sources.stored import StoredKey
from tests.samples import EXAMPLE_ID

S = "arn:aws:iam::123456789012:mfa/u"
ROLE = "arn:aws:iam::123456789012:role/r"
NOW = 1_795_470_313.0
WEST = Endpoint("eu-west-1")

USER_AND_ROLE = f"""
[profile u]
region = eu-west-1
mfa_serial = {S}
[profile r]
region = eu-west-1
source_profile = u
role_arn = {ROLE}
mfa_serial = {S}
"""


def planned(
    config: str,
    name: str,
    options: PlanOptions | None = None,
    *,
    stored: tuple[str, ...] = ("u",),
    overrides: Overrides | None = None,
) -> Plan:
    parsed = AwsConfig.parse(config.encode(), "config")
    profile = resolve(
        parsed, name, overrides=overrides or Overrides(), has_item=lambda each: each in stored
    )
    return plan(profile, options or PlanOptions())


def refusal(config: str, name: str, options: PlanOptions | None = None) -> FilevaultError:
    with pytest.raises(FilevaultError) as caught:
        planned(config, name, options)
    return caught.value


def test_every_parameter_of_a_role_reaches_its_step() -> None:
    config = f"""
[profile u]
[profile r]
source_profile = u
region = eu-central-1
endpoint_url = https://sts.example.org
sts_regional_endpoints = legacy
role_arn = {ROLE}
external_id = outside
role_session_name = me@work
duration_seconds = 1800
mfa_serial = {S}
mfa_process = oathtool x
session_tags = team=blue,cost=42
transitive_session_tags = team
source_identity = someone
"""
    assert planned(config, "r").step == AssumeRole(
        profile="r",
        parent=SessionToken(
            "u", StoredKey("u"), 28800, Endpoint("us-east-1"), MfaRequest(S, "oathtool x")
        ),
        role_arn=ROLE,
        duration=1800,
        endpoint=Endpoint("eu-central-1", "https://sts.example.org", "legacy"),
        mfa=None,
        fresh_mfa=MfaRequest(S, "oathtool x"),
        external_id="outside",
        session_name="me@work",
        tags=(("team", "blue"), ("cost", "42")),
        transitive_tags=("team",),
        source_identity="someone",
    )


def test_a_session_that_is_handed_out_is_exact_only_where_a_duration_was_asked_for() -> None:
    def first(name: str, options: PlanOptions) -> SessionToken:
        step = calls_of(planned(USER_AND_ROLE, name, options).step)[0]
        assert isinstance(step, SessionToken)
        return step

    assert first("u", PlanOptions(duration=1800)).exact
    assert not first("u", PlanOptions()).exact
    assert not first("u", PlanOptions(session_token_ttl=1800)).exact
    assert not first("r", PlanOptions(duration=1800)).exact
    assert not first("r", PlanOptions(chained_session_token_ttl=1800)).exact


def test_an_alias_of_a_user_with_the_same_device_gets_an_exact_session() -> None:
    config = f"{USER_AND_ROLE}[profile alias]\nsource_profile = u\nmfa_serial = {S}\n"
    step = planned(config, "alias", PlanOptions(duration=1800)).step
    assert isinstance(step, SessionToken)
    assert step.exact


def test_without_region_sts_is_asked_in_us_east_1_and_the_child_gets_none() -> None:
    made = planned("[profile u]\n", "u")
    assert made.region is None
    step = made.step
    assert isinstance(step, SessionToken)
    assert step.endpoint == Endpoint("us-east-1")
    assert "u: no region is set, so STS is asked in us-east-1" in made.reasons


def test_the_child_gets_region_and_endpoint_of_the_target() -> None:
    config = USER_AND_ROLE + "endpoint_url = https://example.org\n"
    made = planned(config, "r", overrides=Overrides(region="ap-south-1"))
    assert (made.region, made.endpoint_url) == ("ap-south-1", "https://example.org")


def test_a_role_chain_may_be_very_long() -> None:
    config = "[profile p0]\n" + "".join(
        f"[profile p{number}]\nsource_profile = p{number - 1}\nrole_arn = {ROLE}{number}\n"
        for number in range(1, 60)
    )
    step = planned(config, "p59", stored=("p0",)).step
    assert [getattr(call, "role_arn", None) for call in calls_of(step)] == [
        f"{ROLE}{number}" for number in range(1, 60)
    ]
    assert len(session_hash(calls_of(step)[-1], "00" * 32)) == 32


@pytest.mark.parametrize(
    ("name", "options", "kind", "words"),
    [
        ("u", PlanOptions(duration=899), UsageError, "--duration .*14m59s.*15m0s to 36h0m0s"),
        ("u", PlanOptions(duration=129601), UsageError, "GetSessionToken takes"),
        ("u", PlanOptions(session_token_ttl=60), ConfigError, "AWS_SESSION_TOKEN_TTL"),
        (
            "r",
            PlanOptions(chained_session_token_ttl=200000),
            ConfigError,
            "AWS_CHAINED_SESSION_TOKEN",
        ),
        ("r", PlanOptions(duration=43201), UsageError, "AssumeRole takes 15m0s to 12h0m0s"),
        ("r", PlanOptions(duration=60), UsageError, "--duration"),
        ("r", PlanOptions(assume_role_ttl=60), ConfigError, "AWS_ASSUME_ROLE_TTL asks for 1m0s"),
        ("short", PlanOptions(), ConfigError, "duration_seconds of short asks for 1m0s"),
        ("long", PlanOptions(), ConfigError, "duration_seconds of long asks for 13h"),
    ],
)
def test_durations_that_sts_would_refuse_are_refused_with_who_asked(
    name: str, options: PlanOptions, kind: type[FilevaultError], words: str
) -> None:
    config = USER_AND_ROLE + "".join(
        f"[profile {each}]\nsource_profile = u\nrole_arn = {ROLE}\nduration_seconds = {seconds}\n"
        for each, seconds in (("short", 60), ("long", 46800))
    )
    error = refusal(config, name, options)
    assert type(error) is kind
    assert re.search(words, error.message), error.message


def test_the_bounds_of_durations_themselves_are_taken() -> None:
    for seconds in (900, 129600):
        assert calls_of(planned(USER_AND_ROLE, "u", PlanOptions(duration=seconds)).step)[
            0
        ].duration == (seconds)
    for seconds in (900, 43200):
        assert calls_of(planned(USER_AND_ROLE, "r", PlanOptions(duration=seconds)).step)[
            -1
        ].duration == (seconds)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("role_arn = arn:aws:iam::12:role/x", "role_arn of profile 'r'"),
        ("role_arn = someone", "role_arn of profile 'r' is 'someone'"),
        ("role_arn = arn:aws:iam::123456789012:user/x", "role_arn"),
        ("external_id = x", "external_id"),
        ("external_id = a b", "external_id"),
        ("role_session_name = a b", "role_session_name"),
        ("role_session_name = ж1", "role_session_name"),
        (f"role_session_name = {'x' * 65}", "role_session_name"),
        ("source_identity = !", "source_identity"),
        (f"session_tags = {','.join(f'k{n}=v' for n in range(51))}", "session_tags.*51 tags"),
        (f"session_tags = {'k' * 129}=v", "session_tags"),
        (f"session_tags = k={'v' * 257}", "session_tags"),
        ("mfa_serial = x", "mfa_serial"),
        ("mfa_serial = a device", "mfa_serial"),
        (f"mfa_serial = {S} # mine", "mfa_serial"),
        ("mfa_serial = arn:aws:iam::123456789012:user/u", "ARN of a user, not of an MFA device"),
        ("mfa_serial = arn:aws:iam::123456789012:role/u", "ARN of a role"),
        ("mfa_serial = arn:aws:iam::123456789012:root", "ARN of a root"),
        ("mfa_serial = arn:aws:sts::123456789012:assumed-role/a/b", "ARN of an assumed-role"),
        ("mfa_serial = arn:aws:iam::123456789012:u2f/user/u/x-ABC", "FIDO security key"),
        ("mfa_serial = arn:aws-cn:iam::123456789012:u2f/user/u/x", "FIDO security key"),
    ],
)
def test_what_sts_would_refuse_is_refused_in_the_words_of_the_config(line: str, words: str) -> None:
    config = f"[profile u]\n[profile r]\nsource_profile = u\n{line}\n"
    if not line.startswith("role_arn"):
        config += f"role_arn = {ROLE}\n"
    error = refusal(config, "r")
    assert isinstance(error, ConfigError)
    assert re.search(words, error.message), error.message


def test_a_bad_serial_of_a_user_is_refused_before_the_session() -> None:
    assert "mfa_serial" in refusal("[profile u]\nmfa_serial = short\n", "u").message


@pytest.mark.parametrize("line", [f"mfa_serial = {S} # mine", f"role_arn = {ROLE} ; mine"])
def test_a_comment_after_a_value_is_explained(line: str) -> None:
    config = f"[profile u]\n[profile r]\nsource_profile = u\n{line}\n"
    if not line.startswith("role_arn"):
        config += f"role_arn = {ROLE}\n"
    assert "comment" in str(refusal(config, "r").hint)


@pytest.mark.parametrize(
    "serial", [S, "GAHT12345678", "arn:aws-us-gov:iam::123456789012:mfa/path/u"]
)
def test_virtual_devices_and_hardware_tokens_are_taken(serial: str) -> None:
    step = planned(f"[profile u]\nmfa_serial = {serial}\n", "u").step
    assert isinstance(step, SessionToken)
    assert step.mfa == MfaRequest(serial)


def test_hostile_values_are_shown_escaped() -> None:
    error = refusal("[profile u]\n[profile r]\nsource_profile=u\nrole_arn = \x1b[2J\u202ex\n", "r")
    assert "\x1b" not in error.message
    assert "\u202e" not in error.message


def test_no_key_and_no_source_says_how_to_add_one_and_that_the_credentials_file_is_none() -> None:
    error = refusal("[profile empty]\nregion = eu-west-1\n", "empty")
    assert isinstance(error, NoCredentialsError)
    assert error.exit_status == 4
    assert error.hint is not None
    assert "filevault add empty" in error.hint
    assert "`~/.aws/credentials` is never a source" in error.hint


def test_a_source_profile_without_key_is_the_one_that_is_named() -> None:
    config = f"[profile base]\n[profile r]\nsource_profile = base\nrole_arn = {ROLE}\n"
    assert "'base'" in refusal(config, "r").message


def test_keys_in_the_config_have_a_message_of_their_own_that_shows_none() -> None:
    config = (
        f"[profile my base]\naws_access_key_id = {EXAMPLE_ID}\naws_secret_access_key = hush\n"
    ).replace("my base", '"my base"')
    error = refusal(config, "my base")
    assert isinstance(error, ConfigError)
    assert error.message == (
        "profile 'my base' has its access key in the AWS config, where filevault does not read it: "
        "aws_access_key_id in line 2 of 'config'"
    )
    assert (
        error.hint
        == "filevault import --only 'my base' stores it and offers to take it out of the file"
    )


def test_a_role_without_a_source_has_a_message_of_its_own() -> None:
    error = refusal(f"[profile r]\nregion = eu-west-1\nrole_arn = {ROLE}\n", "r")
    assert isinstance(error, NoSourceError)
    assert error.exit_status == 3
    assert error.message == (
        "profile 'r' has role_arn in line 3 of 'config', but neither a source_profile nor a stored "
        "key to assume the role with"
    )
    assert error.hint == (
        "add source_profile = NAME below it, or another source of credentials such as "
        "credential_source, or store a key for it: filevault add r"
    )


def test_which_key_signs_and_why_is_told_for_every_other_source() -> None:
    config = (
        f"[default]\nrole_arn = {ROLE}\nsource_profile = base\nlogin_session = x\n[profile base]\n"
    )
    made = planned(config, "default", stored=("default", "base"))
    assert isinstance(made.step, AssumeRole)
    assert made.step.parent == StoredKey("default")
    assert made.reasons[0] == (
        "default: its stored key signs and goes before source_profile, login_session"
    )
    config = f"[profile u]\n[profile r]\nrole_arn = {ROLE}\nsource_profile = u\nsso_session = s\n"
    assert planned(config, "r").reasons[0] == (
        "r: source_profile is followed and goes before sso_session"
    )


# The device of a role, the region of a partition


GUIDE = f"""
[profile u]
region = eu-west-1
[profile r]
region = eu-west-1
source_profile = u
role_arn = {ROLE}
mfa_serial = {S}
"""


def test_the_session_of_a_source_is_made_with_the_device_of_the_role() -> None:
    made = planned(GUIDE, "r")
    first, second = calls_of(made.step)
    assert first == SessionToken("u", StoredKey("u"), 28800, WEST, MfaRequest(S))
    assert isinstance(second, AssumeRole)
    assert (second.mfa, second.fresh_mfa) == (None, MfaRequest(S))
    assert made.reasons == (
        "u: a session with MFA comes first, with the device of r: one code serves every role",
        "r: no second token code: the first session carries the MFA",
    )
    assert calls_of(planned(USER_AND_ROLE, "r").step)[0] == first


def test_an_empty_serial_switches_off_the_one_of_default() -> None:
    default = f"[default]\nmfa_serial = {S}\n"
    on = planned(default + GUIDE.replace(f"mfa_serial = {S}\n", ""), "r")
    assert [call.mfa is not None for call in calls_of(on.step)] == [True, False]
    off = planned(default + GUIDE.replace(f"mfa_serial = {S}", "mfa_serial ="), "r")
    assert off.step == AssumeRole("r", StoredKey("u"), ROLE, 3600, WEST)
    assert off.reasons[0] == "u: no session: r has no mfa_serial, so it would save no code"


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        (ROLE, "us-east-1"),
        (ROLE.replace("aws", "aws-cn"), "cn-northwest-1"),
        (ROLE.replace("aws", "aws-us-gov"), "us-gov-west-1"),
        (ROLE.replace("aws", "aws-moon"), "us-east-1"),
    ],
)
def test_without_region_sts_is_asked_in_the_partition_of_the_role(arn: str, region: str) -> None:
    config = f"[profile u]\n[profile r]\nsource_profile = u\nrole_arn = {arn}\nmfa_serial = {S}\n"
    made = planned(config, "r")
    assert {call.endpoint.region for call in calls_of(made.step)} == {region}
    assert f"r: no region is set, so STS is asked in {region}" in made.reasons
    assert made.region is None


def test_a_user_without_region_is_asked_in_the_partition_of_the_device() -> None:
    serial = S.replace("aws", "aws-cn")
    made = planned(f"[profile u]\nmfa_serial = {serial}\n", "u")
    assert calls_of(made.step)[0].endpoint.region == "cn-northwest-1"


def test_the_cap_on_chained_roles_is_told() -> None:
    config = (
        f"{USER_AND_ROLE}[profile r2]\nsource_profile = r\nrole_arn = {ROLE}2\nmfa_serial = {S}\n"
    )
    made = planned(config, "r2", PlanOptions(duration=7200))
    assert (
        "r2: --duration (AWS_VAULT_DURATION) asks for 2h0m0s, but a role that is assumed from a "
        "session gets an hour"
    ) in made.reasons


def test_every_plan_gives_a_reason_for_having_or_not_having_a_session() -> None:
    assert planned(USER_AND_ROLE, "r").reasons == (
        "u: a session with MFA comes first: one code serves every role",
        "r: no second token code: the first session carries the MFA",
    )
    assert planned(USER_AND_ROLE, "u").reasons == (
        "u: a session is issued instead of the stored key",
    )
    assert planned(USER_AND_ROLE, "r", PlanOptions(assume_role_ttl=7200)).reasons == (
        "u: no session: r is to last longer than the hour that a session can ask for",
        "r: no session: the role is assumed with the stored key",
        "r: AWS_ASSUME_ROLE_TTL sets the role's duration",
        "r: the role is assumed with MFA",
    )
    assert planned(USER_AND_ROLE, "u", PlanOptions(no_session=True)).reasons == (
        "u: the stored key itself is issued, as --no-session asks",
    )


def test_explain_shows_the_tree_the_calls_and_the_reasons() -> None:
    made = planned(USER_AND_ROLE, "r")
    kept = {"u": int(NOW) + 600}
    lines = explain(made, NOW, until=lambda call: kept.get(call.profile))
    assert "\n".join(lines) == (
        f"""\
profile r
region eu-west-1
  r: role {ROLE}
  └─ u: session token
     └─ u: stored key
calls, in order:
  1. GetSessionToken, 8h0m0s, MFA {S}, signed by the stored key, in eu-west-1
     a session is kept until 2026-11-23T21:55:13Z
  2. AssumeRole {ROLE}, 1h0m0s, no MFA, signed by the session of call 1, in eu-west-1
     its session will be kept
because:
  - u: a session with MFA comes first: one code serves every role
  - r: no second token code: the first session carries the MFA"""
    )


@pytest.mark.parametrize(
    ("key", "shown"), [("use_fips_endpoint", "FIPS"), ("use_dualstack_endpoint", "dual-stack")]
)
def test_another_kind_of_endpoint_is_shown(key: str, shown: str) -> None:
    before = planned(USER_AND_ROLE, "r")
    after = planned(f"[default]\n{key} = true\n{USER_AND_ROLE}", "r")
    shown_calls = [
        line for line in explain(after, NOW, until=lambda _: None) if "signed by" in line
    ]
    assert len(shown_calls) == 2
    assert all(line.endswith(f"in eu-west-1 ({shown})") for line in shown_calls)
    assert shown not in "".join(explain(before, NOW, until=lambda _: None))


def test_explain_says_what_is_not_kept_and_what_has_no_call() -> None:
    made = planned(USER_AND_ROLE, "r")
    lines = explain(made, NOW, until=lambda _: None, cache_roles=False)
    assert [line.strip() for line in lines if "kept" in line] == [
        "its session will be kept",
        "its session is not kept",
    ]
    lines = explain(made, NOW, until=lambda _: None, keeps=False)
    assert [line.strip() for line in lines if "kept" in line] == ["its session is not kept"] * 2
    bare = planned(USER_AND_ROLE, "u", PlanOptions(no_session=True))
    assert "no calls: the stored long-term key itself is issued" in explain(
        bare, NOW, until=lambda _: None
    )


# What names a session

TEXT = st.one_of(st.none(), st.text(max_size=8))
# Parts of an endpoint that a session depends on; test_session_identity.py has the others.
ENDPOINTS = st.builds(Endpoint, st.sampled_from(["eu-west-1", "cn-north-1"]), TEXT)
MFA = st.one_of(st.none(), st.builds(MfaRequest, st.text(max_size=8), st.none()))
TOKENS = st.builds(
    SessionToken,
    st.just("u"),
    st.just(StoredKey("u")),
    st.integers(900, 902),
    ENDPOINTS,
    MFA,
    st.just(True),
)
PAIRS = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3).map(tuple)
ROLES = st.builds(
    AssumeRole,
    st.just("r"),
    st.one_of(st.just(StoredKey("u")), TOKENS),
    st.text(max_size=4),
    st.integers(900, 902),
    ENDPOINTS,
    MFA,
    TEXT,
    TEXT,
    PAIRS,
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
    TEXT,
)


@given(st.one_of(TOKENS, ROLES), st.one_of(TOKENS, ROLES))
def test_two_requests_share_a_hash_only_if_they_are_the_same(
    one: SessionToken | AssumeRole, other: SessionToken | AssumeRole
) -> None:
    same = session_hash(one, "0" * 64) == session_hash(other, "0" * 64)
    assert same == (one == other)


@given(st.one_of(TOKENS, ROLES))
def test_another_item_file_gives_another_hash(step: SessionToken | AssumeRole) -> None:
    assert session_hash(step, "0" * 64) != session_hash(step, "1" * 64)


def test_a_duration_that_nobody_asked_for_and_the_mfa_program_do_not_name_a_session() -> None:
    step = SessionToken("u", StoredKey("u"), 3600, WEST, MfaRequest(S, "one"))
    same = step._replace(duration=28800, mfa=MfaRequest(S, "other"))
    assert session_hash(step, "0" * 64) == session_hash(same, "0" * 64)
    assert session_hash(step, "0" * 64) != session_hash(step._replace(exact=True), "0" * 64)
    assert session_hash(step, "0" * 64) != session_hash(step._replace(mfa=None), "0" * 64)


def test_an_alias_shares_the_session_of_the_key_it_uses() -> None:
    config = "[default]\nregion = eu-west-1\n[profile u]\n[profile alias]\nsource_profile = u\n"
    names = []
    for profile in ("u", "alias"):
        step = planned(config, profile).step
        assert isinstance(step, SessionToken)
        names.append(session_name(step, "0" * 64))
    assert names[0] == names[1]
    assert (names[0].owner, names[0].operation) == ("u", "get-session-token")
    assert names[0].source == "item:u"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("u", PlanOptions(for_iam=True), [("SessionToken", S)]),
        ("u", PlanOptions(for_iam=True, no_session=True), []),
        ("plain", PlanOptions(), [("SessionToken", None)]),
        ("plain", PlanOptions(for_iam=True), []),
        ("alias", PlanOptions(for_iam=True), []),
        ("r", PlanOptions(for_iam=True), [("SessionToken", S), ("AssumeRole", None)]),
        ("bare", PlanOptions(for_iam=True), [("AssumeRole", None)]),
    ],
)
def test_iam_is_never_called_with_a_session_without_mfa(
    name: str, options: PlanOptions, expected: list[tuple[str, str | None]]
) -> None:
    config = (
        f"{USER_AND_ROLE}[profile plain]\n[profile alias]\nsource_profile = plain\n"
        f"[profile bare]\nsource_profile = plain\nrole_arn = {ROLE}\n"
    )
    made = planned(config, name, options, stored=("u", "plain"))
    found = [
        (type(call).__name__, call.mfa.serial if call.mfa else None) for call in calls_of(made.step)
    ]
    assert found == expected
    told = any("IAM accepts none that was made without MFA" in reason for reason in made.reasons)
    assert told == (options.for_iam and not expected and not options.no_session)


# For the console


def test_for_the_console_a_user_becomes_a_federated_one_and_that_is_all() -> None:
    for no_session in (False, True):
        made = planned(USER_AND_ROLE, "u", PlanOptions(console=True, no_session=no_session))
        assert made.step == FederationToken("u", StoredKey("u"), 3600, WEST)
        assert any("federated user" in reason for reason in made.reasons)
        (warning,) = made.warnings
        assert "carries no MFA" in warning
    assert planned("[profile u]\n", "u", PlanOptions(console=True)).warnings == ()


def test_for_the_console_a_role_stays_what_it_is() -> None:
    for options in (PlanOptions(), PlanOptions(no_session=True), PlanOptions(duration=1800)):
        wanted = planned(USER_AND_ROLE, "r", options)
        assert planned(USER_AND_ROLE, "r", options._replace(console=True)) == wanted


def test_an_alias_of_a_user_signs_in_as_the_user() -> None:
    config = USER_AND_ROLE + "[profile alias]\nsource_profile = u\nregion = us-west-2\n"
    made = planned(config, "alias", PlanOptions(console=True))
    assert made.step == FederationToken("alias", StoredKey("u"), 3600, Endpoint("us-west-2"))
    assert isinstance(made.step, FederationToken)
    assert session_name(made.step, "00").owner == "u"
    assert session_name(made.step, "00").operation == "get-federation-token"


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (PlanOptions(), 3600),
        (PlanOptions(federation_token_ttl=7200), 7200),
        (PlanOptions(federation_token_ttl=7200, duration=900), 900),
        (PlanOptions(duration=129600), 129600),
        (PlanOptions(session_token_ttl=7200, assume_role_ttl=7200), 3600),
    ],
)
def test_durations_of_federated_users(options: PlanOptions, seconds: int) -> None:
    step = planned(USER_AND_ROLE, "u", options._replace(console=True)).step
    assert isinstance(step, FederationToken)
    assert step.duration == seconds


@pytest.mark.parametrize("seconds", [899, 129601])
def test_durations_that_no_federated_user_can_have_are_refused(seconds: int) -> None:
    found = refusal(USER_AND_ROLE, "u", PlanOptions(console=True, duration=seconds))
    assert isinstance(found, UsageError)
    found = refusal(USER_AND_ROLE, "u", PlanOptions(console=True, federation_token_ttl=seconds))
    assert isinstance(found, ConfigError)
    assert "AWS_FEDERATION_TOKEN_TTL" in found.message


def test_sessions_for_and_not_for_the_console_have_different_names() -> None:
    plain = planned(USER_AND_ROLE, "u").step
    console = planned(USER_AND_ROLE, "u", PlanOptions(console=True)).step
    longer = planned(USER_AND_ROLE, "u", PlanOptions(console=True, duration=7200)).step
    assert not isinstance(plain, StoredKey)
    assert not isinstance(console, StoredKey)
    assert not isinstance(longer, StoredKey)
    assert len({session_hash(each, "00") for each in (plain, console, longer)}) == 3
