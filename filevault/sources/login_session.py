"""Credential source: a console login, the `login_session` of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import AwsError, ConfigError, DamagedError, NetworkError
from filevault.sources.source import CredentialProvider, Source
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.login_tokens import LoginRequester
    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.errors import ProviderError
    from filevault.sources.login_record import LoginRecord
    from filevault.sources.source import SourceDependencies
    from filevault.sources.token_records import TokenRecords

MINIMUM_LIFE = 300
"""Seconds below which credentials are refreshed before they are issued; all SDKs do the same."""

_LEAST = 60  # seconds with which they are issued if AWS cannot be reached
_LONGEST = 2048  # characters of an ARN


class LoginSession(Source):
    """The console login of a profile; `login_session` is the user's ARN.

    `endpoint_url` is the configured URL of the sign-in service, None for AWS's own.
    """

    declares_inputs = True  # only the AWS config decides which session is looked for

    profile: str
    login_session: str
    endpoint_url: str | None = None

    @classmethod
    def of(cls, profile: Profile) -> LoginSession:
        """Return the login session that a profile names. Raises ConfigError."""
        text = profile.login_session or ""
        if not (text.isascii() and text.isprintable() and len(text) <= _LONGEST) or " " in text:
            raise ConfigError(
                f"{profile.source_where} is no user of a console login: {printable(text, 80)!r}",
                hint=f"{_command(profile.name)} writes it",
            )
        check_fips(profile)
        return cls(profile.name, text, profile.signin_endpoint_url)

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "login"

    @property
    def reference(self) -> str:
        """`login:` and the user."""
        from filevault.sources.login_record import reference_of

        return reference_of(self.login_session)

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return f"login session {printable(self.login_session)}"

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return "the login session"

    @property
    def description(self) -> str:
        """The text of `--explain` where no call to STS is made."""
        return "the credentials of the login session are issued, for 15 minutes at most"

    @property
    def caution(self) -> str:
        """The warning for a command that may run longer than the credentials live."""
        return (
            "these credentials end in 15 minutes or less, and the command cannot renew them: "
            "with exec --server it can, and a role that is assumed from this profile lives an hour"
        )

    def identity(self, dependencies: SourceDependencies) -> str:  # noqa: ARG002
        """Return a hash of the user and the service: a refresh changes neither."""
        return sha256_hex(f"{self.login_session}\0{self.endpoint_url or ''}".encode())

    def provider(self, dependencies: SourceDependencies) -> LoginSessionProvider:
        """Return the provider that refreshes the login."""
        return LoginSessionProvider(self, dependencies)

    def sign_in_error(self, reason: str) -> ProviderError:
        """Return the error for a login that needs a person, with the command that signs in."""
        from filevault.sources.token_records import sign_in_first

        shown = printable(self.profile)
        return sign_in_first(
            f"profile {shown!r} {reason} ({printable(self.login_session)})", _command(self.profile)
        )


class LoginSessionProvider(CredentialProvider):
    """Returns the credentials of a login, refreshed if less than five minutes are left.

    A refresh token serves once, so one process at a time refreshes, and the new token is on the
    disk before its credentials are used.
    """

    __slots__ = ("_dependencies", "_step")

    def __init__(self, step: LoginSession, dependencies: SourceDependencies) -> None:
        self._step = step
        self._dependencies = dependencies

    def retrieve(self) -> Credentials:
        """Return credentials. Raises ProviderError where a person must sign in first."""
        return self._obtain(None, force=self._dependencies.fresh)

    def renew(self, refused: Credentials) -> Credentials:
        """Return other credentials than those that AWS refused."""
        return self._obtain(refused, force=True)

    def _obtain(self, refused: Credentials | None, *, force: bool) -> Credentials:
        from filevault.aws.login_errors import is_over
        from filevault.sources.login_record import record_name

        tokens, name = self._dependencies.tokens(), record_name(self._step.login_session)
        seen = self._read(tokens)
        if seen is None or seen.ended:
            return self._signed_in(tokens, seen)
        if self._has_life(seen) and seen.credentials != refused and (refused or not force):
            return seen.credentials
        shown = printable(self._step.profile)
        with tokens.lock(name, f"refreshing the login session of profile {shown!r}"):
            found = self._read(tokens)
            # Another process may have refreshed it, or signed in, meanwhile.
            if found is not None and not found.ended:
                if found != seen and self._has_life(found):
                    return found.credentials
                try:
                    return self._refreshed(tokens, found, may_keep=not force)
                except AwsError as error:
                    if not is_over(error) or self._sign_in is None:
                        raise
        return self._signed_in(tokens, found)

    @property
    def _sign_in(self) -> Callable[[str], None] | None:
        """What lets the person at the terminal sign in, None if there is none."""
        given = self._dependencies
        return given.sign_in if given.sign_in is not None and given.attended() else None

    def end(self) -> None:
        """End the login at AWS; nothing is deleted here.

        Credentials that have ended are refreshed first: they sign the request. Raises AwsError,
        ConfigError, NetworkError, ProviderError.
        """
        from filevault.aws.clients import Clients
        from filevault.aws.login_link import revoke_url
        from filevault.aws.login_tokens import revoke

        self._obtain(None, force=False)
        found = self._read(self._dependencies.tokens())
        if found is None:
            return
        revoke(
            Clients.short_timeouts(
                profile=self._step.profile, allow_http=self._dependencies.allow_http
            ),
            revoke_url(found.region, self._step.endpoint_url),
            found.region,
            found.credentials,
            found.refresh_token,
            subject=f"profile {printable(self._step.profile)!r}",
        )

    def _signed_in(self, tokens: TokenRecords, found: LoginRecord | None) -> Credentials:
        """Let a person sign in where one is at the terminal. Raises ProviderError elsewhere."""
        if self._sign_in is None:
            raise self._step.sign_in_error(
                "is not signed in" if found is None else "has a login session that has ended"
            )
        self._sign_in(self._step.profile)
        made = self._read(tokens)
        if made is None:
            raise self._step.sign_in_error("is not signed in")
        return made.credentials

    def _refreshed(
        self, tokens: TokenRecords, found: LoginRecord, *, may_keep: bool
    ) -> Credentials:
        """Refresh the login and store it, then return its credentials; the lock is taken.

        With `may_keep`, credentials that live on are returned if AWS cannot be reached.
        """
        from filevault.aws.login_errors import is_over
        from filevault.sources.login_record import record_name
        from filevault.system.signals import signals_blocked

        name = record_name(self._step.login_session)
        requester = self._requester(found)
        tokens.prepare(name)
        try:
            # Ctrl-C after the request would lose the only valid token.
            with signals_blocked():
                renewed = found.renewed(requester.refresh(found.refresh_token))
                tokens.replace(name, renewed.record())
        except NetworkError as error:
            if not may_keep or self._left(found) < _LEAST:
                raise
            self._dependencies.warn(
                f"the login session cannot be refreshed now: {error.message}; its credentials "
                f"end in {int(self._left(found))} seconds"
            )
            return found.credentials
        except AwsError as error:
            if is_over(error):
                tokens.replace(name, found._replace(ended=True).record())
            raise
        return renewed.credentials

    def _requester(self, found: LoginRecord) -> LoginRequester:
        from filevault.aws.clients import Clients
        from filevault.aws.dpop import DpopKey
        from filevault.aws.login_link import base_url
        from filevault.aws.login_tokens import LoginRequester
        from filevault.system.signals import sleep_interruptibly

        step, dependencies = self._step, self._dependencies
        try:
            key = DpopKey.load(found.dpop_key)
        except DamagedError as error:
            raise step.sign_in_error("has a damaged login session") from error
        return LoginRequester(
            Clients(profile=step.profile, allow_http=dependencies.allow_http),
            base_url(found.region, step.endpoint_url),
            found.client_id,
            key,
            f"profile {printable(step.profile)!r}",
            _command(step.profile),
            dependencies.clock,
            sleep_interruptibly,
        )

    def _read(self, tokens: TokenRecords) -> LoginRecord | None:
        from filevault.sources.login_record import LoginRecord, record_name

        record = tokens.read(record_name(self._step.login_session))
        if record is None:
            return None
        try:
            return LoginRecord.of(record)
        except DamagedError as error:
            self._dependencies.warn(f"{error.message}; it is not used")
            return None

    def _left(self, found: LoginRecord) -> float:
        return (found.credentials.expiration or 0) - self._dependencies.clock()

    def _has_life(self, found: LoginRecord) -> bool:
        return self._left(found) >= max(MINIMUM_LIFE, self._dependencies.min_ttl or 0)


def check_fips(profile: Profile) -> None:
    """Raise ConfigError where a FIPS endpoint must be used: the sign-in service's are not known."""
    if profile.use_fips_endpoint and profile.signin_endpoint_url is None:
        raise ConfigError(
            f"profile {printable(profile.name)!r} asks for FIPS endpoints, and filevault knows "
            "none of the sign-in service",
            hint="name one in AWS_ENDPOINT_URL_SIGNIN, or under signin in a [services] section",
        )


def _command(profile: str) -> str:
    """Return the command that signs in for a profile."""
    return f"filevault signin {shell_word(profile)}"
