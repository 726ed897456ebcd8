"""Whenever a command is killed, what was stored is there, and the next command works."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.faults.harness import (
    CallFault,
    CountedCall,
    HarnessCommand,
    NeverReached,
    Snapshot,
    run_with_fault,
)
from tests.faults.scenarios import SCENARIOS, Scenario, ScenarioStage, check_quiet, executed
from tests.worlds.machine import Machine


def points(stage: ScenarioStage) -> list[CallFault]:
    """Every kill: between any two calls, and in the middle of each write."""
    found = []  # after one call is before the next
    for number, call in enumerate(stage.whole.calls):
        found.append(CallFault(number, "kill", "before"))
        if call.name == "write":
            found.append(CallFault(number, "kill", "within"))
    found.append(CallFault(len(stage.whole.calls) - 1, "kill", "after"))
    return found


def kill(stage: ScenarioStage, fault: CallFault) -> None:
    """Kill the command there and look at everything that is left."""
    stage.start.restore()
    outcome = run_with_fault(
        stage.scenario.command, stage.machine, at=fault.at, mode="kill", when=fault.when
    )
    assert outcome.status == -9, outcome
    check_quiet(outcome)
    done = executed(outcome.calls, fault.at, fault.when)
    stage.check_whole(Snapshot.take(stage.machine.home), leftovers=True)
    stage.check_items(changed=any(map(stage.scenario.decides, done)))
    stage.check_sessions()
    stage.check_second_try()


def campaign(scenario: Scenario, machine: Machine) -> None:
    """Kill a command at each of its points."""
    stage = ScenarioStage(scenario, machine)
    for fault in points(stage):
        try:
            kill(stage, fault)
        except AssertionError as error:
            call = stage.whole.calls[fault.at]
            raise AssertionError(f"killed {fault.when} call {fault.at}, {call}: {error}") from error


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_call_loses_nothing(name: str, quick_machine: Machine) -> None:
    campaign(SCENARIOS[name], quick_machine)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_reported_as_done_outlasts_a_power_cut(name: str, quick_machine: Machine) -> None:
    """Bytes are synced before their file has its name, and each folder after its last change."""
    unsynced: dict[str, CountedCall] = {}
    for call in ScenarioStage(SCENARIOS[name], quick_machine).whole.calls:
        folder = str(Path(call.target or call.path).parent)
        if call.name == "fsync":
            unsynced.pop(call.path, None)
        elif call.name == "write":
            unsynced[call.path] = call
        elif call.name in ("rename", "link", "unlink", "mkdir") and "/locks" not in call.path:
            assert call.path not in unsynced, f"{call} before its bytes are synced"
            unsynced[folder] = call
    assert unsynced == {}


# A person must delete the key file that a kill left, and adds a section with other options.
_REPEATABLE = [name for name in SCENARIOS if "key-file" not in name and not SCENARIOS[name].config]


@pytest.mark.torture
@pytest.mark.parametrize("name", _REPEATABLE)
def test_two_kills_in_a_row_lose_nothing(name: str, quick_machine: Machine) -> None:
    """What the first kill left is what the second one meets."""
    stage = ScenarioStage(SCENARIOS[name], quick_machine)
    second = SCENARIOS[name].again or SCENARIOS[name].command
    count = len(stage.whole.calls)
    for first in range(0, count, 3):
        for later in range(0, count, 2):
            stage.start.restore()
            run_with_fault(stage.scenario.command, quick_machine, at=first, mode="kill")
            fault = CallFault(later, "kill")
            kill_again(stage, second, fault, f"killed before call {first}, then {later}")


def kill_again(stage: ScenarioStage, command: HarnessCommand, fault: CallFault, where: str) -> None:
    """Kill the second try too, if it comes that far, and look."""
    try:
        with contextlib.suppress(NeverReached):
            run_with_fault(command, stage.machine, at=fault.at, mode="kill")
        stage.check_whole(Snapshot.take(stage.machine.home), leftovers=True)
        stage.check_items(changed=None)
        stage.check_second_try()
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
