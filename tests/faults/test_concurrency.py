"""Many at once, in forked children: killed in every moment of their work, thousands of times.

`test_parallel` does the like with whole processes, which spend most of their time on starting.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import time
from collections.abc import Iterable

import pytest

from filevault.credentials import AccessKey
from filevault.system.files import Folder
from filevault.vault.item import parse
from filevault.vault.item_store import ItemStore
from filevault.vault.trust import Trust
from tests.faults import actions
from tests.faults.harness import CallFault, HarnessCommand, Running, RunOutcome, survey
from tests.faults.scenarios import ONE, adding, check_quiet
from tests.worlds.file_vault import KnownPassphrase, opened
from tests.worlds.machine import PASSPHRASE, Machine

WRITERS = 8
SECONDS = float(os.environ.get("HAMMER_SECONDS", "180"))
NAMES = ("one", "two", "team/three", "team/four", "deep/er/five")
Possible = dict[str, set[AccessKey | None]]


def key(number: int) -> AccessKey:
    """Return a key that no other number has."""
    return AccessKey(f"AKIA{number:016d}", f"secret/{number:033d}")


def together(machine: Machine, commands: Iterable[HarnessCommand]) -> list[RunOutcome]:
    """Run commands at the same time."""
    running = [Running(command, machine) for command in commands]
    outcomes = [each.wait() for each in running]
    for outcome in outcomes:
        check_quiet(outcome)
    return outcomes


def stored(machine: Machine) -> dict[str, AccessKey]:
    """Open every item; fails for one that does not open."""
    with Folder.open(str(machine.vault)) as root:
        backend = opened(root, KnownPassphrase())
        backend.unlock()
        store = ItemStore(root, backend.suffix)
        return {
            name: parse(backend.decrypt("credentials", name, store.read(name)), name).key
            for name in store.names()
        }


def leftovers(machine: Machine) -> list[str]:
    """Return the temporary files that are left."""
    return [str(path) for path in machine.home.rglob(".fv-*.tmp")]


@pytest.fixture
def quick_vault(quick_machine: Machine) -> Machine:
    """A machine with an empty vault."""
    quick_machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    assert survey(HarnessCommand(("init",)), quick_machine).status == 0
    return quick_machine


def test_a_reader_beside_writers_sees_one_whole_key_at_any_time(quick_vault: Machine) -> None:
    assert survey(adding("one", ONE, "--no-config"), quick_vault).status == 0
    exporting = HarnessCommand(("export", "one", "--no-session", "--format", "json"))
    seen = set()
    for number in range(20):
        writer = Running(adding("one", key(number), "--force", "--no-config"), quick_vault)
        readers = [Running(exporting, quick_vault) for _ in range(2)]
        outcomes = [reader.wait() for reader in readers]
        assert writer.wait().status == 0
        for outcome in outcomes:
            assert outcome.status == 0, outcome
            shown = json.loads(outcome.out)
            found = AccessKey(shown["AccessKeyId"], shown["SecretAccessKey"])
            assert found in (ONE, key(number - 1), key(number))
            seen.add(found)
    assert len(seen) > 5
    assert leftovers(quick_vault) == []


@pytest.mark.parametrize("options", [(), ("--new-key-file",)], ids=["passphrase", "key-file"])
def test_parallel_inits_make_one_vault(quick_machine: Machine, options: tuple[str, ...]) -> None:
    machine = quick_machine
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    for round_ in range(6):
        commands = [
            HarnessCommand(("init", *options, *(f"{number}.key" for _ in options)))
            for number in range(WRITERS)
        ]
        outcomes = together(machine, commands)
        assert sorted(outcome.status for outcome in outcomes) == [0] + [3] * (WRITERS - 1), outcomes
        assert stored(machine) == {}
        assert leftovers(machine) == []
        # Nothing is left of the others, nor was the winner's memory taken for an old vault's.
        (state,) = machine.state.iterdir()
        with Folder.open(str(state)) as folder:
            pin = Trust(folder).pin
        assert pin is not None
        assert f"pin: {pin.digest}" in next(each.out for each in outcomes if each.status == 0)
        slots = list((machine.vault / ".filevault/slots").iterdir())
        assert len(slots) == 1 + len(options)
        assert len(list(machine.home.glob("*.key"))) == len(options)
        for path in machine.home.glob("*.key"):
            path.unlink()
        machine.vault.rename(machine.home / f"old{round_}")
        state.rename(machine.home / f"state{round_}")


def test_an_init_that_is_overtaken_while_it_asks_changes_nothing(machine: Machine) -> None:
    other = shlex.join(
        ["env", f"FILEVAULT_PASSPHRASE={PASSPHRASE}", *machine.launcher, "init"],
    )
    asking = f"sh -c {shlex.quote(f'{other} >&2; echo another passphrase')}"
    outcome = machine.run(
        "init", "--new-key-file", "late.key", env={"FILEVAULT_PASSPHRASE_COMMAND": asking}
    )
    assert outcome.status == 3
    assert "there is a vault at" in outcome.err
    assert stored(machine) == {}
    (state,) = machine.state.glob("????????????????????????????????*")  # not moved aside
    with Folder.open(str(state)) as folder:
        assert Trust(folder).pin is not None
    assert not (machine.home / "late.key").exists()


def test_parallel_adds_on_a_new_machine_make_one_vault_with_all_keys(
    quick_machine: Machine,
) -> None:
    quick_machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    wanted = {f"p{number}": key(number) for number in range(WRITERS)}
    outcomes = together(
        quick_machine, (adding(name, each, "--init") for name, each in wanted.items())
    )
    done = {
        name: wanted[name]
        for name, outcome in zip(wanted, outcomes, strict=True)
        if outcome.status == 0
    }
    assert done
    for outcome in outcomes:  # one that lost the race stored nothing, and says so
        assert (outcome.status, len(outcome.errors)) in ((0, 0), (3, 1), (4, 1)), outcome
    assert stored(quick_machine) == done


# Writers that are killed


class ConcurrentRounds:
    """Rounds of commands at the same time, some of them killed at any moment."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.machine = machine
        self.random = random.Random(seed)
        self.number = 0
        self.killed = 0
        self.done = 0
        self.possible: Possible = {name: {None} for name in NAMES}

    def _command(self) -> tuple[str | None, AccessKey | None, HarnessCommand]:
        """Return the item a command changes, what it makes of it, and the command."""
        self.number += 1
        name = self.random.choice(NAMES)
        what = self.random.random()
        if what < 0.7:
            new = key(self.number)
            return name, new, adding(name, new, "--force", "--no-config")
        if what < 0.85:
            return name, None, HarnessCommand(("remove", "--force", name))
        return self.random.choice(
            [
                (None, None, HarnessCommand(("list", "--json"))),
                (None, None, HarnessCommand(("clear",))),
                (
                    None,
                    None,
                    HarnessCommand(
                        ("own-session",), env={"OWN": "a" * 32}, action=actions.own_session
                    ),
                ),
            ]
        )

    def round(self) -> None:
        """Let eight commands run, kill about a half of them, and look at everything."""
        batch = [self._command() for _ in range(WRITERS)]
        running = []
        for number, (_, _, command) in enumerate(batch):
            fault = CallFault(self.random.randrange(40), "kill") if number % 3 == 0 else None
            running.append(Running(command, self.machine, fault))
            if number % 3 == 1:
                time.sleep(self.random.random() * 0.01)
                running[-1].kill()
        changed: Possible = {}
        certain: Possible = {}
        outcomes = [each.wait() for each in running]
        for outcome, (name, value, command) in zip(outcomes, batch, strict=True):
            check_quiet(outcome)
            # 4: nothing to remove; 7: somebody else was quicker.
            assert outcome.status in (0, 4, 7, -9), (command.argv, outcome)
            self.killed += outcome.status == -9
            if outcome.status == 0:
                self.done += 1
            if name is not None:
                changed.setdefault(name, set()).add(value)
                if outcome.status == 0:
                    certain.setdefault(name, set()).add(value)
        found = stored(self.machine)
        for name in NAMES:
            now = found.get(name)
            allowed = changed.get(name, set())
            if name not in certain:
                allowed = allowed | self.possible[name]
            assert now in allowed, f"{name} is {now}, not one of {allowed}"
            self.possible[name] = {now}


def test_items_survive_writers_that_are_killed(quick_vault: Machine) -> None:
    hammer = ConcurrentRounds(quick_vault, 1)
    for _ in range(40):
        hammer.round()
    assert hammer.killed > 40
    assert hammer.done > 40
    for name in NAMES:
        assert survey(adding(name, ONE, "--force", "--no-config"), quick_vault).status == 0
    assert stored(quick_vault) == dict.fromkeys(NAMES, ONE)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
def test_items_survive_minutes_of_writers_that_are_killed(quick_vault: Machine, seed: int) -> None:
    hammer = ConcurrentRounds(quick_vault, 1000 + seed)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        hammer.round()
    assert hammer.killed > SECONDS
