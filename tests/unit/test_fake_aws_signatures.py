"""The fake verifies who signed what."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.parse
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import FakeAws, User
from tests.fakes.clients import client, client_of
from tests.samples import EXAMPLE_ID

IDENTITY = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def signed(
    aws: FakeAws,
    user: User,
    *,
    region: str = "us-east-1",
    service: str = "sts",
    parameters: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    timestamp: str | None = None,
) -> tuple[dict[str, str], bytes]:
    """Sign a request with botocore, by hand."""
    body = urllib.parse.urlencode(parameters or IDENTITY).encode()
    request = AWSRequest(
        method="POST",
        url=aws.url + "/",
        data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
    )
    at = timestamp or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    request.context["timestamp"] = at
    request.headers["X-Amz-Date"] = at
    signer = SigV4Auth(Credentials(user.access_key_id, user.secret_access_key), service, region)
    canonical = signer.canonical_request(request)
    to_sign = signer.string_to_sign(request, canonical)
    names = signer.signed_headers(signer.headers_to_sign(request))
    request.headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={names}, Signature={signer.signature(to_sign, request)}"
    )
    return dict(request.headers.items()), body


def send(aws: FakeAws, headers: dict[str, str], body: bytes) -> tuple[int, str, str]:
    """Post and return status, error code (empty for success) and message."""
    connection = http.client.HTTPConnection(aws.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        root = ET.fromstring(response.read())
    finally:
        connection.close()
    texts = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    assert texts["RequestId"]
    return response.status, texts.get("Code", ""), texts.get("Message", "")


def test_a_user_is_known_by_its_signature(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith", path="/ops/", account="210987654321")
    with_sts = client_of("sts", aws.url, user, region="eu-west-1")
    answer = with_sts.get_caller_identity()
    assert answer["Arn"] == user.arn == "arn:aws:iam::210987654321:user/ops/jonsmith"
    assert answer["Account"] == "210987654321"
    assert answer["UserId"] == user.user_id
    assert answer["ResponseMetadata"]["RequestId"]


def test_a_call_is_recorded_whole(aws: FakeAws) -> None:
    aws.clock.freeze(1_700_000_000)
    user = aws.add_user("jonsmith")
    sts = client_of("sts", aws.url, user, region="eu-west-1")
    key_id = sts.get_session_token(DurationSeconds=900)["Credentials"]["AccessKeyId"]
    (call,) = aws.calls
    assert call.action == "GetSessionToken"
    assert call.parameters == {"DurationSeconds": "900", "Version": "2011-06-15"}
    assert (call.service, call.region) == ("sts", "eu-west-1")
    assert call.host == aws.url.removeprefix("http://")
    assert call.at == 1_700_000_000
    assert (call.access_key_id, call.returned_access_key_id) == (user.access_key_id, key_id)
    assert call.outcome == "ok"
    with pytest.raises(TypeError):
        call.parameters["Action"] = "x"  # type: ignore[index]
    assert aws.actions() == ["GetSessionToken"]
    aws.reset_calls()
    assert aws.calls == []


def test_a_wrong_secret_is_refused_and_recorded(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    sts = client("sts", aws.url, user.access_key_id, user.secret_access_key + "x")
    with pytest.raises(ClientError) as error:
        sts.get_caller_identity()
    assert code_of(error) == ("SignatureDoesNotMatch", 403)
    (call,) = aws.calls
    assert (call.outcome, call.access_key_id) == ("SignatureDoesNotMatch", user.access_key_id)


def test_an_unknown_key_is_refused(aws: FakeAws) -> None:
    with pytest.raises(ClientError) as error:
        client("sts", aws.url, EXAMPLE_ID, "secret").get_caller_identity()
    assert code_of(error) == ("InvalidClientTokenId", 403)


def test_a_hand_signed_request_is_accepted(aws: FakeAws) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    assert send(aws, headers, body)[0] == 200


def test_a_tampered_body_is_refused(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    headers, body = signed(aws, user, parameters={**IDENTITY, "Action": "GetSessionToken"})
    assert send(aws, headers, body)[0] == 200
    tampered = body.replace(b"GetSessionToken", b"GetCallerIdentity")
    assert send(aws, headers, tampered)[:2] == (403, "SignatureDoesNotMatch")


def test_a_body_hash_in_a_header_is_not_taken_on_trust(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    body_hash = hashlib.sha256(urllib.parse.urlencode(IDENTITY).encode()).hexdigest()
    headers, body = signed(aws, user, headers={"X-Amz-Content-SHA256": body_hash})
    assert send(aws, headers, body)[0] == 200
    assert send(aws, headers, body + b"&x=y")[:2] == (403, "SignatureDoesNotMatch")


def test_a_tampered_signed_header_is_refused(aws: FakeAws) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    assert send(aws, headers, body)[:2] == (403, "SignatureDoesNotMatch")


def test_a_header_that_must_be_signed_cannot_be_added_later(aws: FakeAws) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    headers["X-Amz-Anything"] = "1"
    status, code, message = send(aws, headers, body)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "'x-amz-anything' must be a 'SignedHeader'" in message


def test_a_request_without_signature_is_refused(aws: FakeAws) -> None:
    _, body = signed(aws, aws.add_user("jonsmith"))
    assert send(aws, {}, body)[:2] == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda text: text.replace("Signature=", "Sig="), "requires 'Signature' parameter"),
        (lambda text: text.replace("SignedHeaders=", "S="), "requires 'SignedHeaders'"),
        (lambda text: text.replace("/aws4_request", ""), "exactly 5 slash-delimited"),
        (lambda text: text.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA"), "AWS4-ECDSA"),
    ],
)
def test_an_incomplete_authorization_is_refused(
    aws: FakeAws, break_it: Callable[[str], str], told: str
) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    headers["Authorization"] = break_it(headers["Authorization"])
    status, code, message = send(aws, headers, body)
    assert (status, code) == (400, "IncompleteSignature")
    assert told in message


def test_a_request_without_date_is_refused(aws: FakeAws) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    del headers["X-Amz-Date"]
    assert send(aws, headers, body)[:2] == (400, "IncompleteSignature")


@pytest.mark.parametrize(
    ("service", "region", "told"),
    [
        ("s3", "us-east-1", "correct service"),
        ("sts", "nowhere", "valid region, not 'nowhere'"),
        ("iam", "eu-west-1", "valid region, not 'eu-west-1'"),
    ],
)
def test_the_credential_scope_must_fit_the_service(
    aws: FakeAws, service: str, region: str, told: str
) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"), service=service, region=region)
    status, code, message = send(aws, headers, body)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert told in message


def test_the_scope_date_must_be_that_of_the_request(aws: FakeAws) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"))
    day = headers["X-Amz-Date"][:8]
    headers["Authorization"] = headers["Authorization"].replace(f"/{day}/", "/20010101/")
    status, code, message = send(aws, headers, body)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "Date in Credential scope" in message


def test_an_action_of_another_service_or_version_is_unknown(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    for parameters in (
        {"Action": "GetUser", "Version": "2011-06-15"},
        {"Action": "GetCallerIdentity", "Version": "2010-05-08"},
        {"Action": "NoSuchThing", "Version": "2011-06-15"},
    ):
        headers, body = signed(aws, user, parameters=parameters)
        assert send(aws, headers, body)[:2] == (400, "InvalidAction")


@pytest.mark.parametrize(
    ("seconds", "told"), [(-301, "Signature expired"), (301, "Signature not yet current")]
)
def test_a_skewed_timestamp_is_refused_while_the_clock_shows_real_time(
    aws: FakeAws, seconds: int, told: str
) -> None:
    user = aws.add_user("jonsmith")
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + seconds))
    headers, body = signed(aws, user, timestamp=at)
    status, code, message = send(aws, headers, body)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert told in message
    aws.query_api.check_skew = False
    assert send(aws, headers, body)[0] == 200


def test_skew_is_not_checked_on_a_moved_clock_unless_asked_for(aws: FakeAws) -> None:
    sts = client_of("sts", aws.url, aws.add_user("jonsmith"))
    aws.clock.advance(3600)
    sts.get_caller_identity()
    aws.query_api.check_skew = True
    with pytest.raises(ClientError) as error:
        sts.get_caller_identity()
    assert code_of(error) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda c: {**c, "SessionToken": None}, id="missing"),
        pytest.param(lambda c: {**c, "SessionToken": c["SessionToken"][:-1]}, id="cut"),
        pytest.param(lambda c: {**c, "SessionToken": "x" + c["SessionToken"]}, id="changed"),
    ],
)
def test_a_session_needs_its_own_token(
    aws: FakeAws, tamper: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    sts = client_of("sts", aws.url, aws.add_user("jonsmith"))
    credentials = sts.get_session_token()["Credentials"]
    with pytest.raises(ClientError) as error:
        client_of("sts", aws.url, tamper(credentials)).get_caller_identity()
    assert code_of(error) == ("InvalidClientTokenId", 403)


def test_a_session_needs_its_own_secret(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    credentials = client_of("sts", aws.url, user).get_session_token()["Credentials"]
    wrong = {**credentials, "SecretAccessKey": user.secret_access_key}
    with pytest.raises(ClientError) as error:
        client_of("sts", aws.url, wrong).get_caller_identity()
    assert code_of(error) == ("SignatureDoesNotMatch", 403)


def test_a_long_term_key_takes_no_token(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    token = client_of("sts", aws.url, user).get_session_token()["Credentials"]["SessionToken"]
    mixed = client("sts", aws.url, user.access_key_id, user.secret_access_key, token)
    with pytest.raises(ClientError) as error:
        mixed.get_caller_identity()
    assert code_of(error) == ("InvalidClientTokenId", 403)


HEADER_VALUE = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)


@given(
    authorization=HEADER_VALUE
    | st.builds(
        "AWS4-HMAC-SHA256 Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, "
        "Signature={}".format,
        st.just(EXAMPLE_ID) | HEADER_VALUE,
        st.just("20230101") | HEADER_VALUE,
        st.just("us-east-1") | HEADER_VALUE,
        st.sampled_from(["sts", "iam"]),
        st.just("host;x-amz-date") | HEADER_VALUE,
        HEADER_VALUE,
    ),
    timestamp=st.sampled_from(["20230101T000000Z", "20239999T999999Z"]) | HEADER_VALUE,
    host=st.just("localhost") | HEADER_VALUE,
    body=st.binary(max_size=60),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_garbage_breaks_the_fake_or_gets_by(
    garbage_fake: FakeAws, authorization: str, timestamp: str, host: str, body: bytes
) -> None:
    headers = {
        "Authorization": authorization,
        "X-Amz-Date": timestamp,
        "Host": host,
        "Content-Length": str(len(body)),
    }
    connection = http.client.HTTPConnection(garbage_fake.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/", body, {k: v.encode("latin-1") for k, v in headers.items()})
        assert connection.getresponse().status in (400, 403)
    finally:
        connection.close()
    assert garbage_fake.defects == []


@pytest.fixture
def garbage_fake(aws: FakeAws) -> FakeAws:
    aws.query_api.check_skew = True
    aws.add_user("jonsmith", access_key_id=EXAMPLE_ID)
    return aws


@pytest.mark.parametrize("timestamp", ["20239999T999999Z", "20230231T000000Z"])
def test_a_date_that_is_none_is_refused(aws: FakeAws, timestamp: str) -> None:
    headers, body = signed(aws, aws.add_user("jonsmith"), timestamp=timestamp)
    status, code, message = send(aws, headers, body)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "basic format" in message


def test_every_secret_given_out_is_known_for_later_searches(aws: FakeAws) -> None:
    user = aws.add_user("jonsmith", mfa=True)
    credentials = client_of("sts", aws.url, user).get_session_token()["Credentials"]
    assert aws.issued_secrets() == {
        user.secret_access_key,
        user.mfa_seed,
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    }
