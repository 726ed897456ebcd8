"""Whichever call fails, a command says so in one line, keeps what was stored, and cleans up."""

from __future__ import annotations

import pytest

from tests.faults.harness import CallFault, RunOutcome, Snapshot, run_with_fault
from tests.faults.scenarios import SCENARIOS, ScenarioStage, check_quiet
from tests.worlds.machine import Machine

MODES = ("ENOSPC", "EIO", "EROFS", "EINTR")


def strike(stage: ScenarioStage, fault: CallFault) -> RunOutcome:
    """Let the command meet a fault and look at what it says and leaves."""
    stage.start.restore()
    outcome = run_with_fault(
        stage.scenario.command,
        stage.machine,
        at=fault.at,
        mode=fault.mode,
        when=fault.when,
        lasting=fault.lasting,
    )
    check_quiet(outcome)
    assert (outcome.status, len(outcome.errors)) in ((0, 0), (7, 1)), outcome
    # A read-only file system does not let anybody clean up.
    leftovers = fault.lasting and fault.mode == "EROFS"
    stage.check_whole(Snapshot.take(stage.machine.home), leftovers=leftovers)
    if outcome.status == 0 or stage.scenario.command.argv[0] == "init":
        stage.check_items(changed=outcome.status == 0)
    elif fault.lasting or fault.when != "before":
        stage.check_items(changed=None)
    else:
        done = outcome.calls[: fault.at]
        stage.check_items(changed=any(map(stage.scenario.decides, done)))
    return outcome


def campaign(stage: ScenarioStage, faults: list[CallFault]) -> list[RunOutcome]:
    """Let the command meet one fault after the other."""
    outcomes = []
    for fault in faults:
        try:
            outcomes.append(strike(stage, fault))
        except AssertionError as error:
            call = stage.whole.calls[fault.at]
            raise AssertionError(f"{fault} at {call}: {error}") from error
    return outcomes


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_call_that_fails_once_costs_nothing(name: str, quick_machine: Machine) -> None:
    """Each in two of four ways, the next one in the two others; the torture has them all."""
    stage = ScenarioStage(SCENARIOS[name], quick_machine)
    numbers = range(len(stage.whole.calls))
    faults = [CallFault(number, mode) for number in numbers for mode in MODES[number % 2 :: 2]]
    outcomes = campaign(stage, faults)
    assert {outcome.status for outcome in outcomes} >= {0 if "session" in name else 7}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_disk_that_fills_up_or_turns_read_only_costs_nothing(
    name: str, quick_machine: Machine
) -> None:
    stage = ScenarioStage(SCENARIOS[name], quick_machine)
    numbers = range(0, len(stage.whole.calls), 3)
    campaign(
        stage,
        [
            CallFault(number, mode, lasting=True)
            for number in numbers
            for mode in ("ENOSPC", "EROFS")
        ],
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_write_that_takes_only_a_part_is_finished(name: str, quick_machine: Machine) -> None:
    stage = ScenarioStage(SCENARIOS[name], quick_machine)
    writes = [number for number, call in enumerate(stage.whole.calls) if call.name == "write"]
    outcomes = campaign(stage, [CallFault(number, "short", "within") for number in writes])
    assert {outcome.status for outcome in outcomes} <= {0}


def test_a_full_disk_is_named_with_the_way_out(quick_machine: Machine) -> None:
    stage = ScenarioStage(SCENARIOS["add-force"], quick_machine)
    write = next(number for number, call in enumerate(stage.whole.calls) if call.name == "write")
    outcome = strike(stage, CallFault(write, "ENOSPC"))
    assert outcome.status == 7
    assert outcome.errors == [
        f"filevault: error: cannot write '{quick_machine.vault}/one.fv': no space left on device"
    ]
    assert "free some space" in outcome.err


def test_a_key_that_is_in_place_is_not_called_unchanged(quick_machine: Machine) -> None:
    """The last step, syncing the folder, comes when the new key is there already."""
    stage = ScenarioStage(SCENARIOS["add-force"], quick_machine)
    calls = stage.whole.calls
    rename = next(number for number, call in enumerate(calls) if stage.scenario.decides(call))
    assert calls[rename + 1].name == "fsync"
    outcome = strike(stage, CallFault(rename + 1, "EIO"))
    assert outcome.status == 7
    assert "one.fv' is written, but may not survive a power cut: input/output error" in outcome.err


def test_a_vault_that_nobody_could_open_is_not_left(quick_machine: Machine) -> None:
    """Neither without its key file nor with a passphrase that was never shown."""
    stage = ScenarioStage(SCENARIOS["init-with-only-a-key-file"], quick_machine)
    calls = stage.whole.calls
    rename = next(number for number, call in enumerate(calls) if stage.scenario.decides(call))
    assert calls[rename + 1].name == "fsync"
    assert strike(stage, CallFault(rename + 1, "EIO")).status == 7
    assert not list(quick_machine.home.glob("keys/*"))
    assert not (quick_machine.vault / ".filevault/vault.json").exists()
    # Where the vault cannot be taken back, its key must stay.
    assert strike(stage, CallFault(rename + 1, "EROFS", lasting=True)).status == 7
    assert stage.read() == {}


@pytest.mark.torture
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mode", [*MODES, "EACCES", "EPERM", "ENOTSUP", "EDQUOT", "EINVAL"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_failure_at_every_call(
    name: str, mode: str, when: str, quick_machine: Machine
) -> None:
    stage = ScenarioStage(SCENARIOS[name], quick_machine)
    numbers = range(len(stage.whole.calls))
    # A file that exists although opening it failed, or a lock held all the same, is no case.
    late = ("write", "fsync", "rename", "unlink", "close")
    faults = [
        CallFault(number, mode, when)
        for number in numbers
        if when == "before" or stage.whole.calls[number].name in late
    ]
    campaign(stage, faults)
    if when == "before":
        campaign(stage, [CallFault(number, mode, lasting=True) for number in numbers])
