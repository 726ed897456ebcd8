"""Base classes of the steps of a plan, of credential sources and of credential providers.

A step is pure data. Its provider obtains the credentials; a provider knows only the provider of
the step before (its parent).
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from filevault import errors
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filevault.config.profile import Profile
    from filevault.config.settings import Settings
    from filevault.config.sso_session import SsoSession
    from filevault.credentials import AccessKey, Credentials
    from filevault.sources.key_source import KeySource
    from filevault.sources.token_records import TokenRecord, TokenRecords


class CredentialProvider:
    """Obtains the credentials of one step."""

    __slots__ = ()

    @property
    def from_cache(self) -> bool:
        """Whether the last returned credentials are a session that an earlier run obtained."""
        return False

    @abstractmethod
    def retrieve(self) -> Credentials:
        """Return credentials that are valid now; raises FilevaultError."""

    def renew(self, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        """Return new credentials in place of cached ones that AWS refused, None if there are none.

        To be called once: what this returns was obtained by this run.
        """
        return None

    def replacement(self, refused: Credentials) -> Credentials | None:  # noqa: ARG002
        """Return the key that is stored now if it is another than the refused one, else None."""
        return None

    def learn_account(self, account: str | None) -> None:
        """Called after the first call that these credentials signed.

        `account` is that of the credentials if the answer of the call has it, else None.
        """


class Step(Record):
    """One step of a plan; `profile` is the profile whose step it is.

    Everything that determines the credentials is a field, so that an edited profile misses the
    cache (`docs/format.md` §7).
    """

    profile: str

    if TYPE_CHECKING:

        @property
        def parent(self) -> Step | None:
            """The step before this one, None for a credential source."""
            ...

    @property
    @abstractmethod
    def source(self) -> Source:
        """The credential source that the plan begins with."""

    @property
    def owner(self) -> str:
        """The profile under which the session is kept, so that aliases share it."""
        return self.profile

    @property
    def operation(self) -> str | None:
        """The first part of the session file's name, None for a step without a session."""
        return None

    @property
    def is_long_term(self) -> bool:
        """Whether the credentials are an IAM user's long-term key.

        Only such a key signs GetSessionToken and GetFederationToken, and presents an MFA device.
        A role that is assumed with anything else is a chained role.
        """
        return False

    @property
    def may_be_users(self) -> bool:
        """Whether the credentials may be those of an IAM user, which only they themselves show.

        A role that is assumed with them is asked for as with a long-term key: with its duration and
        MFA device. AWS refuses what does not apply.
        """
        return self.is_long_term

    @property
    def is_user_session(self) -> bool:
        """Whether it is a session of the IAM user itself, kept even with `cache_roles = false`."""
        return False

    @property
    def assumed_role(self) -> str | None:
        """The ARN of the role whose credentials these are, None for another identity."""
        return None

    @property
    def carried_mfa(self) -> str | None:
        """The serial of the MFA device that the session carries, None without MFA."""
        return None

    @property
    def caution(self) -> str | None:
        """A warning for a command that gets these credentials, None if there is none."""
        return None

    @property
    def takes_token_code(self) -> bool:
        """Whether a call of the plan could carry a token code."""
        return False

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""

    @property
    @abstractmethod
    def description(self) -> str:
        """The text for the step in `--explain`."""

    def request_identity(self, parent: str) -> dict[str, object]:
        """Return everything that determines a session, by the names in `docs/format.md` §7.

        `parent` is the hash of the parent's session, or the identity of the credential source.
        """
        return {"operation": self.operation, "source": parent}

    def equivalents(self, lives: Iterable[int]) -> Iterable[Step]:  # noqa: ARG002
        """Return other steps whose kept session serves as well to obtain another session.

        `lives` are the whole lives of the sessions that the owner has of this operation, in
        seconds.
        """
        return ()


def _no_tokens() -> TokenRecords:
    raise errors.NoVaultError(
        "sign-ins are kept in the state directory of a vault, and there is none"
    )


def _nobody() -> bool:
    return False


def _always() -> bool:
    return True


def _silent(_of: object) -> None:
    pass


def _no_settings() -> Settings:
    from filevault.config.settings import Settings

    return Settings({})


class SourceDependencies(Record):
    """The arguments of the providers of credential sources.

    `keys` returns the store of long-term keys, `tokens` that of token records; both raise
    NoVaultError if there is no vault, so a source that needs none must not call them. `identify`
    asks AWS whose account a key belongs to; None where no call is made with it.

    `attended` returns whether a person is at the terminal, who can be asked to sign in; where it
    is False, a source that needs that raises `token_records.sign_in_first` at once. `clock`
    returns Unix seconds, `say` prints progress and `warn` a warning, to the terminal or stderr.
    `allow_http` lets URLs be plain http beyond the loopback interface. `sleep` takes seconds.
    `sso_sign_in` lets a person sign in to an Identity Center session, which may take ten minutes;
    None without a terminal. `settings` returns the settings of the run, which have its
    environment.

    `fresh` asks for new credentials even where a token record has some, `min_ttl` for such that
    live that many seconds. `sign_in` lets the person at the terminal sign in for a profile.
    `tell` shows a line on the terminal, and does nothing where there is none.
    `keeps_sso_refresh` returns whether refresh tokens of Identity Center may be stored.
    `drop_sso_sessions` deletes the cached sessions that the sign-in to an Identity Center session
    gave, of every profile.
    """

    keys: Callable[[], KeySource]
    identify: Callable[[AccessKey], str] | None = None
    tokens: Callable[[], TokenRecords] = _no_tokens
    attended: Callable[[], bool] = _nobody
    clock: Callable[[], float] = time.time
    say: Callable[[str], None] = _silent
    warn: Callable[[str], None] = _silent
    allow_http: bool = False
    sleep: Callable[[float], None] = time.sleep
    sso_sign_in: Callable[[SsoSession, TokenRecords], TokenRecord] | None = None
    settings: Callable[[], Settings] = _no_settings
    fresh: bool = False
    min_ttl: int | None = None
    sign_in: Callable[[str], None] | None = None
    tell: Callable[[str], None] = _silent
    keeps_sso_refresh: Callable[[], bool] = _always
    drop_sso_sessions: Callable[[SsoSession], object] = _silent


class Source(Step):
    """A credential source: where a profile's credentials begin.

    `declares_inputs` is True if all that decides about a cached session of its plans is read
    through `filevault.system.inputs`. Only then may the hot lane repeat the answer. `calls_aws` is
    True for credentials that are the answer of AWS to a call, which `description` names.
    """

    parent = None
    declares_inputs: ClassVar[bool] = False
    calls_aws: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of(cls, profile: Profile) -> Source:
        """Return the source that a profile names. Raises ConfigError."""

    @property
    def source(self) -> Source:
        """This source."""
        return self

    @property
    def needs_vault(self) -> bool:
        """Whether the credentials, or what obtains them, are kept with a vault.

        If not, no question about the vault is asked for this source: its sessions are kept if the
        vault opens without one.
        """
        return True

    @property
    def refused_hint(self) -> str | None:
        """What to do if AWS does not accept the credentials; None for what AWS's errors say."""
        return None

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that contain what the source reads; no command gets them."""
        return ()

    @property
    @abstractmethod
    def reference(self) -> str:
        """The source in the headers of session files made from it: a word, a colon, a name."""

    @property
    @abstractmethod
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""

    @abstractmethod
    def identity(self, dependencies: SourceDependencies) -> str:
        """Return hex digits that change whenever the credentials may have changed.

        They go into the hash of the source's session, if it has an `operation`, and of each session
        that is made from it. Nothing is decrypted.
        """

    @abstractmethod
    def provider(self, dependencies: SourceDependencies) -> CredentialProvider:
        """Return the provider of the credentials."""
