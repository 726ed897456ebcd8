"""A sign-in that the kernel kills: no session of the former user stays beside the new tokens."""

from __future__ import annotations

import re
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
from tests.worlds import cli_login
from tests.worlds.login_machine import LoginMachine
from tests.worlds.machine import Machine

CHANGES = ("fsync", "renameat", "unlinkat", "unlink")


def _print_token(context: Context) -> int:
    """Print the access token of the only sign-in."""
    with vault_of(context) as opened:
        tokens = opened.tokens()
        (kind,) = (each.kind for each in tokens.listing() if each.kind in NAMES)
        record = tokens.read(NAMES[kind])
        assert record is not None, "the sign-in is lost"
        name = "accessToken" if kind == SSO_TOKEN else "accessKeyId"
        context.reporter.result(record.values[name])
    return 0


READ = HarnessCommand(("read-access-token",), action=_print_token)


class SignInStage(ABC):
    """A sign-in on disk with cached sessions of several profiles, and the calls of the next one."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        tool("strace")
        self.machine = machine
        self.aws = aws
        self.at(NOW)
        self.prepare()
        self.old = self.kept()
        self.sessions = self.files()
        assert self.sessions
        self.start = Snapshot.take(machine.home)
        whole = self.run()
        assert whole.status == 0, whole
        self.calls = whole.calls
        self.judge()
        assert self.kept() != self.old

    @abstractmethod
    def prepare(self) -> None:
        """Sign in, cache sessions, and let that happen which comes before the next sign-in."""

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
            if call.name in CHANGES and re.search(r"/(sessions|sso|login)[/>]", call.text)
        ]

    def at(self, now: float) -> None:
        """Let it be that time."""
        self.machine.freeze(now)
        self.aws.clock.freeze(now)


class Forced(SignInStage):
    """`sso login --force` while the sign-in of another user is good."""

    def prepare(self) -> None:
        SsoMachine(self.machine, self.aws).sign_in()
        for profile in ("dev", "chained", "inline"):
            self.machine.ok("export", profile)
        self.aws.sso.confirm_after = 1

    def words(self) -> tuple[str, ...]:
        return ("sso", "login", "work", "--force")


class Ended(Forced):
    """`sso login` after the tokens of another user have ended, and before their sessions have."""

    def prepare(self) -> None:
        super().prepare()
        self.aws.sso.access.clear()
        self.aws.sso.refresh.clear()
        self.at(NOW + 3590)

    def words(self) -> tuple[str, ...]:
        return ("sso", "login", "work")


class Adopted(SignInStage):
    """`signin --adopt` of another login of the same user."""

    def prepare(self) -> None:
        logins = LoginMachine(self.machine, self.aws).signed_in()
        self.machine.ok("export", "admin")
        cli_login.write(self.machine.home, logins.user.arn, cli_login.cli_token(cli_login.sample()))

    def words(self) -> tuple[str, ...]:
        return ("signin", "console", "--adopt")


STAGES = pytest.mark.parametrize("stage", [Forced, Ended, Adopted])


@STAGES
def test_a_killed_sign_in_leaves_no_session_of_the_former_user_beside_the_new_tokens(
    stage: type[SignInStage], quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws)
    numbers = made.sample()
    names = [made.calls[number].name for number in numbers]
    assert names.count("renameat") in (2, 3), "to prepare, perhaps a refresh too; with new tokens"
    assert names.count("unlinkat") + names.count("unlink") >= len(made.sessions)
    assert len(numbers) < 30, "more calls than this test has time for"
    made.campaign(numbers)


@pytest.mark.torture
@STAGES
def test_a_sign_in_killed_at_every_system_call(
    stage: type[SignInStage], quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws)
    made.campaign(range(len(made.calls)))
