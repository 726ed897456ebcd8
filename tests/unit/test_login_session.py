"""The credentials of a login session are refreshed in time, once, and never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.aws.login_link import CROSS_DEVICE
from filevault.credentials import Credentials
from filevault.errors import (
    AwsError,
    ConfigError,
    DamagedError,
    NetworkError,
    ProviderError,
    StorageError,
)
from filevault.sessions.lock_wait import LockWait
from filevault.sessions.token_store import TokenStore
from filevault.sources.login_record import LoginRecord, record_name
from filevault.sources.login_session import LoginSession
from filevault.sources.source import SourceDependencies
from filevault.sources.token_records import TokenRecord
from filevault.system.files import Folder
from filevault.system.record import Record
from tests.fakes import FakeAws, drop, error
from tests.unit.test_login_tokens import REGION, Signing

THREADS = 64
STATE_ID = "ab" * 16


class Keeping:
    """A login of a user in a token store, and providers of its credentials."""

    def __init__(self, aws: FakeAws, state: Path) -> None:
        self.aws = aws
        self.signing = Signing(aws)
        self.user = self.signing.user
        self.warnings: list[str] = []
        self.attended = False
        self.name = record_name(self.user.arn)
        self.folder = Folder.open(str(state))
        self.store = TokenStore(
            self.folder,
            STATE_ID,
            lambda: bytes(range(32)),
            clock=aws.clock,
            wait=lambda _action: LockWait(lambda _: None, lambda: True, _tick),
            warn=self.warnings.append,
        )

    @property
    def step(self) -> LoginSession:
        base = f"{self.aws.url}/signin/{REGION}"
        return LoginSession("work", self.user.arn, base)

    def sign_in(self, region: str = REGION) -> LoginRecord:
        requester = self.signing.at(region)
        tokens = requester.exchange(*self.signing.code(region))
        made = LoginRecord(
            tokens.credentials,
            tokens.refresh_token,
            CROSS_DEVICE,
            requester.key.pem(),
            region,
            rest=(("new", "kept"),),
        )
        self.store.replace(self.name, made.record())
        return made

    def dependencies(self, **changes: object) -> SourceDependencies:
        return SourceDependencies(
            keys=lambda: pytest.fail("no stored key is asked for"),
            tokens=lambda: self.store,
            attended=lambda: self.attended,
            clock=self.aws.clock,
            warn=self.warnings.append,
        )._replace(**changes)

    def get(self, step: LoginSession | None = None, **changes: object) -> Credentials:
        return (step or self.step).provider(self.dependencies(**changes)).retrieve()

    def kept(self) -> LoginRecord:
        found = self.store.read(self.name)
        assert found is not None
        return LoginRecord.of(found)

    def refreshes(self) -> int:
        return self.aws.actions().count("RefreshToken")


def _tick(_seconds: float) -> None:
    threading.Event().wait(0.005)


@pytest.fixture
def keeping(aws: FakeAws, tmp_path: Path) -> Iterator[Keeping]:
    aws.clock.freeze(1_795_470_313)
    state = tmp_path / "state"
    state.mkdir()
    made = Keeping(aws, state)
    yield made
    made.folder.close()


def test_credentials_are_issued_as_they_are_until_five_minutes_are_left(keeping: Keeping) -> None:
    made = keeping.sign_in()
    for seconds in (0, 1, 598):
        keeping.aws.clock.advance(seconds)
        assert keeping.get() == made.credentials
    assert keeping.refreshes() == 0
    keeping.aws.clock.advance(2)
    fresh = keeping.get()
    assert fresh != made.credentials
    assert keeping.refreshes() == 1
    assert keeping.get() == fresh
    assert keeping.refreshes() == 1
    assert (fresh.account_id, fresh.arn) == ("123456789012", keeping.user.arn)


def test_the_new_token_is_stored_before_the_credentials_are_returned(keeping: Keeping) -> None:
    made = keeping.sign_in()
    keeping.aws.clock.advance(800)
    fresh = keeping.get()
    kept = keeping.kept()
    assert kept.credentials == fresh
    assert kept.refresh_token == keeping.aws.login.login_of(keeping.user).refresh_token
    assert kept.refresh_token != made.refresh_token
    assert (kept.dpop_key, kept.region, kept.rest) == (made.dpop_key, made.region, made.rest)


def test_where_it_cannot_be_stored_nothing_is_asked_of_aws(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping.sign_in()
    keeping.aws.clock.advance(800)

    def full(_store: TokenStore, _name: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(TokenStore, "prepare", full)
    with pytest.raises(StorageError, match="the disk is full"):
        keeping.get()
    assert keeping.refreshes() == 0


@pytest.mark.parametrize(("asked", "refreshes"), [(None, 0), (600, 0), (700, 1), (3600, 1)])
def test_a_minimum_life_is_met_by_a_refresh(
    keeping: Keeping, asked: int | None, refreshes: int
) -> None:
    keeping.sign_in()
    keeping.aws.clock.advance(250)
    keeping.get(min_ttl=asked)
    assert keeping.refreshes() == refreshes


def test_fresh_ones_are_obtained_where_they_are_asked_for(keeping: Keeping) -> None:
    made = keeping.sign_in()
    fresh = keeping.get(fresh=True)
    assert fresh != made.credentials
    assert keeping.refreshes() == 1


def test_credentials_that_aws_refused_are_replaced(keeping: Keeping) -> None:
    made = keeping.sign_in()
    provider = keeping.step.provider(keeping.dependencies())
    refused = provider.retrieve()
    others = provider.renew(refused)
    assert others is not None
    assert others != made.credentials
    assert keeping.refreshes() == 1
    # Another process has replaced them already.
    assert keeping.step.provider(keeping.dependencies()).renew(refused) == others
    assert keeping.refreshes() == 1


def test_the_refresh_goes_to_the_region_of_the_sign_in(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def base_url(region: str, _override: str | None) -> str:
        asked.append(region)
        return f"{keeping.aws.url}/signin/{region}"

    monkeypatch.setattr("filevault.aws.login_link.base_url", base_url)
    keeping.sign_in("us-west-2")
    keeping.aws.clock.advance(800)
    keeping.get(keeping.step._replace(endpoint_url=None))
    assert asked == ["us-west-2"]
    assert keeping.aws.calls[-1].region == "us-west-2"


def test_nobody_who_could_sign_in_is_an_error_at_once_with_the_command(keeping: Keeping) -> None:
    with pytest.raises(ProviderError, match="'work' is not signed in") as caught:
        keeping.get()
    assert (caught.value.exit_status, caught.value.hint) == (
        8,
        "sign in with: filevault signin work",
    )
    assert keeping.aws.actions() == []


def test_a_person_at_the_terminal_signs_in_and_goes_on(keeping: Keeping) -> None:
    keeping.attended = True
    asked: list[str] = []

    def sign_in(profile: str) -> None:
        asked.append(profile)
        keeping.sign_in()

    assert keeping.get(sign_in=sign_in) == keeping.kept().credentials
    assert asked == ["work"]
    keeping.attended = False
    keeping.store.delete(keeping.name)
    with pytest.raises(ProviderError, match="is not signed in"):
        keeping.get(sign_in=sign_in)
    assert asked == ["work"]


@pytest.mark.parametrize("code", ["TOKEN_EXPIRED", "USER_CREDENTIALS_CHANGED"])
def test_a_login_that_has_ended_is_not_asked_about_again(keeping: Keeping, code: str) -> None:
    keeping.sign_in()
    keeping.aws.login.login_of(keeping.user).over = code
    keeping.aws.clock.advance(800)
    with pytest.raises(AwsError, match=code) as caught:
        keeping.get()
    assert "filevault signin work" in (caught.value.hint or "")
    assert keeping.kept().ended
    (listed,) = keeping.store.listing()
    assert (listed.renewable, listed.source) == (False, f"login:{keeping.user.arn}")
    with pytest.raises(ProviderError, match="a login session that has ended"):
        keeping.get()
    assert keeping.refreshes() == 1
    keeping.sign_in()
    assert keeping.get() == keeping.kept().credentials


def test_twelve_hours_later_a_person_must_sign_in_again(keeping: Keeping) -> None:
    keeping.sign_in()
    for _ in range(47):
        keeping.aws.clock.advance(900)
        keeping.get()
    keeping.aws.clock.advance(900)
    with pytest.raises(AwsError, match="has ended"):
        keeping.get()
    assert set(keeping.aws.login.used.values()) == {1}


def test_a_refused_refresh_keeps_the_record(keeping: Keeping) -> None:
    made = keeping.sign_in()
    keeping.aws.clock.advance(800)
    refusal = error("AccessDeniedException/INSUFFICIENT_PERMISSIONS", "no", 403)
    keeping.aws.arm(refusal, action="RefreshToken")
    with pytest.raises(AwsError, match="SignInLocalDevelopmentAccess|lacks the permission"):
        keeping.get()
    assert keeping.kept() == made
    assert keeping.get() != made.credentials


def test_while_aws_cannot_be_reached_living_credentials_serve(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filevault.aws.login_tokens._PAUSES", ())
    made = keeping.sign_in()
    keeping.aws.clock.advance(700)
    keeping.aws.arm(drop(), action="RefreshToken", times=3)
    assert keeping.get() == made.credentials
    (warning,) = keeping.warnings
    assert "cannot be refreshed now" in warning
    assert "end in 200 seconds" in warning
    keeping.aws.clock.advance(150)
    with pytest.raises(NetworkError):
        keeping.get()
    keeping.aws.clock.advance(-150)
    with pytest.raises(NetworkError):
        keeping.get(fresh=True)
    assert keeping.kept() == made


def test_64_at_a_time_across_three_expiries_use_each_refresh_token_once(keeping: Keeping) -> None:
    keeping.sign_in()
    for expiry in range(1, 4):
        keeping.aws.clock.advance(900)
        found = in_threads(keeping.get)
        assert len({each.access_key_id for each in found}) == 1
        assert keeping.refreshes() == expiry
    assert list(keeping.aws.login.used.values()) == [1, 1, 1]


def in_threads(act: Callable[[], Credentials]) -> list[Credentials]:
    found: list[Credentials] = []
    start = threading.Barrier(THREADS)

    def run() -> None:
        start.wait()
        found.append(act())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == THREADS
    return found


@pytest.mark.parametrize(
    "missing", ["accessKeyId", "refreshToken", "dpopKey", "clientId", "signInRegion", "expiresAt"]
)
def test_a_record_that_lacks_something_is_no_login(keeping: Keeping, missing: str) -> None:
    record = keeping.sign_in().record()
    values = {name: value for name, value in record.values.items() if name != missing}
    with pytest.raises(DamagedError):
        LoginRecord.of(TokenRecord(values, record.expires, record.renewable))
    keeping.store.replace(keeping.name, TokenRecord(values, None, renewable=True))
    with pytest.raises(ProviderError, match="is not signed in"):
        keeping.get()
    assert "is not used" in keeping.warnings[0]


def test_a_record_reads_back_as_it_was(keeping: Keeping) -> None:
    made = keeping.sign_in()
    assert LoginRecord.of(made.record()) == made
    ended = made._replace(ended=True, id_token="a.b.c")
    assert LoginRecord.of(ended.record()) == ended
    shown = repr(made) + repr(made.record())
    assert not [each for each in keeping.aws.issued_secrets() if each in shown]
    assert made.dpop_key not in shown


def test_a_login_is_ended_at_aws_even_if_its_credentials_are_over(keeping: Keeping) -> None:
    keeping.sign_in()
    keeping.aws.clock.advance(5000)
    keeping.step.provider(keeping.dependencies()).end()
    assert keeping.aws.actions()[-2:] == ["RefreshToken", "RevokeToken"]
    assert keeping.aws.login.revoked == [keeping.kept().refresh_token]


def test_what_goes_into_the_name_of_a_session_is_the_user_and_the_service(
    keeping: Keeping,
) -> None:
    step, given = keeping.step, keeping.dependencies()
    same = step.identity(given)
    keeping.sign_in()
    assert step.identity(given) == same
    assert step._replace(profile="other").identity(given) == same
    assert step._replace(login_session="arn:aws:iam::1:root").identity(given) != same
    assert step._replace(endpoint_url=None).identity(given) != same
    assert (step.operation, step.is_long_term) == ("login", False)
    assert step.reference == f"login:{keeping.user.arn}"


class _Named(Record):
    name: str
    login_session: str | None
    signin_endpoint_url: str | None = None
    source_where: str = "login_session in line 2"
    use_fips_endpoint: bool = False


@pytest.mark.parametrize("text", ["", "a b", "arn\n", "ü", "x" * 2049])
def test_what_cannot_be_a_user_is_refused_with_its_line(text: str) -> None:
    if not text:
        return  # an empty value is no setting
    with pytest.raises(ConfigError, match="login_session in line 2"):
        LoginSession.of(_Named("work", text))  # type: ignore[arg-type]


def test_fips_endpoints_are_not_passed_over_in_silence() -> None:
    named = _Named("work", "arn:aws:iam::123456789012:root", None, "", use_fips_endpoint=True)
    with pytest.raises(ConfigError, match="asks for FIPS endpoints"):
        LoginSession.of(named)  # type: ignore[arg-type]
    given = named._replace(signin_endpoint_url="https://signin-fips.us-east-1.amazonaws.com")
    assert LoginSession.of(given).endpoint_url  # type: ignore[arg-type]


def test_a_key_is_read_before_anything_is_asked(keeping: Keeping) -> None:
    made = keeping.sign_in()
    keeping.store.replace(keeping.name, made._replace(dpop_key="no key").record())
    keeping.aws.clock.advance(800)
    with pytest.raises(ProviderError, match="damaged") as caught:
        keeping.get()
    assert caught.value.hint == "sign in with: filevault signin work"
    assert keeping.refreshes() == 0
