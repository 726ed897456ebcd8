"""The lines of a long-term item: split and parse them (`docs/format.md` §3)."""

from __future__ import annotations

import re

from filevault.system.times import parse_time

ROTATION_FIELDS = (
    "rotation_started",
    "rotation_known_keys",
    "next_aws_access_key_id",
    "next_aws_secret_access_key",
    "previous_aws_access_key_id",
    "previous_aws_secret_access_key",
    "previous_created",
    "previous_created_from",
    "previous_deactivated",
    "previous_grace",
)
"""The names of the rotation fields, in the order in which they are written."""
_LINE_END = rb"\r?\n\Z"


def lines_of(text: bytes) -> list[bytes]:
    """Split a text at LF only, keeping line ends."""
    return re.findall(rb"[^\n]*\n|[^\n]+", text)


def field_of(line: bytes) -> tuple[str, str] | None:
    """Return (key, value) of a `key: value` line, None for any other line."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return None
    key, colon, value = text.partition(":")
    if not colon or not key or key != key.strip():
        return None
    return key, value.strip()


def time_of(text: str | None) -> str | None:
    """Return a valid time, None for any other text: an invalid time does not invalidate a key."""
    if text is None:
        return None
    try:
        parse_time(text)
    except ValueError:
        return None
    return text


def line_end_of(line: bytes) -> bytes:
    """Return the LF or CRLF at the end of a line, empty if there is none."""
    found = re.search(_LINE_END, line)
    return found.group() if found else b""
