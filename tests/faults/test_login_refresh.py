"""A refresh that dies leaves the old tokens or the new ones, and the login goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.cli.context import Context
from filevault.sources.login_record import LoginRecord, record_name
from tests.fakes import FakeAws
from tests.faults.harness import (
    CountedCall,
    HarnessCommand,
    NeverReached,
    Snapshot,
    run_with_fault,
    survey,
    vault_of,
)
from tests.worlds.login_machine import LoginMachine
from tests.worlds.machine import Machine

USER = "arn:aws:iam::123456789012:user/jon"
EXPORT = HarnessCommand(("export", "console", "--format", "json"))
NOW = 2_000_000_000


def _read_login(context: Context) -> int:
    """Print the refresh token of the record."""
    with vault_of(context) as opened:
        record = opened.tokens().read(record_name(USER))
        assert record is not None, "the login is lost"
        context.reporter.result(LoginRecord.of(record).refresh_token)
    return 0


READ = HarnessCommand(("read-login",), action=_read_login)


class RefreshStage:
    """A login whose credentials have ended, on disk, and the calls of the next export."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        machine.freeze(NOW)
        aws.clock.freeze(NOW)
        self.logins = LoginMachine(machine, aws).signed_in()
        self.aws = aws
        self.machine = machine
        self.user = self.logins.user
        machine.freeze(NOW + 890)
        aws.clock.freeze(NOW + 890)
        self.start = Snapshot.take(machine.home)
        self.old = aws.login.login_of(self.user).refresh_token
        self.whole = survey(EXPORT, machine)
        assert self.whole.status == 0, self.whole
        assert CountedCall("aws", "token") in self.whole.calls
        self.put_back()

    def put_back(self) -> None:
        """Let the disk and AWS be as before the refresh."""
        self.start.restore()
        login = self.aws.login.login_of(self.user)
        login.refresh_token, login.last = self.old, None

    def kept(self) -> str:
        """Return the refresh token of the record, which must be whole."""
        done = survey(READ, self.machine)
        assert done.status == 0, done
        return done.out.strip()

    def answered(self, at: int, when: str) -> bool:
        """Tell whether AWS had answered before the fault."""
        done = self.whole.calls[: at + (when == "after")]
        return CountedCall("aws", "token") in done

    def stored(self, at: int, when: str) -> bool:
        """Tell whether the new record had its name before the fault."""
        done = self.whole.calls[: at + (when == "after")]
        asked = self.whole.calls.index(CountedCall("aws", "token"))
        return any(call.name == "rename" and "/login/" in call.target for call in done[asked:])


def in_logins(call: CountedCall) -> bool:
    """Tell whether a call is about the folder of the logins or a file in it."""
    return "login" in Path(call.target or call.path).parts


@pytest.fixture
def stage(quick_machine: Machine, aws: FakeAws) -> RefreshStage:
    return RefreshStage(quick_machine, aws)


def points(stage: RefreshStage) -> list[tuple[int, str]]:
    found = []
    for number, call in enumerate(stage.whole.calls):
        found.append((number, "before"))
        if call.name == "write":
            found.append((number, "within"))
        if call.name == "aws":
            found.append((number, "after"))
    return [*found, (len(stage.whole.calls) - 1, "after")]


def kill(stage: RefreshStage, at: int, when: str) -> None:
    """Kill a refresh there, and let the next export go on with what is left."""
    stage.put_back()
    outcome = run_with_fault(EXPORT, stage.machine, at=at, mode="kill", when=when)
    assert outcome.status == -9, outcome
    new = stage.aws.login.login_of(stage.user).refresh_token
    kept = stage.kept()
    assert kept == (new if stage.stored(at, when) else stage.old)
    again = survey(EXPORT, stage.machine)
    if stage.aws.login.idempotent or not stage.answered(at, when) or stage.stored(at, when):
        assert again.status == 0, again
        assert stage.kept() == stage.aws.login.login_of(stage.user).refresh_token
    else:
        # Only AWS had the new token. It does not repeat it, so a person must sign in again.
        assert again.status == 8, again
        assert "filevault signin console" in again.err


def campaign(stage: RefreshStage, some: list[tuple[int, str]]) -> None:
    """Kill a refresh at points."""
    for at, when in some:
        try:
            kill(stage, at, when)
        except AssertionError as error:
            call = stage.whole.calls[at]
            raise AssertionError(f"killed {when} call {at}, {call}: {error}") from error


def test_a_kill_at_any_call_of_a_refresh_leaves_the_old_token_or_the_new_one(
    stage: RefreshStage,
) -> None:
    """Every call from the request to the new record's name; of the others a third."""
    stage.aws.login.idempotent = True
    campaign(stage, [point for point in points(stage) if matters(stage, point) or not point[0] % 3])


def test_where_aws_repeats_no_answer_only_a_kill_before_the_new_name_costs_a_sign_in(
    stage: RefreshStage,
) -> None:
    campaign(stage, [point for point in points(stage) if matters(stage, point)])


def matters(stage: RefreshStage, point: tuple[int, str]) -> bool:
    """Tell whether a point lies between the request to AWS and the call after the last rename."""
    calls = stage.whole.calls
    asked = calls.index(CountedCall("aws", "token"))
    renamed = max(
        number
        for number, call in enumerate(calls)
        if call.name == "rename" and "/login/" in call.target
    )
    return asked <= point[0] <= renamed + 1


@pytest.mark.torture
@pytest.mark.parametrize("idempotent", [True, False])
def test_a_kill_at_every_call_of_a_refresh(stage: RefreshStage, idempotent: bool) -> None:
    stage.aws.login.idempotent = idempotent
    campaign(stage, points(stage))


def test_the_new_token_is_on_the_disk_before_anything_is_issued(stage: RefreshStage) -> None:
    """Bytes are synced before their file has its name, its folder after that, then the rest."""
    calls = stage.whole.calls
    asked = calls.index(CountedCall("aws", "token"))
    after = [call for call in calls[asked:] if in_logins(call)]
    names = [call.name for call in after if call.name in ("write", "fsync", "rename")]
    assert names == ["write", "fsync", "rename", "fsync"]
    first_session = next(number for number, call in enumerate(calls) if "/sessions/" in call.path)
    synced = max(number for number, call in enumerate(calls) if in_logins(call))
    assert synced < first_session


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_a_disk_that_fails_before_the_request_costs_nothing(
    stage: RefreshStage, error: str
) -> None:
    asked = stage.whole.calls.index(CountedCall("aws", "token"))
    first = next(
        number
        for number, call in enumerate(stage.whole.calls[:asked])
        if "/login/" in (call.target or call.path) and call.name == "open"
    )
    stage.put_back()
    stage.aws.reset_calls()
    outcome = run_with_fault(EXPORT, stage.machine, at=first, mode=error, lasting=True)
    assert outcome.status == 7, outcome
    assert stage.aws.actions() == []
    assert survey(EXPORT, stage.machine).status == 0


@pytest.mark.torture
@pytest.mark.parametrize("idempotent", [True, False])
def test_two_kills_in_a_row_leave_a_login(stage: RefreshStage, idempotent: bool) -> None:
    stage.aws.login.idempotent = idempotent
    count = len(stage.whole.calls)
    for first in range(0, count, 2):
        for later in range(0, count, 3):
            stage.put_back()
            run_with_fault(EXPORT, stage.machine, at=first, mode="kill")
            try:
                run_with_fault(EXPORT, stage.machine, at=later, mode="kill")
            except NeverReached:
                continue
            assert stage.kept()
            assert survey(EXPORT, stage.machine).status in (0, 8)
