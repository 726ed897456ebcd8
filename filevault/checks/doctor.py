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
    from collections.abc import Callable, Iterable, Iterator

    from filevault.checks.diagnosis import MachineState

CHECKS = (
    ("vault", "which_vault"),
    ("vault", "state_folder"),
    ("vault", "repositories"),
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
        groups.setdefault(group, []).append(_checked(name, machine, said))
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


def _checked(name: str, machine: MachineState, said: set[str]) -> Diagnosis:
    """Run a check; `said` are the messages of all errors so far."""
    try:
        found: Diagnosis = import_module(f"filevault.checks.{name}").check(machine)
        return found._replace(findings=_bounded(_new(found.findings, said), name))
    except InterruptedByUserError:
        raise
    except FilevaultError as error:
        failure = error_finding(name.replace("_", " "), name, error)
    except Exception as error:  # noqa: BLE001 - one failure must not hide what the others find
        reason = exhausted(error) or directory_error(error)
        if reason is not None:
            return Diagnosis(findings=(error_finding(name.replace("_", " "), name, reason),))
        message = f"the check failed: unexpected {type(error).__name__}, a bug in filevault"
        hint = "please report it"
        failure = Finding(name.replace("_", " "), name, ERROR, message, 1, hint)
    return Diagnosis(findings=_bounded(_new((failure,), said), name))


def _new(found: Iterable[Finding], said: set[str]) -> Iterator[Finding]:
    """Yield findings, each with a hint; an error that ends several checks only once."""
    for each in found:
        if each.severity == ERROR:
            if each.message in said:
                continue
            said.add(each.message)
        yield each if each.hint else each._replace(hint=_OTHERWISE)


def _bounded(found: Iterable[Finding], name: str) -> tuple[Finding, ...]:
    """Return the first findings, and in the last one how many more there are: maybe thousands."""
    shown: list[Finding] = []
    more, worst = 0, None
    for each in found:
        if len(shown) < MAX_FINDINGS - 1:
            shown.append(each)
            continue
        more += 1
        if worst is None or (each.severity == ERROR != worst.severity):
            worst = each
    if worst is None:
        return tuple(shown)
    if more > 1:
        message = f"{more} more are not shown; correct these first"
        subject = name.replace("_", " ")
        worst = Finding(subject, name, worst.severity, message, worst.status)
    return (*shown, worst)
