"""The header line of files of format 1: a line of JSON that names its format.

Envelopes, keyslots and vault.json are all read with it, so that files of a newer filevault are
distinguished from damaged ones everywhere, whatever else a newer header has.
"""

from __future__ import annotations

import binascii

from filevault.errors import DamagedError, NewerFormatError
from filevault.system import strict_json
from filevault.system.printable import printable
from filevault.system.times import parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "filevault/1"
MAX_HEADER = 4096
"""Bytes of a header line, its LF included, and of vault.json."""

_FAMILY = r"filevault/([1-9][0-9]{0,15})\Z"
_BEGINNING = rb'\{"format":"(filevault/[1-9][0-9]{0,15})"[,}]'
_HEX = frozenset("0123456789abcdef")


def split(data: bytes, what: str) -> tuple[bytes, bytes]:
    """Return a file's header line with its LF, and the body.

    Raises NewerFormatError, or DamagedError if there is no such line.
    """
    end = data.find(b"\n", 0, MAX_HEADER) + 1
    if not end:
        refuse_newer(data[:MAX_HEADER], what)
        raise DamagedError(f"{what} is not a filevault file: it has no header line")
    return data[:end], data[end:]


def parse(line: bytes, fields: Mapping[str, type], what: str) -> dict[str, str | int]:
    """Parse a header that has exactly the given fields, `format` among them.

    Raises NewerFormatError for a format above 1, DamagedError for everything else.
    """
    try:
        values = strict_json.loads(line, fields, what)
    except DamagedError:
        refuse_newer(line, what)
        raise
    if values["format"] != FORMAT:
        refuse_newer(line, what)
        shown = printable(values["format"], 40)
        raise DamagedError(f"{what} is not a filevault file: its format is {shown!r}")
    return values


def refuse_newer(data: bytes, what: str) -> None:
    """Raise NewerFormatError if a header's format is `filevault/N` with N above 1."""
    import re

    found = re.match(_BEGINNING, data)
    if found:
        name: object = found.group(1).decode("ascii")
    else:
        import json

        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        name = value.get("format") if isinstance(value, dict) else None
    match = re.match(_FAMILY, name, re.ASCII) if isinstance(name, str) else None
    if match and int(match.group(1)) > 1:
        raise NewerFormatError(
            f"{what} was made by a newer filevault: its format is {match.group()}, "
            f"this version reads {FORMAT}",
            hint="upgrade filevault on this machine",
        )


def check_hex(values: Mapping[str, str | int], field: str, digits: int, what: str) -> str:
    """Return a field that must have `digits` lower-case hex digits. Raises DamagedError."""
    text = values[field]
    if not isinstance(text, str) or len(text) != digits or not _HEX.issuperset(text):
        raise DamagedError(f"{what} is damaged: its {field!r} is not {digits} hex digits")
    return text


def check_time(values: Mapping[str, str | int], field: str, what: str) -> str:
    """Return a field of the form `YYYY-MM-DDTHH:MM:SSZ`; raises DamagedError."""
    text = str(values[field])
    try:
        parse_time(text)
    except ValueError as error:
        raise DamagedError(f"{what} is damaged: its {field!r} is {error}") from error
    return text


def check_base64(values: Mapping[str, str | int], field: str, what: str) -> bytes:
    """Return the bytes of a field in canonical base64 with padding; raises DamagedError."""
    text = str(values[field])
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise DamagedError(f"{what} is damaged: its {field!r} is not base64") from error
    if binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise DamagedError(f"{what} is damaged: its {field!r} is not canonical base64")
    return data
