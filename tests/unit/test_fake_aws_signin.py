"""The fake's sign-in service takes and refuses as AWS's does."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.fakes import FakeAws, Session, User
from tests.samples import NOW


def of_role(aws: FakeAws, user: User, depth: int = 1) -> Session:
    role = aws.add_role(f"role{depth}")
    made = Session("role", NOW + 3600, user=user, role=role, name="me", chain_depth=depth)
    return aws.directory.add_session(made)


def send(aws: FakeAws, target: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with opener.open(aws.url + target, data, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def form(session: Session, **more: str) -> dict[str, str]:
    credentials = {
        "sessionId": session.access_key_id,
        "sessionKey": session.secret_access_key,
        "sessionToken": session.session_token,
    }
    return {"Action": "getSigninToken", "Session": json.dumps(credentials), **more}


def token(aws: FakeAws, session: Session, **more: str) -> str:
    status, body = send(aws, "/federation", form(session, **more))
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return str(found["SigninToken"])


def link(value: str) -> str:
    words = {"Action": "login", "Issuer": "x", "Destination": "https://y/", "SigninToken": value}
    return "/federation?" + urllib.parse.urlencode(words)


def test_a_token_signs_in_once_within_fifteen_minutes(aws: FakeAws, user: User) -> None:
    session = of_role(aws, user)
    first, late = token(aws, session), token(aws, session)
    assert first in aws.issued_secrets()
    assert send(aws, link(first))[0] == 200
    assert aws.signin.signed_in == [
        ("arn:aws:sts::123456789012:assumed-role/role1/me", "https://y/")
    ]
    assert send(aws, link(first))[0] == 400
    aws.clock.advance(900)
    assert send(aws, link(late))[0] == 400


def test_credentials_in_an_address_are_refused(aws: FakeAws, user: User) -> None:
    words = urllib.parse.urlencode(form(of_role(aws, user)))
    status, body = send(aws, f"/federation?{words}")
    assert status == 400
    assert b"credentials in an address" in body


def test_sessions_of_users_expired_and_wrong_ones_are_refused(aws: FakeAws, user: User) -> None:
    users = aws.directory.add_session(Session("session-token", NOW + 3600, user=user))
    assert send(aws, "/federation", form(users))[0] == 400
    session = of_role(aws, user)
    wrong = form(session)
    wrong["Session"] = wrong["Session"].replace(session.secret_access_key, "x" * 40)
    assert send(aws, "/federation", wrong)[0] == 400
    aws.clock.advance(3600)
    assert send(aws, "/federation", form(session))[0] == 400


def test_durations_are_for_roles_that_were_not_chained(aws: FakeAws, user: User) -> None:
    federated = Session("federated", NOW + 3600, user=user, name="jonsmith")
    aws.directory.add_session(federated)
    assert token(aws, federated)
    first, second = of_role(aws, user), of_role(aws, user, 2)
    assert token(aws, first, SessionDuration="43200")
    for session, seconds in ((federated, "900"), (second, "900"), (first, "899"), (first, "43201")):
        assert send(aws, "/federation", form(session, SessionDuration=seconds))[0] == 400
    assert token(aws, second)


def test_the_record_has_the_signer_and_no_credentials(aws: FakeAws, user: User) -> None:
    session = of_role(aws, user)
    token(aws, session, SessionDuration="900")
    (call,) = aws.calls
    assert (call.action, call.access_key_id) == ("getSigninToken", session.access_key_id)
    assert dict(call.parameters) == {"SessionDuration": "900"}
