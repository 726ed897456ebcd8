"""The fake's IAM keeps the rules of access keys."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes import FakeAws, User
from tests.fakes.clients import client_of
from tests.samples import EXAMPLE_ID


@pytest.fixture
def iam_user(aws: FakeAws) -> User:
    aws.clock.freeze(1_700_000_010)
    return aws.add_user("jonsmith", path="/ops/", mfa=True)


@pytest.fixture
def iam(aws: FakeAws, iam_user: User) -> Any:
    return client_of("iam", aws.url, iam_user)


def error_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int, str]:
    response = error.value.response
    return (
        response["Error"]["Code"],
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Message"],
    )


def test_get_user_describes_the_caller_or_whoever_is_named(
    aws: FakeAws, iam_user: User, iam: Any
) -> None:
    aws.add_user("other")
    found = iam.get_user()["User"]
    assert (found["UserName"], found["Arn"], found["Path"]) == ("jonsmith", iam_user.arn, "/ops/")
    assert found["UserId"] == iam_user.user_id
    assert found["CreateDate"].timestamp() == 1_700_000_010
    assert iam.get_user(UserName="other")["User"]["UserName"] == "other"
    with pytest.raises(ClientError) as error:
        iam.get_user(UserName="nobody")
    assert error_of(error)[:2] == ("NoSuchEntity", 404)


def test_users_of_another_account_are_out_of_sight(aws: FakeAws, iam: Any) -> None:
    aws.add_user("stranger", account="210987654321")
    with pytest.raises(ClientError) as error:
        iam.get_user(UserName="stranger")
    assert error_of(error)[0] == "NoSuchEntity"


def test_a_new_key_works_at_once_and_is_listed(aws: FakeAws, iam_user: User, iam: Any) -> None:
    made = iam.create_access_key()["AccessKey"]
    assert made["AccessKeyId"].startswith("AKIA")
    assert (made["UserName"], made["Status"]) == ("jonsmith", "Active")
    assert len(made["SecretAccessKey"]) == 40
    assert client_of("sts", aws.url, made).get_caller_identity()["Arn"] == iam_user.arn
    listed = iam.list_access_keys()["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in listed] == [iam_user.access_key_id, made["AccessKeyId"]]
    assert all("SecretAccessKey" not in key for key in listed)
    assert aws.calls[0].returned_access_key_id == made["AccessKeyId"]
    assert aws.calls[2].returned_access_key_id is None


def test_a_user_has_two_keys_at_most_inactive_ones_included(iam_user: User, iam: Any) -> None:
    iam.create_access_key()
    iam.update_access_key(AccessKeyId=list(iam_user.keys)[1], Status="Inactive")
    with pytest.raises(ClientError) as error:
        iam.create_access_key()
    assert error_of(error) == (
        "LimitExceeded",
        409,
        "Cannot exceed quota for AccessKeysPerUser: 2",
    )


def test_an_inactive_key_is_refused_until_active_again(
    aws: FakeAws, iam_user: User, iam: Any
) -> None:
    second = client_of("iam", aws.url, iam.create_access_key()["AccessKey"])
    second.update_access_key(AccessKeyId=iam_user.access_key_id, Status="Inactive")
    with pytest.raises(ClientError) as error:
        iam.get_user()
    assert error_of(error)[:2] == ("InvalidClientTokenId", 403)
    listed = second.list_access_keys()["AccessKeyMetadata"]
    assert [key["Status"] for key in listed] == ["Inactive", "Active"]
    second.update_access_key(AccessKeyId=iam_user.access_key_id, Status="Active")
    iam.get_user()


def test_a_deleted_key_is_refused_and_makes_room(aws: FakeAws, iam_user: User, iam: Any) -> None:
    second = client_of("iam", aws.url, iam.create_access_key()["AccessKey"])
    second.delete_access_key(AccessKeyId=iam_user.access_key_id, UserName="jonsmith")
    with pytest.raises(ClientError) as error:
        client_of("sts", aws.url, iam_user).get_caller_identity()
    assert error_of(error)[:2] == ("InvalidClientTokenId", 403)
    second.create_access_key()
    with pytest.raises(ClientError) as error:
        second.delete_access_key(AccessKeyId=iam_user.access_key_id)
    assert error_of(error)[:2] == ("NoSuchEntity", 404)


def test_a_session_outlives_the_key_it_came_from(aws: FakeAws, iam_user: User, iam: Any) -> None:
    session = client_of("sts", aws.url, iam_user).get_session_token()
    iam.delete_access_key(AccessKeyId=iam_user.access_key_id)
    assert client_of("sts", aws.url, session).get_caller_identity()["Arn"] == iam_user.arn


def test_a_key_belongs_to_one_user(aws: FakeAws, iam: Any) -> None:
    other = aws.add_user("other")
    with pytest.raises(ClientError) as error:
        iam.delete_access_key(AccessKeyId=other.access_key_id)
    assert error_of(error)[0] == "NoSuchEntity"
    with pytest.raises(ClientError) as error:
        iam.update_access_key(AccessKeyId=other.access_key_id, Status="Inactive")
    assert error_of(error)[0] == "NoSuchEntity"
    iam.delete_access_key(AccessKeyId=other.access_key_id, UserName="other")


def test_a_new_key_may_be_unknown_for_a_time(aws: FakeAws, iam: Any) -> None:
    aws.delay_new_keys(seconds=10)
    made = client_of("sts", aws.url, iam.create_access_key()["AccessKey"])
    aws.clock.advance(9.5)
    with pytest.raises(ClientError) as error:
        made.get_caller_identity()
    assert error_of(error)[:2] == ("InvalidClientTokenId", 403)
    aws.clock.advance(0.5)
    made.get_caller_identity()


def test_a_new_key_may_be_unknown_for_some_uses(aws: FakeAws, iam: Any) -> None:
    aws.delay_new_keys(attempts=2)
    made = client_of("sts", aws.url, iam.create_access_key()["AccessKey"])
    for _ in range(2):
        with pytest.raises(ClientError):
            made.get_caller_identity()
    made.get_caller_identity()
    assert [call.outcome for call in aws.calls[1:]] == ["InvalidClientTokenId"] * 2 + ["ok"]


def test_a_user_may_be_denied_an_action(aws: FakeAws) -> None:
    user = aws.add_user("weak", denied=["iam:GetUser"])
    iam = client_of("iam", aws.url, user)
    with pytest.raises(ClientError) as error:
        iam.get_user()
    code, status, message = error_of(error)
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {user.arn} is not authorized to perform: iam:GetUser on resource: user weak "
        "because no identity-based policy allows the iam:GetUser action"
    )
    iam.list_access_keys()
    user.denied.add("iam:*AccessKey*")
    with pytest.raises(ClientError) as error:
        iam.create_access_key()
    assert error_of(error)[0] == "AccessDenied"
    user.denied.clear()
    iam.get_user()


def test_a_role_must_name_the_user(aws: FakeAws, iam_user: User) -> None:
    role = aws.add_role("rotator", denied=["iam:GetUser"])
    answer = client_of("sts", aws.url, iam_user).assume_role(
        RoleArn=role.arn, RoleSessionName="rotation"
    )
    iam = client_of("iam", aws.url, answer)
    with pytest.raises(ClientError) as error:
        iam.list_access_keys()
    code, status, message = error_of(error)
    assert (code, status) == ("ValidationError", 400)
    assert message == "Must specify userName when calling with non-User credentials"
    assert len(iam.list_access_keys(UserName="jonsmith")["AccessKeyMetadata"]) == 1
    with pytest.raises(ClientError) as error:
        iam.get_user(UserName="jonsmith")
    assert "assumed-role/rotator/rotation is not authorized" in error_of(error)[2]


def test_last_use_is_told(aws: FakeAws, iam_user: User, iam: Any) -> None:
    made = iam.create_access_key()["AccessKey"]
    unused = iam.get_access_key_last_used(AccessKeyId=made["AccessKeyId"])
    assert unused["UserName"] == "jonsmith"
    assert unused["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    client_of("sts", aws.url, made, region="eu-west-1").get_caller_identity()
    used = iam.get_access_key_last_used(AccessKeyId=made["AccessKeyId"])["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("sts", "eu-west-1")
    assert used["LastUsedDate"].timestamp() == 1_700_000_010
    with pytest.raises(ClientError) as error:
        iam.get_access_key_last_used(AccessKeyId=EXAMPLE_ID)
    assert error_of(error)[:2] == ("AccessDenied", 403)
    iam_user.denied.add("iam:GetAccessKeyLastUsed")
    with pytest.raises(ClientError) as error:
        iam.get_access_key_last_used(AccessKeyId=iam_user.access_key_id)
    assert error_of(error)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("action", "asked", "told"),
    [
        ("get_user", {"UserName": "a b"}, "'userName'"),
        ("delete_access_key", {"AccessKeyId": "-" * 16}, "'accessKeyId'"),
        (
            "update_access_key",
            {"AccessKeyId": EXAMPLE_ID, "Status": "Gone"},
            "enum value set: [Active, Inactive]",
        ),
    ],
)
def test_parameters_are_checked(iam: Any, action: str, asked: dict[str, str], told: str) -> None:
    with pytest.raises(ClientError) as error:
        getattr(iam, action)(**asked)
    code, status, message = error_of(error)
    assert (code, status) == ("ValidationError", 400)
    assert told in message
