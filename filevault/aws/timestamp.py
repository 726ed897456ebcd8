"""Parser of times in AWS's answers, which never raises, unlike botocore's own."""

from __future__ import annotations

import re

from filevault.system.times import parse_time

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d{1,12})?(?:Z|([+-])([01]\d|2[0-3]):?([0-5]\d))?\Z",
    re.ASCII,
)
_EPOCH = re.compile(r"(\d{1,11})(?:\.\d{1,12})?\Z", re.ASCII)
_LAST = 253402300799  # the end of the year 9999


def read_timestamp(value: object) -> int | None:
    """Return the Unix seconds of a time, None unless it is a time from 1970 to 9999.

    Accepts ISO 8601 with or without a fraction, in UTC if there is no zone, and Unix seconds as
    text or number. Never raises.
    """
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    epoch = _EPOCH.match(text)
    if epoch is not None:
        return _in_range(int(epoch[1]))
    found = _ISO.match(text)
    if found is None:
        return None
    date, clock, sign, hours, minutes = found.groups()
    try:
        seconds = parse_time(f"{date}T{clock}Z")
    except ValueError:
        return None
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    return _in_range(seconds)


def _in_range(seconds: int) -> int | None:
    return seconds if 0 <= seconds <= _LAST else None
