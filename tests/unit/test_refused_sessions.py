"""What AWS refuses along a chain: kept sessions it takes no longer, durations over a maximum."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from filevault.errors import AwsError, NoTerminalError, TooLongError, WrongCodeError
from filevault.plan.planner import PlanOptions
from tests.fakes import FakeAws, error, throttle
from tests.worlds.providers import ProviderWorld, role, role_arn

HOUR = 3600
START = 1_795_470_000
S = "arn:aws:iam::123456789012:mfa/jonsmith"
CONFIG = f"""
[profile jonsmith]
region = eu-west-1
mfa_serial = {S}

[profile outer]
region = eu-west-1
source_profile = jonsmith
mfa_serial = {S}
role_arn = {role_arn("outer")}

[profile inner]
region = eu-west-1
source_profile = outer
mfa_serial = {S}
role_arn = {role_arn("inner")}

[profile plain]
region = eu-west-1

[profile free]
region = eu-west-1
source_profile = plain
role_arn = {role_arn("free")}
"""


@pytest.fixture
def rig(aws: FakeAws, tmp_path: Path) -> ProviderWorld:
    aws.clock.freeze(START)
    rig = ProviderWorld(aws, tmp_path, CONFIG)
    rig.store("jonsmith", mfa_serial=S)
    rig.store("plain")
    outer = aws.add_role("outer")
    aws.add_role("inner", trusts=[outer.arn])
    aws.add_role("free")
    return rig


def revoke(rig: ProviderWorld, kind: str) -> None:
    """Let AWS forget the sessions of a kind."""
    sessions = rig.aws.directory.sessions
    for key_id in [each for each, session in sessions.items() if session.kind == kind]:
        del sessions[key_id]


def ended(rig: ProviderWorld) -> list[tuple[str, str]]:
    """Return the calls since the last time, refused ones too, and forget them."""
    found = [(call.action, call.outcome) for call in rig.aws.calls]
    rig.aws.reset_calls()
    return found


# Kept sessions that AWS takes no longer


def test_a_revoked_session_is_dropped_and_renewed_once(rig: ProviderWorld) -> None:
    rig.run("jonsmith")
    revoke(rig, "session-token")
    rig.aws.reset_calls()
    got = rig.run("outer")
    assert ended(rig) == [
        ("AssumeRole", "InvalidClientTokenId"),
        ("GetSessionToken", "ok"),
        ("AssumeRole", "ok"),
    ]
    assert rig.warnings == [
        "AWS refused the kept session of profile 'jonsmith'; it is obtained again"
    ]
    assert rig.run("outer") == got
    assert ended(rig) == []


def test_an_expired_session_is_renewed_where_the_clock_here_is_late(rig: ProviderWorld) -> None:
    rig.run("jonsmith")
    rig.aws.reset_calls()
    rig.aws.arm(error("ExpiredToken", "The security token included in the request is expired", 403))
    rig.run("outer")
    assert [action for action, _ in ended(rig)] == ["AssumeRole", "GetSessionToken", "AssumeRole"]


def test_only_what_was_refused_is_renewed(rig: ProviderWorld) -> None:
    rig.run("inner")
    (kept,) = [each for each in rig.files() if each.parent.name == "inner"]
    kept.unlink()
    revoke(rig, "role")
    rig.aws.reset_calls()
    rig.run("inner")
    assert ended(rig) == [
        ("AssumeRole", "InvalidClientTokenId"),
        ("AssumeRole", "ok"),
        ("AssumeRole", "ok"),
    ]
    assert len(rig.asked) == 1


def test_every_session_of_a_chain_may_be_revoked(rig: ProviderWorld) -> None:
    rig.run("inner")
    (kept,) = [each for each in rig.files() if each.parent.name == "inner"]
    kept.unlink()
    rig.aws.directory.sessions.clear()
    rig.aws.reset_calls()
    rig.run("inner")
    assert ended(rig) == [
        ("AssumeRole", "InvalidClientTokenId"),
        ("AssumeRole", "InvalidClientTokenId"),
        ("GetSessionToken", "ok"),
        ("AssumeRole", "ok"),
        ("AssumeRole", "ok"),
    ]
    assert len(rig.asked) == 2


def test_a_session_that_was_just_made_is_not_made_again(rig: ProviderWorld) -> None:
    refusal = error("InvalidClientTokenId", "The security token is invalid.", 403)
    rig.aws.arm(refusal, action="AssumeRole", times=9)
    for caching in (True, False):
        with pytest.raises(AwsError, match="does not know the session") as caught:
            rig.run("outer", caching=caching, refresh=True)
        assert "--refresh" in str(caught.value.hint)
        assert ended(rig) == [("GetSessionToken", "ok"), ("AssumeRole", "InvalidClientTokenId")]


def test_a_renewal_that_is_refused_too_is_the_end_and_nothing_refused_is_left(
    rig: ProviderWorld,
) -> None:
    rig.run("jonsmith")
    rig.aws.reset_calls()
    rig.aws.directory.sessions.clear()
    user = rig.users["jonsmith"]
    user.keys[user.access_key_id].status = "Inactive"
    with pytest.raises(AwsError, match="does not know the access key") as caught:
        rig.run("outer")
    assert caught.value.operation == "GetSessionToken"
    assert rig.kept() == []
    assert len(ended(rig)) == 2


def test_other_refusals_renew_nothing(rig: ProviderWorld) -> None:
    rig.run("jonsmith")
    rig.aws.reset_calls()
    rig.aws.arm(error("ValidationError", "no", 400))
    with pytest.raises(AwsError):
        rig.run("outer")
    assert ended(rig) == [("AssumeRole", "ValidationError")]
    assert rig.kept() == [("jonsmith", "get-session-token")]


def test_a_session_that_cannot_be_dropped_is_passed_over(
    rig: ProviderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for a state directory on a full or failing disk."""
    from filevault.errors import StorageError
    from filevault.system.files import Folder

    rig.run("jonsmith")
    revoke(rig, "session-token")

    def refuse(_folder: Folder, name: str) -> None:
        raise StorageError(f"cannot delete {name}")

    monkeypatch.setattr(Folder, "remove", refuse)
    assert rig.run("outer").session_token
    assert any("cannot delete" in warning for warning in rig.warnings)


# A policy that wants a fresh code


def strict_about_age(rig: ProviderWorld, seconds: int) -> None:
    rig.aws.directory.roles[role_arn("outer")].max_mfa_age = seconds


def test_a_policy_on_the_age_of_the_code_costs_one_more_question(rig: ProviderWorld) -> None:
    strict_about_age(rig, HOUR)
    rig.run("outer")
    rig.aws.clock.advance(2 * HOUR)
    rig.aws.reset_calls()
    got = rig.run("outer")
    assert ended(rig) == [("AssumeRole", "AccessDenied"), ("AssumeRole", "ok")]
    assert rig.asked == [(S, "jonsmith"), (S, "outer")]
    assert rig.aws.session(got.access_key_id).mfa
    (warning,) = rig.warnings
    assert "fresh MFA code" in warning
    assert rig.run("outer") == got
    assert ended(rig) == []


def test_a_role_that_is_refused_with_a_fresh_code_too_is_the_end(rig: ProviderWorld) -> None:
    rig.run("jonsmith")
    rig.users["jonsmith"].denied.add("sts:AssumeRole")
    rig.aws.reset_calls()
    with pytest.raises(AwsError, match="AccessDenied"):
        rig.run("outer")
    assert ended(rig) == [("AssumeRole", "AccessDenied")] * 2
    assert len(rig.asked) == 2


@pytest.mark.parametrize("caching", [True, False])
def test_no_second_code_follows_one_of_the_same_run(rig: ProviderWorld, caching: bool) -> None:
    strict_about_age(rig, 0)
    with pytest.raises(AwsError, match="AccessDenied"):
        rig.run("outer", caching=caching)
    assert ended(rig) == [("GetSessionToken", "ok"), ("AssumeRole", "AccessDenied")]
    assert len(rig.asked) == 1


def test_without_anyone_to_ask_the_refusal_itself_is_told(
    rig: ProviderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_serial: str, _profile: str) -> str:
        raise NoTerminalError("profile 'outer' needs a code, and there is no terminal")

    rig.run("jonsmith")
    strict_about_age(rig, 60)
    rig.aws.clock.advance(HOUR)
    monkeypatch.setattr(rig, "ask", nobody)
    with pytest.raises(AwsError, match="AccessDenied") as caught:
        rig.run("outer")
    assert "there is no terminal: a policy of the role may ask for a fresh MFA code" in str(
        caught.value.hint
    )


def test_a_denied_role_without_a_device_asks_for_no_code(rig: ProviderWorld) -> None:
    rig.run("outer")
    rig.aws.directory.roles[role_arn("inner")].require_mfa = True
    rig.aws.sts.mfa_survives_roles = False
    with pytest.raises(AwsError, match="AccessDenied"):
        rig.run("inner")
    assert len(rig.asked) == 1


# Durations over the role's maximum


def test_a_duration_over_the_maximum_becomes_an_hour_and_is_told(rig: ProviderWorld) -> None:
    got = rig.run("free", PlanOptions(duration=2 * HOUR))
    assert got.expiration == START + HOUR
    assert [call.parameters["DurationSeconds"] for call in rig.aws.calls] == ["7200", "3600"]
    assert rig.warnings == [
        "AWS grants the role of profile 'free' no session of 2h0m0s: this one lives 1h0m0s"
    ]
    rig.aws.reset_calls()
    assert rig.run("free", PlanOptions(duration=2 * HOUR)) == got
    assert ended(rig) == []


def test_a_maximum_that_allows_it_is_used(rig: ProviderWorld) -> None:
    rig.aws.directory.roles[role_arn("free")].max_session_duration = 2 * HOUR
    rig.run("free", PlanOptions(duration=2 * HOUR))
    assert rig.made() == [role("free", 2 * HOUR, by="key")]
    assert rig.warnings == []


def test_a_call_with_a_code_is_not_repeated_for_less(rig: ProviderWorld) -> None:
    with pytest.raises(TooLongError, match="does not allow sessions that long") as caught:
        rig.run("outer", PlanOptions(duration=2 * HOUR))
    assert "--duration" in str(caught.value.hint)
    assert ended(rig) == [("AssumeRole", "ValidationError")]
    assert len(rig.asked) == 1


def test_an_hour_that_is_refused_is_not_tried_again(rig: ProviderWorld) -> None:
    text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    rig.aws.arm(error("ValidationError", text), times=9)
    with pytest.raises(TooLongError):
        rig.run("free")
    assert len(ended(rig)) == 1


# Who, and at which step


@pytest.mark.parametrize(
    ("name", "action", "nth", "wanted"),
    [
        ("free", "AssumeRole", 1, "AssumeRole for profile 'free':"),
        ("jonsmith", "GetSessionToken", 1, "GetSessionToken for profile 'jonsmith':"),
        ("inner", "GetSessionToken", 1, "for profile 'jonsmith' (call 1 of 3 for 'inner'):"),
        ("inner", "AssumeRole", 1, "for profile 'outer' (call 2 of 3 for 'inner'):"),
        ("inner", "AssumeRole", 2, "for profile 'inner' (call 3 of 3 for 'inner'):"),
    ],
)
def test_a_refusal_names_the_call_of_the_chain(
    rig: ProviderWorld, name: str, action: str, nth: int, wanted: str
) -> None:
    who = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole"
    rig.aws.arm(error("AccessDenied", who, 403), action=action, nth=nth)
    with pytest.raises(AwsError, match=re.escape(wanted)) as caught:
        rig.run(name)
    assert "arn:aws:iam::123456789012:user/x" in caught.value.message


def test_who_may_not_do_what_is_told_with_the_permission_that_is_missing(
    rig: ProviderWorld,
) -> None:
    rig.users["plain"].denied.add("sts:GetSessionToken")
    with pytest.raises(AwsError, match="user/plain is not allowed sts:GetSessionToken") as caught:
        rig.run("plain")
    assert caught.value.hint == (
        "allow sts:GetSessionToken in the policies of arn:aws:iam::123456789012:user/plain"
    )


def test_wrong_codes_keep_their_kind_along_a_chain(rig: ProviderWorld) -> None:
    with pytest.raises(WrongCodeError, match=r"call 1 of 2 for 'outer'"):
        rig.run("outer", code="000000")


@pytest.mark.parametrize("code", ["SlowDown", "RequestThrottled", "Throttling"])
def test_every_way_of_saying_too_often_is_understood(
    rig: ProviderWorld, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    rig.aws.arm(throttle()._replace(code=code), times=9)
    with pytest.raises(AwsError, match="too many requests") as caught:
        rig.run("plain")
    assert caught.value.code == code
    assert {outcome for _, outcome in ended(rig)} == {code}
