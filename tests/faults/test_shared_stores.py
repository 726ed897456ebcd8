"""`pass` and `age` stores: whatever fails or is killed, what was stored is there."""

from __future__ import annotations

import pytest

from tests.faults.harness import HarnessCommand, Snapshot, run_with_fault, survey
from tests.faults.scenarios import NEW, ONE, adding, check_quiet
from tests.worlds.fault_store import BOTH, FaultStore
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome

MODES = ("ENOSPC", "EIO", "EROFS", "EINTR")
COMMANDS = {
    "add": (adding("deep/new", NEW, "--no-config", "--force"), {**BOTH, "deep/new": NEW}),
    "replace": (adding("one", NEW, "--no-config", "--force"), {**BOTH, "one": NEW}),
    "remove": (HarnessCommand(("remove", "-f", "team/two")), {"one": ONE}),
}


@pytest.fixture(params=["pass", "age"])
def fault_store(request: pytest.FixtureRequest, quick_machine: Machine, gpg: GpgHome) -> FaultStore:
    return FaultStore(request.param, quick_machine, gpg).make()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_any_call_loses_nothing(fault_store: FaultStore, name: str) -> None:
    command, after = COMMANDS[name]
    start = Snapshot.take(fault_store.machine.home)
    whole = survey(command, fault_store.machine)
    assert (whole.status, fault_store.read()) == (0, after), whole
    decisive = "unlink" if name == "remove" else "rename"
    for number, call in enumerate(whole.calls):
        if call.name not in ("open", "write", "rename", "unlink", "mkdir", "rmdir"):
            continue
        start.restore()
        killed = run_with_fault(command, fault_store.machine, at=number, mode="kill", when="after")
        assert killed.status == -9, (call, killed)
        check_quiet(killed)
        done = [each for each in killed.calls[: number + 1] if each.name == decisive]
        changed = any(fault_store.holds(each.target or each.path) for each in done)
        assert fault_store.read() == (after if changed else BOTH), call
        fault_store.check_whole(leftovers=True)
        again = survey(command, fault_store.machine)
        assert again.status == (4 if changed and name == "remove" else 0), (call, again)
        assert fault_store.read() == after, call


@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails_costs_nothing(fault_store: FaultStore, name: str) -> None:
    command, after = COMMANDS[name]
    start = Snapshot.take(fault_store.machine.home)
    calls = survey(command, fault_store.machine).calls
    for number, call in enumerate(calls):
        every = call.name in ("open", "write", "rename", "unlink")
        for mode in MODES if every else (MODES[number % 4],):
            start.restore()
            failed = run_with_fault(command, fault_store.machine, at=number, mode=mode)
            check_quiet(failed)
            assert (failed.status, len(failed.errors)) in ((0, 0), (7, 1)), (call, mode, failed)
            items = fault_store.read()
            assert items in (BOTH, after), (call, mode)
            if failed.status == 0:
                assert items == after, (call, mode)
            fault_store.check_whole(leftovers=False)


def test_faults_reach_the_shared_stores(fault_store: FaultStore) -> None:
    """The campaign above is empty if the harness misses the store's files."""
    calls = survey(COMMANDS["replace"][0], fault_store.machine).calls
    targets = [call.target for call in calls if call.name == "rename"]
    assert any(map(fault_store.holds, targets))
