"""The CSV files that the IAM console offers for download: with and without the user's name."""

from __future__ import annotations

import csv
import os
import re
from typing import TYPE_CHECKING

from filevault.credentials import AccessKey
from filevault.errors import UsageError
from filevault.exchange.candidate import candidate
from filevault.exchange.found_keys import (
    MAX_KEYS,
    Contents,
    FileFormat,
    FoundKey,
    LeftOut,
    without_lines,
)
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection

    from filevault.exchange.found_keys import Entry

# Compared in lower case, as the AWS CLI does. The last one is a console password.
_USER, _ID, _SECRET, _PASSWORD = "user name", "access key id", "secret access key", "password"
_KEY_ALONE = frozenset((_USER, _ID, _SECRET, "console login link"))
_FILE = r"(.+)_accessKeys(?: ?\(\d+\))?\.csv\Z"  # the name that the console gives the file
_LONGEST_FIELD = 4096


class _Row(Record):
    _secret = ("fields",)

    fields: dict[str, str]
    lines: tuple[int, ...]
    is_key_alone: bool


def recognise(text: str) -> bool:
    """Return whether the first line that is not empty has the names of the columns."""
    first = text.lstrip().partition("\n")[0]
    names = [name.strip(' "\r').lower() for name in first[:_LONGEST_FIELD].split(",")]
    return _ID in names and _SECRET in names


def read(text: str, path: str) -> Contents:
    """Return the keys of all rows. Raises UsageError for a damaged file."""
    keys: list[FoundKey] = []
    left_out: list[LeftOut] = []
    for row in _rows(text, path):
        user = _user(row, path)
        place = f"{path}:{row.lines[0]}"
        found = candidate(user, row.fields.get(_ID), row.fields.get(_SECRET), place)
        if isinstance(found, FoundKey):
            note = "the row also has a console password" if row.fields.get(_PASSWORD) else ""
            keys.append(found._replace(note=note))
        else:
            left_out.append(found or LeftOut(user, place, "a user without an access key"))
    return Contents(tuple(keys), tuple(left_out))


def _user(row: _Row, path: str) -> str:
    named = re.match(_FILE, os.path.basename(path))
    return row.fields.get(_USER, "") or (named[1] if named else "")


def _entry(row: _Row, path: str) -> Entry:
    key = AccessKey(row.fields.get(_ID, ""), row.fields.get(_SECRET, ""))
    return _user(row, path), key


def _rows(text: str, path: str) -> list[_Row]:
    shown = printable(path)
    rows: list[_Row] = []
    names: list[str] = []
    # Without newline translation, so that the reader counts the lines of the file.
    reader = csv.reader(text.split("\n"), strict=True)
    before = 0
    try:
        for values in reader:
            first, before = before + 1, reader.line_num
            values = [value.strip() for value in values]
            if not any(values):
                continue
            if not names:
                names = [value.lower() for value in values]
                if len(set(names)) != len(names) or not {_ID, _SECRET} <= set(names):
                    raise UsageError(
                        f"{shown!r} is not a CSV file of access keys",
                        hint="its first line must have the words Access key ID and Secret "
                        "access key",
                    )
                continue
            fields = dict(zip(names, values, strict=False))
            others = [each for name, each in fields.items() if name not in _KEY_ALONE]
            is_key_alone = not any([*others, *values[len(names) :]])
            rows.append(_Row(fields, tuple(range(first, reader.line_num + 1)), is_key_alone))
            if len(rows) > MAX_KEYS:
                raise UsageError(
                    f"{shown!r} has more than {MAX_KEYS} rows",
                    hint="split the file, and import its parts one after the other",
                )
    except csv.Error:
        # The cause is left out: it may carry a part of the file.
        raise UsageError(
            f"line {before + 1} of {shown!r} is damaged CSV",
            hint="save it as CSV again; filevault add asks for a single key",
        ) from None
    return rows


def without(text: str, path: str, entries: Collection[Entry]) -> str:
    """Return the text without the rows of these users and keys, empty if no row is left.

    A row with a console password, or with anything else beside the key, stays: that would be lost.
    """
    rows = _rows(text, path)
    removed = [row for row in rows if row.is_key_alone and _entry(row, path) in entries]
    if len(removed) == len(rows):
        return ""
    return without_lines(text, {number for row in removed for number in row.lines})


FORMAT = FileFormat("csv", "a CSV file of the IAM console", recognise, read, without)
