"""Lines that set variables: `export` for sh, and those of fish, csh, PowerShell and cmd.

The lines are parsed, never run: a value with an expansion is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.credentials import AccessKey
from filevault.errors import UsageError
from filevault.exchange import aws_files
from filevault.exchange.candidate import candidate, plain_value
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
    from collections.abc import Collection, Iterator

    from filevault.exchange.found_keys import Entry

_ID, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_TOKENS = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
_NAMES = (_ID, _SECRET, *_TOKENS, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
_LINE = re.compile(
    r"""^[ \t]*(?:(?i:export|setenv|setx?|\$env:)(?:[ \t]+-[A-Za-z]+)*[ \t]*)?
    (AWS_[A-Z_]+)[ \t]*(?:=|[ \t])[ \t]*
    ("[^"\n]*"|'[^'\n]*'|\$\([^\n]*\)|[^\s"';#]*)[ \t]*(?:;|\#.*|\r)*$""",
    re.MULTILINE | re.VERBOSE,
)
_EXPANSION = r"[$`%\\]"


class _Group(Record):
    """The variables of one key, with the numbers of their lines."""

    _secret = ("values",)

    values: dict[str, str]
    lines: dict[str, int]


def recognise(text: str) -> bool:
    """Return whether a line sets the variable of a secret access key, and none is a header."""
    return not aws_files.recognise(text) and any(
        match[1] == _SECRET for match in _LINE.finditer(text)
    )


def read(text: str, path: str) -> Contents:
    """Return the keys of the lines; a second key id begins another key."""
    keys: list[FoundKey] = []
    left_out: list[LeftOut] = []
    for group in _groups(text, path):
        values = group.values
        name = _name(group)
        place = f"{path}:{min(group.lines.values())}"
        key_id, secret = values.get(_ID), values.get(_SECRET)
        if re.search(_EXPANSION, f"{key_id}{secret}"):
            reason = "its value is an expansion of the shell, which is not run"
            left_out.append(LeftOut(name, place, reason, failed=True))
            continue
        token = next((values[each] for each in _TOKENS if values.get(each)), None)
        found = candidate(name, key_id, secret, place, token=token)
        if isinstance(found, FoundKey):
            region = values.get("AWS_REGION") or values.get("AWS_DEFAULT_REGION")
            keys.append(found._replace(region=plain_value(region)))
        elif found is not None:
            left_out.append(found)
    return Contents(tuple(keys), tuple(left_out))


def _name(group: _Group) -> str:
    return plain_value(group.values.get("AWS_PROFILE")) or ""


def _entry(group: _Group) -> Entry:
    key = AccessKey(group.values.get(_ID, ""), group.values.get(_SECRET, ""))
    return _name(group), key


def _groups(text: str, path: str) -> Iterator[_Group]:
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    count, number, position = 0, 1, 0
    for match in _LINE.finditer(text):
        name, value = match[1], match[2]
        if name not in _NAMES:
            continue
        number += text.count("\n", position, match.start(1))
        position = match.start(1)
        if len(value) > 1 and value[0] in "\"'":
            value = value[1:-1]
        if name in (_ID, _SECRET) and name in values:
            yield _Group(values, lines)
            values, lines = {}, {}
            count += 1
            if count > MAX_KEYS:
                raise UsageError(
                    f"{printable(path)!r} has more than {MAX_KEYS} keys",
                    hint="split the file, and import its parts one after the other",
                )
        values[name] = value
        lines[name] = number
    if values:
        yield _Group(values, lines)


def without(text: str, path: str, entries: Collection[Entry]) -> str:
    """Return the text without the lines of these names' keys.

    It is empty if only blank lines are left.
    """
    numbers = {
        group.lines[name]
        for group in _groups(text, path)
        if _entry(group) in entries
        for name in (_ID, _SECRET)
    }
    after = without_lines(text, numbers)
    return after if after.strip() else ""


FORMAT = FileFormat("env", "lines that set variables", recognise, read, without)
