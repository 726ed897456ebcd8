"""When served credentials are renewed, as a table of times."""

from __future__ import annotations

import pytest

from filevault.credentials import Credentials
from filevault.server.metadata_endpoint import RELIED_ON
from filevault.server.served_credentials import ServedCredentials, windows_of

HOUR = 3600.0
NOW = 1_800_000_000.0


def session(life: float, at: float = NOW) -> Credentials:
    return Credentials("ASIA", "secret", "token", int(at + life))


def served(life: float) -> ServedCredentials:
    made = ServedCredentials("test", int(life))
    made.succeed(session(life), None, NOW)
    return made


@pytest.mark.parametrize(
    ("life", "advisory", "mandatory"),
    [(12 * HOUR, 900, 600), (HOUR, 900, 600), (1800, 900, 600), (900, 450, 300), (60, 30, 20)],
)
def test_the_windows_of_a_life(life: float, advisory: float, mandatory: float) -> None:
    found = windows_of(life)
    assert (found.advisory, found.mandatory) == (advisory, mandatory)


def test_a_console_login_is_renewed_as_late_as_sdks_do_it() -> None:
    found = windows_of(900, 300)
    assert (found.advisory, found.mandatory) == (300, 300)


@pytest.mark.parametrize(
    ("life", "advisory", "mandatory"),
    [(12 * HOUR, 900, 600), (1500, 750, 500), (900, 660, 300), (600, 450, 200)],
)
def test_what_clients_use_for_long_is_renewed_early(
    life: float, advisory: float, mandatory: float
) -> None:
    """At a metadata endpoint boto3 asks again ten minutes later, whatever the expiry."""
    found = windows_of(life, least=RELIED_ON)
    assert (found.advisory, found.mandatory) == (advisory, mandatory)
    assert windows_of(900, 300, RELIED_ON).advisory == 660  # a console login
    assert ServedCredentials("test", 900, least=RELIED_ON).begin(NOW) == 660


@pytest.mark.parametrize("life", [900.0, HOUR, 12 * HOUR])
def test_a_renewal_begins_with_the_advisory_window(life: float) -> None:
    made = served(life)
    assert made.next_renewal() == NOW + life - windows_of(life).advisory
    made.begin(NOW)
    assert made.next_renewal() is None  # one at a time


def test_a_session_of_the_cache_keeps_the_windows_of_its_whole_life() -> None:
    made = ServedCredentials("test", 3600)
    made.succeed(session(1000), None, NOW)
    assert made.next_renewal() == NOW + 100


def test_a_renewal_asks_for_more_life_than_there_is() -> None:
    made = ServedCredentials("test", 3600)
    assert made.begin(NOW) is None
    made.succeed(session(3600), None, NOW)
    assert made.begin(NOW + 2700) == 901
    made.succeed(session(3600), None, NOW)
    assert made.begin(NOW) == 3601


def test_failures_are_tried_again_more_often_when_it_is_urgent() -> None:
    made = served(HOUR)
    now = NOW + HOUR - 900
    times = []
    while now < NOW + HOUR:
        made.begin(now)
        made.fail("no", now)
        times.append(NOW + HOUR - now)
        due = made.next_renewal()
        assert due is not None
        now = due
    # One and two minutes, the beginning of the mandatory window, then the pauses of that.
    assert times[:6] == [900, 840, 720, 600, 560, 500]
    assert times[6:] == [440 - 60 * number for number in range(8)]


def test_good_credentials_are_served_until_shortly_before_they_expire() -> None:
    made = served(HOUR)
    made.fail("no", NOW + 3000)
    assert made.is_good(NOW + HOUR - 11)
    assert not made.is_good(NOW + HOUR - 10)
    assert not made.is_good(NOW + 10 * HOUR)


def test_a_reason_is_new_once() -> None:
    made = served(HOUR)
    assert [made.fail(reason, NOW) for reason in ("a", "a", "b", "a")] == [True, False, True, True]
    made.succeed(session(HOUR), None, NOW)
    assert made.fail("a", NOW)


def test_a_new_plan_with_a_shorter_life_makes_no_storm_of_renewals() -> None:
    made = served(HOUR)
    made.renew_now()
    made.begin(NOW)
    made.succeed(session(900), None, NOW)
    assert made.next_renewal() == NOW + 450


def test_what_nobody_asks_for_is_not_renewed_on_demand() -> None:
    made = ServedCredentials("test", 3600, on_demand=True)
    assert made.next_renewal() is None
    made.ask()
    assert made.next_renewal() is not None
    made.begin(NOW)
    made.succeed(session(HOUR), None, NOW)
    assert made.next_renewal() is None
    made.ask()
    assert made.next_renewal() == NOW + 2700


def test_a_wrong_clock_makes_no_storm_of_renewals() -> None:
    made = ServedCredentials("test", 3600)
    made.succeed(session(800), None, NOW)  # already in its window
    assert made.next_renewal() == NOW + 60
    made.succeed(session(40), None, NOW)
    assert made.next_renewal() == NOW + 20
