"""A refresh that the kernel kills at a system call: the tokens are the old ones or the new."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import pytest

from filevault.cli.context import Context
from filevault.sources.login_record import record_name
from filevault.sources.token_records import LOGIN, SSO_TOKEN, TokenName
from tests.cli.test_sso import SsoMachine
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.faults.harness import HarnessCommand, Snapshot, survey, vault_of
from tests.faults.traced import TracedCall, TracedRun, traced
from tests.worlds.login_machine import LoginMachine
from tests.worlds.machine import Machine

NOW = 2_000_000_000
USER = "arn:aws:iam::123456789012:user/jon"
NAMES = {
    SSO_TOKEN: TokenName(SSO_TOKEN, (START_URL, "eu-west-1", "sso:account:access"), "sso:work"),
    LOGIN: record_name(USER),
}
NETWORK = ("connect", "sendto", "recvfrom")
CHANGES = ("write", "fsync", "renameat", "unlinkat", "fchmod", "flock")
"""Calls that come in the same order and number in each run."""
PARTS = 4  # of a campaign, each of which takes some minutes


def _print_token(context: Context) -> int:
    """Print the refresh token of the only sign-in."""
    with vault_of(context) as opened:
        tokens = opened.tokens()
        (kind,) = (each.kind for each in tokens.listing() if each.kind in NAMES)
        record = tokens.read(NAMES[kind])
        assert record is not None, "the sign-in is lost"
        context.reporter.result(record.values["refreshToken"])
    return 0


READ = HarnessCommand(("read-token",), action=_print_token)


class Stage(ABC):
    """A sign-in whose token must be refreshed, on disk, and the calls of the next export.

    With `repeats` AWS takes the old refresh token once more.
    """

    kind: str
    profile: str

    def __init__(self, machine: Machine, aws: FakeAws, *, repeats: bool = False) -> None:
        tool("strace")
        self.machine = machine
        self.aws = aws
        self.repeats = repeats
        self._at(NOW)
        self.old = self.sign_in()
        self.start = Snapshot.take(machine.home)
        whole = self.export()
        assert whole.status == 0, whole
        self.calls = whole.calls
        self.survivors = 0
        written = [
            number
            for number, call in enumerate(self.calls)
            if call.name == "renameat" and f"/{self.kind}>" in call.text
        ]
        assert len(written) == 2, "one to prepare, one with the new tokens"
        self.stored = written[-1]
        self.asked = next(n for n, call in enumerate(self.calls) if call.name == "sendto")
        assert written[0] < self.asked < self.stored

    @abstractmethod
    def sign_in(self) -> str:
        """Sign in, let the token come to its end, and return the refresh token."""

    @abstractmethod
    def put_back(self) -> None:
        """Let AWS be as before the refresh."""

    @abstractmethod
    def newest(self) -> str:
        """Return the refresh token that AWS gave last."""

    def export(self, kill: TracedCall | None = None) -> TracedRun:
        """Export from the beginning, perhaps to a kill."""
        self.start.restore()
        self.put_back()
        return traced(self.machine, "export", self.profile, "--format", "json", kill=kill)

    def kept(self) -> str:
        """Return the refresh token of the record, which must be whole."""
        done = survey(READ, self.machine)
        assert done.status == 0, done
        return done.out.strip()

    def kill(self, number: int) -> None:
        """Kill an export before a call, and go on with what is left."""
        call = self.calls[number]
        sure = call.name in (*NETWORK, *CHANGES)
        run = self.export(call)
        if run.status == 0 and not sure:  # memory and threads do not behave the same each time
            self.survivors += 1
            return
        assert run.status == -9, run
        kept = self.kept()
        if sure and number <= self.asked:
            assert kept == self.old
        if run.out or (sure and number > self.stored):
            assert kept == self.newest() != self.old
        again = self.machine.run("export", self.profile, "--format", "json")
        if again.status == 0:
            assert self.kept() == self.newest()
            return
        # Only AWS had the new token, and it does not repeat it: a person must sign in again.
        assert again.status == 8, again
        assert "hint: sign in" in again.err, again
        assert kept == self.old
        assert not self.repeats
        assert not sure or self.asked < number <= self.stored, call

    def campaign(self, numbers: Iterable[int]) -> None:
        """Kill at calls."""
        for number in numbers:
            try:
                self.kill(number)
            except AssertionError as error:
                call = self.calls[number]
                raise AssertionError(f"killed at call {number}, {call}: {error}") from error

    def sample(self) -> list[int]:
        """Return the request, and what changes the record and its folder."""
        return [
            number
            for number, call in enumerate(self.calls)
            if call.name in NETWORK or (call.name in CHANGES[:4] and f"/{self.kind}" in call.text)
        ]

    def _at(self, now: float) -> None:
        self.machine.freeze(now)
        self.aws.clock.freeze(now)


class LoginStage(Stage):
    """A login session whose credentials have ended."""

    kind = "login"
    profile = "console"

    def sign_in(self) -> str:
        self.user = LoginMachine(self.machine, self.aws).signed_in().user
        assert self.user.arn == USER
        self.aws.login.idempotent = self.repeats
        self._at(NOW + 890)
        return self.aws.login.login_of(self.user).refresh_token

    def put_back(self) -> None:
        login = self.aws.login.login_of(self.user)
        login.refresh_token, login.last = self.old, None

    def newest(self) -> str:
        return self.aws.login.login_of(self.user).refresh_token


class SsoStage(Stage):
    """A sign-in to Identity Center whose access token ends soon."""

    kind = "sso"
    profile = "dev"

    def sign_in(self) -> str:
        SsoMachine(self.machine, self.aws).sign_in()
        sso = self.aws.sso
        sso.rotates = not self.repeats
        self._before = dict(sso.access), dict(sso.refresh)
        self._at(NOW + 3590)
        return next(iter(sso.refresh))

    def put_back(self) -> None:
        self.aws.sso.access, self.aws.sso.refresh = (dict(each) for each in self._before)

    def newest(self) -> str:
        return list(self.aws.sso.refresh)[-1]


STAGES = pytest.mark.parametrize("stage", [LoginStage, SsoStage])


@STAGES
def test_a_refresh_killed_by_the_kernel_leaves_the_old_tokens_or_the_new(
    stage: type[Stage], quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws)
    numbers = made.sample()
    names = [made.calls[number].name for number in numbers]
    assert {"sendto", "recvfrom", "write", "fsync", "renameat"} <= {*names}
    assert len(numbers) < 25, "more calls than this test has time for"
    made.campaign(numbers)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("repeats", [True, False])
@STAGES
def test_a_refresh_killed_at_every_system_call_leaves_the_old_tokens_or_the_new(
    stage: type[Stage], repeats: bool, part: int, quick_machine: Machine, aws: FakeAws
) -> None:
    made = stage(quick_machine, aws, repeats=repeats)
    assert len(made.calls) > 300
    made.campaign(range(part, len(made.calls), PARTS))
    assert made.survivors < len(made.calls) // PARTS // 20
