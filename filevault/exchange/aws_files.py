"""The `credentials` and `config` files of the AWS CLI, with the layouts of aws-mfa and awsume.

aws-mfa keeps the long-term key of profile `x` in `[x-long-term]` and writes temporary ones to
`[x]`. awsume writes temporary ones to `[autoawsume-x]`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_config import AwsConfig, Section
from filevault.credentials import AccessKey
from filevault.errors import UsageError
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

if TYPE_CHECKING:
    from collections.abc import Collection

    from filevault.exchange.found_keys import Entry

ID = "aws_access_key_id"
SECRET = "aws_secret_access_key"  # noqa: S105 - the name of a setting
_TOKENS = ("aws_session_token", "aws_security_token")
_SERIALS = ("mfa_serial", "aws_mfa_device")  # the AWS CLI's; aws-mfa's
_LONG_TERM = "-long-term"
_HEADER = r"^[ \t]*\[[^\]\n]+\][ \t]*(?:[;#].*)?\r?$"


def recognise(text: str) -> bool:
    """Return whether a text has the header of a section."""
    return re.search(_HEADER, text, re.MULTILINE) is not None


def read(text: str, path: str) -> Contents:
    """Return the keys of all sections. Raises ConfigSyntaxError as botocore refuses the file."""
    keys: list[FoundKey] = []
    left_out: list[LeftOut] = []
    for section in _sections(text, path):
        found = _found(section)
        if isinstance(found, FoundKey):
            keys.append(found)
        elif found is not None:
            left_out.append(found)
        if len(keys) + len(left_out) > MAX_KEYS:
            raise UsageError(
                f"{printable(path)!r} has more than {MAX_KEYS} keys",
                hint="split the file, and import its parts one after the other",
            )
    return Contents(tuple(keys), tuple(left_out))


def _entry(section: Section) -> Entry:
    key = AccessKey(section.values.get(ID, ""), section.values.get(SECRET, ""))
    return _profile(section.name.strip()), key


def _profile(name: str) -> str:
    """Return the profile that the key of a section is for."""
    return name.removesuffix(_LONG_TERM) or name


def _sections(text: str, path: str) -> list[Section]:
    config = AwsConfig.parse(text.encode("utf-8"), path)
    return [each for each in config.own_sections() if each.section_type in ("", "profile")]


def _found(section: Section) -> FoundKey | LeftOut | None:
    name, values = section.name.strip(), section.values
    place = f"{section.path}:{section.line}"
    token = next((values[each] for each in _TOKENS if values.get(each)), None)
    if section.name == "DEFAULT":
        if values.get(SECRET):
            return LeftOut("DEFAULT", place, "[DEFAULT] hands its key to every section")
        return None
    found = candidate(name, values.get(ID), values.get(SECRET), place, token=token)
    if not isinstance(found, FoundKey):
        return found
    serial = next((each for key in _SERIALS if (each := plain_value(values.get(key)))), None)
    found = found._replace(mfa_serial=serial, region=plain_value(values.get("region")))
    if _profile(name) != name:
        found = found._replace(name=_profile(name), note=f"from [{name}]")
    return found


def without(text: str, path: str, entries: Collection[Entry]) -> str:
    """Return the text without the lines of these keys in the sections of these names.

    A section that had nothing else goes with its header. It stays if a comment is in it or directly
    above it, if it is a `[profile x]` of a config, and in a file with a `[DEFAULT]`, whose settings
    every section has.
    """
    return _without(text, path, entries, drops_empty=True)


def without_lines_of_keys(text: str, path: str, entries: Collection[Entry]) -> str:
    """Return the text without the lines of these keys; every section stays."""
    return _without(text, path, entries, drops_empty=False)


def _without(text: str, path: str, entries: Collection[Entry], *, drops_empty: bool) -> str:
    before = _sections(text, path)
    removed = [section for section in before if _entry(section) in entries]
    numbers = {section.lines[name] for section in removed for name in (ID, SECRET)}
    # A lone CR is a line end to botocore: such a file has other line numbers than this one.
    if "\r" in text.replace("\r\n", "\n"):
        raise UsageError(
            f"{printable(path)!r} has lines that end with a carriage return alone",
            hint="take the key out with an editor",
        )
    lines = text.split("\n")
    dropped = []
    if drops_empty and not any(section.name == "DEFAULT" for section in before):
        for section in removed:
            block = _empty_block(lines, section.line, numbers)
            if block is not None:
                numbers = numbers.union(block)
                dropped.append(section)
    after = without_lines(text, numbers)
    expected = [
        _rest(section) if section in removed else section.values
        for section in before
        if section not in dropped
    ]
    if [section.values for section in _sections(after, path)] != expected:
        if dropped:
            return _without(text, path, entries, drops_empty=False)
        raise UsageError(
            f"{printable(path)!r} cannot be edited so that the rest reads back as before",
            hint="take the key out with an editor",
        )
    return after


def _rest(section: Section) -> dict[str, str]:
    """Return the values of a section beside its key."""
    return {name: value for name, value in section.values.items() if name not in (ID, SECRET)}


def _empty_block(lines: list[str], header: int, removed: Collection[int]) -> range | None:
    """Return the numbers of a section's lines, from 1, if only blank ones are left of it.

    At the end of the file that includes the blank lines before it. `header` is the number of its
    header, `removed` are those of the lines that go. None if anything else is there.
    """
    if re.fullmatch(r"[ \t]*\[(?!profile[ \t])[^\]]+\][ \t]*\r?", lines[header - 1]) is None:
        return None  # a section of a config, or a comment in the line
    if header > 1 and lines[header - 2].lstrip()[:1] in ("#", ";"):
        return None
    start, end = header, header + 1
    while end <= len(lines) and (end in removed or not lines[end - 1].strip()):
        end += 1
    if end <= len(lines):
        return range(start, end) if re.match(_HEADER, lines[end - 1]) else None
    while start > 1 and (start - 1 in removed or not lines[start - 2].strip()):
        start -= 1
    # What is before it keeps its line end.
    return range(start, end if start == 1 else end - 1)


FORMAT = FileFormat("aws", "a credentials or config file of the AWS CLI", recognise, read, without)
CONFIG = FORMAT._replace(without=without_lines_of_keys)
"""The AWS config of this run: all its sections stay."""
