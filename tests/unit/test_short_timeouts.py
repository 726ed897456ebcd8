"""Calls that signals must wait for end soon: one attempt, unless AWS is asked too often."""

from __future__ import annotations

import signal

import pytest

from filevault.aws import clients
from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint
from filevault.aws.iam import AccessKeys
from filevault.credentials import Credentials
from filevault.errors import NetworkError
from filevault.system.signals import are_signals_blocked, signals_blocked
from tests.fakes import FakeAws
from tests.fakes.faults import drop, stall, throttle


def keys(aws: FakeAws) -> AccessKeys:
    user = aws.add_user("jon")
    return AccessKeys(
        Caller(
            Clients.short_timeouts(profile=None, allow_http=False),
            Endpoint("eu-west-1", aws.url),
            Credentials(user.access_key_id, user.secret_access_key),
            "profile 'jon'",
        ),
        None,
    )


@pytest.fixture(autouse=True)
def several_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")


def test_a_call_without_an_answer_is_not_repeated(aws: FakeAws) -> None:
    aws.arm(drop())
    with pytest.raises(NetworkError):
        keys(aws).listed()


def test_silence_is_given_up(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clients._SHORT_CONNECT_TIMEOUT + clients._SHORT_READ_TIMEOUT <= 20
    monkeypatch.setattr(clients, "_SHORT_READ_TIMEOUT", 0.2)
    aws.arm(stall(60), times=5)
    with pytest.raises(NetworkError, match="did not answer in time"):
        keys(aws).listed()
    aws.faults.release()


def test_a_throttled_call_is_repeated(aws: FakeAws) -> None:
    aws.arm(throttle())
    assert len(keys(aws).listed()) == 1


def test_signals_are_let_through_early_and_in_the_end() -> None:
    with signals_blocked() as unblock:
        assert are_signals_blocked()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            unblock()
        assert not are_signals_blocked()
    assert not are_signals_blocked()
