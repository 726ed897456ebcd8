"""The fake fails on demand, and stands up to many clients."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from tests.fakes import FakeAws, User, drop, error, server_error, stall, throttle
from tests.fakes.clients import client_of


def wait_for_flight(aws: FakeAws, actions: list[str]) -> None:
    """Wait until exactly these actions are being served."""
    deadline = time.monotonic() + 20
    while aws.in_flight != actions:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_chosen_call_of_an_action_is_throttled(aws: FakeAws, sts: Any) -> None:
    aws.arm(throttle(), action="GetSessionToken", nth=2)
    sts.get_session_token()
    sts.get_caller_identity()
    with pytest.raises(ClientError) as caught:
        sts.get_session_token()
    response = caught.value.response
    assert response["Error"] == {"Type": "Sender", "Code": "Throttling", "Message": "Rate exceeded"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    sts.get_session_token()
    assert [call.outcome for call in aws.calls] == ["ok", "ok", "Throttling", "ok"]
    assert aws.calls[2].access_key_id == aws.calls[0].access_key_id
    assert aws.faults.pending == 0


def test_a_chosen_call_overall_is_struck(aws: FakeAws, sts: Any) -> None:
    aws.arm(server_error(), nth=3)
    sts.get_caller_identity()
    sts.get_session_token()
    with pytest.raises(ClientError) as caught:
        sts.get_caller_identity()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    sts.get_caller_identity()


def test_a_fault_may_strike_several_times(aws: FakeAws, sts: Any) -> None:
    aws.arm(throttle(), action="GetCallerIdentity", times=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="Throttling"):
            sts.get_caller_identity()
    sts.get_caller_identity()
    assert [call.outcome for call in aws.calls] == ["Throttling", "Throttling", "ok"]


def test_faults_can_be_disarmed(aws: FakeAws, sts: Any) -> None:
    aws.arm(throttle(), times=100)
    aws.faults.clear()
    sts.get_caller_identity()


def test_a_drop_before_the_deed_leaves_nothing_done(aws: FakeAws, user: User) -> None:
    iam = client_of("iam", aws.url, user)
    aws.arm(drop("before"), action="CreateAccessKey")
    with pytest.raises(ConnectionClosedError):
        iam.create_access_key()
    assert len(user.keys) == 1
    assert aws.calls[0].outcome == "dropped"
    assert aws.calls[0].returned_access_key_id is None


@pytest.mark.parametrize("fault", [drop("after"), server_error("after")])
def test_a_fault_after_the_deed_leaves_it_done(aws: FakeAws, user: User, fault: Any) -> None:
    iam = client_of("iam", aws.url, user)
    aws.arm(fault, action="CreateAccessKey")
    with pytest.raises((ConnectionClosedError, ClientError)):
        iam.create_access_key()
    assert len(user.keys) == 2
    assert aws.calls[0].outcome in ("dropped", "InternalFailure")
    assert aws.calls[0].returned_access_key_id == list(user.keys)[1]


def test_a_stall_outlasts_a_clients_patience(aws: FakeAws, user: User) -> None:
    aws.arm(stall(30), action="GetCallerIdentity")
    short_timeouts = client_of("sts", aws.url, user, timeout=0.2)
    with pytest.raises(ReadTimeoutError):
        short_timeouts.get_caller_identity()
    short_timeouts.get_caller_identity()


def test_a_stall_can_be_watched_and_released(aws: FakeAws, user: User) -> None:
    iam = client_of("iam", aws.url, user)
    aws.arm(stall(30, "after"), action="CreateAccessKey")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(iam.create_access_key)
        wait_for_flight(aws, ["CreateAccessKey"])
        while not aws.calls:
            time.sleep(0.005)
        assert len(user.keys) == 2
        assert not waiting.done()
        client_of("sts", aws.url, user).get_caller_identity()
        aws.faults.release()
        assert waiting.result(20)["AccessKey"]["AccessKeyId"] in user.keys
    wait_for_flight(aws, [])


def test_a_stall_takes_its_time(aws: FakeAws, sts: Any) -> None:
    aws.arm(stall(0.3))
    began = time.monotonic()
    sts.get_caller_identity()
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "message", ["<b>&amp;\n\ttwo lines", "\u009b31mred\u202egnirts", "ünïcode ✓ 😀"]
)
def test_any_message_reaches_the_client_as_it_is(aws: FakeAws, sts: Any, message: str) -> None:
    aws.arm(error("Odd<Code>", message, 418))
    with pytest.raises(ClientError) as caught:
        sts.get_caller_identity()
    response = caught.value.response
    assert response["Error"]["Code"] == "Odd<Code>"
    assert response["Error"]["Message"] == message
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 418


def test_a_message_that_xml_cannot_hold_is_sent_raw(aws: FakeAws, sts: Any) -> None:
    aws.arm(error("AccessDenied", "\x1b[31mred\x07", 403))
    with pytest.raises(ResponseParserError):
        sts.get_caller_identity()


def test_64_clients_are_served_at_once(aws: FakeAws, user: User, sts: Any) -> None:
    together = threading.Barrier(64)

    def get_session(_: int) -> str:
        together.wait(20)
        return str(sts.get_session_token()["Credentials"]["AccessKeyId"])

    with ThreadPoolExecutor(64) as pool:
        key_ids = list(pool.map(get_session, range(64)))
    assert len(set(key_ids)) == 64
    assert {call.returned_access_key_id for call in aws.calls} == set(key_ids)


def test_64_calls_can_be_in_flight_together(aws: FakeAws, sts: Any) -> None:
    aws.arm(stall(30), action="GetCallerIdentity", times=64)
    with ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(sts.get_caller_identity) for _ in range(64)]
        wait_for_flight(aws, ["GetCallerIdentity"] * 64)
        aws.faults.release()
        assert len({answer.result(20)["Arn"] for answer in waiting}) == 1


def test_one_code_serves_one_of_many_clients(aws: FakeAws) -> None:
    user = aws.add_user("racer", mfa=True)
    aws.clock.freeze()
    sts = client_of("sts", aws.url, user)
    code = user.totp()

    def try_code(_: int) -> bool:
        try:
            sts.get_session_token(SerialNumber=user.mfa_serial, TokenCode=code)
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(try_code, range(16))) == 1


def test_a_closed_fake_answers_nobody() -> None:
    with FakeAws() as fake:
        jon = fake.add_user("jonsmith")
        sts = client_of("sts", fake.url, jon)
        sts.get_caller_identity()
    with pytest.raises(Exception, match=r"connect|closed"):
        sts.get_caller_identity()


def test_a_defect_of_the_fake_is_told_apart_from_an_answer() -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("oops")

    with FakeAws() as fake:
        user = fake.add_user("jonsmith")
        fake.sts.actions = {"GetCallerIdentity": broken}
        with pytest.raises(ClientError, match="defect of the fake"):
            client_of("sts", fake.url, user).get_caller_identity()
        assert [str(defect) for defect in fake.defects] == ["oops"]
