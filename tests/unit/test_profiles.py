from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from botocore.configloader import load_config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import InvalidConfigError
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from filevault.config.aws_config import AwsConfig
from filevault.config.overrides import Overrides
from filevault.config.profile import Profile, resolve
from filevault.config.profile_loop import MAX_CHAIN
from filevault.errors import ConfigError, FilevaultError, ProfileLoopError, ProfileNotFoundError
from tests.samples import EXAMPLE_ID

ROLE = "arn:aws:iam::123456789012:role/r"
SERIAL = "arn:aws:iam::123456789012:mfa/me"


def resolved(
    text: str, name: str = "p", *, items: tuple[str, ...] = (), overrides: Overrides | None = None
) -> Profile:
    return resolve(
        AwsConfig.parse(text.encode(), "/h/config"),
        name,
        overrides=overrides or Overrides(),
        has_item=lambda asked: asked in items,
    )


def source_of(profile: Profile) -> Profile:
    assert profile.source_profile is not None
    return profile.source_profile


# Lines without effect.


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("p", True),
        ("Profile p", True),
        ("PROFILE p", True),
        (" p", True),
        (" profile p", True),
        ('Profile "p"', True),
        ("profile p q", False),
        ("pp", False),
        ("profile pp", False),
        ("sso-session p", False),
    ],
)
def test_a_header_that_is_no_profiles_is_told_beside_a_stored_key(
    tmp_path: Path, header: str, told: bool
) -> None:
    text = f"[{header}]\nregion = eu-west-1\n"
    path = tmp_path / "config"
    path.write_text(text)
    assert "p" not in load_config(str(path))["profiles"]
    profile = resolved(text, items=("p",))
    assert profile.region is None
    shown = f"the section [{header}] in '/h/config' has no effect on profile 'p': write [profile p]"
    assert profile.warnings == ((shown,) if told else ())
    beside = resolved(f"{text}[profile p]\nregion = eu-west-2\n", items=("p",))
    assert (beside.region, beside.warnings) == ("eu-west-2", ())


def test_default_in_another_case_is_told() -> None:
    profile = resolved("[Default]\nregion = eu-west-1\n", "default", items=("default",))
    assert "write [default]" in profile.warnings[0]


def test_parent_profile_is_told_with_its_place() -> None:
    profile = resolved("[profile a]\nregion = eu-west-1\n[profile p]\nparent_profile = a\n")
    assert profile.region is None
    assert profile.warnings == (
        (
            "parent_profile in line 4 of '/h/config' has no effect: AWS Vault has called it "
            "include_profile since version 7"
        ),
    )


# Values that the AWS config takes and AWS does not.


@pytest.mark.parametrize(
    ("line", "what", "hint"),
    [
        ("region = eu-west-1 # x", "is not the name of a region: 'eu-west-1 # x'", "comment"),
        ("region = EU-WEST-1", "is not the name of a region: 'EU-WEST-1'", "eu-west-1"),
        ("region = eu_west_1", "is not the name of a region: 'eu_west_1'", None),
        ("region = 1", "is not the name of a region: '1'", None),
        ("region = -a", "is not the name of a region: '-a'", None),
        (f"region = {'a' * 64}", "is not the name of a region", None),
        ("sts_regional_endpoints = global", "is neither regional nor legacy: 'global'", None),
        ("sts_regional_endpoints = legacy # x", "is neither regional nor legacy", "comment"),
    ],
)
def test_what_botocore_would_refuse_is_refused_where_it_stands(
    line: str, what: str, hint: str | None
) -> None:
    for section in ("profile p", "default"):
        text = f"[{section}]\n{line}\n" + ("" if section == "profile p" else "[profile p]\n")
        with pytest.raises(ConfigError) as caught:
            resolved(text)
        place = f"{line.split(' ', maxsplit=1)[0]} in line 2 of '/h/config' {what}"
        assert caught.value.message.startswith(place)
        assert (hint or "") in (caught.value.hint or "")


def test_the_mode_of_sts_is_read_in_any_case_as_by_botocore() -> None:
    profile = resolved("[profile p]\nsts_regional_endpoints = Legacy\n")
    assert profile.sts_regional_endpoints == "legacy"


# Which profiles there are.


def test_a_section_or_a_stored_key_makes_a_profile() -> None:
    assert resolved("[profile p]\n").source == "none"
    assert resolved("", items=("p",)).source == "stored"
    assert resolved("[default]\nregion = r\n", "default").region == "r"
    assert resolved("[default]\nregion = r\n", items=("p",)).region == "r"


def test_a_profile_without_section_and_key_is_not_found() -> None:
    with pytest.raises(ProfileNotFoundError) as caught:
        resolved("[default]\nregion = r\n[profile prod]\n", "zebra")
    assert caught.value.message == (
        "profile 'zebra' has neither a section in '/h/config' nor a stored key"
    )
    assert caught.value.hint is not None
    assert "filevault list" in caught.value.hint
    assert caught.value.exit_status == 3


@pytest.mark.parametrize("name", ["", "P", "p ", "default"])
def test_names_are_compared_exactly(name: str) -> None:
    with pytest.raises(ProfileNotFoundError):
        resolved("[profile p]\n", name, items=("p",))


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("[profile production]\n[profile staging]\n", "producton", "did you mean 'production'?"),
        ("[profile Work]\n", "work", "did you mean 'Work'?"),
        ("[work]\n", "work", "the section [work] is no profile: write [profile work]"),
        (
            "[profile my work]\n",
            "my work",
            'the section [profile my work] is no profile: write [profile "my work"]',
        ),
    ],
)
def test_the_hint_says_what_was_probably_meant(text: str, name: str, hint: str) -> None:
    with pytest.raises(ProfileNotFoundError) as caught:
        resolved(text, name)
    assert caught.value.hint == hint


def test_hostile_names_are_shown_escaped() -> None:
    with pytest.raises(ProfileNotFoundError) as caught:
        resolved('[profile "\x1b[31mred"]\n', "\x1b[31mread")
    assert "\x1b" not in f"{caught.value.message}{caught.value.hint}"
    assert "red" in str(caught.value.hint)


# Where a setting comes from.


def test_keys_are_read_in_any_case_and_unknown_ones_ignored() -> None:
    profile = resolved(
        f"[profile p]\nRole_Arn={ROLE}\nMFA_Serial={SERIAL}\nREGION=us-east-1\n"
        "duration_seconds=1200\nsts_regional_endpoints=legacy\nsource_profile=b\nwhatever = 1\n"
        "[profile b]\n"
    )
    assert (profile.role_arn, profile.mfa_serial, profile.region) == (ROLE, SERIAL, "us-east-1")
    assert (profile.duration_seconds, profile.sts_regional_endpoints) == (1200, "legacy")


def test_own_section_beats_inclusions_beat_default() -> None:
    text = (
        "[default]\nregion = default\nmfa_serial = default\nmfa_process = default\n"
        "[profile far]\nregion = far\nmfa_serial = far\nexternal_id = far\n"
        "[profile near]\ninclude_profile = far\nregion = near\nexternal_id =\n"
        "[profile p]\ninclude_profile = near\nrole_arn = own\n"
    )
    profile = resolved(text)
    assert profile.role_arn == "own"
    assert profile.region == "near"
    assert profile.mfa_serial == "far"
    assert profile.external_id == "far", "an empty value gives way"
    assert profile.mfa_process == "default"


def test_an_included_profile_hands_over_everything() -> None:
    profile = resolved(
        f"[profile b]\nregion = b\n[profile mix]\nsource_profile = b\nrole_arn = {ROLE}\n"
        "external_id = x\nsession_tags = a=1\n[profile p]\ninclude_profile = mix\n"
    )
    assert (profile.role_arn, profile.external_id) == (ROLE, "x")
    assert profile.session_tags == (("a", "1"),)
    assert source_of(profile).name == "b"
    assert profile.region is None, "the region of a source profile is the source's"


HANDED_DOWN = {
    "region": "r",
    "mfa_serial": SERIAL,
    "mfa_process": "ykman",
    "endpoint_url": "http://e",
    "sts_regional_endpoints": "legacy",
    "use_fips_endpoint": "true",
    "use_dualstack_endpoint": "true",
    "duration_seconds": "7200",
}
KEPT = {
    "role_arn": ROLE,
    "source_profile": "b",
    "external_id": "x",
    "role_session_name": "n",
    "session_tags": "a=1",
    "transitive_session_tags": "a",
    "source_identity": "i",
    "credential_process": "prog",
    "credential_source": "Environment",
    "sso_session": "s",
    "sso_start_url": "http://s",
    "sso_region": "r",
    "sso_account_id": "1",
    "sso_role_name": "r",
    "sso_registration_scopes": "s",
    "web_identity_token_file": "f",
    "web_identity_token_process": "prog",
    "include_profile": "b",
}


@pytest.mark.parametrize("key", HANDED_DOWN)
def test_default_hands_down_what_makes_no_credentials(key: str) -> None:
    text = f"[default]\n{key} = {HANDED_DOWN[key]}\n[profile p]\n"
    assert str(getattr(resolved(text), key)).lower() == HANDED_DOWN[key].lower()


@pytest.mark.parametrize("key", HANDED_DOWN)
def test_an_empty_value_switches_off_what_default_hands_down(key: str) -> None:
    text = f"[default]\n{key} = {HANDED_DOWN[key]}\n"
    off = resolved("[profile p]\n")
    for own in (f"{key} =\n", f"include_profile = mix\n[profile mix]\n{key} =\n"):
        assert getattr(resolved(f"{text}[profile p]\n{own}"), key) == getattr(off, key)
    assert getattr(resolved(f"{text}[profile p]\n"), key) != getattr(off, key)
    included = f"[profile p]\n{key} =\ninclude_profile = mix\n[profile mix]\n"
    given = resolved(f"{text}{included}{key} = {HANDED_DOWN[key]}\n")
    assert getattr(given, key) != getattr(off, key), "an included value counts"


@pytest.mark.parametrize("key", KEPT)
def test_default_keeps_what_makes_credentials(key: str) -> None:
    common = "[sso-session s]\nsso_region = r\n[profile b]\nexternal_id = b\n"
    bare = resolved(f"{common}[profile p]\n")
    assert resolved(f"{common}[default]\n{key} = {KEPT[key]}\n[profile p]\n") == bare
    assert resolved(f"{common}[default]\n{key} = {KEPT[key]}\n", "default") != bare._replace(
        name="default"
    )
    # Whoever includes [default] by name asks for all of it.
    included = resolved(
        f"{common}[default]\n{key} = {KEPT[key]}\n[profile p]\ninclude_profile = default\n"
    )
    assert included != bare


def test_default_may_include_a_profile_that_falls_back_to_default() -> None:
    text = (
        "[default]\ninclude_profile = b\nregion = d\n[profile b]\nregion = b\nmfa_serial = b\n"
        f"role_arn = {ROLE}\n[profile p]\n"
    )
    assert resolved(text, "b").region == "b"
    assert resolved(text, "default").role_arn == ROLE
    profile = resolved(text)
    assert (profile.region, profile.mfa_serial, profile.role_arn) == ("d", "b", None)


def test_profile_default_is_default_as_for_botocore() -> None:
    assert resolved("[profile default]\nregion = d\n[profile p]\n").region == "d"


def test_default_in_capitals_reaches_everybody_as_for_botocore() -> None:
    text = f"[DEFAULT]\nrole_arn = {ROLE}\n[default]\nregion = d\n[profile p]\n"
    assert resolved(text).role_arn == ROLE


def test_a_missing_inclusion_is_named_with_file_and_line() -> None:
    with pytest.raises(ProfileNotFoundError) as caught:
        resolved("[profile p]\nregion = r\ninclude_profile = gone\n", items=("p", "gone"))
    assert caught.value.message == (
        "profile 'p' names a profile that does not exist: include_profile in line 3 of "
        "'/h/config' says 'gone', which has no section there"
    )


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ("[profile p]\ninclude_profile = p\n", "p -> p"),
        (
            "[profile p]\ninclude_profile = q\n[profile q]\ninclude_profile = p\n",
            "p -> q -> p",
        ),
        (
            (
                "[profile p]\ninclude_profile = q\n[profile q]\ninclude_profile = r\n"
                "[profile r]\ninclude_profile = q\n"
            ),
            "q -> r -> q",
        ),
    ],
)
def test_an_inclusion_loop_shows_its_circle(text: str, circle: str) -> None:
    with pytest.raises(ProfileLoopError) as caught:
        resolved(text)
    assert caught.value.message.endswith(f"by include_profile: {circle}")


# Sources.

SOURCES = {
    "sso": "sso_start_url = http://s\n",
    "web-identity": "web_identity_token_file = /f\n",
    "process": "credential_process = prog\n",
    "credential-source": "credential_source = Environment\n",
    "login-session": "login_session = arn:aws:iam::123456789012:user/jon\n",
    "config-keys": f"aws_access_key_id = {EXAMPLE_ID}\naws_secret_access_key = hush\n",
}


def key_of(kind: str) -> str:
    return SOURCES[kind].split(" ")[0]


@pytest.mark.parametrize("count", range(len(SOURCES)))
def test_the_order_of_sources(count: int) -> None:
    rest = list(SOURCES)[count:]
    keys = tuple(map(key_of, rest))
    text = "[profile b]\n[profile p]\n" + "".join(SOURCES[kind] for kind in rest)
    without = resolved(text)
    assert (without.source, without.shadowed) == (rest[0], keys[1:])
    assert str(without.source_where).startswith(f"{keys[0]} in line 3 of '/h/config'")
    stored = resolved(text + "source_profile = b\n", items=("p",))
    assert (stored.source, stored.source_profile) == ("stored", None)
    assert stored.shadowed == ("source_profile", *keys)
    if "credential-source" not in rest:
        with_source = resolved(text + "source_profile = b\n")
        assert (with_source.source, source_of(with_source).name) == ("profile", "b")
        assert with_source.shadowed == keys


def test_source_profile_with_credential_source_is_refused_as_by_botocore(tmp_path: Path) -> None:
    text = (
        f"[profile b]\n[profile p]\nrole_arn = {ROLE}\nsource_profile = b\n"
        "credential_source = Environment\n"
    )
    path = tmp_path / "config"
    path.write_text(text)
    session = Session(session_vars={"config_file": (None, None, str(path), None)}, profile="p")
    with pytest.raises(InvalidConfigError, match="both source_profile and credential_source"):
        session.get_credentials()
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    assert caught.value.message == (
        "profile 'p' has two sources: source_profile in line 4 of '/h/config', and "
        "credential_source in line 5 of '/h/config'"
    )
    assert resolved(text, items=("p",)).shadowed == ("source_profile", "credential_source")


def test_the_key_of_default_is_used_and_its_source_profile_told() -> None:
    text = f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n[profile base]\n"
    profile = resolved(text, "default", items=("default", "base"))
    assert (profile.source, profile.source_profile) == ("stored", None)
    assert profile.shadowed == ("source_profile",)


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("web_identity_token_process = prog", "web-identity"),
        ("sso_session = s", "sso"),
        (f"role_arn = {ROLE}", "none"),
        ("region = r", "none"),
        ("sso_account_id = 1", "none"),
        ("credential_process =", "none"),
    ],
)
def test_what_counts_as_a_source(line: str, source: str) -> None:
    assert resolved(f"[sso-session s]\nsso_region=r\n[profile p]\n{line}\n").source == source


def test_a_role_with_a_web_identity_process_is_web_identity() -> None:
    profile = resolved(f"[profile p]\nrole_arn = {ROLE}\nweb_identity_token_process = prog a\n")
    assert (profile.source, profile.role_arn) == ("web-identity", ROLE)
    assert profile.web_identity_token_process == "prog a"


def test_a_process_beside_mfa_is_a_process() -> None:
    profile = resolved(f"[profile p]\ncredential_process = prog\nmfa_serial = {SERIAL}\n")
    assert (profile.source, profile.credential_process) == ("process", "prog")


def test_an_sso_source_profile_uses_its_own_account() -> None:
    profile = resolved(
        "[default]\nsso_start_url = http://s\nsso_account_id = 111111111111\n"
        "[profile dev]\nsso_start_url = http://s\nsso_account_id = 222222222222\n"
        f"[profile p]\nsource_profile = dev\nrole_arn = {ROLE}\n"
    )
    assert profile.source == "profile"
    assert source_of(profile).source == "sso"
    assert source_of(profile).sso_account_id == "222222222222"


def test_the_source_profile_is_resolved_by_the_same_rules() -> None:
    profile = resolved(
        "[default]\nregion = d\n[profile mix]\nexternal_id = x\n"
        f"[profile mid]\nsource_profile = base\ninclude_profile = mix\nrole_arn = {ROLE}\n"
        f"[profile p]\nsource_profile = mid\nrole_arn = {ROLE}2\n",
        items=("base",),
    )
    middle = source_of(profile)
    base = source_of(middle)
    assert [each.name for each in (profile, middle, base)] == ["p", "mid", "base"]
    assert [each.role_arn for each in (profile, middle, base)] == [f"{ROLE}2", ROLE, None]
    assert [each.external_id for each in (profile, middle, base)] == [None, "x", None]
    assert {each.region for each in (profile, middle, base)} == {"d"}
    assert base.source == "stored"


def test_source_and_inclusion_of_one_parent_both_stand() -> None:
    profile = resolved(
        "[profile root]\nregion = r\n[profile p]\ninclude_profile = root\nsource_profile = root\n"
    )
    assert (profile.region, source_of(profile).name) == ("r", "root")


def test_a_profile_that_names_itself_means_its_stored_key() -> None:
    text = f"[profile p]\nsource_profile = p\nrole_arn = {ROLE}\n"
    profile = resolved(text, items=("p",))
    assert (profile.source, profile.source_profile, profile.role_arn) == ("stored", None, ROLE)
    assert profile.shadowed == ()


def test_without_a_stored_key_a_profile_that_names_itself_is_dropped() -> None:
    assert resolved("[profile p]\nsource_profile = p\n").source == "none"
    process = "[profile p]\nsource_profile = p\ncredential_process = prog\n"
    assert resolved(process).source == "process"
    included = (
        "[profile mix]\nsource_profile = p\n[profile p]\ninclude_profile = mix\n"
        "credential_process = prog\n"
    )
    assert resolved(included).source == "process"


def test_a_missing_source_is_named_with_file_and_line() -> None:
    with pytest.raises(ProfileNotFoundError) as caught:
        resolved("[profile p]\nregion = r\n\nsource_profile = bass\n[profile base]\n")
    assert caught.value.message == (
        "profile 'p' names a profile that does not exist: source_profile in line 4 of "
        "'/h/config' says 'bass', which has neither a section there nor a stored key"
    )
    assert caught.value.hint == "did you mean 'base'?"


def test_a_missing_source_does_not_matter_beside_a_stored_key() -> None:
    assert resolved("[profile p]\nsource_profile = gone\n", items=("p",)).source == "stored"


def test_a_source_loop_shows_its_circle() -> None:
    text = (
        "[profile p]\nsource_profile = a\n[profile a]\nsource_profile = b\n"
        "[profile b]\nsource_profile = a\n"
    )
    with pytest.raises(ProfileLoopError) as caught:
        resolved(text)
    assert caught.value.message.endswith("by source_profile: a -> b -> a")
    assert resolved(text, items=("b",)).source == "profile", "a stored key ends the chain"


def chain(length: int, key: str) -> str:
    links = [f"[profile p{i}]\n{key} = p{i + 1}\n" for i in range(length - 1)]
    return "".join([*links, f"[profile p{length - 1}]\nregion = end\n"])


@pytest.mark.parametrize("length", [1, 2, 10, MAX_CHAIN])
def test_chains_of_some_length_work(length: int) -> None:
    profile = resolved(chain(length, "source_profile"), "p0")
    for _ in range(length - 1):
        profile = source_of(profile)
    assert (profile.name, profile.region) == (f"p{length - 1}", "end")
    assert resolved(chain(length, "include_profile"), "p0").region == "end"


@pytest.mark.parametrize("key", ["source_profile", "include_profile"])
@pytest.mark.parametrize("length", [MAX_CHAIN + 1, 1000, 20_000])
def test_chains_without_end_in_sight_are_refused(length: int, key: str) -> None:
    with pytest.raises(ConfigError, match=f"more than {MAX_CHAIN} profiles") as caught:
        resolved(chain(length, key), "p0")
    assert key in caught.value.message


def test_mfa_process_comes_from_the_source_and_mfa_serial_does_not() -> None:
    text = (
        f"[profile base]\nmfa_serial = {SERIAL}\nmfa_process = base\n"
        "[profile mid]\nsource_profile = base\n"
        "[profile p]\nsource_profile = mid\n"
        "[profile own]\nsource_profile = base\nmfa_process = own\n"
    )
    assert (resolved(text).mfa_process, resolved(text).mfa_serial) == ("base", None)
    assert resolved(text, "own").mfa_process == "own"


# SSO.

SESSION = (
    "[sso-session s]\nsso_start_url = http://session\nsso_region = moon-2\n"
    "sso_registration_scopes = sso:account:access\n"
)


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        ("sso_start_url = http://inline\nsso_session = s\n", "http://session"),
        ("sso_start_url = http://inline\n", "http://inline"),
        ("sso_session = s\n", "http://session"),
        ("region = r\n", None),
    ],
)
def test_the_session_section_beats_the_inline_url(lines: str, url: str | None) -> None:
    assert resolved(f"{SESSION}[profile p]\n{lines}").sso_start_url == url


def test_sso_settings_are_collected_from_session_and_profile() -> None:
    profile = resolved(
        f"{SESSION}[profile p]\nsso_session = s\nregion = moon-1\nsso_region = moon-3\n"
        "sso_account_id = 123456789012\nsso_role_name = Admin\n"
    )
    assert (profile.region, profile.sso_region) == ("moon-1", "moon-2")
    assert (profile.sso_session, profile.sso_registration_scopes) == ("s", "sso:account:access")
    assert (profile.sso_account_id, profile.sso_role_name) == ("123456789012", "Admin")


def test_what_the_session_does_not_say_the_profile_may() -> None:
    profile = resolved(
        "[sso-session s]\nsso_start_url = http://session\n"
        "[profile p]\nsso_session = s\nsso_region = inline\n"
    )
    assert (profile.sso_start_url, profile.sso_region) == ("http://session", "inline")


def test_a_missing_session_matters_only_where_it_is_the_source() -> None:
    text = "[profile p]\n\nsso_session = gone\n"
    with pytest.raises(
        ConfigError, match=r"sso_session in line 3 .* \[sso-session gone\], which does not exist"
    ):
        resolved(text)
    assert resolved(text, items=("p",)).shadowed == ("sso_session",)


# Endpoints.


@pytest.mark.parametrize(
    "given", [frozenset(each) for n in range(5) for each in itertools.combinations("esgp", n)]
)
def test_endpoints_are_chosen_as_botocore_chooses_them(
    tmp_path: Path, given: frozenset[str]
) -> None:
    text = "[profile p]\nregion = r\n"
    if "p" in given:
        text += "endpoint_url = http://profile\n"
    if "s" in given:
        text += (
            "services = local\n[services local]\nsts =\n  endpoint_url = http://services-sts\n"
            "iam =\n  endpoint_url = http://services-iam\n"
        )
    variables = {}
    if "g" in given:
        variables[""] = "http://general"
    if "e" in given:
        variables["sts"] = "http://own"
    profile = resolved(text, overrides=Overrides(endpoint_urls=variables))
    path = tmp_path / "config"
    path.write_text(text)
    config = load_config(str(path))
    names = {"": "AWS_ENDPOINT_URL", "sts": "AWS_ENDPOINT_URL_STS"}
    expected = ConfiguredEndpointProvider(
        full_config=config,
        scoped_config=config["profiles"]["p"],
        client_name="sts",
        environ={names[key]: url for key, url in variables.items()},
    ).provide()
    assert profile.sts_endpoint_url == expected
    general = "http://profile" if "p" in given else None
    assert profile.endpoint_url == ("http://general" if "g" in given else general)


def test_endpoint_variables_reach_every_profile_of_a_chain() -> None:
    profile = resolved(
        "[profile b]\nendpoint_url = http://b\n[profile p]\nsource_profile = b\n",
        overrides=Overrides(endpoint_urls={"sts": "http://sts"}),
    )
    assert (profile.sts_endpoint_url, profile.endpoint_url) == ("http://sts", None)
    base = source_of(profile)
    assert (base.sts_endpoint_url, base.endpoint_url) == ("http://sts", "http://b")


@pytest.mark.parametrize("setting", ["True", "true"])
def test_configured_endpoints_can_be_ignored(setting: str) -> None:
    text = (
        "[profile p]\nendpoint_url = http://p\nservices = gone\n"
        f"ignore_configured_endpoint_urls = {setting}\n"
    )
    variables = {"": "http://general", "sts": "http://sts"}
    ignoring = Overrides(endpoint_urls=variables, ignore_configured_endpoints=True)
    for profile in (
        resolved(text, overrides=Overrides(endpoint_urls=variables)),
        resolved("[profile p]\nendpoint_url = http://p\n", overrides=ignoring),
    ):
        assert profile.endpoint_url is None
        assert profile.sts_endpoint_url is None
    assert resolved(text.replace(setting, "no").replace("gone", "")).endpoint_url == "http://p"


@pytest.mark.parametrize("key", ["use_fips_endpoint", "use_dualstack_endpoint"])
@pytest.mark.parametrize(
    ("written", "variable", "expected"),
    [
        (None, None, False),
        ("true", None, True),
        ("TRUE", None, True),
        ("1", None, False),  # as botocore has it
        ("true", False, False),
        ("false", True, True),
    ],
)
def test_the_kind_of_endpoint_is_chosen_by_the_variable_then_the_config(
    key: str, written: str | None, variable: bool | None, expected: bool
) -> None:
    text = "[profile p]\n" + (f"{key} = {written}\n" if written else "")
    overrides = Overrides()._replace(**{key: variable})
    assert getattr(resolved(text, overrides=overrides), key) is expected


def test_services_of_default_do_not_outdo_an_endpoint_of_the_profile_itself() -> None:
    text = (
        "[services d]\nsts =\n  endpoint_url = http://d\n[default]\nservices = d\n"
        "[profile own]\nendpoint_url = http://own\n[profile p]\n"
    )
    assert resolved(text, "own").sts_endpoint_url == "http://own"
    assert resolved(text).sts_endpoint_url == "http://d"
    assert resolved(text).endpoint_url is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[profile p]\nservices = gone\n", r"services in line 2 .*\[services gone\]"),
        ("[profile p]\nservices = s\n[services s]\n", "does not exist or is empty"),
        ("[profile p]\nservices = s\n[services s]\nsts = x\n", "line 4 .* indented block"),
    ],
)
def test_broken_services_are_named_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(text)


# Overrides.


def test_overrides_beat_the_config_and_reach_as_far_as_they_should() -> None:
    keys = "".join(
        f"{key} = file-{key}\n"
        for key in (
            "region",
            "mfa_serial",
            "use_fips_endpoint",
            "use_dualstack_endpoint",
            "role_arn",
            "role_session_name",
            "source_identity",
            "transitive_session_tags",
        )
    )
    keys += "sts_regional_endpoints = regional\n"
    tags = "session_tags = from=file\n"
    profile = resolved(
        f"[profile base]\n[profile mid]\nsource_profile = base\n{keys}{tags}"
        f"[profile p]\nsource_profile = mid\n{keys}{tags}",
        overrides=Overrides(
            region="env-region",
            mfa_serial="env-serial",
            sts_regional_endpoints="legacy",
            use_fips_endpoint=True,
            use_dualstack_endpoint=True,
            role_arn="env-role",
            role_session_name="env-name",
            session_tags="from=env",
            transitive_session_tags="env",
            source_identity="env-identity",
        ),
    )
    middle = source_of(profile)
    base = source_of(middle)
    for each in (profile, middle, base):
        assert (each.region, each.mfa_serial, each.sts_regional_endpoints) == (
            "env-region",
            "env-serial",
            "legacy",
        )
        assert (each.use_fips_endpoint, each.use_dualstack_endpoint) == (True, True)
    assert profile.role_arn == "env-role"
    assert profile.role_session_name == "env-name"
    assert profile.source_identity == "env-identity"
    assert profile.session_tags == (("from", "env"),)
    assert profile.transitive_session_tags == ("env",)
    assert middle.role_arn == "file-role_arn"
    assert middle.role_session_name == "file-role_session_name"
    assert middle.source_identity == "file-source_identity"
    assert middle.session_tags == (("from", "file"),)
    assert middle.transitive_session_tags == ("file-transitive_session_tags",)
    assert (base.role_arn, base.session_tags, base.source_identity) == (None, (), None)


def test_empty_overrides_are_as_good_as_none() -> None:
    text = "[profile p]\nregion = r\nrole_arn = a\nsession_tags = a=b\nendpoint_url = http://e\n"
    empty = Overrides("", "", "", None, None, {"": "", "sts": ""}, False, "", "", "", "", "")
    assert resolved(text, overrides=empty) == resolved(text)


# Tags, durations, forms.


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("tag1=value1", (("tag1", "value1"),)),
        ("a=1,b=2,c=3", (("a", "1"), ("b", "2"), ("c", "3"))),
        (" tag1 = v1 , tag2=v2 ,tag3=v3", (("tag1", "v1"), ("tag2", "v2"), ("tag3", "v3"))),
        ("a=b=c", (("a", "b=c"),)),
        ("a=", (("a", ""),)),
    ],
)
def test_session_tags_are_pairs(text: str, tags: tuple[tuple[str, str], ...]) -> None:
    assert resolved(f"[profile p]\nsession_tags = {text}\n").session_tags == tags
    override = Overrides(session_tags=text)
    assert resolved("[profile p]\nsession_tags = x=y\n", overrides=override).session_tags == tags


def test_session_tags_may_go_over_several_lines() -> None:
    text = "[profile p]\nsession_tags = a = 1,\n  b = 2\n"
    assert resolved(text).session_tags == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    "text",
    ["tag1=value1,", ",", "tagA=valueA,tagB", "tagOne,tagTwo=v", "a=b,c,d=e", "=v", "a=1,a=2"],
)
def test_malformed_session_tags_are_refused_where_they_stand(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^session_tags in line 3 of '/h/config' "):
        resolved(f"[profile p]\nregion = r\nsession_tags = {text}\n")
    with pytest.raises(ConfigError, match=r"^AWS_SESSION_TAGS "):
        resolved("[profile p]\n", overrides=Overrides(session_tags=text))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("tag1", ("tag1",)),
        ("a,b,c", ("a", "b", "c")),
        (" a , b ", ("a", "b")),
        (",a,,b,", ("a", "b")),
        (",", ()),
        ("", ()),
    ],
)
def test_transitive_tags_are_keys(text: str, keys: tuple[str, ...]) -> None:
    profile = resolved(f"[profile p]\ntransitive_session_tags = {text}\n")
    assert profile.transitive_session_tags == keys


@pytest.mark.parametrize(
    "value", ["0", "-1", "1h", "3_600", "+3600", "1.5", "٣٦٠٠", "9" * 5000, "3600 # one hour"]
)
def test_a_duration_that_is_no_positive_number_is_refused_where_it_stands(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(f"[default]\n\nduration_seconds = {value}\n[profile p]\n")
    assert caught.value.message.startswith("duration_seconds in line 3 of '/h/config' is no ")
    assert len(caught.value.message) < 200
    assert (caught.value.hint is not None) == ("#" in value)


SINGLE = [
    key
    for key in (*HANDED_DOWN, *KEPT)
    if key
    not in (
        "mfa_process",
        "credential_process",
        "web_identity_token_process",
        "duration_seconds",
        "session_tags",
        "transitive_session_tags",
        "include_profile",
        "source_profile",
        "sso_session",
    )
]


@pytest.mark.parametrize("key", SINGLE)
@pytest.mark.parametrize("value", ["a\n  b", "a\x1b[31m", "a\u202eb"])
def test_hidden_characters_are_refused_where_they_stand(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} in line 3 of '/h/config' contains ") as caught:
        resolved(f"[profile p]\n\n{key} = {value}\n")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("piece", ["a=1\n  2", "a\x1b=1"])
def test_tags_with_hidden_characters_are_refused(piece: str) -> None:
    with pytest.raises(ConfigError, match=r"^session_tags in line 2 "):
        resolved(f"[profile p]\nsession_tags = {piece}\n")
    with pytest.raises(ConfigError, match=r"^transitive_session_tags in line 2 "):
        resolved(f"[profile p]\ntransitive_session_tags = {piece}\n")


def test_commands_may_go_over_several_lines() -> None:
    profile = resolved("[profile p]\ncredential_process = prog\n  --flag\n")
    assert profile.credential_process == "prog\n--flag"


@pytest.mark.parametrize("key", [*HANDED_DOWN, *KEPT])
def test_a_block_where_a_value_belongs_is_refused_not_ignored(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} in line 2 of '/h/config' is followed by"):
        resolved(f"[profile p]\n{key} =\n  a = b\n")


NAMES = ("default", "a", "b", "c", "d")
KEYS = ("source_profile", "include_profile", "sso_session", "services")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(KEYS), st.sampled_from(NAMES))),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(NAMES),
)
def test_any_web_of_references_ends_in_a_profile_or_a_clean_error(
    references: list[tuple[str, str, str]], items: set[str], name: str
) -> None:
    sections: dict[str, dict[str, str]] = {}
    for section, key, value in references:
        sections.setdefault(section, {})[key] = value
    text = "".join(
        f"[profile {section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for section, keys in sections.items()
    )
    try:
        profile: Profile | None = resolved(text, name, items=tuple(items))
    except FilevaultError as error:
        assert isinstance(error, ConfigError)  # noqa: PT017
        return
    seen = []
    while profile is not None:
        seen.append(profile.name)
        assert (profile.source == "stored") == (profile.name in items)
        assert (profile.source == "profile") == (profile.source_profile is not None)
        profile = profile.source_profile
    assert len(set(seen)) == len(seen)


def test_iam_has_an_endpoint_of_its_own() -> None:
    text = (
        "[profile p]\nendpoint_url = http://p\nservices = s\n"
        "[services s]\niam =\n  endpoint_url = http://iam\n"
    )
    assert resolved(text).iam_endpoint_url == "http://iam"
    assert resolved(text).sts_endpoint_url == "http://p"
    urls = {"": "http://all", "iam": "http://mine"}
    found = resolved(text, overrides=Overrides(endpoint_urls=urls))
    assert (found.iam_endpoint_url, found.sts_endpoint_url) == ("http://mine", "http://all")
