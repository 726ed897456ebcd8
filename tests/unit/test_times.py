from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.system.times import format_duration, format_time, parse_duration, parse_time

YEAR_9999 = 253402300799


@given(st.integers(0, YEAR_9999))
def test_format_agrees_with_the_standard_library(seconds: int) -> None:
    expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert format_time(seconds) == expected.rjust(20, "0")


@given(st.integers(0, YEAR_9999))
def test_parse_inverts_format(seconds: int) -> None:
    assert parse_time(format_time(seconds)) == seconds


@given(st.floats(0, YEAR_9999, allow_nan=False))
def test_fractions_of_a_second_are_cut_off(seconds: float) -> None:
    assert format_time(seconds) == format_time(int(seconds))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T21:45:13",
        "2026-11-23T21:45:13+00:00",
        "2026-11-23T21:45:13.5Z",
        "2026-11-23 21:45:13Z",
        "2026-11-23T21:45:13z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "+026-01-01T00:00:00Z",
        "٢026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
    ],
)
def test_only_one_form_of_time_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="time|date"):
        parse_time(text)


def test_leap_days_of_their_years_exist() -> None:
    assert format_time(parse_time("2000-02-29T23:59:59Z")) == "2000-02-29T23:59:59Z"
    assert format_time(parse_time("2028-02-29T00:00:00Z")) == "2028-02-29T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("900", 900),
        ("45s", 45),
        ("30m", 1800),
        ("12h", 43200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("2w", 1209600),
        ("1d12h", 129600),
        (" 15m ", 900),
        ("1h0m0s", 3600),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "-1h",
        "+5m",
        "1.5h",
        "1h 30m",
        "1H",
        "5x",
        "1h30",
        "m5",
        "٣m",
        "9" * 10,
        "1h\n2",
    ],
)
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_duration_beyond_a_century_is_refused() -> None:
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration("999999999w")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m0s"),
        (723, "12m3s"),
        (3600, "1h0m0s"),
        (3598, "59m58s"),
        (129599, "35h59m59s"),
        (-5, "-5s"),
        (-61, "-1m1s"),
    ],
)
def test_what_is_left_shows_as_in_aws_vault(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_a_shown_duration_reads_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
