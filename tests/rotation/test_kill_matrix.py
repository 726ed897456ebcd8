"""Killed at any call to AWS or to the file system, `rotate` loses nothing, and its rerun ends it.

The matrix is generated from a run that is not harmed, and printed: `pytest -s` shows it.
"""

from __future__ import annotations

from typing import NamedTuple

import boto3  # noqa: F401 - loaded once, not by each child
import botocore.httpsession  # noqa: F401
import pytest

from filevault.cli.commands import rotate  # noqa: F401
from tests.fakes import User
from tests.faults.harness import (
    CallFault,
    CountedCall,
    HarnessCommand,
    RunOutcome,
    Snapshot,
    run_with_fault,
    survey,
)
from tests.worlds.rotation import RotationMachine

ROTATE = HarnessCommand(("rotate", "jon"))
GRACE = HarnessCommand(("rotate", "jon", "--grace", "1d"))
END = HarnessCommand(("rotate", "jon", "--grace", "0"))
ITEMS = ("jon", "work")  # both hold the same key
PARTS = 4


class KillRow(NamedTuple):
    """One kill: where, what it left, and how the next run ended."""

    point: str
    state: str
    at_aws: str
    second: str


class KillStage:
    """A user, two items with its key and a session, put back before each kill.

    With `deferred` the old key only waits for its deletion.
    """

    def __init__(
        self,
        scene: RotationMachine,
        command: HarnessCommand = ROTATE,
        *,
        role: bool = False,
        deferred: bool = False,
    ) -> None:
        self.scene = scene
        self.command = command
        self.user: User = scene.user(profiles=ITEMS)
        if role:
            arn = scene.aws.add_role("rotator", trusts=[self.user]).arn
            scene.config(f"[profile admin]\nsource_profile = jon\nrole_arn = {arn}\n")
            self.user.denied.add("iam:*")
        scene.run("export", "work")
        if deferred:
            scene.run(*GRACE.argv)
        self.keys = [
            (key.access_key_id, key.secret_access_key, key.status)
            for key in self.user.keys.values()
        ]
        self.start = Snapshot.take(scene.machine.home)
        self.whole = survey(command, scene.machine)
        assert (self.whole.status, self.whole.err) == (0, "")

    def reset(self) -> None:
        """Put vault and user back as they were."""
        self.start.restore()
        directory = self.scene.aws.directory
        for key in list(self.user.keys.values()):
            directory.delete_access_key(key)
        for key_id, secret, status in self.keys:
            directory.add_access_key(self.user, key_id, secret).status = status

    def points(self, *, every: bool) -> list[CallFault]:
        """Before and after each call to AWS and each step of a write, and in its middle.

        What is after one call is before the next. `every` call is one more than these steps.
        """
        found = []
        for number, call in enumerate(self.whole.calls):
            if not every and call.name in ("fchmod", "close", "flock", "unlock"):
                continue
            found.append(CallFault(number, "kill", "before"))
            if call.name == "write":
                found.append(CallFault(number, "kill", "within"))
            if call.name == "aws":
                found.append(CallFault(number, "kill", "after"))
        found.append(CallFault(len(self.whole.calls) - 1, "kill", "after"))
        return found

    def is_aws(self, fault: CallFault) -> bool:
        """Tell whether a fault strikes a call to AWS."""
        return self.whole.calls[fault.at].name == "aws"

    def held(self) -> set[str]:
        """Return the ids of all keys whose secrets the vault has, each checked against AWS."""
        found = set()
        for name in ITEMS:
            rotation = self.scene.rotation(name)
            for key in (self.scene.item(name).key, rotation.next, rotation.previous):
                if key is None:
                    continue
                found.add(key.access_key_id)
                at_aws = self.user.keys.get(key.access_key_id)
                assert at_aws is None or at_aws.secret_access_key == key.secret_access_key
        return found

    def check_nothing_is_lost(self) -> None:
        """Require a working key in every item, and at most one key that nobody has."""
        for name in ITEMS:
            assert self.scene.works(name), f"{name} does not work"
        assert len(self.user.keys.keys() - self.held()) <= 1

    def check_second_run(self) -> str:
        """Run again; where it reports an orphan, delete that on word. Returns what happened."""
        orphans = self.user.keys.keys() - self.held()
        again = survey(self.command, self.scene.machine)
        check_silent(self.scene, again)
        ended = "finished"
        if orphans:
            (orphan,) = orphans
            assert again.status == 8, again
            assert "was cut off when AWS had made the key" in again.err
            assert f"--delete-orphan {orphan}" in again.err
            self.check_nothing_is_lost()
            again = survey(
                HarnessCommand((*self.command.argv, "--delete-orphan", orphan)), self.scene.machine
            )
            ended = "reported the orphan, deleted it on word, rotated"
        assert (again.status, again.errors) == (0, []), again
        if self.command == GRACE:
            # The promise came through, and only a word ends it.
            assert self.scene.rotation("jon").grace == 86400
            assert "Inactive" in self.scene.keys(self.user).values()
            assert survey(END, self.scene.machine).errors == []
        for name in ITEMS:
            self.scene.check_rotated(self.user, name)
        assert not list(self.scene.machine.state.glob("*/sessions/*/*.fvs"))
        made = [call.path for call in again.calls if call.name == "aws"]
        return ended if "CreateAccessKey" not in made or orphans else "rotated"


def check_silent(scene: RotationMachine, outcome: RunOutcome) -> None:
    """Require that no secret shows."""
    for secret in scene.aws.issued_secrets():
        assert secret not in outcome.everything


def state_of(stage: KillStage) -> str:
    """Say in a word what the item with the state says."""
    rotation = stage.scene.rotation("jon")
    new = stage.scene.item("jon").key.access_key_id != stage.user.access_key_id
    if rotation.previous is not None:
        return "new, previous"
    if rotation.next is not None:
        return "old, next"
    return "new" if new else "old, started" if rotation.started else "old"


def at_aws(stage: KillStage) -> str:
    """Say which keys the user has."""
    shown = []
    for key_id, status in stage.scene.keys(stage.user).items():
        which = "old" if key_id == stage.user.access_key_id else "new"
        shown.append(which if status == "Active" else f"{which} (inactive)")
    return ", ".join(shown)


def describe(call: CountedCall, when: str) -> str:
    """Say where the kill is."""
    name = (call.target or call.path).rpartition("/")[2]
    if name.startswith(".fv-"):
        name = "a temporary file"
    return f"{when} {call.path if call.name == 'aws' else f'{call.name} {name}'}"


def kill(stage: KillStage, fault: CallFault) -> KillRow:
    """Kill there, look, and run again."""
    call = stage.whole.calls[fault.at]
    try:
        stage.reset()
        outcome = run_with_fault(
            stage.command, stage.scene.machine, at=fault.at, mode="kill", when=fault.when
        )
        assert outcome.status == -9, outcome
        check_silent(stage.scene, outcome)
        stage.check_nothing_is_lost()
        left = state_of(stage), at_aws(stage)
        return KillRow(describe(call, fault.when), *left, stage.check_second_run())
    except AssertionError as error:
        raise AssertionError(f"killed {fault.when} call {fault.at}, {call}: {error}") from error


def show(rows: list[KillRow]) -> None:
    """Print the matrix."""
    head = KillRow("killed", "the item", "the user's keys", "the second run")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print()
    for row in (head, KillRow(*("-" * width for width in widths)), *rows):
        print(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_before_or_after_any_call_loses_nothing(
    part: int, rotating: RotationMachine
) -> None:
    stage = KillStage(rotating)
    points = stage.points(every=False)
    assert [call.path for call in stage.whole.calls if call.name == "aws"] == [
        "GetCallerIdentity",
        "ListAccessKeys",
        "CreateAccessKey",
        "GetCallerIdentity",
        "UpdateAccessKey",
        "DeleteAccessKey",
    ]
    size = -(-len(points) // PARTS)
    rows = [kill(stage, fault) for fault in points[part * size :][:size]]
    show(rows)
    seen = {row.state for row in rows}
    assert seen <= {"old", "old, started", "old, next", "new, previous", "new"}


def test_a_kill_at_any_call_loses_nothing_with_a_role(rotating: RotationMachine) -> None:
    """The role's session deletes the old key; the next run gets another from the new key."""
    stage = KillStage(rotating, HarnessCommand(("rotate", "admin")), role=True)
    points = [fault for fault in stage.points(every=False) if stage.is_aws(fault)]
    assert len(points) == 14
    show([kill(stage, fault) for fault in points])


@pytest.mark.parametrize(("command", "deferred"), [(GRACE, False), (END, True)])
def test_a_kill_at_any_call_keeps_what_was_promised_of_the_old_key(
    command: HarnessCommand, deferred: bool, rotating: RotationMachine
) -> None:
    stage = KillStage(rotating, command, deferred=deferred)
    points = [fault for fault in stage.points(every=False) if stage.is_aws(fault)]
    assert len(points) == (8 if deferred else 10)
    show([kill(stage, fault) for fault in points[1::2]])  # after each


@pytest.mark.torture
@pytest.mark.parametrize(("command", "deferred"), [(GRACE, False), (END, True)])
def test_a_kill_at_really_every_call_keeps_what_was_promised(
    command: HarnessCommand, deferred: bool, rotating: RotationMachine
) -> None:
    stage = KillStage(rotating, command, deferred=deferred)
    show([kill(stage, fault) for fault in stage.points(every=True)])


@pytest.mark.torture
def test_a_kill_at_really_every_call_loses_nothing(rotating: RotationMachine) -> None:
    stage = KillStage(rotating)
    show([kill(stage, fault) for fault in stage.points(every=True)])


@pytest.mark.torture
def test_two_kills_in_a_row_lose_nothing(rotating: RotationMachine) -> None:
    """What the first kill left is what the second run meets, and is killed in."""
    stage = KillStage(rotating)
    for first in range(0, len(stage.whole.calls), 5):
        for second in range(0, len(stage.whole.calls), 4):
            stage.reset()
            run_with_fault(ROTATE, rotating.machine, at=first, mode="kill")
            if stage.user.keys.keys() - stage.held():
                continue  # an orphan waits for a word
            try:
                run_with_fault(ROTATE, rotating.machine, at=second, mode="kill")
            except AssertionError:
                continue  # it was done by then
            stage.check_nothing_is_lost()
            stage.check_second_run()
