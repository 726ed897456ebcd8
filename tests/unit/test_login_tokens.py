"""Codes are exchanged and tokens refreshed; each refusal of AWS has its sentence and its way on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from filevault.aws.clients import Clients
from filevault.aws.dpop import DpopKey
from filevault.aws.login_errors import callback_refused, is_over
from filevault.aws.login_link import CROSS_DEVICE, AuthorizationRequest, confirmation_url
from filevault.aws.login_link import parse_pasted as parse
from filevault.aws.login_tokens import LoginRequester, LoginTokens, revoke, subject_of
from filevault.aws.pkce import new_verifier
from filevault.errors import AwsError, ClockError, FilevaultError, NetworkError, NotAwsError
from tests.fakes import FakeAws, Fault, drop
from tests.fakes.faults import raw, rewrite

STATE = "0b1f7c52-6b8e-4c2f-9a53-6d8d0f0f8a11"
REGION = "eu-west-1"
AGAIN = "filevault signin work"


class Signing:
    """A user of the stand-in and one login; `slept` has the pauses between attempts."""

    def __init__(self, aws: FakeAws) -> None:
        self.aws = aws
        self.user = aws.add_user("jon")
        aws.login.user = self.user
        self.slept: list[float] = []
        self.requester = self.at(REGION)

    def at(self, region: str, **changes: Any) -> LoginRequester:
        made = LoginRequester(
            Clients(),
            f"{self.aws.url}/signin/{region}",
            CROSS_DEVICE,
            DpopKey.generate(),
            "profile 'work'",
            AGAIN,
            self.aws.clock,
            self.slept.append,
        )
        return made._replace(**changes)

    def code(self, region: str = REGION) -> tuple[str, AuthorizationRequest]:
        """Sign in in a browser, and return the code with its request."""
        base = f"{self.aws.url}/signin/{region}"
        request = AuthorizationRequest(
            base, CROSS_DEVICE, confirmation_url(base), STATE, new_verifier()
        )
        return parse(self.aws.login.browse(request.link), STATE), request

    def signed_in(self) -> LoginTokens:
        return self.requester.exchange(*self.code())

    def refused(self, act: Callable[[], object]) -> FilevaultError:
        with pytest.raises(FilevaultError) as caught:
            act()
        error = caught.value
        shown = f"{error.message} {error.hint} {error!r}"
        assert not [secret for secret in self.aws.issued_secrets() if secret in shown]
        return error


@pytest.fixture
def signing(aws: FakeAws) -> Signing:
    return Signing(aws)


def test_a_code_becomes_credentials_of_the_user_who_signed_in(signing: Signing) -> None:
    before = signing.aws.clock()
    tokens = signing.signed_in()
    made = tokens.credentials
    assert signing.aws.session(made.access_key_id).session_token == made.session_token
    assert before + 899 <= (made.expiration or 0) <= before + 902
    assert (made.arn, made.account_id) == (signing.user.arn, "123456789012")
    assert tokens.subject == signing.user.arn
    assert tokens.refresh_token.startswith("ASOR")
    assert not [each for each in signing.aws.issued_secrets() if each in repr(tokens)]


def test_a_refresh_gives_other_tokens_for_the_same_key(signing: Signing) -> None:
    first = signing.signed_in()
    second = signing.requester.refresh(first.refresh_token)
    third = signing.requester.refresh(second.refresh_token)
    assert len({each.refresh_token for each in (first, second, third)}) == 3
    assert len({each.credentials.access_key_id for each in (first, second, third)}) == 3
    assert third.subject is None
    assert set(signing.aws.login.used.values()) == {1}


def strict(signing: Signing) -> dict[str, Callable[[], object]]:
    """Requests that the stand-in must refuse, so that what filevault sends is proven."""
    code, request = signing.code()
    tokens = signing.signed_in()
    return {
        "another verifier": lambda: signing.requester.exchange(
            code, request._replace(verifier=new_verifier())
        ),
        "a used code": lambda: signing.requester.exchange(code, request),
        "an unknown code": lambda: signing.requester.exchange("x" * 40, request),
        "another key": lambda: signing.at(REGION).refresh(tokens.refresh_token),
        "another region": lambda: signing.at("us-west-2", key=signing.requester.key).refresh(
            tokens.refresh_token
        ),
        "another client": lambda: signing.at(
            REGION, key=signing.requester.key, client_id="arn:aws:signin:::devtools/other"
        ).refresh(tokens.refresh_token),
        "an unknown token": lambda: signing.requester.refresh("ASORnothing"),
    }


def test_codes_and_tokens_are_bound_to_all_that_they_were_made_for(signing: Signing) -> None:
    for name, act in strict(signing).items():
        error = signing.refused(act)
        assert isinstance(error, AwsError), name
        assert error.code == "INVALID_REQUEST", name
        assert AGAIN in (error.hint or ""), name
    assert signing.slept == []


def test_a_refresh_token_serves_once(signing: Signing) -> None:
    first = signing.signed_in()
    signing.requester.refresh(first.refresh_token)
    error = signing.refused(lambda: signing.requester.refresh(first.refresh_token))
    assert "does not accept the refresh token" in error.message


def test_a_code_of_another_region_says_so(signing: Signing) -> None:
    code, request = signing.code("us-west-2")
    error = signing.refused(lambda: signing.requester.exchange(code, request))
    assert "try another --region" in (error.hint or "")


# Status, exception and error code of AWS; a part of the message and of the hint; whether it is for
# the exchange of a code; how often it was asked.
ERRORS: list[tuple[int, str, str, str, str, bool, int]] = [
    (403, "AccessDeniedException", "TOKEN_EXPIRED", "has ended", AGAIN, False, 1),
    (401, "AccessDeniedException", "TOKEN_EXPIRED", "has ended", AGAIN, False, 1),
    (403, "AccessDeniedException", "USER_CREDENTIALS_CHANGED", "MFA of the", AGAIN, False, 1),
    (
        403,
        "AccessDeniedException",
        "INSUFFICIENT_PERMISSIONS",
        "lacks the permission signin:CreateOAuth2Token",
        "SignInLocalDevelopmentAccess",
        True,
        1,
    ),
    (403, "AccessDeniedException", "AUTHCODE_EXPIRED", "too old", AGAIN, True, 1),
    (400, "ValidationException", "INVALID_REQUEST", "the code: it was used", "--region", True, 1),
    (400, "ValidationException", "", "the code: it was used", "--region", True, 1),
    (400, "ValidationException", "INVALID_REQUEST", "the refresh token", AGAIN, False, 1),
    (400, "ValidationException", "invalid_grant", "the refresh token", AGAIN, False, 1),
    (400, "InvalidGrantException", "", "the refresh token", AGAIN, False, 1),
    (429, "TooManyRequestsError", "rate_exceeded", "too many requests", "wait", False, 3),
    (429, "TooManyRequestsError", "rate_exceeded", "too many requests", "wait", True, 3),
    (500, "InternalServerException", "server_error", "internal failure", "wait", False, 3),
    (500, "InternalServerException", "server_error", "internal failure", "wait", True, 1),
    (503, "ServiceUnavailableException", "service_unavailable", "internal", "wait", False, 3),
    (502, "", "", "internal failure", "wait", False, 3),
    (404, "ResourceNotFoundException", "RESOURCE_NOT_FOUND", "does not know", AGAIN, False, 1),
    (409, "ConflictException", "CONFLICT", "another request", "again", False, 1),
    (402, "ServiceQuotaExceededException", "SERVICE_QUOTA_EXCEEDED", "as many", "end", True, 1),
    (400, "ValidationException", "unsupported_grant_type", "the form", "up to date", False, 1),
    (400, "ValidationException", "invalid_scope", "the form", "up to date", True, 1),
    (400, "ValidationException", "invalid_target", "the form", "up to date", True, 1),
    (400, "ValidationException", "invalid_client", "this region", "--region", True, 1),
    (403, "AccessDeniedException", "", "AWS denies it", "CreateOAuth2Token", False, 1),
    (418, "Teapot", "SHORT_AND_STOUT", "it answered 418", "AWS_ENDPOINT_URL_SIGNIN", False, 1),
]


@pytest.mark.parametrize(
    ("status", "name", "code", "says", "hint", "first", "times"),
    ERRORS,
    ids=[f"{each[0]}-{each[2] or each[1]}-{'code' if each[5] else 'token'}" for each in ERRORS],
)
def test_each_error_of_the_service_has_its_sentence_and_its_hint(
    signing: Signing,
    status: int,
    name: str,
    code: str,
    says: str,
    hint: str,
    first: bool,
    times: int,
) -> None:
    sent = code or "none"
    body = {"message": f"see {new_verifier()}", **({"error": code} if code else {})}
    answer = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"x-amzn-errortype: {name}:http://internal.amazon.com/\r\n"
        f"Content-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
    ).encode()
    fault = raw(lambda _: [head + answer])
    if first:
        code_given, request = signing.code()
        signing.aws.arm(fault, action="ExchangeCode", times=times)
        error = signing.refused(lambda: signing.requester.exchange(code_given, request))
        action = "ExchangeCode"
    else:
        tokens = signing.signed_in()
        signing.aws.arm(fault, action="RefreshToken", times=times)
        error = signing.refused(lambda: signing.requester.refresh(tokens.refresh_token))
        action = "RefreshToken"
    assert says in error.message, (sent, error.message)
    assert hint in (error.hint or ""), (sent, error.hint)
    assert error.message.startswith("AWS refused CreateOAuth2Token for profile 'work': ")
    assert signing.aws.actions().count(action) == times
    assert len(signing.slept) == times - 1
    passing = status == 429 or status >= 500
    assert isinstance(error, NetworkError if passing else AwsError)
    assert is_over(error) == (
        code in ("TOKEN_EXPIRED", "USER_CREDENTIALS_CHANGED", "RESOURCE_NOT_FOUND")
    )


def test_a_passing_failure_is_tried_again_with_another_proof(signing: Signing) -> None:
    tokens = signing.signed_in()
    signing.aws.arm(
        Fault("error", code="TooManyRequestsError/rate_exceeded", message="slow", status=429),
        action="RefreshToken",
    )
    assert signing.requester.refresh(tokens.refresh_token).refresh_token
    assert signing.slept == [0.5]  # the stand-in takes each jti once


def test_an_answer_that_got_lost_is_asked_for_again(signing: Signing) -> None:
    signing.aws.login.idempotent = True
    tokens = signing.signed_in()
    signing.aws.arm(drop(when="after"), action="RefreshToken")
    renewed = signing.requester.refresh(tokens.refresh_token)
    assert renewed.refresh_token == signing.aws.login.login_of(signing.user).refresh_token


def test_where_aws_does_not_repeat_it_a_person_must_sign_in_again(signing: Signing) -> None:
    tokens = signing.signed_in()
    signing.aws.arm(drop(when="after"), action="RefreshToken")
    error = signing.refused(lambda: signing.requester.refresh(tokens.refresh_token))
    assert isinstance(error, AwsError)
    assert AGAIN in (error.hint or "")


def test_a_code_whose_answer_got_lost_is_not_sent_twice(signing: Signing) -> None:
    code, request = signing.code()
    signing.aws.arm(drop(when="after"), action="ExchangeCode")
    error = signing.refused(lambda: signing.requester.exchange(code, request))
    assert isinstance(error, NetworkError)
    assert signing.aws.actions() == ["ExchangeCode"]


@pytest.mark.parametrize(("seconds", "side"), [(-4000, "behind"), (4000, "ahead of")])
def test_a_wrong_clock_is_named(signing: Signing, seconds: float, side: str) -> None:
    signing.aws.clock.freeze(1_795_470_313)
    tokens = signing.signed_in()
    wrong = signing.requester._replace(clock=lambda: signing.aws.clock() + seconds)
    error = signing.refused(lambda: wrong.refresh(tokens.refresh_token))
    assert isinstance(error, ClockError)
    assert f"the clock of this machine is 1h6m40s {side} AWS's" in error.message
    assert "set the clock" in (error.hint or "")


def answers() -> dict[str, Any]:
    """Answers with status 200 that AWS cannot have sent."""
    good: dict[str, Any] = {
        "accessToken": {
            "accessKeyId": "ASIASESSION000000001",
            "secretAccessKey": "ses0" * 10,
            "sessionToken": "token/" * 40,
        },
        "tokenType": "aws_sigv4",
        "expiresIn": 900,
        "refreshToken": "ASOR" + "x" * 100,
        "idToken": "a.e30.c",
    }
    access = good["accessToken"]
    return {
        "empty": b"",
        "html": b"<html>",
        "list": [],
        "null": None,
        "deep": b"[" * 100_000,
        "no access token": {**good, "accessToken": None},
        "text as access token": {**good, "accessToken": "x"},
        "key id": {**good, "accessToken": {**access, "accessKeyId": "x\n"}},
        "key id is a number": {**good, "accessToken": {**access, "accessKeyId": 5}},
        "secret": {**good, "accessToken": {**access, "secretAccessKey": "a\x1b[2J" * 8}},
        "token": {**good, "accessToken": {**access, "sessionToken": "x y"}},
        "swapped": {**good, "accessToken": {**access, "secretAccessKey": access["accessKeyId"]}},
        "refresh token": {**good, "refreshToken": ""},
        "long refresh token": {**good, "refreshToken": "x" * 12289},
        "life": {**good, "expiresIn": 0},
        "negative life": {**good, "expiresIn": -5},
        "endless": {**good, "expiresIn": 10**9},
        "life is text": {**good, "expiresIn": "900"},
        "life is true": {**good, "expiresIn": True},
        "id token": {**good, "idToken": 5},
        "nobody": {**good, "idToken": "a.e30.c"},
        "no id token": {key: value for key, value in good.items() if key != "idToken"},
    }


@pytest.mark.parametrize(("name", "body"), answers().items())
def test_an_answer_that_is_not_aws_s_is_refused(signing: Signing, name: str, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    code, request = signing.code()
    signing.aws.arm(rewrite(lambda _: data), action="ExchangeCode")
    error = signing.refused(lambda: signing.requester.exchange(code, request))
    assert isinstance(error, NotAwsError), name
    assert "is not one of AWS's" in error.message


@pytest.mark.parametrize(
    ("token", "subject"),
    [
        ("a.eyJzdWIiOiJhcm46YXdzOmlhbTo6MTIzNDU2Nzg5MDEyOnJvb3QifQ.c", "root"),
        ("a.eyJzdWIiOjV9.c", None),
        ("a.eyJzdWIiOiIifQ.c", None),
        ("a.eyJzdWIiOiJhXG5iIn0.c", None),
        ("a.eyJzdWIiOiJhIGIifQ.c", None),
        ("a.!.c", None),
        ("a.W10.c", None),
        ("a.b", None),
        ("", None),
    ],
)
def test_the_user_is_the_sub_of_the_id_token(token: str, subject: str | None) -> None:
    found = subject_of(token)
    assert found == (None if subject is None else "arn:aws:iam::123456789012:root")


def test_a_login_can_be_revoked(signing: Signing) -> None:
    tokens = signing.signed_in()
    url = f"{signing.aws.url}/signin/{REGION}/v1/revoke?x-amz-client-auth-method=iam"

    def end() -> None:
        token = tokens.refresh_token
        revoke(Clients(), url, REGION, tokens.credentials, token, subject="profile 'work'")

    signing.aws.login.revocable = False
    error = signing.refused(end)
    assert "it answered 400 (INVALID_REQUEST" in error.message
    assert "signin:RevokeOAuth2TokenWithIAM" in (error.hint or "")
    signing.aws.login.revocable = True
    end()
    assert signing.aws.login.revoked == [tokens.refresh_token]
    over = signing.refused(lambda: signing.requester.refresh(tokens.refresh_token))
    assert "has ended" in over.message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("access_denied", "refused or cancelled in the browser"),
        ("server_error", "internal failure"),
        ("temporarily_unavailable", "internal failure"),
        ("invalid_request", "the form of the request"),
        ("invalid_scope", "the form of the request"),
        ("unsupported_response_type", "the form of the request"),
        ("unauthorized_client", "does not offer console logins"),
        ("\x1b[2Jforged", r"ended without a code (\x1b[2Jforged)"),
    ],
)
def test_an_error_in_the_redirection_has_its_sentence(error: str, says: str) -> None:
    found = callback_refused(error, "profile 'work'", AGAIN)
    assert says in found.message
    assert found.hint
    assert "AGAIN" not in found.hint
