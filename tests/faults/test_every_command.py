"""Every command that writes, on every kind of vault: killed or failed, it loses nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.cli.command import COMMANDS
from tests.faults import everywhere, scenarios, test_keys, test_shared_stores
from tests.faults.everywhere import CASES, READING, WRITING, StoreCase
from tests.faults.harness import (
    CallFault,
    CountedCall,
    HarnessCommand,
    RunOutcome,
    Snapshot,
    run_with_fault,
    survey,
)
from tests.faults.scenarios import check_quiet
from tests.worlds.agent import AgentProcess, short_folder
from tests.worlds.fault_store import KINDS, FaultStore
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome

MODES = ("ENOSPC", "EIO", "EINTR", "EROFS")
ALL = [f"{name}-{kind}" for name, case in CASES.items() for kind in case.kinds]
# Every so many-th point outside of the torture. A write has seven or eight, so that a step with
# no factor of these comes to each kind of call.
_STEP = 3
_STEPS = {
    "recipients-add": {"age": 9, "pass": 23},
    "recipients-remove": {"age": 9, "pass": 25},
    "keep-session": {"age": 5, "pass": 9},
    "keep-tokens": {"file": 7, "age": 11, "pass": 23},
    "unlock": {"file": 5, "age": 5, "pass": 9},
    "init": {"age": 5, "pass": 9},
    "add-and-commit": {"file": 5, "age": 9, "pass": 9},
    "clear": dict.fromkeys(KINDS, 1),
    "import": {"file": 11, "age": 11, "pass": 19},
    "copy": {"file": 11, "age": 11, "pass": 23},
    "rename": {"file": 13, "age": 17, "pass": 43},
}


@pytest.fixture(scope="module")
def agent_folder() -> Iterator[Path]:
    """Where an agent listens, for what `unlock` holds."""
    with short_folder() as folder, AgentProcess(folder / "filevault"):
        yield folder


class StoreStage:
    """A case on a machine: where it starts, what it does unharmed, and the judge of the rest."""

    def __init__(self, case: StoreCase, store: FaultStore) -> None:
        self.case, self.store, self.machine = case, store, store.machine
        case.prepare(store)
        self.command = case.command(store)
        self.start = Snapshot.take(self.machine.home)
        self.before = store.read()
        self.whole = survey(self.command, self.machine)
        assert (self.whole.status, self.whole.errors) == (0, []), self.whole
        assert self.whole.calls, "the harness misses what it writes"
        self.check_settled()
        self.start.restore()

    def check_settled(self) -> None:
        """Require that everything is as the command is to make it."""
        assert self.store.read() == self.case.after
        self.case.settled(self.store)

    def strike(self, fault: CallFault) -> RunOutcome:
        """Let the command meet a fault, and look at what it says and leaves."""
        self.start.restore()
        given = fault._asdict()
        outcome = run_with_fault(self.command, self.machine, **given)
        check_quiet(outcome)
        killed = fault.mode == "kill"
        self.store.check_whole(leftovers=killed or fault.lasting)
        assert self.store.read() in (self.before, self.case.after, *self.case.between)
        if killed:
            assert outcome.status == -9, outcome
        else:
            ends = ((0, 0), (7, 1), (11, 1), (12, 1))
            assert (outcome.status, len(outcome.errors)) in ends, outcome
        return outcome

    def check_second_try(self) -> None:
        """Require that the command works now and ends where it would have ended.

        Where it says what to run instead, that does.
        """
        retry = self.case.retry
        again = survey(self.command if retry is None else retry(self.store), self.machine)
        hint = re.search(
            r"^filevault: hint: to encrypt to it: filevault (.*)$", again.err, re.MULTILINE
        )
        if hint is not None:
            again = survey(HarnessCommand(tuple(shlex.split(hint[1]))), self.machine)
        check_quiet(again)
        assert again.status in self.case.again, again
        self.check_settled()

    def campaign(
        self, faults: list[CallFault], check: Callable[[CallFault, RunOutcome], None]
    ) -> None:
        """Let the command meet one fault after the other."""
        for fault in faults:
            try:
                check(fault, self.strike(fault))
            except AssertionError as error:
                call = self.whole.calls[fault.at]
                raise AssertionError(f"{fault} at {call}: {error}") from error


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of the case and the kind of the vault."""
    return str(request.param)


@pytest.fixture
def store_stage(name: str, quick_machine: Machine, gpg: GpgHome, agent_folder: Path) -> StoreStage:
    case, _, kind = name.rpartition("-")
    store = FaultStore(kind, quick_machine, gpg)
    if case == "unlock":
        quick_machine.places = "agent"
        quick_machine.root = str(agent_folder)
        quick_machine.env["XDG_RUNTIME_DIR"] = str(agent_folder)
        quick_machine.clock_file.write_text("0")  # the agent has another clock
    return StoreStage(CASES[case], store)


def step(name: str) -> int:
    """Return which points are left out."""
    case, _, kind = name.rpartition("-")
    return _STEPS.get(case, {}).get(kind, _STEP)


each = pytest.mark.parametrize("name", ALL, indirect=True)


def kills(calls: list[CountedCall], every: int = 1) -> list[CallFault]:
    """Return the kills between any two calls, and in the middle of each write."""
    found = []
    for number, call in enumerate(calls):
        found.append(CallFault(number, "kill", "before"))
        if call.name == "write":
            found.append(CallFault(number, "kill", "within"))
    return [*found[::every], CallFault(len(calls) - 1, "kill", "after")]


@each
def test_neither_a_kill_nor_a_failure_loses_anything(store_stage: StoreStage, name: str) -> None:
    """At a sample of the calls, each failing in one way; the torture has them all."""
    calls, every = store_stage.whole.calls, step(name)
    store_stage.campaign(kills(calls, every), lambda *_: store_stage.check_second_try())
    numbers = range(len(calls))[::every]
    faults = [CallFault(number, MODES[place % 4]) for place, number in enumerate(numbers)]
    faults += [
        CallFault(number, ("ENOSPC", "EROFS")[place % 2], lasting=True)
        for place, number in enumerate(numbers[1::4])
    ]
    store_stage.campaign(faults, lambda *_: None)
    store_stage.check_second_try()


@pytest.mark.torture
@each
@pytest.mark.parametrize("mode", ["kill", *MODES, "EACCES", "EDQUOT", "EINVAL"])
def test_every_fault_at_every_call(store_stage: StoreStage, mode: str) -> None:
    faults = [CallFault(number, mode) for number in range(len(store_stage.whole.calls))]
    if mode == "kill":
        faults = kills(store_stage.whole.calls)
    else:
        faults += [fault._replace(lasting=True) for fault in faults]
    store_stage.campaign(faults, lambda *_: store_stage.check_second_try())


# Nothing is forgotten


def test_every_command_is_in_a_campaign_or_writes_nothing() -> None:
    """Whoever adds a command chooses."""
    assert {*WRITING, *READING} == set(COMMANDS)
    assert not WRITING.keys() & READING.keys()
    known = {f"{kind} {name}" for name, case in CASES.items() for kind in case.kinds}
    known |= {f"file {name}" for name in (*scenarios.SCENARIOS, *test_keys.CASES)}
    known |= {f"{kind} {name}" for name in test_shared_stores.COMMANDS for kind in KINDS[1:]}
    known |= {f"{kind} rotate" for kind in KINDS}  # the matrices of tests/rotation
    known |= {f"{kind} migrate" for kind in KINDS}  # those of test_moving_keys
    known |= {"file import-and-remove"}
    named = {
        f"{kind} {name}"
        for kinds in WRITING.values()
        for kind, names in kinds.items()
        for name in names.split()
    }
    assert named <= known
    assert {*CASES} <= {each.split()[1] for each in named}


@pytest.mark.parametrize("command", READING)
def test_what_is_said_to_write_nothing_writes_nothing(
    command: str, quick_machine: Machine, gpg: GpgHome
) -> None:
    store = FaultStore("file", quick_machine, gpg).make()
    outcome = survey(HarnessCommand(READING[command]), store.machine)
    assert (outcome.status, outcome.calls) == (0, []), outcome


@pytest.mark.parametrize("kind", everywhere.SHARED)
def test_what_is_left_out_is_refused(kind: str, quick_machine: Machine, gpg: GpgHome) -> None:
    store = FaultStore(kind, quick_machine, gpg).make()
    words = {"slot": ("slot", "add"), "passphrase": ("passphrase",), "rekey": ("rekey",)}
    assert {name for name, kinds in WRITING.items() if kind not in kinds} == set(words)
    for argv in words.values():
        outcome = survey(HarnessCommand(argv), store.machine)
        assert (outcome.status, outcome.calls) == (2, []), outcome
