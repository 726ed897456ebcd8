"""Append profiles to the AWS config, or set a value of one; every other byte stays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_config import LIMIT, AwsConfig
from filevault.errors import ConfigError
from filevault.system.config_files import edit_config
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.system.config_files import EditRules

_UNQUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+=,@:/%")
_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


def profile_section(name: str, values: Mapping[str, str]) -> str:
    """Return the section of a profile as `append_profile` writes it and botocore reads it.

    Raises:
        ConfigError: for a key that is not a plain word, and for a name or value with control,
            format or direction characters.
    """
    for key in values:
        if not key or not _KEY.issuperset(key):
            raise ConfigError(f"{printable(key)!r} is not a key of the AWS config")
    for what, text in (("profile name", name), *values.items()):
        if printable(text) != text:
            raise ConfigError(
                f"the {what} contains control or hidden characters, which must not go into the AWS "
                "config"
            )
    header = "default" if name == "default" else f"profile {_quoted(name)}"
    return "".join([f"[{header}]\n", *(f"{key} = {value}\n" for key, value in values.items())])


def _quoted(name: str) -> str:
    if name and _UNQUOTED.issuperset(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def append_profile(path: str, name: str, values: Mapping[str, str], rules: EditRules) -> None:
    """Append a profile to the config file; see `append_profiles`."""
    append_profiles(path, {name: values}, rules)


def append_profiles(path: str, profiles: Mapping[str, Mapping[str, str]], rules: EditRules) -> None:
    """Append profiles to the config file, all in one atomic step; a link's target is changed.

    A missing final line end and a blank line are added before each, with the line ends of the
    file. The result is parsed before it is written.

    Raises:
        ConfigError: if a profile exists, or the result does not parse to the given values.
        ConfigSyntaxError: if the file cannot be parsed.
        StorageError: if it cannot be read or written.
    """
    edit_config(path, lambda old: with_profiles(old, path, profiles), rules, LIMIT)


def set_profile_value(path: str, name: str, key: str, value: str, rules: EditRules) -> None:
    """Set one value in the section of a profile, atomically; a link's target is changed.

    A value that is there is replaced in its line; otherwise a line is added below the header. The
    result is parsed before it is written.

    Raises:
        ConfigError: if the profile has no section, or the result does not parse to the value and
            to the same other values.
        ConfigSyntaxError: if the file cannot be parsed.
        StorageError: if it cannot be read or written.
    """
    profile_section(name, {key: value})  # for its checks
    edit_config(path, lambda old: _with_value(old, path, name, key, value), rules, LIMIT)


def _with_value(old: bytes, path: str, name: str, key: str, value: str) -> bytes:
    shown = printable(path)
    before = AwsConfig.parse(old, path)
    section = before.profile(name)
    if section is None:
        raise ConfigError(f"profile {printable(name)!r} has no section in {shown!r}")
    lines = old.splitlines(keepends=True)  # of bytes: at \n, \r\n and \r only
    at = section.lines.get(key, 0) - 1
    # A key of [DEFAULT] has its line elsewhere; then the section gets a line of its own.
    if at >= section.line and key.encode() in lines[at].lower():
        lines[at] = re.sub(
            rb"([=:][ \t]*)[^\r\n]*", lambda found: found[1] + value.encode(), lines[at], count=1
        )
    else:
        lines.insert(section.line, _new_line(lines, section.line, f"{key} = {value}"))
        if not lines[section.line - 1].endswith((b"\n", b"\r")):
            lines[section.line - 1] += b"\n"
    new = b"".join(lines)
    after = AwsConfig.parse(new, path)
    names = before.profile_names()
    if after.profile_names() != names or any(
        _values(after, each) != _values(before, each) | ({key: value} if each == name else {})
        for each in names
    ):
        raise ConfigError(
            f"{key} of profile {printable(name)!r} cannot be changed in {shown!r} without changing "
            "something else",
            hint=f"write this line yourself, below the header in line {section.line}: "
            f"{key} = {value}",
        )
    return new


def _new_line(lines: list[bytes], header: int, text: str) -> bytes:
    """Return a line to put below a header, with the indentation and line end of its neighbours."""
    end = b"\r\n" if lines[header - 1].endswith(b"\r\n") else b"\n"
    indent = b""
    for line in lines[header:]:
        stripped = line.strip()
        if stripped and stripped[:1] not in b"#;":
            # A line below ours that is indented further would continue its value.
            indent = line[: len(line) - len(line.lstrip())]
            break
    return indent + text.encode("utf-8") + end


def _values(config: AwsConfig, name: str) -> dict[str, object]:
    section = config.profile(name)
    return {} if section is None else {**section.values, **section.nested}


def with_profiles(old: bytes, path: str, profiles: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return the bytes of a config file with profiles appended. Raises as `append_profiles`."""
    shown = printable(path)
    before = AwsConfig.parse(old, path)
    new = old
    for name, values in profiles.items():
        present = before.profile(name)
        if present is not None:
            raise ConfigError(
                f"profile {printable(name)!r} is already in {shown!r}, line {present.line}"
            )
        new += _appendix(new, profile_section(name, values))
    if len(new) > LIMIT:
        raise ConfigError(f"{shown!r} would become longer than {LIMIT} bytes")
    after = AwsConfig.parse(new, path)
    names = [*before.profile_names(), *profiles]
    for name, values in profiles.items():
        section = after.profile(name)
        if (
            section is None
            or any(section.values.get(key) != value for key, value in values.items())
            or after.profile_names() != names
        ):
            raise ConfigError(
                f"profile {printable(name)!r} cannot be written to {shown!r} so that it reads back "
                "as it was given"
            )
    return new


def _appendix(old: bytes, added: str) -> bytes:
    """Return the bytes to append, with the line end of the file's first line."""
    first = old.find(b"\n")
    line_end = "\r\n" if first > 0 and old[first - 1 : first] == b"\r" else "\n"
    blank = ""
    if old:
        last_lines = old[-4:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        missing = 2 - (len(last_lines) - len(last_lines.rstrip(b"\n")))
        blank = line_end * max(0, missing)
    return (blank + added.replace("\n", line_end)).encode("utf-8")
