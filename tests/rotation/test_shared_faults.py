"""`rotate` on `pass` and `age` vaults, killed and failed where it writes."""

from __future__ import annotations

import subprocess

import boto3  # noqa: F401 - loaded once, not by each child
import botocore.httpsession  # noqa: F401
import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.faults.harness import CallFault, run_with_fault
from tests.rotation.test_kill_matrix import KillStage, check_silent, kill
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome
from tests.worlds.rotation import RotationMachine

MODES = ("ENOSPC", "EIO", "EINTR", "EROFS")
# Every so many-th point; gpg takes its time.
STEPS = {"age": 17, "pass": 43}


class SharedScene(RotationMachine):
    """The same with a vault that gpg or age opens."""

    def __init__(self, kind: str, machine: Machine, aws: FakeAws, gpg: GpgHome) -> None:
        self.kind, self._gpg = kind, gpg
        self._opened: dict[bytes, bytes] = {}
        machine.env["FILEVAULT_BACKEND"] = kind
        if kind == "pass":
            machine.env |= gpg.env()
        words = ("--recipient", "jon@example.com") if kind == "pass" else ("--no-passphrase",)
        super().__init__(machine, aws, words)

    def text(self, name: str) -> bytes:
        """Decrypt an item with gpg or age."""
        if self.kind == "pass":
            path = self.machine.home / f".password-store/aws/{name}.gpg"
            argv = [tool("gpg"), "--batch", "--quiet", "--homedir", self._gpg.path, "-d", str(path)]
        else:
            path = self.machine.vault / f"{name}.age"
            identities = self.machine.home / ".config/filevault/identities"
            argv = [tool("age"), "-d", "-i", str(identities), str(path)]
        data = path.read_bytes()
        if data not in self._opened:
            self._opened[data] = subprocess.run(argv, capture_output=True, check=True).stdout
        return self._opened[data]


@pytest.fixture(params=["pass", "age"])
def shared_scene(
    request: pytest.FixtureRequest, quick_machine: Machine, aws: FakeAws, gpg: GpgHome
) -> SharedScene:
    return SharedScene(request.param, quick_machine, aws, gpg)


def fail(stage: KillStage, fault: CallFault) -> None:
    """Let a call fail, look, and run again."""
    try:
        stage.reset()
        outcome = run_with_fault(stage.command, stage.scene.machine, **fault._asdict())
        check_silent(stage.scene, outcome)
        assert (outcome.status, len(outcome.errors)) in ((0, 0), (7, 1), (12, 1)), outcome
        stage.check_nothing_is_lost()
        assert stage.user.keys.keys() <= stage.held(), "an orphan is left"
        stage.check_second_run()
    except AssertionError as error:
        raise AssertionError(f"{fault} at {stage.whole.calls[fault.at]}: {error}") from error


def test_neither_a_kill_nor_a_failure_loses_a_key(shared_scene: SharedScene) -> None:
    """At a sample of the calls; the torture has them all."""
    stage, step = KillStage(shared_scene), STEPS[shared_scene.kind]
    for fault in stage.points(every=False)[::step]:
        kill(stage, fault)
    files = [n for n, call in enumerate(stage.whole.calls) if call.name != "aws"]
    for place, number in enumerate(files[3 :: 2 * step]):
        fail(stage, CallFault(number, MODES[place % 4]))


@pytest.mark.torture
@pytest.mark.parametrize("mode", ["kill", *MODES])
def test_every_fault_at_every_call(shared_scene: SharedScene, mode: str) -> None:
    stage = KillStage(shared_scene)
    if mode == "kill":
        for fault in stage.points(every=True):
            kill(stage, fault)
        return
    for number, call in enumerate(stage.whole.calls):
        if call.name != "aws":
            fail(stage, CallFault(number, mode))
