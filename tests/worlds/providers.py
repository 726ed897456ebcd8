"""Profiles, stored keys and a session cache over the AWS stand-in, without the command line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filevault.config.aws_config import AwsConfig
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.config.settings import Settings
from filevault.credentials import AccessKey, Credentials
from filevault.errors import ItemNotFoundError
from filevault.mfa.flag import FlagCode
from filevault.mfa.request import MfaRequest
from filevault.mfa.token_code import TokenCode
from filevault.mfa.way import TokenCodeSource
from filevault.plan.planner import Plan, PlanOptions, plan
from filevault.plan.providers import Dependencies, build
from filevault.sessions import SessionCache
from filevault.sessions.cached_provider import Caching
from filevault.sessions.lock_wait import LockWait
from filevault.sources.source import SourceDependencies
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from tests.fakes import FakeAws, User

ACCOUNT = "123456789012"
STATE_ID = "ab" * 16
SESSION_KEY = bytes(range(32))
REGION = "eu-west-1"
PATIENT = LockWait(lambda _: None, lambda: True, time.sleep)


def role_arn(name: str) -> str:
    """Return the ARN of a role of the account."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


class StoredKeys:
    """Stored keys by profile, with a record of what was decrypted."""

    def __init__(self) -> None:
        self._keys: dict[str, AccessKey] = {}
        self._writes = 0
        self._files: dict[str, bytes] = {}
        self.opened: list[str] = []
        self.read: list[str] = []

    def put(self, name: str, access_key_id: str, secret_access_key: str) -> None:
        """Store a key; the file is another one each time, as an encrypted one is."""
        self._writes += 1
        self._keys[name] = AccessKey(access_key_id, secret_access_key)
        self._files[name] = f"{name} {self._writes}".encode()

    def remove(self, name: str) -> None:
        """Delete a key."""
        del self._keys[name], self._files[name]

    def has(self, name: str) -> bool:
        """Tell whether a key is stored."""
        return name in self._keys

    def access_key(
        self,
        name: str,
        ask_account: Callable[[AccessKey], str] | None = None,  # noqa: ARG002
    ) -> AccessKey:
        """Open a key."""
        self.opened.append(name)
        if name not in self._keys:
            raise ItemNotFoundError(f"no item {name!r}")
        return self._keys[name]

    def needs_account(self, name: str, key_id: str) -> bool:  # noqa: ARG002
        """Say that every id tells its account."""
        return False

    def record_account(self, names: Sequence[str], key_id: str, account: str) -> None:
        """Remember nothing."""

    def item_digest(self, name: str) -> str:
        """Read a key's file."""
        self.read.append(name)
        if name not in self._files:
            raise ItemNotFoundError(f"no item {name!r}")
        return sha256_hex(self._files[name])


class MadeCall(NamedTuple):
    """A call as the tables of the tests write it.

    `signer` is `key` or the call's number, `token` for a call without a signature.
    """

    action: str
    seconds: int
    mfa: str | None
    signer: str | int
    role: str | None = None


class TypedCode(TokenCodeSource):
    """Types a code, once."""

    def __init__(self, ask: Callable[[str, str], str]) -> None:
        self._ask = ask

    def serves(self, request: MfaRequest) -> bool:
        """Serve where no program is to run."""
        assert request.process is None
        return True

    def code(self, request: MfaRequest, profile: str) -> str:
        """Ask."""
        return self._ask(request.serial, profile)

    def origin(self, profile: str) -> str:  # noqa: ARG002
        """Name it."""
        return "the answer"


class ProviderWorld:
    """All parts between a profile's name and its credentials, against one AWS stand-in."""

    def __init__(self, aws: FakeAws, folder: Path, config: str) -> None:
        self.aws = aws
        self.folder = folder
        self.config = config
        self.keys = StoredKeys()
        self.asked: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.key_uses = 0
        self.users: dict[str, User] = {}
        self.environ: dict[str, str] = {}
        self.said: list[str] = []
        self.told: list[str] = []

    def store(self, name: str, user: User | None = None, **traits: Any) -> User:
        """Store the key of a user, made for it unless given, under a profile's name."""
        user = self.aws.add_user(name, **traits) if user is None else user
        self.users[name] = user
        self.keys.put(name, user.access_key_id, user.secret_access_key)
        return user

    def ask(self, serial: str, profile: str) -> str:
        """Answer as a person would who waits for the next code, since each works once."""
        self.asked.append((serial, profile))
        self.aws.clock.advance(30)
        user = next(each for each in self.users.values() if serial in each.devices)
        return user.totp(serial)

    def token_code(self, given: str | None = None) -> TokenCode:
        """Return what gives the code of the option, else asks."""
        return TokenCode(None if given is None else FlagCode(given), lambda: (TypedCode(self.ask),))

    def session_key(self) -> bytes:
        """Hand the session key out, and count."""
        self.key_uses += 1
        return SESSION_KEY

    def plan(
        self, name: str, options: PlanOptions | None = None, overrides: Overrides | None = None
    ) -> Plan:
        """Plan for a profile, every call going to the fake."""
        overrides = overrides or Overrides()
        urls = {"": self.aws.url, **overrides.endpoint_urls}
        profile = resolve(
            AwsConfig.parse(self.config.encode(), "config"),
            name,
            overrides=overrides._replace(endpoint_urls=urls),
            has_item=self.keys.has,
        )
        return plan(profile, options or PlanOptions())

    @contextlib.contextmanager
    def cache(self) -> Iterator[SessionCache]:
        """Open the session cache in a state directory below the folder."""
        with Folder.make(str(self.folder / "state")) as state:
            yield SessionCache(
                state, STATE_ID, self.session_key, self.aws.clock, self.warnings.append
            )

    def run(
        self,
        name: str,
        options: PlanOptions | None = None,
        overrides: Overrides | None = None,
        *,
        code: str | None = None,
        caching: bool = True,
        **how: Any,
    ) -> Credentials:
        """Get a profile's credentials as one run of the program would."""
        planned = self.plan(name, options, overrides)
        with self.cache() as cache:
            used = Caching(cache, lambda: PATIENT, **how) if caching else None
            return build(planned, self.dependencies(code), used).retrieve()

    def dependencies(self, code: str | None = None) -> Dependencies:
        """Return what the providers of one run share."""
        return Dependencies(
            SourceDependencies(
                lambda: self.keys,
                clock=self.aws.clock,
                say=self.said.append,
                settings=lambda: Settings(self.environ),
                tell=self.told.append,
            ),
            lambda: self.token_code(code),
            self.aws.clock,
            self.warnings.append,
        )

    def made(self) -> list[MadeCall]:
        """Return the calls since the last time, and forget them."""
        calls = [call for call in self.aws.calls if call.outcome == "ok"]
        assert len(calls) == len(self.aws.calls), [call.outcome for call in self.aws.calls]
        self.aws.reset_calls()
        signers: dict[str, str | int] = {user.access_key_id: "key" for user in self.users.values()}
        made = []
        for number, call in enumerate(calls, start=1):
            role = call.parameters.get("RoleArn")
            made.append(
                MadeCall(
                    call.action,
                    int(call.parameters["DurationSeconds"]),
                    call.parameters.get("SerialNumber"),
                    signers.get(call.access_key_id, "kept") if call.access_key_id else "token",
                    role.rpartition("/")[2] if role else None,
                )
            )
            assert ("TokenCode" in call.parameters) == ("SerialNumber" in call.parameters)
            signers[call.returned_access_key_id or ""] = number
        return made

    def kept(self) -> list[tuple[str, str]]:
        """Return owner and operation of every kept session."""
        with self.cache() as cache:
            return [(owner, operation) for owner, operation, _ in cache.listing()]

    def files(self) -> list[Path]:
        """Return every session file."""
        return sorted((self.folder / "state").glob("sessions/*/*.fvs"))


def gst(seconds: int, mfa: str | None = None) -> MadeCall:
    """Write a GetSessionToken."""
    return MadeCall("GetSessionToken", seconds, mfa, "key")


def role(name: str, seconds: int, mfa: str | None = None, *, by: str | int) -> MadeCall:
    """Write an AssumeRole."""
    return MadeCall("AssumeRole", seconds, mfa, by, name)
