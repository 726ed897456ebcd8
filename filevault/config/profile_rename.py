"""Rename a profile in the AWS config: its header, and the settings that refer to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_config import LIMIT, AwsConfig, Section
from filevault.config.aws_config_edit import profile_section
from filevault.errors import ConfigError
from filevault.system.config_files import edit_config
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.system.config_files import EditRules

_REFERENCES = ("source_profile", "include_profile")
_COMMANDS = ("credential_process", "mfa_process")


def named_lines(config: AwsConfig, name: str) -> list[int]:
    """Return the numbers of the lines that name a profile: its header, and references to it."""
    found = []
    for section in _profiles(config):
        if section.name == name:
            found.append(section.line)
        found += [
            section.lines[key] for key in _REFERENCES if section.values.get(key, "").strip() == name
        ]
    return sorted(found)


def mentions(config: AwsConfig, name: str) -> list[int]:
    """Return the numbers of the lines with a command that has the name as a word."""
    found = []
    for section in _profiles(config):
        for key in _COMMANDS:
            words = re.split(r"[\s'\"=]+", section.values.get(key, ""))
            if name in words and any("filevault" in word for word in words):
                found.append(section.lines[key])
    return found


def _profiles(config: AwsConfig) -> list[Section]:
    return [each for each in config.own_sections() if each.section_type == "profile"]


def edit_names(config: AwsConfig, old: str, new: str) -> list[int]:
    """Return the lines to change. Raises ConfigError if the profile cannot be renamed there."""
    profile_section(new, {})  # raises for a name that the config cannot contain
    if "default" in (old, new):
        raise ConfigError(
            "--config renames no profile to or from 'default': [default] also has the settings of "
            "all others",
            hint="leave --config out, and edit the AWS config yourself",
        )
    if config.profile(old) is not None and config.profile(new) is not None:
        raise ConfigError(f"the AWS config has a profile {printable(new)!r} already")
    return named_lines(config, old)


def rename_profile(path: str, old: str, new: str, rules: EditRules) -> int:
    """Rename a profile in the config file, atomically; return how many lines were changed.

    Every other byte stays, and a link's target is changed. Raises ConfigError if the result does
    not read back as meant, StorageError.
    """
    changed: list[int] = []

    def edit(data: bytes) -> bytes:
        config = AwsConfig.parse(data, path)
        changed[:] = edit_names(config, old, new)
        if not changed:
            return data
        after = _edited(data.decode("utf-8"), changed, config, old, new)
        _check(config, AwsConfig.parse(after, path), old, new, path)
        return after

    edit_config(path, edit, rules, LIMIT)
    return len(changed)


def _edited(text: str, numbers: list[int], config: AwsConfig, old: str, new: str) -> bytes:
    header = profile_section(new, {}).rstrip("\n")
    headers = {section.line for section in _profiles(config) if section.name == old}
    lines = text.split("\n")
    for number in numbers:
        if number > len(lines):  # a lone CR ends lines for botocore
            break
        line = lines[number - 1]
        if number in headers:
            lines[number - 1] = re.sub(r"\[[^\]]*\]", lambda _: header, line, count=1)
        else:
            before, separator, value = re.split(r"([=:])", line, maxsplit=1)
            lines[number - 1] = before + separator + value.replace(old, new, 1)
    return "\n".join(lines).encode("utf-8")


def _check(before: AwsConfig, after: AwsConfig, old: str, new: str, path: str) -> None:
    """Raise ConfigError unless only the names differ."""

    def meant(section: Section) -> tuple[str, str, dict[str, str]]:
        name = new if (section.section_type, section.name) == ("profile", old) else section.name
        values = dict(section.values)
        if section.section_type == "profile":
            for key in _REFERENCES:
                if values.get(key, "").strip() == old:
                    values[key] = new
        return section.section_type, name, values

    found = [(s.section_type, s.name, dict(s.values)) for s in after.own_sections()]
    if found != [meant(section) for section in before.own_sections()]:
        raise ConfigError(
            f"the profile cannot be renamed in {printable(path)!r} so that the rest reads back "
            "as before",
            hint="leave --config out, and edit the AWS config yourself",
        )
