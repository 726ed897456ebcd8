"""Changing what opens a vault: killed or failed at any call, it opens and nothing is lost."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.backends.file import keyslots, master_key, retired_keys, vault_json
from filevault.backends.sealing import envelope, key_schedule
from filevault.backends.values import Secret
from filevault.errors import WrongPassphraseError
from filevault.system.files import Folder
from filevault.vault.item import parse
from filevault.vault.item_store import ItemStore
from filevault.vault.trust import Trust
from tests.conditions.tools import tool
from tests.faults import actions
from tests.faults.harness import (
    CallFault,
    CountedCall,
    HarnessCommand,
    RunOutcome,
    Snapshot,
    run_with_fault,
    survey,
)
from tests.faults.scenarios import (
    KEEP,
    KEEP_ELSEWHERE,
    NOW,
    ONE,
    SECRETS,
    SHOW_SESSIONS,
    TEMPORARY,
    TWO,
    adding,
    check_quiet,
)
from tests.launch.launcher import CHEAP
from tests.worlds.machine import PASSPHRASE, Machine

NEW = "another long passphrase"
BOTH = (PASSPHRASE, NEW)
WITH_NEW = {"FILEVAULT_NEW_PASSPHRASE": NEW}
ITEMS = {"one": ONE, "team/two": TWO}
MODES = ("ENOSPC", "EIO", "EROFS", "EINTR")


class KeyCase(NamedTuple):
    """A command; `done` are the statuses of a second try, `settles` that all is anew then."""

    command: HarnessCommand
    before: tuple[HarnessCommand, ...] = ()
    done: tuple[int, ...] = (0,)
    settles: bool = False
    again: HarnessCommand | None = None


_MADE = (
    HarnessCommand(("init",)),
    adding("one", ONE, "--no-config"),
    adding(actions.LATE, TWO, "--no-config"),
)
_OTHER = HarnessCommand(("slot", "add", "--label", "other"), env=WITH_NEW)
_REKEY = HarnessCommand(("rekey", "--drop-slots"))
CASES = {
    "slot-add": KeyCase(HarnessCommand(("slot", "add"), env=WITH_NEW)),
    "slot-add-key-file": KeyCase(
        HarnessCommand(("slot", "add", "--new-key-file", "keys/a.key")),
        again=HarnessCommand(("slot", "add", "--new-key-file", "keys/b.key")),
    ),
    "slot-remove": KeyCase(
        HarnessCommand(("remove-other",), action=actions.remove_other), (_OTHER,), (0, 4)
    ),
    "passphrase": KeyCase(HarnessCommand(("passphrase",), env=WITH_NEW), done=(0, 5)),
    "rekey": KeyCase(_REKEY, (_OTHER, KEEP, KEEP_ELSEWHERE), settles=True),
    "rekey-finish": KeyCase(
        HarnessCommand(("finish",), action=actions.finish),
        (
            HarnessCommand(("set-aside",), action=actions.set_aside),
            _OTHER,
            _REKEY,
            HarnessCommand(("put-back",), action=actions.put_back),
        ),
        settles=True,
    ),
}


class OnePassphrase:
    """Knows a passphrase."""

    def __init__(self, text: str) -> None:
        self._text = text

    def secret(self) -> Secret:
        """Give it."""
        return Secret("passphrase", self._text.encode(), "the test")

    def on_rejected(self, secret: Secret) -> None:
        """Give up."""
        raise WrongPassphraseError(secret.origin)


class KeyStage:
    """A case on a machine: where it starts, what it does unharmed, and the judge of the rest."""

    def __init__(self, case: KeyCase, machine: Machine) -> None:
        self.case = case
        self.machine = machine
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        machine.freeze(NOW)
        for command in (*_MADE, *case.before):
            made = survey(command, machine)
            assert made.status == 0, (command.argv, made)
        self.start = Snapshot.take(machine.home)
        self.whole = survey(case.command, machine)
        assert (self.whole.status, self.whole.errors) == (0, []), self.whole
        self.end = Snapshot.take(machine.home)
        self.check_settled()
        self.start.restore()

    def holder(self, root: Folder) -> master_key.UnwrappedKey:
        """Open the vault with the old passphrase, else with the new one."""
        for text in BOTH:
            try:
                return master_key.unwrap(root, OnePassphrase(text), CHEAP)
            except WrongPassphraseError:
                continue
        raise AssertionError("nothing opens the vault")

    def check_nothing_lost(self) -> None:
        """Require that the vault opens, and each item under its present or a retired key."""
        with Folder.open(str(self.machine.vault)) as root:
            holder = self.holder(root)
            masters = retired_keys.masters(root, holder.vault, holder.master)
            masters[holder.vault.master_id] = holder.master
            store, found = ItemStore(root, ".fv"), {}
            for name in store.names():
                parsed = envelope.parse(store.read(name), name)
                key = key_schedule.item_key(masters[parsed.key], holder.vault.vault)
                found[name] = parse(envelope.unseal(key, parsed, name), name).key
            assert found == ITEMS

    def check_settled(self) -> None:
        """Require that everything lies under the one key, and no other has a slot."""
        with Folder.open(str(self.machine.vault)) as root:
            master = vault_json.read(root).master_id
            store = ItemStore(root, ".fv")
            under = {envelope.parse(store.read(name), name).key for name in store.names()}
            if self.case.settles:
                assert {found.master_id for found in keyslots.listing(root)} == {master}
                assert under == {master}
        (state,) = self.machine.state.glob("*/trust.json")
        with Folder.open(str(state.parent)) as folder:
            assert Trust(folder).pending_pin is None

    def check_files(self, *, leftovers: bool) -> None:
        """Require that nothing is torn, foreign, open to others, or holds a secret."""
        now = Snapshot.take(self.machine.home)
        known = {_pattern(name) for name in self.start.files() | self.end.files()}
        for name, (mode, data) in now.entries.items():
            if name.startswith((".local", "keys")):
                assert mode == (0o700 if data is None else 0o600), (name, oct(mode))
            if data is None:
                continue
            last = name.rpartition("/")[2]
            if TEMPORARY.fullmatch(last):
                assert leftovers, f"{name} is left"
            elif _pattern(name) not in known:
                assert last in ("lock", ".lock"), f"{name} is left"
            elif name.endswith(".slot"):
                keyslots.parse(data, last, name)
            for secret in (*SECRETS, NEW):
                assert secret.encode() not in data, f"{name} holds a secret"

    def check_second_try(self) -> None:
        """Require that the command works now and ends where it would have ended."""
        again = survey(self.case.again or self.case.command, self.machine)
        assert again.status in self.case.done, again
        assert "it is used all the same" not in again.err, again
        check_quiet(again)
        assert NEW not in again.everything
        self.check_nothing_lost()
        self.check_settled()
        for text in BOTH:
            shown = survey(SHOW_SESSIONS._replace(env={"FILEVAULT_PASSPHRASE": text}), self.machine)
            if shown.status == 0:
                break
        assert shown.status == 0, shown
        if KEEP in self.case.before:
            # That of a key which is sealed anew would not be found again.
            assert "one none" in shown.out, shown
            assert "web whole" in shown.out, shown

    def strike(self, fault: CallFault) -> RunOutcome:
        """Let the command meet a fault."""
        self.start.restore()
        outcome = run_with_fault(
            self.case.command,
            self.machine,
            at=fault.at,
            mode=fault.mode,
            when=fault.when,
            lasting=fault.lasting,
        )
        check_quiet(outcome)
        assert NEW not in outcome.everything
        self.check_nothing_lost()
        return outcome

    def campaign(
        self, faults: list[CallFault], check: Callable[[CallFault, RunOutcome], None]
    ) -> None:
        """Let the command meet one fault after the other, and look each time."""
        for fault in faults:
            try:
                check(fault, self.strike(fault))
            except (AssertionError, KeyError) as error:
                call = self.whole.calls[fault.at]
                raise AssertionError(f"{fault} at {call}: {error!r}") from error


def _pattern(name: str) -> str:
    """Return a path without what chance or a second try chose in it."""
    return re.sub(r"[0-9a-f]{16}(?=\.slot|$)|@\d{8}T\d{6}Z|^keys/\w+|\.\d+\.old$", "#", name)


@pytest.fixture(params=CASES)
def key_stage(request: pytest.FixtureRequest, quick_machine: Machine) -> KeyStage:
    """Each case in turn."""
    return KeyStage(CASES[request.param], quick_machine)


def test_a_kill_at_any_call_leaves_a_vault_that_opens(key_stage: KeyStage) -> None:
    faults = []
    for number, call in enumerate(key_stage.whole.calls):
        faults.append(CallFault(number, "kill", "before"))
        if call.name == "write":
            faults.append(CallFault(number, "kill", "within"))
    faults.append(CallFault(len(key_stage.whole.calls) - 1, "kill", "after"))

    def check(_fault: CallFault, outcome: RunOutcome) -> None:
        assert outcome.status == -9, outcome
        key_stage.check_files(leftovers=True)
        key_stage.check_second_try()

    key_stage.campaign(faults, check)


def fail(stage: KeyStage, faults: list[CallFault]) -> set[int]:
    """Let the command fail at each of its points; return how it ended."""
    seen = set()

    def check(fault: CallFault, outcome: RunOutcome) -> None:
        assert (outcome.status, len(outcome.errors)) in ((0, 0), (7, 1), (12, 1)), outcome
        stage.check_files(leftovers=fault.lasting and fault.mode == "EROFS")
        seen.add(outcome.status)
        if fault.at % 4 == 0:
            stage.check_second_try()

    stage.campaign(faults, check)
    return seen


def test_a_call_that_fails_costs_nothing(key_stage: KeyStage) -> None:
    calls = key_stage.whole.calls
    numbers = range(len(calls))
    faults = [CallFault(number, MODES[number % 4]) for number in numbers]
    faults += [
        CallFault(number, ("ENOSPC", "EROFS")[number % 2], lasting=True) for number in numbers[::3]
    ]
    faults += [
        CallFault(number, "EIO", "after") for number in numbers if calls[number].name == "fsync"
    ]
    assert 7 in fail(key_stage, faults)


@pytest.mark.torture
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mode", [*MODES, "EACCES", "EDQUOT", "EINVAL"])
def test_every_failure_at_every_call(key_stage: KeyStage, mode: str, when: str) -> None:
    late = ("write", "fsync", "rename", "unlink", "close")
    calls = list(enumerate(key_stage.whole.calls))
    numbers = [number for number, call in calls if when == "before" or call.name in late]
    fail(key_stage, [CallFault(number, mode, when) for number in numbers])
    if when == "before":
        fail(key_stage, [CallFault(number, mode, lasting=True) for number in numbers])


def test_a_keyslot_that_somebody_else_deletes_at_the_same_time_leaves_no_second_one(
    quick_machine: Machine,
) -> None:
    stage = KeyStage(CASES["slot-remove"], quick_machine)
    calls = stage.whole.calls
    gone = next(number for number, call in enumerate(calls) if call.name == "unlink")
    outcome = stage.strike(CallFault(gone, "ENOENT", "after"))
    assert (outcome.status, "is gone already" in outcome.err) == (4, True)
    with Folder.open(str(quick_machine.vault)) as root:
        assert len(keyslots.listing(root)) == 1
    stage.check_nothing_lost()


@pytest.mark.parametrize("mode", ["EPERM", "ENOTSUP"])
def test_a_key_file_is_made_where_no_file_can_have_two_names(
    mode: str, quick_machine: Machine
) -> None:
    """As on FAT."""
    stage = KeyStage(CASES["slot-add-key-file"], quick_machine)
    link = next(n for n, call in enumerate(stage.whole.calls) if call.name == "link")
    assert stage.strike(CallFault(link, mode)).status == 0
    (file,) = (quick_machine.home / "keys").iterdir()
    assert keyslots.keyfile_bytes(file.read_bytes(), "it")
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_reported_as_done_outlasts_a_power_cut(key_stage: KeyStage) -> None:
    """Bytes are synced before their file has its name, and each folder after its last change."""
    unsynced: dict[str, CountedCall] = {}
    for call in key_stage.whole.calls:
        folder = str(Path(call.target or call.path).parent)
        if call.name == "fsync":
            unsynced.pop(call.path, None)
        elif call.name == "write":
            unsynced[call.path] = call
        elif call.name in ("rename", "link", "unlink", "mkdir"):
            assert call.path not in unsynced, f"{call} before its bytes are synced"
            unsynced[folder] = call
    assert unsynced == {}


def test_the_old_way_in_goes_last(quick_machine: Machine) -> None:
    """What makes the order of a rekey safe, read off its calls."""
    calls = KeyStage(CASES["rekey"], quick_machine).whole.calls

    def first(name: str, pattern: str) -> int:
        return next(
            number
            for number, call in enumerate(calls)
            if call.name == name and re.search(pattern, call.target or call.path)
        )

    order = [
        first("rename", r"/trust\.json$"),
        first("rename", r"/slots/[0-9a-f]{16}\.slot$"),
        first("rename", r"/retired/[0-9a-f]{16}$"),
        first("rename", r"/vault\.json$"),
        first("rename", r"/session-key\.fv$"),
        first("rename", r"/one\.fv$"),
        first("unlink", r"/slots/[0-9a-f]{16}\.slot$"),
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("passphrase", 1),
        ("rekey", 5),  # a hundred processes more take longer than all other tests of this file
        pytest.param("rekey", 1, marks=pytest.mark.torture),
    ],
)
def test_a_process_killed_by_the_kernel_at_any_call_loses_nothing(
    name: str, every: int, machine: Machine
) -> None:
    """The same promise with a real process: strace kills it at each call that changes a file.

    The calls that are left out here have their kills in the forked children above.
    """
    strace = tool("strace")
    stage = KeyStage(CASES[name], machine)
    calls = "openat,write,fsync,renameat,renameat2,rename,unlink,unlinkat,mkdirat,mkdir,flock"
    trace = machine.home.parent / "trace"

    def run(*options: str) -> int:
        done = subprocess.run(
            [
                *(strace, "-f", "-y", "-o", str(trace), "-e", f"trace={calls}", *options),
                *machine.launcher,
                *stage.case.command.argv,
            ],
            env={
                **machine.environment(dict(stage.case.command.env)),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            cwd=machine.home,
            timeout=60,
        )
        return done.returncode

    assert run() == 0
    targets = []
    counts: dict[str, int] = {}
    for line in trace.read_text("utf-8", "surrogateescape").splitlines():
        found = re.match(r"\d+ +([a-z0-9]+)\(", line)
        if found is None:
            continue
        counts[found[1]] = counts.get(found[1], 0) + 1
        changes = found[1] != "openat" or "O_CREAT" in line
        if changes and str(machine.home) in line:
            targets.append((found[1], counts[found[1]]))
    assert len(targets) > 10
    for call, number in targets[::every]:
        stage.start.restore()
        assert run("-e", f"inject={call}:signal=KILL:when={number}") in (-9, 137)
        stage.check_nothing_lost()
        stage.check_second_try()
