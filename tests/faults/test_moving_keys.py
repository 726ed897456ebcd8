"""Killed at any call, `import --remove-source` and `migrate` lose no key, and a rerun ends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import (
    CallFault,
    CountedCall,
    HarnessCommand,
    RunOutcome,
    Snapshot,
    run_with_fault,
    survey,
)
from tests.faults.scenarios import NEW, TEMPORARY, check_quiet
from tests.worlds.fault_store import BOTH, KINDS, FaultStore
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.pass_store import GpgHome

_CLEAR = (
    f"# mine\n[new]\naws_access_key_id = {NEW.access_key_id}\n"
    f"aws_secret_access_key = {NEW.secret_access_key}\nregion = x\n"
    f"[newer]\naws_access_key_id = {NEW.access_key_id}\n"
    f"aws_secret_access_key = {NEW.secret_access_key}\n"
)
_EDITED = "# mine\n[new]\nregion = x\n"
_CONFIG = "[profile new]\n[profile newer]\n"


def points(calls: list[CountedCall], every: int) -> list[CallFault]:
    """Return the kills before a sample of the calls, and in the middle of each write."""
    found = []
    for number, call in enumerate(calls):
        found.append(CallFault(number, "kill", "before"))
        if call.name == "write":
            found.append(CallFault(number, "kill", "within"))
    return [*found[::every], CallFault(len(calls) - 1, "kill", "after")]


class MovingStage:
    """A command on a machine that is put back before each fault."""

    def __init__(
        self, machine: Machine, command: HarnessCommand, check: Callable[[], None]
    ) -> None:
        self.machine = machine
        self.command = command
        self.check = check
        self.start = Snapshot.take(machine.home)
        self.whole = survey(command, machine)
        assert self.whole.status == 0, self.whole
        self.end = self.contents()
        self.start.restore()

    def contents(self) -> dict[str, bytes | None]:
        """The files that the command is about, as far as each run makes the same of them."""
        entries = Snapshot.take(self.machine.home).entries
        return {
            name: data
            for name, (_, data) in entries.items()
            if name.startswith((".aws", ".config/filevault/config"))
            and not TEMPORARY.fullmatch(name.rpartition("/")[2])
        }

    def campaign(self, faults: list[CallFault], allowed: tuple[int, ...] = ()) -> None:
        """Let the command meet each fault; then nothing is lost, and a rerun ends it."""
        for fault in faults:
            self.start.restore()
            try:
                ended = run_with_fault(self.command, self.machine, **fault._asdict())
                check_quiet(ended)
                assert ended.status == -9 or ended.status in allowed, ended
                self.check()
                self.finish()
            except AssertionError as error:
                call = self.whole.calls[fault.at]
                raise AssertionError(f"{fault} at {call}: {error}") from error

    def finish(self) -> RunOutcome:
        again = survey(self.command, self.machine)
        check_quiet(again)
        assert again.status in (0, 4), again
        self.check()
        assert self.contents() == self.end
        for path in (self.machine.home / ".aws").glob("*"):
            assert NEW.secret_access_key not in path.read_text()
        return again


def import_stage(machine: Machine, gpg: GpgHome, kind: str = "file") -> MovingStage:
    """A vault, and two profiles with a key in the clear."""
    store = FaultStore(kind, machine, gpg).make()
    clear = machine.home / ".aws/credentials"
    machine.write_config(_CONFIG)
    clear.write_text(_CLEAR)

    def check() -> None:
        keys, text = store.read(), clear.read_text()
        assert text in (_CLEAR, _EDITED), "the clear file is torn"
        for name in ("new", "newer"):
            assert keys.get(name, NEW) == NEW
            assert name in keys or text == _CLEAR, f"{name} is lost"
        assert {name: keys[name] for name in BOTH} == BOTH

    return MovingStage(machine, HarnessCommand(("import", "--yes", "--remove-source")), check)


_IMPORT_EVERY = {"file": 7, "age": 11, "pass": 23}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_during_an_import_loses_no_key(
    quick_machine: Machine, gpg: GpgHome, kind: str
) -> None:
    stage = import_stage(quick_machine, gpg, kind)
    stage.campaign(points(stage.whole.calls, _IMPORT_EVERY[kind]))


def test_a_failure_during_an_import_loses_no_key(quick_machine: Machine, gpg: GpgHome) -> None:
    stage = import_stage(quick_machine, gpg)
    modes = ("ENOSPC", "EIO", "EROFS")
    numbers = range(0, len(stage.whole.calls), 11)
    faults = [CallFault(number, modes[place % 3]) for place, number in enumerate(numbers)]
    stage.campaign(faults, (0, 7, 11, 12))


TARGETS = {"file": "age", "age": "pass", "pass": "file"}


class Moving:
    """A vault of one kind, to be moved to one of another kind; both are read by other means."""

    def __init__(self, kind: str, machine: Machine, gpg: GpgHome) -> None:
        self.machine, self.gpg, self.kind = machine, gpg, kind
        self.source = FaultStore(kind, machine, gpg).make()
        self.target = TARGETS[kind]
        self.folder = machine.home / "moved"
        self.moved = FaultStore(self.target, machine, gpg)
        self.moved.root = self.folder / "aws" if self.target == "pass" else self.folder
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        machine.env.pop("FILEVAULT_BACKEND")
        root = self.source.root if kind != "pass" else self.source.root.parent
        config = machine.home / ".config/filevault/config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f"backend = '{kind}'\nvault = '{root}'\ncache_ttl = '1h'\n")
        to = f"{self.target}:{self.folder}"
        self.command = HarnessCommand(("migrate", "--to", to, "--yes", *self.moved.words))

    def stage(self) -> MovingStage:
        # Made first: a vault has a new identity each time, and its own kill tests.
        words = ("--vault", str(self.folder), "--backend", self.target, "init")
        init = HarnessCommand((*words, *self.moved.words))
        made = survey(init, self.machine)
        assert made.status == 0, made
        return MovingStage(self.machine, self.command, self.check)

    def check(self) -> None:
        old, new = self.source.read(), self.moved.read()
        for name, key in BOTH.items():
            assert old.get(name, key) == key
            assert new.get(name, key) == key
            assert name in old or name in new, f"{name} is lost"
        assert {*old, *new} == {*BOTH}


def require_synced(calls: list[CountedCall], is_loss: Callable[[CountedCall], bool]) -> None:
    """Require that all that was written before a loss outlasts a power cut."""
    unsynced: dict[str, CountedCall] = {}
    losses = 0
    for call in calls:
        folder = str(Path(call.target or call.path).parent)
        if is_loss(call):
            assert unsynced == {}, call
            losses += 1
        if call.name == "fsync":
            unsynced.pop(call.path, None)
        elif call.name == "write":
            unsynced[call.path] = call
        elif call.name in ("rename", "link", "unlink", "mkdir") and "/locks" not in call.path:
            unsynced[folder] = call
    assert losses


def test_no_clear_copy_goes_before_its_item_outlasts_a_power_cut(
    quick_machine: Machine, gpg: GpgHome
) -> None:
    stage = import_stage(quick_machine, gpg)
    calls = stage.whole.calls
    edit = next(number for number, call in enumerate(calls) if call.target == ".aws/credentials")
    own = {calls[edit].path, ".aws"}  # the new file and its folder
    require_synced(
        [call for call in calls if call.path not in own or call is calls[edit]],
        lambda call: call.target == ".aws/credentials",
    )


def test_no_old_item_goes_before_its_copy_outlasts_a_power_cut(
    quick_machine: Machine, gpg: GpgHome
) -> None:
    stage = Moving("file", quick_machine, gpg).stage()
    require_synced(
        stage.whole.calls, lambda call: call.name == "unlink" and call.path.endswith(".fv")
    )


_EVERY = {"file": 11, "age": 23, "pass": 37}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_during_a_migration_loses_no_key(
    quick_machine: Machine, gpg: GpgHome, kind: str
) -> None:
    stage = Moving(kind, quick_machine, gpg).stage()
    stage.campaign(points(stage.whole.calls, _EVERY[kind]))


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_every_kill_during_a_migration(quick_machine: Machine, gpg: GpgHome, kind: str) -> None:
    stage = Moving(kind, quick_machine, gpg).stage()
    stage.campaign(points(stage.whole.calls, 1))


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_every_kill_during_an_import(quick_machine: Machine, gpg: GpgHome, kind: str) -> None:
    stage = import_stage(quick_machine, gpg, kind)
    stage.campaign(points(stage.whole.calls, 1))


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["ENOSPC", "EIO", "EROFS", "EINTR"])
def test_every_failure_during_a_migration(
    quick_machine: Machine, gpg: GpgHome, kind: str, mode: str
) -> None:
    stage = Moving(kind, quick_machine, gpg).stage()
    faults = [CallFault(number, mode) for number in range(len(stage.whole.calls))]
    stage.campaign(faults, (0, 7, 11, 12))
