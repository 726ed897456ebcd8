"""The fake's token codes, against RFC 4226 and RFC 6238."""

from __future__ import annotations

import time

import pytest

from tests.fakes.clock import Clock
from tests.fakes.directory import Directory
from tests.fakes.totp import hotp, matching_steps, totp

SEED = b"12345678901234567890"


@pytest.mark.parametrize(
    ("counter", "code"),
    list(
        enumerate(
            [
                "755224",
                "287082",
                "359152",
                "969429",
                "338314",
                "254676",
                "287922",
                "162583",
                "399871",
                "520489",
            ]
        )
    ),
)
def test_codes_are_those_of_rfc_4226_appendix_d(counter: int, code: str) -> None:
    assert hotp(SEED, counter) == code


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_the_last_six_digits_of_rfc_6238_appendix_b(at: int, code: str) -> None:
    assert totp(SEED, at) == code


def test_a_code_matches_one_step_either_way_and_no_further() -> None:
    code = totp(SEED, 3000)
    assert [bool(matching_steps(SEED, code, 3000 + 30 * n)) for n in range(-2, 3)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_device_takes_each_code_once_in_any_order() -> None:
    clock = Clock()
    clock.freeze(1_700_000_010)
    user = Directory(clock).add_user("jonsmith", mfa=True)
    device = user.devices[user.mfa_serial]
    later, now = user.totp(ahead=1), user.totp()
    assert device.accept(later, clock())
    assert device.accept(now, clock())
    assert not device.accept(now, clock())
    assert not device.accept(later, clock())
    clock.advance(60)
    assert device.accept(user.totp(), clock())


def test_the_clock_shows_real_time_until_moved() -> None:
    assert abs(Clock()() - time.time()) < 1
    assert not Clock().moved
    moved = Clock()
    moved.advance(100)
    assert moved.moved
    assert 99 < moved() - time.time() < 101
    moved.set(1_700_000_000)
    assert 0 <= moved() - 1_700_000_000 < 1
    moved.reset()
    assert abs(moved() - time.time()) < 1


def test_a_frozen_clock_moves_on_demand_only() -> None:
    clock = Clock()
    clock.freeze()
    assert clock.moved
    stopped = clock()
    clock.advance(0.5)
    time.sleep(0.01)
    assert clock() == stopped + 0.5
