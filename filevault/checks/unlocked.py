"""Which keys of the vault are cached, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding
from filevault.keycache.cached_key import SESSION
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from filevault.checks.diagnosis import MachineState


def check(machine: MachineState) -> Diagnosis:
    """Return the cached keys, and a key store that does not answer."""
    choice = machine.vault_if_chosen()
    if choice is None:
        return Diagnosis()
    cache = machine.key_cache()
    facts = [
        Fact(
            "cached",
            f"{'sessions' if each.key_type == SESSION else 'long-term keys'}, "
            f"{format_duration(each.seconds)} more ({each.store})",
        )
        for each in cache.entries(choice.state_id)
    ]
    failed = cache.last_error()
    found = []
    if failed is not None:
        hint = failed.hint or "filevault lock forgets what it can; then filevault unlock"
        found.append(Finding("the key cache", "cache", WARNING, failed.message, hint=hint))
    return Diagnosis(tuple(facts) or (Fact("cached", "nothing"),), tuple(found))
