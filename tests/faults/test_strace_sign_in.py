"""A sign-in that the kernel kills: no session of the former user stays beside the new tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import pytest

from filevault.cli.context import Context
from filevault.sources.token_records import SSO_TOKEN
from tests.cli.test_sso import SsoMachine
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.faults.harness import HarnessCommand, Snapshot, survey, vault_of
from tests.faults.test_strace_refresh import NAMES, NOW
from tests.faults.traced import TracedCall, TracedRun, traced
from tests.worlds.machine import Machine

CHANGES = ("fsync", "renameat", "unlinkat", "unlink")
PROFILES = ("dev", "chained", "inline")


def _print_token(context: Context) -> int:
    with vault_of(context) as opened:
        record = opened.tokens().read(NAMES[SSO_TOKEN])
        context.reporter.result("none" if record is None else record.values["accessToken"])
    return 0


READ = HarnessCommand(("read-access-token",), action=_print_token)


class SignInStage(ABC):
    """A sign-in on disk with cached sessions of several profiles, and the calls of the next one."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        tool("strace")
        self.machine = machine
        self._at(NOW, aws)
        SsoMachine(machine, aws).sign_in()
        for profile in PROFILES:
            machine.ok("export", profile)
        self.prepare(aws)
        aws.sso.confirm_after = 1
        self.old = self.kept()
        self.sessions = self.files()
        assert len(self.sessions) == len(PROFILES)
        self.start = Snapshot.take(machine.home)
        whole = self.run()
        assert whole.status == 0, whole
        self.calls = whole.calls
        self.judge()
        assert self.kept() != self.old

    @abstractmethod
    def prepare(self, aws: FakeAws) -> None:
        """Let that happen which comes before the sign-in."""

    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """Return the command that signs in."""

    def run(self, kill: TracedCall | None = None) -> TracedRun:
        """Sign in from the beginning, perhaps to a kill."""
        self.start.restore()
        return traced(self.machine, *self.words(), kill=kill)

    def files(self) -> set[Path]:
        """Return the files of sessions."""
        return set(self.machine.state.glob("*/sessions/*/*.fvs"))

    def kept(self) -> str:
        """Return the access token of the record."""
        done = survey(READ, self.machine)
        assert done.status == 0, done
        return done.out.strip()

    def judge(self) -> None:
        """Look at what was left."""
        if self.kept() != self.old:
            assert not self.sessions & self.files(), "sessions of the former sign-in stayed"

    def campaign(self, numbers: Iterable[int]) -> None:
        """Kill at calls."""
        for number in numbers:
            call = self.calls[number]
            run = self.run(call)
            # Memory and threads do not behave the same each time.
            assert run.status == -9 or call.name not in CHANGES, (call, run)
            try:
                self.judge()
            except AssertionError as error:
                raise AssertionError(f"killed at call {number}, {call}: {error}") from error

    def sample(self) -> list[int]:
        """Return the calls that change sessions and the record, and what syncs them."""
        return [
            number
            for number, call in enumerate(self.calls)
            if call.name in CHANGES and ("/sessions/" in call.text or "/sso" in call.text)
        ]

    def _at(self, now: float, aws: FakeAws) -> None:
        self.machine.freeze(now)
        aws.clock.freeze(now)


class Forced(SignInStage):
    """`sso login --force` while the sign-in of another user is good."""

    def prepare(self, aws: FakeAws) -> None:
        pass

    def words(self) -> tuple[str, ...]:
        return ("sso", "login", "work", "--force")


class Ended(SignInStage):
    """`sso login` after the tokens of another user have ended, and before their sessions have."""

    def prepare(self, aws: FakeAws) -> None:
        aws.sso.access.clear()
        aws.sso.refresh.clear()
        self._at(NOW + 3590, aws)

    def words(self) -> tuple[str, ...]:
        return ("sso", "login", "work")


STAGES = pytest.mark.parametrize("stage", [Forced, Ended])


@STAGES
def test_a_killed_sign_in_leaves_no_session_of_the_former_user_beside_the_new_tokens(
    stage: type[SignInStage], quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws)
    numbers = made.sample()
    names = [made.calls[number].name for number in numbers]
    assert names.count("renameat") >= 2
    assert names.count("unlinkat") + names.count("unlink") >= len(PROFILES)
    assert len(numbers) < 40, "more calls than this test has time for"
    made.campaign(numbers)


@pytest.mark.torture
@STAGES
def test_a_sign_in_killed_at_every_system_call(
    stage: type[SignInStage], quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws)
    made.campaign(range(len(made.calls)))
