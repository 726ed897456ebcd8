"""Sections of the AWS config that SDKs read differently, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import WARNING, Finding
from filevault.config.inheritance import profile_header
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState
    from filevault.config.aws_config import AwsConfig

_UNUSUAL = " ,\t"
_OTHER = ("plugins", "preview", "DEFAULT")  # sections of the AWS CLI, and Python's defaults


def check(machine: MachineState) -> Diagnosis:
    """Return the headers that are not understood alike."""
    config = machine.config_if_read()
    if config is None:
        return Diagnosis()
    return Diagnosis(findings=_findings(config))


def _findings(config: AwsConfig) -> Iterator[Finding]:
    subject = printable(config.path)
    defaults = 0
    for each in config.own_sections():
        shown = printable(each.name, 80)
        if each.section_type == "":
            if each.name not in _OTHER:
                message = f"line {each.line}: [{shown}] is no profile, and SDKs ignore it"
                yield Finding(subject, "section", WARNING, message, hint=_header_hint(each.name))
        elif each.section_type == "profile":
            defaults += each.name == "default"
            if any(mark in each.name for mark in _UNUSUAL) or not each.name.isascii():
                message = f"line {each.line}: not all SDKs find a profile named {shown!r}"
                hint = "use letters, digits and - _ . / @ only"
                yield Finding(subject, "section", WARNING, message, hint=hint)
    if defaults > 1:
        message = "has [default] and [profile default]: SDKs do not agree which one counts"
        yield Finding(subject, "section", WARNING, message, hint="delete one of the two")


def _header_hint(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"write {profile_header(rest if first.lower() == 'profile' and rest else name)}"
