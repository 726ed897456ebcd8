"""The `credential_process` lines of the AWS config: whether their programs are there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import ERROR, WARNING, Finding
from filevault.checks.profiles import MAX_PROFILES
from filevault.errors import FilevaultError, ProgramError
from filevault.system.printable import printable
from filevault.system.search_path import find_program, is_executable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState
    from filevault.config.aws_config import Section


def check(machine: MachineState) -> Diagnosis:
    """Return the lines whose program is not there, or depends on who starts it."""
    config = machine.config_if_read()
    if config is None:
        return Diagnosis()
    findings: list[Finding] = []
    path = machine.settings.environ.get("PATH")
    for name in config.profile_names()[:MAX_PROFILES]:
        try:
            section = config.profile(name)
        except FilevaultError:
            continue  # reported by the check of the profiles
        if section is not None and section.values.get("credential_process"):
            findings += _of(section, path)
    return Diagnosis(findings=tuple(findings))


def _of(section: Section, path: str | None) -> Iterator[Finding]:
    subject = f"profile {printable(section.name, 80)!r}"
    where = f"line {section.lines['credential_process']} of {printable(section.path)!r}"
    try:
        words = shlex.split(section.values["credential_process"])
    except ValueError:
        words = []
    if not words:
        message = f"credential_process in {where} cannot be split into words"
        yield Finding(subject, "process", ERROR, message, 3, "close its quotes")
        return
    program = words[0]
    shown = printable(program, 200)
    if "/" in program:
        there = program.startswith("/") and is_executable(program)
    else:
        there = find_program(program, path) is not None
    if not there:
        message = f"credential_process in {where} runs {shown!r}, which is not there"
        hint = "correct the path; filevault add writes such a line for a stored key"
        yield Finding(subject, "process", ERROR, message, ProgramError.exit_status, hint)
    if section.values.get("role_arn") and not section.values.get("source_profile"):
        message = (
            f"credential_process in {where} stands beside role_arn: botocore refuses that, and "
            "JavaScript SDKs ignore the role"
        )
        hint = "give the process a profile of its own, and name it as source_profile"
        yield Finding(subject, "process", WARNING, message, hint=hint)
    if section.values.get("source_profile") and not section.values.get("role_arn"):
        message = f"credential_process in {where} stands beside source_profile: botocore refuses it"
        yield Finding(subject, "process", WARNING, message, hint="delete one of the two lines")
