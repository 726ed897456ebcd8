"""A refresh of a token record that is killed or fails at any call: the old tokens or the new."""

from __future__ import annotations

from pathlib import Path

from tests.faults.harness import (
    CountedCall,
    HarnessCommand,
    RunOutcome,
    Snapshot,
    run_with_fault,
    survey,
)
from tests.faults.tokens import REFRESH, SHOW, STORE
from tests.worlds.machine import PASSPHRASE, Machine


def prepared(machine: Machine) -> tuple[Snapshot, list[CountedCall]]:
    """Store the old tokens; return this state and the calls of a refresh."""
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    for command in (HarnessCommand(("init",)), STORE):
        assert survey(command, machine).status == 0
    start = Snapshot.take(machine.home)
    whole = survey(REFRESH, machine)
    assert whole.status == 0, whole
    return start, whole.calls


def judge(machine: Machine, outcome: RunOutcome) -> None:
    """Look at what a refresh left, and refresh once more."""
    shown = survey(SHOW, machine)
    assert shown.out in ("old\n", "new\n"), (outcome, shown)
    if "used" in outcome.out:
        assert shown.out == "new\n"
    if "asked" not in outcome.out:
        assert shown.out == "old\n"
    assert "old0" not in outcome.everything
    assert survey(REFRESH, machine).status == 0
    assert survey(SHOW, machine).out == "new\n"


def test_a_kill_at_any_call_leaves_the_old_tokens_or_the_new(quick_machine: Machine) -> None:
    start, calls = prepared(quick_machine)
    for at, call in enumerate(calls):
        for when in ("before", *(["within"] if call.name == "write" else [])):
            start.restore()
            outcome = run_with_fault(REFRESH, quick_machine, at=at, mode="kill", when=when)
            assert outcome.status == -9
            judge(quick_machine, outcome)


def test_a_disk_that_fills_up_spends_no_token(quick_machine: Machine) -> None:
    """Where a record cannot be written, AWS is not asked to replace the tokens."""
    start, calls = prepared(quick_machine)
    for at in range(len(calls)):
        start.restore()
        outcome = run_with_fault(REFRESH, quick_machine, at=at, mode="ENOSPC", lasting=True)
        judge(quick_machine, outcome)
        if calls[at].name in ("open", "write", "mkdir") and at < len(calls) // 2:
            assert outcome.out == "", calls[at]
            assert outcome.status == 7


def test_the_new_tokens_are_on_the_disk_before_they_are_used(quick_machine: Machine) -> None:
    _start, calls = prepared(quick_machine)
    written = [call for call in calls if "/login" in call.path]
    names = [call.name for call in written]
    folder = str(Path(next(c.target for c in written if c.name == "rename")).parent)
    assert names.count("rename") == 2, "one to prepare, one with the new tokens"
    last = len(names) - 1 - names[::-1].index("rename")
    before = [call for call in written[:last] if call.name in ("write", "fsync")]
    assert before[-1].name == "fsync", "the bytes are synced before the file has its name"
    assert CountedCall("fsync", folder) in written[last:], "and the folder after it"
