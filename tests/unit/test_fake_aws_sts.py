"""The fake's STS gives, caps and refuses as AWS does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes import FakeAws, Role, User
from tests.fakes.clients import client_of
from tests.samples import NOW


def refused(error: pytest.ExceptionInfo[ClientError], code: str, message: str) -> None:
    """Assert which error it was; 403 for permissions, 400 for parameters."""
    response = error.value.response
    assert response["Error"]["Code"] == code
    assert message in response["Error"]["Message"]
    status = 403 if code in ("AccessDenied", "InvalidClientTokenId", "ExpiredToken") else 400
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status


def assume(sts: Any, role: Role, **more: Any) -> Any:
    return sts.assume_role(RoleArn=role.arn, RoleSessionName="jon@laptop", **more)


def with_mfa(user: User, **more: Any) -> dict[str, Any]:
    return {"SerialNumber": user.mfa_serial, "TokenCode": user.totp(), **more}


def seconds_left(answer: Any) -> float:
    expiration: datetime = answer["Credentials"]["Expiration"]
    return (expiration - datetime.fromtimestamp(NOW, UTC)).total_seconds()


# GetSessionToken


@pytest.mark.parametrize(("asked", "given"), [({}, 43200), ({"DurationSeconds": 900}, 900)])
def test_get_session_token_lasts_as_long_as_asked(
    sts: Any, asked: dict[str, int], given: int
) -> None:
    assert seconds_left(sts.get_session_token(**asked)) == given


@pytest.mark.parametrize("seconds", [899, 129601])
def test_get_session_token_refuses_durations_out_of_bounds(sts: Any, seconds: int) -> None:
    with pytest.raises(ClientError) as error:
        sts.get_session_token(DurationSeconds=seconds)
    refused(error, "ValidationError", f"Value '{seconds}' at 'durationSeconds' failed to satisfy")


def test_each_session_is_its_own_and_expires(aws: FakeAws, user: User, sts: Any) -> None:
    first = sts.get_session_token(DurationSeconds=900)
    second = sts.get_session_token(DurationSeconds=1800)
    for field in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
        assert first["Credentials"][field] != second["Credentials"][field]
    assert first["Credentials"]["AccessKeyId"].startswith("ASIA")
    early, late = client_of("sts", aws.url, first), client_of("sts", aws.url, second)
    aws.clock.advance(899)
    assert early.get_caller_identity()["Arn"] == user.arn
    aws.clock.advance(1)
    with pytest.raises(ClientError) as error:
        early.get_caller_identity()
    refused(error, "ExpiredToken", "The security token included in the request is expired")
    assert late.get_caller_identity()["UserId"] == user.user_id


def test_a_session_cannot_get_a_session(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("admin")
    for answer in (sts.get_session_token(**with_mfa(user)), assume(sts, role)):
        with pytest.raises(ClientError) as error:
            client_of("sts", aws.url, answer).get_session_token()
        refused(error, "AccessDenied", "Cannot call GetSessionToken with session credentials")
        with pytest.raises(ClientError) as error:
            client_of("sts", aws.url, answer).get_federation_token(Name="jon")
        refused(error, "AccessDenied", "Cannot call GetFederationToken with session credentials")


def test_only_a_session_with_mfa_may_call_iam(aws: FakeAws, user: User, sts: Any) -> None:
    plain, mfa = sts.get_session_token(), sts.get_session_token(**with_mfa(user))
    with pytest.raises(ClientError) as error:
        client_of("iam", aws.url, plain).get_user()
    refused(error, "InvalidClientTokenId", "invalid")
    assert client_of("iam", aws.url, mfa).get_user()["User"]["UserName"] == "jonsmith"
    assert aws.session(mfa["Credentials"]["AccessKeyId"]).mfa
    assert not aws.session(plain["Credentials"]["AccessKeyId"]).mfa


# MFA


def test_a_code_is_accepted_once(aws: FakeAws, user: User, sts: Any) -> None:
    sts.get_session_token(**with_mfa(user))
    with pytest.raises(ClientError) as error:
        sts.get_session_token(**with_mfa(user))
    response = error.value.response["Error"]
    assert response["Code"] == "AccessDenied"
    # AWS's message ends in a space, which botocore keeps.
    assert (
        response["Message"]
        == "MultiFactorAuthentication failed with invalid MFA one time pass code. "
    )
    with pytest.raises(ClientError):
        assume(sts, aws.add_role("admin"), **with_mfa(user))
    aws.clock.advance(30)
    sts.get_session_token(**with_mfa(user))
    assert aws.calls[0].parameters["TokenCode"] == aws.calls[1].parameters["TokenCode"]


def test_a_wrong_code_is_refused(user: User, sts: Any) -> None:
    wrong = f"{(int(user.totp()) + 1) % 10**6:06d}"
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            sts.get_session_token(SerialNumber=user.mfa_serial, TokenCode=wrong)
        refused(error, "AccessDenied", "invalid MFA one time pass code")


@pytest.mark.parametrize(("ahead", "accepted"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_a_code_may_be_one_step_off(user: User, sts: Any, ahead: int, accepted: bool) -> None:
    asked = {"SerialNumber": user.mfa_serial, "TokenCode": user.totp(ahead=ahead)}
    if accepted:
        sts.get_session_token(**asked)
    else:
        with pytest.raises(ClientError):
            sts.get_session_token(**asked)


def test_the_device_must_be_the_callers(aws: FakeAws, user: User, sts: Any) -> None:
    other = aws.add_user("other", mfa=True)
    for serial, code in (
        (other.mfa_serial, other.totp()),
        (user.mfa_serial + "x", user.totp()),
    ):
        with pytest.raises(ClientError) as error:
            sts.get_session_token(SerialNumber=serial, TokenCode=code)
        refused(error, "AccessDenied", "unable to validate MFA code")


def test_a_user_may_have_two_devices(aws: FakeAws, user: User, sts: Any) -> None:
    second = aws.add_mfa_device(user)
    assert second.serial != user.mfa_serial
    sts.get_session_token(**with_mfa(user))
    sts.get_session_token(SerialNumber=second.serial, TokenCode=user.totp(second.serial))


def test_serial_and_code_come_together(user: User, sts: Any) -> None:
    for half in ({"SerialNumber": user.mfa_serial}, {"TokenCode": user.totp()}):
        with pytest.raises(ClientError) as error:
            sts.get_session_token(**half)
        refused(error, "AccessDenied", "must provide both MFA serial number and one time")


def test_a_code_must_be_six_digits(user: User, sts: Any) -> None:
    with pytest.raises(ClientError) as error:
        sts.get_session_token(SerialNumber=user.mfa_serial, TokenCode="12345a")
    refused(error, "ValidationError", "Value '12345a' at 'tokenCode' failed to satisfy constraint")


def test_a_session_may_not_present_a_device(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("admin")
    for answer in (sts.get_session_token(), assume(sts, role)):
        with pytest.raises(ClientError) as error:
            assume(client_of("sts", aws.url, answer), role, **with_mfa(user))
        refused(error, "AccessDenied", "MultiFactorAuthentication failed")
    sts.get_session_token(**with_mfa(user))


# AssumeRole


def test_a_role_session_is_the_role(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("admin", path="/ops/", account="210987654321", trusts=[user])
    answer = assume(sts, role)
    arn = "arn:aws:sts::210987654321:assumed-role/admin/jon@laptop"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    assert "PackedPolicySize" not in answer
    assert seconds_left(answer) == 3600
    identity = client_of("sts", aws.url, answer).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (arn, "210987654321")
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    session = aws.session(answer["Credentials"]["AccessKeyId"])
    assert (session.kind, session.role, session.chain_depth, session.mfa) == (
        "role",
        role,
        1,
        False,
    )
    assert aws.calls[0].returned_access_key_id == session.access_key_id


def test_a_role_session_expires(aws: FakeAws, sts: Any) -> None:
    inside = client_of("sts", aws.url, assume(sts, aws.add_role("admin"), DurationSeconds=900))
    aws.clock.advance(900)
    with pytest.raises(ClientError) as error:
        inside.get_caller_identity()
    refused(error, "ExpiredToken", "expired")


def test_duration_is_capped_by_the_role(aws: FakeAws, sts: Any) -> None:
    usual, long = aws.add_role("usual"), aws.add_role("long", max_session_duration=43200)
    with pytest.raises(ClientError) as error:
        assume(sts, usual, DurationSeconds=3601)
    refused(
        error,
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    assert seconds_left(assume(sts, long, DurationSeconds=43200)) == 43200
    for seconds in (899, 43201):
        with pytest.raises(ClientError) as error:
            assume(sts, long, DurationSeconds=seconds)
        refused(error, "ValidationError", "1 validation error detected")


def test_a_chained_role_lasts_an_hour_at_most(aws: FakeAws, user: User, sts: Any) -> None:
    first = aws.add_role("first", max_session_duration=43200)
    second = aws.add_role("second", max_session_duration=43200)
    chained = client_of("sts", aws.url, assume(sts, first, DurationSeconds=7200))
    with pytest.raises(ClientError) as error:
        assume(chained, second, DurationSeconds=3601)
    refused(
        error,
        "ValidationError",
        "exceeds the 1 hour session limit for roles assumed by role chaining",
    )
    answer = assume(chained, second, DurationSeconds=3600)
    session = aws.session(answer["Credentials"]["AccessKeyId"])
    assert (session.chain_depth, session.user) == (2, user)


def test_a_role_assumed_with_a_user_session_is_not_chained(
    aws: FakeAws, user: User, sts: Any
) -> None:
    role = aws.add_role("long", max_session_duration=43200)
    inside = client_of("sts", aws.url, sts.get_session_token(**with_mfa(user)))
    assert seconds_left(assume(inside, role, DurationSeconds=7200)) == 7200


def test_only_who_is_trusted_may_assume(aws: FakeAws, user: User, sts: Any) -> None:
    other = aws.add_user("other")
    role = aws.add_role("admin", trusts=[other])
    with pytest.raises(ClientError) as error:
        assume(sts, role)
    refused(
        error,
        "AccessDenied",
        f"User: {user.arn} is not authorized to perform: sts:AssumeRole on resource: {role.arn}",
    )
    assume(client_of("sts", aws.url, other), role)
    for trusted in (user.account, f"arn:aws:iam::{user.account}:root", user.arn):
        assume(sts, aws.add_role("r" + trusted[-4:], trusts=[trusted]))


def test_a_role_may_trust_a_role(aws: FakeAws, sts: Any) -> None:
    first = aws.add_role("first")
    second = aws.add_role("second", trusts=[first], account="210987654321")
    with pytest.raises(ClientError):
        assume(sts, second)
    assume(client_of("sts", aws.url, assume(sts, first)), second)


def test_a_missing_role_looks_like_a_forbidden_one(aws: FakeAws, sts: Any) -> None:
    with pytest.raises(ClientError) as error:
        sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/nope", RoleSessionName="jon")
    refused(error, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource")


def test_a_user_may_be_denied_to_assume(aws: FakeAws) -> None:
    user = aws.add_user("weak", denied=["sts:Assume*"])
    with pytest.raises(ClientError) as error:
        assume(client_of("sts", aws.url, user), aws.add_role("admin", trusts=[user]))
    refused(error, "AccessDenied", "sts:AssumeRole")


def test_the_external_id_must_match(aws: FakeAws, sts: Any) -> None:
    role = aws.add_role("partner", external_id="x-1234")
    for wrong in ({}, {"ExternalId": "x-1235"}):
        with pytest.raises(ClientError) as error:
            assume(sts, role, **wrong)
        refused(error, "AccessDenied", "sts:AssumeRole")
    assume(sts, role, ExternalId="x-1234")
    assume(sts, aws.add_role("open"), ExternalId="whatever")


def test_a_role_may_require_mfa(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("careful", require_mfa=True)
    with pytest.raises(ClientError) as error:
        assume(sts, role)
    refused(error, "AccessDenied", "sts:AssumeRole")
    with pytest.raises(ClientError):
        assume(client_of("sts", aws.url, sts.get_session_token()), role)
    assume(sts, role, **with_mfa(user))
    aws.clock.advance(30)
    session = sts.get_session_token(**with_mfa(user))
    inside = assume(client_of("sts", aws.url, session), role)
    assert aws.session(inside["Credentials"]["AccessKeyId"]).mfa


def test_mfa_is_handed_down_a_chain_unless_switched_off(aws: FakeAws, user: User, sts: Any) -> None:
    first, second = aws.add_role("first"), aws.add_role("second", require_mfa=True)
    chained = client_of("sts", aws.url, assume(sts, first, **with_mfa(user)))
    assume(chained, second)
    aws.sts.mfa_survives_roles = False
    with pytest.raises(ClientError) as error:
        assume(chained, second)
    refused(error, "AccessDenied", "sts:AssumeRole")


def test_a_code_is_spent_even_if_the_role_refuses(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("admin")
    with pytest.raises(ClientError) as error:
        assume(sts, role, **with_mfa(user, DurationSeconds=7200))
    refused(error, "ValidationError", "MaxSessionDuration")
    with pytest.raises(ClientError) as error:
        assume(sts, role, **with_mfa(user))
    refused(error, "AccessDenied", "invalid MFA one time pass code")


def test_a_malformed_request_does_not_spend_the_code(aws: FakeAws, user: User, sts: Any) -> None:
    role = aws.add_role("admin")
    with pytest.raises(ClientError):
        assume(sts, role, **with_mfa(user, DurationSeconds=1))
    assume(sts, role, **with_mfa(user))


def test_a_session_name_has_its_characters(aws: FakeAws, sts: Any) -> None:
    role = aws.add_role("admin")
    for bad in ("jon smith", "j" * 65, "jön"):
        with pytest.raises(ClientError) as error:
            sts.assume_role(RoleArn=role.arn, RoleSessionName=bad)
        refused(error, "ValidationError", f"Value '{bad}' at 'roleSessionName'")
    sts.assume_role(RoleArn=role.arn, RoleSessionName="a+=,.@-_9")


def test_several_faulty_parameters_are_told_at_once(aws: FakeAws, sts: Any) -> None:
    with pytest.raises(ClientError) as error:
        sts.assume_role(
            RoleArn=aws.add_role("admin").arn, RoleSessionName="a b", DurationSeconds=899
        )
    refused(error, "ValidationError", "2 validation errors detected: Value 'a b'")


def test_a_role_arn_must_be_one(sts: Any) -> None:
    with pytest.raises(ClientError) as error:
        sts.assume_role(RoleArn="arn:aws:iam::12:role/not-an-arn", RoleSessionName="jon")
    refused(error, "ValidationError", "is invalid")


def test_tags_and_source_identity_are_kept_and_handed_down(aws: FakeAws, sts: Any) -> None:
    first, second = aws.add_role("first"), aws.add_role("second")
    answer = assume(
        sts,
        first,
        Tags=[{"Key": "Team", "Value": "ops"}, {"Key": "Cost Centre", "Value": ""}],
        TransitiveTagKeys=["team"],
        SourceIdentity="jonsmith",
    )
    assert answer["SourceIdentity"] == "jonsmith"
    assert answer["PackedPolicySize"] >= 1
    session = aws.session(answer["Credentials"]["AccessKeyId"])
    assert session.tags == {"Team": "ops", "Cost Centre": ""}
    assert aws.calls[0].parameters["Tags.member.1.Key"] == "Team"
    chained = client_of("sts", aws.url, answer)
    further = assume(chained, second, Tags=[{"Key": "Stage", "Value": "test"}])
    session = aws.session(further["Credentials"]["AccessKeyId"])
    assert session.tags == {"Team": "ops", "Stage": "test"}
    assert session.source_identity == "jonsmith"
    with pytest.raises(ClientError) as error:
        assume(chained, second, Tags=[{"Key": "TEAM", "Value": "dev"}])
    refused(error, "InvalidParameterValue", "conflicts with a transitive tag key")
    with pytest.raises(ClientError) as error:
        assume(chained, second, SourceIdentity="other")
    refused(error, "AccessDenied", "source identity is already set")


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (
            {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]},
            "InvalidParameterValue",
            "Duplicate tag keys",
        ),
        (
            {"Tags": [{"Key": "a", "Value": "1"}], "TransitiveTagKeys": ["b"]},
            "InvalidParameterValue",
            "must be included in the requested tags",
        ),
        ({"Tags": [{"Key": "a{", "Value": "1"}]}, "ValidationError", "'tags.1.member.key'"),
        (
            {"Tags": [{"Key": f"k{n}", "Value": "v"} for n in range(51)]},
            "ValidationError",
            "less than or equal to 50",
        ),
        ({"SourceIdentity": "aws:me"}, "ValidationError", "'sourceIdentity'"),
        ({"ExternalId": "no spaces"}, "ValidationError", "'externalId'"),
        ({"Policy": "{"}, "MalformedPolicyDocument", "policy"),
        (
            {"Policy": json.dumps({"Statement": ["x" * 4000]})},
            "PackedPolicyTooLarge",
            "Packed policy consumes",
        ),
    ],
)
def test_what_a_session_carries_is_checked(
    aws: FakeAws, sts: Any, asked: dict[str, Any], code: str, told: str
) -> None:
    with pytest.raises(ClientError) as error:
        assume(sts, aws.add_role("admin"), **asked)
    refused(error, code, told)


def test_a_role_may_limit_tags_and_source_identity(aws: FakeAws, sts: Any) -> None:
    role = aws.add_role("admin", tag_keys=["Team"], source_identities=["jonsmith"])
    assume(sts, role, Tags=[{"Key": "Team", "Value": "ops"}], SourceIdentity="jonsmith")
    with pytest.raises(ClientError) as error:
        assume(sts, role, Tags=[{"Key": "Other", "Value": "ops"}])
    refused(error, "AccessDenied", "sts:TagSession")
    with pytest.raises(ClientError) as error:
        assume(sts, role, SourceIdentity="mallory")
    refused(error, "AccessDenied", "sts:SetSourceIdentity")


def test_session_policies_are_recorded(aws: FakeAws, sts: Any) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    answer = assume(sts, aws.add_role("admin"), Policy=policy, PolicyArns=[{"arn": arn}])
    session = aws.session(answer["Credentials"]["AccessKeyId"])
    assert (session.policy, session.policy_arns) == (policy, (arn,))
    assert 1 <= answer["PackedPolicySize"] <= 100


# GetFederationToken


def test_a_federated_user_can_do_little(aws: FakeAws, user: User, sts: Any) -> None:
    answer = sts.get_federation_token(
        Name="jon", DurationSeconds=900, Policy=json.dumps({"Statement": []})
    )
    arn = f"arn:aws:sts::{user.account}:federated-user/jon"
    assert answer["FederatedUser"]["Arn"] == arn
    assert seconds_left(answer) == 900
    federated = client_of("sts", aws.url, answer)
    assert federated.get_caller_identity()["Arn"] == arn
    with pytest.raises(ClientError) as error:
        assume(federated, aws.add_role("admin"))
    refused(error, "AccessDenied", "sts:AssumeRole")
    with pytest.raises(ClientError) as error:
        client_of("iam", aws.url, answer).list_access_keys(UserName="jonsmith")
    refused(error, "InvalidClientTokenId", "invalid")


def test_a_federated_name_has_32_characters_at_most(sts: Any) -> None:
    with pytest.raises(ClientError) as error:
        sts.get_federation_token(Name="j" * 33)
    refused(error, "ValidationError", "'name'")


def test_get_caller_identity_cannot_be_denied(aws: FakeAws) -> None:
    nobody = aws.add_user("nobody", denied=["*"])
    client_of("sts", aws.url, nobody).get_caller_identity()
    with pytest.raises(ClientError) as error:
        client_of("sts", aws.url, nobody).get_session_token()
    refused(error, "AccessDenied", "sts:GetSessionToken")
