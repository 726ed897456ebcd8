"""`signin --adopt` takes over what `aws login` has left, and then deletes it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filevault.cli import adopt_login
from filevault.cli.console_login import LoginTarget
from filevault.cli.context import Context
from filevault.errors import ConfigError, FilevaultError, StorageError
from filevault.sessions.lock_wait import LockWait
from filevault.sessions.token_store import TokenStore
from filevault.sources.login_record import LoginRecord, record_name
from filevault.sources.token_records import TokenName, TokenRecord
from filevault.system.files import Folder
from tests.fakes import FakeAws
from tests.unit.test_login_tokens import REGION, Signing
from tests.worlds import cli_login
from tests.worlds.login_machine import LoginMachine
from tests.worlds.machine import Machine

STATE_ID = "cd" * 16


class Desk:
    """A login in the AWS CLI's file, a token store, and what is printed."""

    def __init__(self, aws: FakeAws, home: Path) -> None:
        self.aws = aws
        self.home = home
        self.signing = Signing(aws)
        self.user = self.signing.user.arn
        tokens = self.signing.signed_in()
        self.login = LoginRecord(
            tokens.credentials,
            tokens.refresh_token,
            self.signing.requester.client_id,
            self.signing.requester.key.pem(),
            REGION,
            tokens.token_type,
            tokens.id_token,
        )
        state = home / "state"
        state.mkdir(parents=True)
        self.printed: list[str] = []
        self.dropped: list[str] = []
        self.variables: dict[str, str] = {}
        self.store = TokenStore(
            Folder.open(str(state)),
            STATE_ID,
            lambda: bytes(range(32)),
            clock=aws.clock,
            wait=lambda _: LockWait(lambda _: None, lambda: False, lambda _: None),
            warn=self.printed.append,
        )

    def write(self, *, sec1: bool = True, **changes: Any) -> Path:
        token = {**cli_login.cli_token(self.login, sec1=sec1), **changes}
        kept = {key: value for key, value in token.items() if value is not None}
        return cli_login.write(self.home, self.user, kept)

    def adopt(self, region: str | None = None, user: str | None = "") -> LoginRecord:
        target = LoginTarget("work", True, self.user if user == "" else user, region, None)
        context: Any = _Context(self)
        typed: Context = context
        return adopt_login.adopt(target, self.store, typed, self.dropped.append)

    def kept(self) -> LoginRecord | None:
        found = self.store.read(record_name(self.user))
        return None if found is None else LoginRecord.of(found)


class _Context:
    """The parts of a run that adopting uses."""

    def __init__(self, desk: Desk) -> None:
        self.settings = self
        self.reporter = self
        self.home_if_known = str(desk.home)
        self.get = desk.variables.get
        self.environ = desk.variables
        self.result = desk.printed.append


@pytest.fixture
def desk(aws: FakeAws, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(aws, tmp_path / "home")
    yield made
    made.store._state.close()


@pytest.mark.parametrize("sec1", [True, False])
def test_a_file_in_either_form_of_key_is_taken_over_and_deleted(desk: Desk, sec1: bool) -> None:
    path = desk.write(sec1=sec1)
    assert ("BEGIN EC PRIVATE KEY" if sec1 else "BEGIN PRIVATE KEY") in path.read_text()
    assert desk.adopt() == desk.login == desk.kept()
    assert desk.dropped == [desk.user]
    assert not path.exists()
    assert desk.printed == [f"Deleted {path}, whose tokens were not encrypted."]
    renewed = desk.signing.requester.refresh(desk.login.refresh_token)
    assert renewed.refresh_token


def test_unknown_keys_are_kept(desk: Desk) -> None:
    token = cli_login.cli_token(desk.login)
    token["accessToken"]["inner"] = [1]
    desk.write(outer={"a": None}, accessToken=token["accessToken"])
    rest = dict(desk.adopt().rest)
    assert json.loads(rest["unknown"]) == {"outer": {"a": None}, "accessToken": {"inner": [1]}}
    kept = desk.kept()
    assert kept is not None
    assert dict(kept.rest) == rest


@pytest.mark.parametrize("account", ["a\ud800", "1\x1b[2J", 5, None])
def test_what_is_no_account_in_the_file_is_not_kept(desk: Desk, account: object) -> None:
    token = cli_login.cli_token(desk.login)["accessToken"]
    desk.write(accessToken={**token, "accountId": account})
    assert desk.adopt().credentials.account_id == desk.login.credentials.account_id


def test_a_file_without_a_region_takes_that_of_the_profile(desk: Desk) -> None:
    path = desk.write(signInRegion=None)
    with pytest.raises(ConfigError, match="in which region") as caught:
        desk.adopt()
    assert "--adopt --region R" in (caught.value.hint or "")
    assert path.exists()
    assert desk.adopt("us-west-2").region == "us-west-2"


def test_the_region_of_the_file_goes_before_that_of_the_profile(desk: Desk) -> None:
    desk.write()
    assert desk.adopt("us-west-2").region == REGION


@pytest.mark.parametrize("given", ["~/elsewhere", "$ROOT/elsewhere", "${ROOT}/$PLACE"])
def test_the_folder_of_the_variable_is_used_as_botocore_does(desk: Desk, given: str) -> None:
    path = desk.write()
    other = desk.home / "elsewhere"
    other.mkdir()
    path.rename(other / path.name)
    desk.variables["AWS_LOGIN_CACHE_DIRECTORY"] = given
    desk.variables["PLACE"] = "elsewhere"
    desk.variables["ROOT"] = str(desk.home)
    assert desk.adopt() == desk.login


def test_a_file_is_deleted_only_once_the_record_was_read_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.write()

    def fails(_store: TokenStore, _name: TokenName, _record: TokenRecord) -> None:
        raise StorageError("the disk is full")

    other = desk.login._replace(refresh_token="ASORother").record()
    for method, way, says in (
        ("replace", fails, "full"),
        ("read", lambda *_: None, "read back"),
        ("read", lambda *_: other, "read back"),
    ):
        monkeypatch.setattr(TokenStore, method, way)
        with pytest.raises(StorageError, match=says):
            desk.adopt()
        assert path.exists()
        monkeypatch.undo()
    assert desk.adopt() == desk.login
    assert not path.exists()


def test_a_file_that_changes_meanwhile_is_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.write()
    real = TokenStore.replace
    writes: list[None] = []

    def replace(store: TokenStore, name: TokenName, record: TokenRecord) -> None:
        real(store, name, record)
        if not writes:
            writes.append(None)
            desk.write(refreshToken="ASORrefreshed-by-another-program")

    monkeypatch.setattr(TokenStore, "replace", replace)
    assert desk.adopt().refresh_token == "ASORrefreshed-by-another-program"
    assert not path.exists()


BROKEN: dict[str, Any] = {
    "empty": b"",
    "no json": b"{",
    "a list": b"[]",
    "deep": b'{"a":' * 200 + b"1" + b"}" * 200,
    "endless": b" " * (64 << 10) + b"{}",
    "not utf-8": b"\xff\xfe",
}
FIELDS: dict[str, dict[str, Any]] = {
    "no access token": {"accessToken": None},
    "a text as access token": {"accessToken": "x"},
    "no refresh token": {"refreshToken": None},
    "no key": {"dpopKey": None},
    "no client": {"clientId": None},
    "a number as token": {"refreshToken": 5},
    "escapes in a token": {"refreshToken": "a\x1b[2J"},
    "a number as region": {"signInRegion": 5},
    "no region's name": {"signInRegion": "x/../y"},
    "another key": {"dpopKey": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"},
}


@pytest.mark.parametrize("name", [*BROKEN, *FIELDS])
def test_a_file_that_is_no_login_is_left_and_reported_in_one_line(desk: Desk, name: str) -> None:
    path = desk.write(**FIELDS.get(name, {}))
    if name in BROKEN:
        path.write_bytes(BROKEN[name])
    with pytest.raises(FilevaultError) as caught:
        desk.adopt()
    assert caught.value.exit_status in (3, 7)
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert path.exists()
    assert desk.kept() is None
    assert not [each for each in desk.aws.issued_secrets() if each in repr(caught.value)]


def test_a_link_in_place_of_the_file_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    path = desk.write()
    target = tmp_path / "target"
    path.rename(target)
    path.symlink_to(target)
    with pytest.raises(StorageError):
        desk.adopt()
    assert target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_a_file_of_another_user_is_refused(desk: Desk) -> None:
    path = desk.write()
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        desk.adopt()


def test_without_a_file_or_a_user_it_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="there is no login session") as caught:
        desk.adopt()
    assert "AWS_LOGIN_CACHE_DIRECTORY" in (caught.value.hint or "")
    desk.write().unlink()
    with pytest.raises(ConfigError, match="there is no login session"):
        desk.adopt()
    with pytest.raises(ConfigError, match="has no login_session"):
        desk.adopt(user=None)


def test_the_command_adopts_and_exports(machine: Machine, aws: FakeAws) -> None:
    logins = LoginMachine(machine, aws)
    signing = Signing.__new__(Signing)
    signing.aws, signing.user, signing.slept = aws, logins.user, []
    signing.requester = signing.at(REGION)
    tokens = signing.signed_in()
    made = LoginRecord(
        tokens.credentials,
        tokens.refresh_token,
        signing.requester.client_id,
        signing.requester.key.pem(),
        REGION,
    )
    path = cli_login.write(machine.home, logins.user.arn, cli_login.cli_token(made))
    assert machine.run("signin", "console", "--adopt").status == 3
    config = machine.config.read_text()
    line = f"[profile console]\nlogin_session = {logins.user.arn}\n"
    machine.config.write_text(config.replace("[profile console]\n", line))
    before = machine.config.read_bytes()
    result = machine.ok("signin", "console", "--adopt")
    assert result.out.startswith(f"Deleted {path}, whose tokens were not encrypted.\n")
    assert machine.config.read_bytes() == before
    assert not path.exists()
    logins.advance(660)
    machine.ok("export", "console")
    assert aws.actions()[-1] == "RefreshToken"
