"""The checks of `doctor` in their groups, one file each, and how they are run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import ERROR, Finding, error_finding
from filevault.errors import FilevaultError, InterruptedByUserError
from filevault.system.exhaustion import exhausted
from filevault.system.record import Record
from filevault.system.working_directory import directory_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.checks.diagnosis import MachineState

CHECKS = (
    ("vault", "which_vault"),
    ("vault", "state_folder"),
    ("unlocking", "opening"),
    ("unlocking", "unlocked"),
    ("unlocking", "gpg_terminal"),
    ("config", "config_files"),
    ("config", "profiles"),
    ("config", "processes"),
    ("config", "sections"),
    ("environment", "environment"),
    ("keys", "key_age"),
    ("clear text", "credentials_file"),
    ("clear text", "leftovers"),
    ("clear text", "open_files"),
    ("tools", "tools"),
    ("clock", "clock"),
)
"""The group and the module of each check, in the order in which they are shown."""

MAX_FINDINGS = 20
"""Findings of one check that are shown; a last one counts the rest."""

_OTHERWISE = "correct what the message names, then run filevault doctor again"


class Group(Record):
    """The diagnoses of one group, in one."""

    name: str
    diagnosis: Diagnosis


def diagnose(machine: MachineState, progress: Callable[[str], None]) -> list[Group]:
    """Run every check; one that fails is a finding, and the others go on.

    `progress` is called with the name of each group before its checks.
    """
    groups: dict[str, list[Diagnosis]] = {}
    said: set[str] = set()
    for group, name in CHECKS:
        if group not in groups:
            progress(group)
        found = _checked(name, machine)
        new = []
        for each in found.findings:
            if each.severity == ERROR:  # one that ends several checks is shown once
                if each.message in said:
                    continue
                said.add(each.message)
            new.append(each if each.hint else each._replace(hint=_OTHERWISE))
        groups.setdefault(group, []).append(found._replace(findings=_bounded(new, name)))
    return [
        Group(
            name,
            Diagnosis(
                tuple(fact for each in found for fact in each.facts),
                tuple(finding for each in found for finding in each.findings),
            ),
        )
        for name, found in groups.items()
    ]


def _checked(name: str, machine: MachineState) -> Diagnosis:
    try:
        found: Diagnosis = import_module(f"filevault.checks.{name}").check(machine)
    except InterruptedByUserError:
        raise
    except FilevaultError as error:
        return Diagnosis(findings=(error_finding(name.replace("_", " "), name, error),))
    except Exception as error:  # noqa: BLE001 - one failure must not hide what the others find
        reason = exhausted(error) or directory_error(error)
        if reason is not None:
            return Diagnosis(findings=(error_finding(name.replace("_", " "), name, reason),))
        message = f"the check failed: unexpected {type(error).__name__}, a bug in filevault"
        hint = "please report it"
        finding = Finding(name.replace("_", " "), name, ERROR, message, 1, hint)
        return Diagnosis(findings=(finding,))
    return found


def _bounded(found: list[Finding], name: str) -> tuple[Finding, ...]:
    if len(found) <= MAX_FINDINGS:
        return tuple(found)
    worst = max(found[MAX_FINDINGS - 1 :], key=lambda each: each.severity == ERROR)
    more = len(found) - MAX_FINDINGS + 1
    message = f"{more} more are not shown; correct these first"
    last = Finding(name.replace("_", " "), name, worst.severity, message, worst.status)
    return (*found[: MAX_FINDINGS - 1], last)
