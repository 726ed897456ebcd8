"""Whatever answers in AWS's place: every operation ends soon, cheaply, with one error of ours.

A table of answers that AWS never gives is put before every operation. The operations are called
as the program calls them; what `rotate` makes of such answers is in `tests/rotation`.
"""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from filevault.aws import clients, sts
from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint
from filevault.aws.exchange import MAX_BODY, InvalidAnswerError, check_levels
from filevault.aws.iam import AccessKeys
from filevault.aws.signin import get_signin_token
from filevault.credentials import Credentials
from filevault.errors import AwsError, FilevaultError, NetworkError, NotAwsError
from filevault.system.printable import printable
from tests.fakes import FakeAws, Fault, User, hostile
from tests.fakes.faults import error, raw, rewrite
from tests.launch import botocore_data
from tests.samples import EXAMPLE_ID, PLAIN_SECRET

ROLE = "arn:aws:iam::123456789012:role/admin"
SUBJECT = "profile 'work'"
MEMORY = 24 << 20
"""Bytes that a call may take at most: botocore's parse of an answer of the full size."""


class HostileCaller:
    """Makes any call as a user, and judges what comes of it."""

    def __init__(self, aws: FakeAws, *, deadline: float | None = None) -> None:
        self.aws = aws
        self.user: User = aws.add_user("jon")
        role = aws.add_role("admin")
        self.provider = aws.add_identity_provider("https://ci.example")
        aws.trust_web_identity(role, self.provider, "job")
        self.key = Credentials(self.user.access_key_id, self.user.secret_access_key)
        self.clients = Clients(deadline=deadline, persistent=False)
        self.caller = Caller(self.clients, Endpoint("eu-west-1", aws.url), self.key, SUBJECT)

    def keys(self) -> AccessKeys:
        return AccessKeys(self.caller, None)

    def call(self, operation: str) -> Any:
        return CALLS[operation](self)

    def session(self) -> Credentials:
        return sts.get_session_token(self.caller, duration=900, mfa=None)

    def role(self) -> Credentials:
        request = sts.RoleRequest(ROLE, "me", 900)
        return sts.assume_role(self.caller, request, mfa=None)

    def web_identity(self) -> Credentials:
        token = self.provider.issue("job")
        request = sts.WebIdentityRequest(ROLE, "me", token, 900)
        return sts.assume_role_with_web_identity(self.caller._replace(credentials=None), request)

    def federated(self) -> Credentials:
        return sts.get_federation_token(self.caller, name="jon", duration=900)

    def sign_in(self) -> Any:
        session = self.role()
        url = f"{self.aws.url}/federation"
        return get_signin_token(self.clients, url, session, duration=None, subject=SUBJECT)


CALLS: dict[str, Callable[[HostileCaller], Any]] = {
    "GetSessionToken": HostileCaller.session,
    "AssumeRole": HostileCaller.role,
    "AssumeRoleWithWebIdentity": HostileCaller.web_identity,
    "GetFederationToken": HostileCaller.federated,
    "GetCallerIdentity": lambda caller: sts.get_caller_identity(caller.caller),
    "CreateAccessKey": lambda caller: caller.keys().create(),
    "ListAccessKeys": lambda caller: caller.keys().listed(),
    "UpdateAccessKey": lambda caller: caller.keys().deactivate(caller.key.access_key_id),
    "DeleteAccessKey": lambda caller: caller.keys().delete(caller.key.access_key_id),
    "GetAccessKeyLastUsed": lambda caller: caller.keys().last_use(caller.key.access_key_id),
    "getSigninToken": HostileCaller.sign_in,
}
TABLE: dict[str, Fault] = {
    **{f"date: {name}": hostile.dated(value) for name, value in hostile.DATES.items()},
    **hostile.STRUCTURES,
    **hostile.ERRORS,
}


def ended(caller: HostileCaller, operation: str) -> FilevaultError | None:
    """Call, and require an answer or a documented error; return the error."""
    try:
        caller.call(operation)
    except FilevaultError as error:
        found = error
    else:
        return None
    said = found.message + (found.hint or "")
    assert found.exit_status in (8, 9), found
    assert printable(said) == said, "raw characters"
    assert len(said) < 1500
    assert not [each for each in caller.aws.issued_secrets() if each in said]
    return found


@pytest.fixture
def caller(aws: FakeAws) -> HostileCaller:
    botocore_data.keep()
    return HostileCaller(aws, deadline=20)


NAMES = tuple(TABLE)
OPERATIONS = tuple(CALLS)


def _check(caller: HostileCaller, operation: str, name: str) -> None:
    """Put one answer before one operation, and put AWS back to what it was."""
    user, key = caller.user, caller.key
    caller.aws.reset_calls()
    caller.aws.arm(TABLE[name], action=operation)
    found = ended(caller, operation)
    caller.aws.faults.clear()
    made = [each for each in user.keys if each != key.access_key_id]
    if operation == "CreateAccessKey" and isinstance(found, NetworkError) and made:
        assert set(found.key_ids) <= set(made)
        if _is_named_still(TABLE[name], made[0]):
            assert found.key_ids == (made[0],), name
    for each in made:
        caller.aws.directory.delete_access_key(user.keys[each])
    if key.access_key_id not in user.keys:
        caller.aws.add_access_key(user, key.access_key_id, key.secret_access_key)
    user.keys[key.access_key_id].status = "Active"


@pytest.mark.parametrize("operation", CALLS)
def test_an_operation_ends_with_an_answer_or_a_documented_error(
    caller: HostileCaller, operation: str
) -> None:
    for name in NAMES[OPERATIONS.index(operation) :: len(OPERATIONS)]:
        _check(caller, operation, name)
    assert caller.session().session_token  # the same clients go on working


@pytest.mark.torture
@pytest.mark.parametrize("operation", CALLS)
def test_every_answer_to_an_operation(caller: HostileCaller, operation: str) -> None:
    for name in NAMES:
        _check(caller, operation, name)


@pytest.mark.parametrize("encoding", ["UTF-16", "US-ASCII", "x-none"])
@pytest.mark.parametrize(
    "text", ['<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "<a>" * 40 + "</a>" * 40]
)
def test_an_answer_is_judged_as_botocore_reads_it(encoding: str, text: str) -> None:
    """It reads UTF-8, whatever encoding the text declares."""
    with pytest.raises(InvalidAnswerError):
        check_levels(f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode())


def test_a_new_key_is_named_whatever_its_answer(caller: HostileCaller) -> None:
    for name in ("5,000 levels", "cut short", "a text for the result", "2 MiB", "NULs"):
        _check(caller, "CreateAccessKey", name)


def _is_named_still(fault: Fault, key_id: str) -> bool:
    """Tell whether an answer that was changed still has the id of the new key."""
    if fault.change is None:
        return False
    named = f"<AccessKeyId>{key_id}<"
    body = f"<CreateAccessKeyResult><AccessKey>{named}/AccessKeyId></AccessKey>"
    changed = fault.change(f"{body}</CreateAccessKeyResult>{' ' * 200}".encode())
    return named.encode() in changed


@pytest.mark.parametrize(
    "date", [each for each in hostile.DATES if each not in hostile.SOUND_DATES]
)
def test_a_bad_date_costs_no_key_and_gives_no_session(caller: HostileCaller, date: str) -> None:
    fault = hostile.dated(hostile.DATES[date])
    caller.aws.arm(fault, action="CreateAccessKey")
    made = caller.keys().create()
    assert made.created is None
    assert made.key.secret_access_key in caller.aws.issued_secrets()
    caller.aws.arm(fault, action="ListAccessKeys")
    assert [each.created for each in caller.keys().listed()] == [None, None]
    for operation in ("GetSessionToken", "AssumeRole", "GetFederationToken"):
        caller.aws.arm(fault, action=operation)
        with pytest.raises(AwsError, match="no usable credentials"):
            caller.call(operation)


# Size


FLOODS = {
    "body": hostile.flood_of_body,
    "chunk size": hostile.flood_of_chunk_size,
    "headers": hostile.flood_of_headers,
    "provisional answers": hostile.flood_of_continues,
}
_BUFFERS = 8 << 20  # of both ends' sockets


def _check_flood(aws: FakeAws, kind: str, operation: str) -> None:
    caller = HostileCaller(aws, deadline=1.0)
    session = caller.role()
    caller.role = lambda: session  # type: ignore[method-assign]
    flood = FLOODS[kind]()
    aws.arm(raw(flood), action=operation)
    tracemalloc.start()
    try:
        assert isinstance(ended(caller, operation), NetworkError)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    if kind in ("body", "headers"):
        assert flood.sent < MAX_BODY + _BUFFERS


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_cut_off(aws: FakeAws, kind: str) -> None:
    botocore_data.keep()
    _check_flood(aws, kind, "CreateAccessKey")


@pytest.mark.torture
@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("operation", CALLS)
def test_a_flood_is_cut_off_everywhere(aws: FakeAws, kind: str, operation: str) -> None:
    botocore_data.keep()
    _check_flood(aws, kind, operation)


# Time


def _check_drip(aws: FakeAws, operation: str, *, whole: bool) -> None:
    caller = HostileCaller(aws)
    session = caller.role()
    caller.role = lambda: session  # type: ignore[method-assign]
    caller.clients = Clients(deadline=0.3)
    caller.caller = caller.caller._replace(clients=caller.clients)
    aws.reset_calls()
    aws.arm(hostile.dripping(aws.faults.wait, whole=whole), action=operation, times=9)
    began = time.monotonic()
    found = ended(caller, operation)
    assert time.monotonic() - began < 30, "the deadline is not this test's"
    assert isinstance(found, NetworkError)
    assert "did not answer in time" in found.message
    assert len(aws.calls) == 1, "asked again"
    if operation == "CreateAccessKey" and not whole:
        (made,) = (each for each in caller.user.keys if each != caller.key.access_key_id)
        assert found.key_ids == (made,)


@pytest.mark.parametrize("operation", ["GetSessionToken", "CreateAccessKey", "getSigninToken"])
def test_an_answer_that_drips_in_is_given_up(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    botocore_data.keep()
    monkeypatch.setattr(clients, "_POST_DEADLINE", 0.3)
    _check_drip(aws, operation, whole=False)


@pytest.mark.torture
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("operation", CALLS)
def test_every_answer_that_drips_in_is_given_up(
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    whole: bool,
) -> None:
    botocore_data.keep()
    monkeypatch.setattr(clients, "_POST_DEADLINE", 0.3)
    _check_drip(aws, operation, whole=whole)


def test_a_secret_at_the_place_of_the_cut_is_not_shown_in_part(caller: HostileCaller) -> None:
    for before in range(1960, 2001, 4):
        caller.aws.arm(error("Odd", "x" * before + caller.key.secret_access_key))
        found = ended(caller, "GetSessionToken")
        assert found is not None
        assert caller.key.secret_access_key[:4] not in found.message


# What is well formed, and yet cannot be


def changed(old: str, new: str) -> Fault:
    return rewrite(lambda body: body.replace(old.encode(), new.encode()))


def test_ids_that_would_break_an_item_are_refused(caller: HostileCaller) -> None:
    key = caller.key.access_key_id
    more = "".join(
        f"<member><AccessKeyId>AKIA{n:016}</AccessKeyId><Status>Active</Status></member>"
        for n in range(101)
    )
    for old, new in (
        (key, f"{key}&#10;next_aws_access_key_id: {key}"),
        (key, ""),
        (key, "short"),
        ("<IsTruncated>false", "<IsTruncated>true"),
        ("</AccessKeyMetadata>", f"{more}</AccessKeyMetadata>"),
    ):
        caller.aws.arm(changed(old, new), action="ListAccessKeys")
        with pytest.raises(NotAwsError):
            caller.keys().listed()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("AccessKeyId", ""),
        ("AccessKeyId", "short"),
        ("AccessKeyId", PLAIN_SECRET),
        ("AccessKeyId", "ASIA AAAAAAAAAAAAAAA"),
        ("SecretAccessKey", ""),
        ("SecretAccessKey", EXAMPLE_ID),
        ("SecretAccessKey", "a" * 300),
        ("SessionToken", ""),
        ("SessionToken", "a" * 20_000),
        ("SessionToken", "\u20ac" * 40),
    ],
)
def test_credentials_that_are_none_are_not_handed_out(
    caller: HostileCaller, field: str, value: str
) -> None:
    tag = rf"<{field}>[^<]*"
    for operation in ("GetSessionToken", "AssumeRole", "GetFederationToken"):
        new = f"<{field}>{value}".encode()
        caller.aws.arm(
            rewrite(lambda body: re.sub(tag.encode(), new, body)),  # noqa: B023
            action=operation,
        )
        with pytest.raises(FilevaultError) as caught:
            caller.call(operation)
        assert not value or value not in caught.value.message
