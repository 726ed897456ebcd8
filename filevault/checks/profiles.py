"""Profiles of the AWS config: those that cannot be used, and those with two sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding, error_finding
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.errors import FilevaultError, NoCredentialsError
from filevault.plan.planner import PlanOptions, plan
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState
    from filevault.config.credential_process import ExportCommand
    from filevault.config.profile import Profile

MAX_PROFILES = 2000  # that are looked at


def check(machine: MachineState) -> Diagnosis:
    """Resolve and plan each profile without options and variables; return what is wrong."""
    config = machine.config_if_read()
    if config is None:
        return Diagnosis()
    names = config.profile_names()
    stored = machine.stored_names()
    findings: list[Finding] = []
    for name in names[:MAX_PROFILES]:
        subject = f"profile {printable(name, 80)!r}"
        try:
            profile = resolve(
                config,
                name,
                overrides=Overrides(),
                has_item=stored.__contains__,
                follows=_follows,
            )
            _plan(profile)
        except NoCredentialsError as error:
            if machine.vault_if_chosen() is not None:  # without one no key can be stored
                findings.append(Finding(subject, "profile", WARNING, error.message, 0, error.hint))
        except FilevaultError as error:
            findings.append(error_finding(subject, "profile", error))
            continue
        findings += _of(profile, subject)
    facts = [Fact("profiles", str(len(names))), Fact("stored keys", str(len(stored)))]
    return Diagnosis(tuple(facts), tuple(findings))


def _follows(_command: ExportCommand) -> bool:
    return True  # with which vault it runs is a matter of its own options


def _plan(profile: Profile) -> None:
    """Raise what `exec` would refuse the profile with before its first call.

    Alone, a profile without credentials is none of it: it may hold settings, or keys in the clear,
    which another check reports.
    """
    chain = profile.chain
    if chain[0].source == "config-keys":
        return
    try:
        plan(profile, PlanOptions())
    except NoCredentialsError:
        if len(chain) > 1:
            raise


def _of(profile: Profile, subject: str) -> Iterator[Finding]:
    for text in profile.warnings:
        yield Finding(subject, "profile", WARNING, text, hint="correct the line, or delete it")
    if profile.shadowed:
        used = "the stored key" if profile.source == "stored" else (profile.source_where or "")
        message = (
            f"has several sources: {used or 'one'} is used, {' and '.join(profile.shadowed)} is "
            "not; SDKs may choose otherwise"
        )
        hint = "leave one source in the section"
        yield Finding(subject, "shadowed", WARNING, message, hint=hint)
