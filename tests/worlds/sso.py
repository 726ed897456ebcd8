"""An Identity Center session over the stand-in: tokens and sign-in without the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from filevault.cli.context import Context, Runtime
from filevault.cli.reporter import Reporter
from filevault.cli.sso_sign_in import SsoSignIn
from filevault.config.settings import Settings
from filevault.config.sso_session import SsoSession
from filevault.sources.source import SourceDependencies
from filevault.sources.sso import SsoRole
from filevault.sources.sso_tokens import SsoTokens, token_name
from filevault.sources.token_records import TokenName, TokenRecord
from filevault.unlock.prompt import NoTerminal, Terminal
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL

ACCOUNT = "111122223333"
REGION = "eu-west-1"


class Memory:
    """Token records in memory, with a record of what was done to them; `TokenRecords`."""

    def __init__(self) -> None:
        self.records: dict[TokenName, TokenRecord] = {}
        self.done: list[str] = []
        self.locked = False

    def read(self, name: TokenName) -> TokenRecord | None:
        return self.records.get(name)

    def prepare(self, name: TokenName) -> None:
        assert self.locked
        self.done.append(f"prepare {name.kind}")

    def replace(self, name: TokenName, record: TokenRecord) -> None:
        assert self.locked
        self.done.append(f"replace {name.kind}")
        self.records[name] = record

    def discard(self, name: TokenName) -> bool:
        return self.records.pop(name, None) is not None

    @contextmanager
    def lock(self, name: TokenName, action: str) -> Iterator[None]:  # noqa: ARG002
        assert not self.locked
        self.locked = True
        try:
            yield
        finally:
            self.locked = False


class SsoWorld:
    """One session of the stand-in's instance; sleeping moves the stand-in's clock.

    `terminals` are those of stdout, stderr and the terminal device: letters of `oet`.

    `slept` are the pauses, `said` the lines for the person, `on_sleep` is called with each pause.
    """

    def __init__(
        self,
        aws: FakeAws,
        *,
        start_url: str = START_URL,
        env: Mapping[str, str] = MappingProxyType({}),
        terminals: str = "",
    ) -> None:
        aws.clock.freeze()
        aws.sso.assign(ACCOUNT, "prod", "Admin", "ReadOnly")
        self.aws = aws
        self.memory = Memory()
        self.slept: list[float] = []
        self.said: list[str] = []
        self.attended = True
        self.keeps_refresh = True
        self.on_sleep: Callable[[], None] = lambda: None
        self.session = SsoSession(
            "work", start_url, REGION, ("sso:account:access",), aws.url, aws.url, profile="dev"
        )
        self.context = Context(
            Settings({"HOME": "/nowhere", "PATH": "", **env}),
            Runtime(clock=aws.clock, sleep=self._sleep, boottime=aws.clock),
            _Listening(self.said, terminals),
        )
        self.context._prompter = Terminal() if "t" in terminals else NoTerminal()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.aws.clock.advance(seconds)
        self.on_sleep()

    @property
    def dependencies(self) -> SourceDependencies:
        """The arguments of the source's provider."""

        def no_keys() -> object:
            raise AssertionError("no key is needed")

        return SourceDependencies(
            no_keys,  # type: ignore[arg-type]
            tokens=lambda: self.memory,
            attended=lambda: self.attended,
            clock=self.aws.clock,
            say=self.said.append,
            warn=self.said.append,
            sleep=self._sleep,
            sso_sign_in=SsoSignIn(self.context),
            keeps_sso_refresh=lambda: self.keeps_refresh,
            drop_sso_sessions=lambda session: self.memory.done.append(f"drop {session.reference}"),
        )

    @property
    def tokens(self) -> SsoTokens:
        """The tokens of the session."""
        return SsoTokens(self.session, self.dependencies, "profile 'dev'")

    def role(self, role: str = "Admin", account: str = ACCOUNT) -> SsoRole:
        """A role of the instance as a source."""
        return SsoRole("dev", self.session, account, role)

    def obtain(self, role: str = "Admin") -> str:
        """Obtain the credentials of a role; return their access key id."""
        return self.role(role).provider(self.dependencies).retrieve().access_key_id

    @property
    def record(self) -> TokenRecord:
        """The record of the tokens."""
        return self.memory.records[token_name(self.session)]

    def made(self) -> list[str]:
        """The calls since the last time."""
        found = self.aws.actions()
        self.aws.reset_calls()
        return found


class _Listening(Reporter):
    """A reporter whose messages are kept."""

    def __init__(self, said: list[str], terminals: str) -> None:
        super().__init__()
        self._said = said
        self._terminals = terminals

    @property
    def results_on_terminal(self) -> bool:
        return "o" in self._terminals

    @property
    def messages_on_terminal(self) -> bool:
        return "e" in self._terminals

    def say(self, text: str) -> None:
        self._said.append(text)
