"""Times and durations as text: parsing and formatting."""

from __future__ import annotations

import functools
import time

_DAY = 86400
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "w": 604800}
_DURATION = r"(\d{1,9})([wdhms])"
# As the AWS CLI prints IAM's CreateDate: with or without a fraction, `Z` or `+00:00`.
_IAM_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|\+00:?00)\Z"
_WHOLE = r"(?:\d{1,9}[wdhms])+\Z|\d{1,9}\Z"


def boottime() -> float:
    """Return the seconds since the machine was started, suspension included.

    Unlike the wall clock, this one cannot be set (CLOCK_BOOTTIME of clock_gettime(2)).
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def format_time(seconds: float) -> str:
    """Return Unix seconds as `YYYY-MM-DDTHH:MM:SSZ`, the only form that every SDK accepts."""
    days, rest = divmod(int(seconds), _DAY)
    # Days to civil date, proleptic Gregorian calendar with years that begin in March.
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}Z"


def format_local(seconds: float) -> str:
    """Return Unix seconds in the time zone of this process, as `YYYY-MM-DDTHH:MM:SS+HHMM`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(int(seconds)))


@functools.lru_cache(maxsize=16)  # an item contains the same time several times
def parse_time(text: str) -> int:
    """Return the Unix seconds of `YYYY-MM-DDTHH:MM:SSZ`.

    Raises:
        ValueError: for any other form, and for dates that do not exist.
    """
    if (
        len(text) != 20
        or (text[4], text[7], text[10], text[13], text[16], text[19]) != tuple("--T::Z")
        or not text.isascii()
    ):
        raise ValueError("not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    if not all(part.isdigit() for part in parts):
        raise ValueError("not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = (int(part) for part in parts)
    shifted = year - (1 if month <= 2 else 0)
    era, year_of_era = divmod(shifted, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days = era * 146097 + day_of_era - 719468
    seconds = days * _DAY + hour * 3600 + minute * 60 + second
    if format_time(seconds) != text:
        raise ValueError("no such date")
    return seconds


def parse_duration(text: str) -> int:
    """Return the seconds of `30m`, `1h30m`, `12h`, `1d`, `1w` or plain seconds.

    Raises:
        ValueError: for anything else, and for more than a hundred years.
    """
    import re

    text = text.strip()
    if not re.match(_WHOLE, text, re.ASCII):
        raise ValueError("not a duration like 30m, 1h30m, 12h, 1d or plain seconds")
    if text.isdigit():
        return int(text)
    seconds = sum(
        int(number) * _UNITS[unit] for number, unit in re.findall(_DURATION, text, re.ASCII)
    )
    if seconds > 36525 * _DAY:
        raise ValueError("longer than a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """Return seconds as AWS Vault's listing shows them: `1h0m0s`, `12m3s`, `59s`."""
    sign = "-" if seconds < 0 else ""
    minutes, second = divmod(abs(int(seconds)), 60)
    hour, minute = divmod(minutes, 60)
    if hour:
        return f"{sign}{hour}h{minute}m{second}s"
    if minute:
        return f"{sign}{minute}m{second}s"
    return f"{sign}{second}s"


def iam_time(value: object) -> str | None:
    """Return IAM's CreateDate, as the AWS CLI prints it, as `YYYY-MM-DDTHH:MM:SSZ`, else None."""
    import re

    found = re.match(_IAM_TIME, value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        return None
    text = found.group(1) + "Z"
    try:
        parse_time(text)
    except ValueError:
        return None
    return text
