"""Stored keys that are older than the limit of `key_age_warning`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

_DAY = 86400


def check(machine: MachineState) -> Diagnosis:
    """Return the oldest keys first; nothing is decrypted, so the ages are not authenticated."""
    if machine.vault_if_chosen() is None:
        return Diagnosis()
    limit, now = machine.settings.config.key_age_warning, machine.clock()
    with machine.open_vault() as vault:
        times = vault.created_times()
    created = sorted((time[0], name) for name, time in times.items() if time is not None)
    facts = []
    if created:
        days = max(0, int(now - created[0][0]) // _DAY)
        facts.append(Fact("oldest key", f"{printable(created[0][1], 80)}, {days} days"))
    return Diagnosis(tuple(facts), _aged(created, limit, now))


def _aged(created: list[tuple[int, str]], limit: int, now: float) -> Iterator[Finding]:
    for time, name in created:
        if not limit or now - time < limit:
            break
        message = f"is {int(now - time) // _DAY} days old; the limit is {limit // _DAY}"
        hint = f"filevault rotate {shell_word(name)}"
        subject = f"key {printable(name, 80)!r}"
        yield Finding(subject, "age", WARNING, message, hint=hint)
