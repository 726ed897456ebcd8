"""SsoTokens: the access token of an Identity Center session, kept, refreshed or signed in for.

One process at a time refreshes or signs in; the others wait and take what it stored. Tokens are
on the disk before they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from filevault.errors import AwsError, NetworkError
from filevault.sources.token_records import SSO_TOKEN, TokenName, TokenRecord, sign_in_first
from filevault.system.printable import shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.json_service import JsonService
    from filevault.config.sso_session import SsoSession
    from filevault.sources.source import SourceDependencies
    from filevault.sources.token_records import TokenRecords

_Result = TypeVar("_Result")

_REFRESH_TOKEN = "refreshToken"  # noqa: S105 - a name

_REFRESH_BELOW = 900
"""Seconds left below which an access token is refreshed, as botocore does."""
_REFRESH_TIMEOUT = 20.0  # seconds
_DEADLINE = 60.0  # seconds for a request
_LEAST = 60
"""Seconds left below which an access token is not used any more."""


class SsoAccess(Record):
    """An access token that is good now, and the URL of the portal that takes it."""

    _secret = ("token",)

    token: str
    portal_url: str
    expires: int
    renewable: bool


def token_name(session: SsoSession) -> TokenName:
    """Return the name of the token record of a session: start URL, region and scopes."""
    identity = (session.start_url, session.region, " ".join(session.scopes))
    return TokenName(SSO_TOKEN, identity, session.reference)


class SsoTokens:
    """The tokens of one session.

    Args:
        session: the session.
        dependencies: with the token records, and with what signs in.
        subject: what the token is for, in messages: `profile 'dev'`.
    """

    def __init__(self, session: SsoSession, dependencies: SourceDependencies, subject: str) -> None:
        self._session = session
        self._run = dependencies
        self._subject = subject
        self._name = token_name(session)
        self._records: TokenRecords | None = None

    def access(self, refused: str | None = None) -> SsoAccess:
        """Return an access token; refresh it, or let a person sign in, if that is necessary.

        `refused` is an access token that AWS does not accept any more. Raises ProviderError
        if a sign-in is necessary and there is no terminal, and what reading, storing and signing
        in raise.
        """
        record = self._tokens.read(self._name)
        if record is not None and self._may_keep(record) and self._is_fresh(record, refused):
            return self._access(record)
        with self._tokens.lock(self._name, f"signing in to {self._session.shown}"):
            record = self._reduced(self._tokens.read(self._name))
            if record is not None and self._is_fresh(record, refused):
                return self._access(record)
            renewed = self._refreshed(record, refused)
            if renewed is not None:
                return self._access(renewed)
            return self._access(self._signed_in(ended=record is not None))

    def sign_in(self) -> SsoAccess:
        """Let a person sign in, whatever is kept. Raises as `access`."""
        with self._tokens.lock(self._name, f"signing in to {self._session.shown}"):
            return self._access(self._signed_in(ended=False, attended=True))

    def current(self) -> SsoAccess | None:
        """Return the kept access token if it is good now, without refreshing it."""
        record = self._tokens.read(self._name)
        return self._access(record) if record is not None and self._left(record) > 0 else None

    def forget(self) -> bool:
        """Delete the kept tokens; return whether there were any."""
        return self._tokens.discard(self._name)

    @property
    def _tokens(self) -> TokenRecords:
        if self._records is None:
            self._records = self._run.tokens()
        return self._records

    def _left(self, record: TokenRecord) -> float:
        return (record.expires or 0) - self._run.clock()

    def _is_fresh(self, record: TokenRecord, refused: str | None) -> bool:
        """Return whether a token needs no refresh; one that is not renewable is used to its end."""
        if record.values.get("accessToken") in (None, refused):
            return False
        least = _REFRESH_BELOW if self._can_refresh(record) else _LEAST
        return self._left(record) >= least

    def _can_refresh(self, record: TokenRecord) -> bool:
        expires = record.values.get("clientExpires", "")
        return (
            _REFRESH_TOKEN in record.values
            and expires.isascii()
            and expires.isdigit()
            and int(expires[:16]) > self._run.clock()
        )

    def _refreshed(self, record: TokenRecord | None, refused: str | None) -> TokenRecord | None:
        """Refresh a token; return the old one if that fails while it is good, else None."""
        if record is None:
            return None
        good = record.values.get("accessToken") not in (None, refused)
        good = good and self._left(record) >= _LEAST
        if not self._can_refresh(record):
            return record if good else None
        from filevault.aws import sso_oidc
        from filevault.system.signals import signals_blocked

        self._tokens.prepare(self._name)
        try:
            # Ctrl-C after the request could lose the only valid refresh token.
            with signals_blocked():
                renewed = self._renewed(record)
                self._tokens.replace(self._name, renewed)
        except (AwsError, NetworkError) as error:
            if good:
                return record
            if isinstance(error, NetworkError) or not sso_oidc.is_over(error):
                raise
            if not sso_oidc.is_usual_end(error):
                self._run.warn(error.message)
            return None
        return renewed

    def _renewed(self, record: TokenRecord) -> TokenRecord:
        """Ask AWS for new tokens. Raises AwsError, NetworkError, ConfigError."""
        from filevault.aws import sso_oidc

        values = dict(record.values)
        client = sso_oidc.SsoClient(values["clientId"], values["clientSecret"], 0)
        made = sso_oidc.refresh(
            oidc_service(self._session, values["region"], self._run),
            client,
            values[_REFRESH_TOKEN],
            subject=self._session.shown,
        )
        values["accessToken"] = made.access_token
        if made.refresh_token is not None:
            values[_REFRESH_TOKEN] = made.refresh_token
        expires = int(self._run.clock()) + made.expires_in
        return TokenRecord(values, expires, renewable=True)

    def _signed_in(self, *, ended: bool, attended: bool | None = None) -> TokenRecord:
        session, sign_in = self._session, self._run.sso_sign_in
        if attended is None:
            attended = self._run.attended()
        if sign_in is None or not attended:
            state = "the sign-in has ended" if ended else "there is none"
            raise sign_in_first(
                f"{self._subject} needs a sign-in to {session.shown}: {state}, and there is no "
                "terminal to ask a person",
                f"filevault sso login {shell_word(session.argument)}",
            )
        self._tokens.prepare(self._name)  # a locked vault asks before the person signs in
        record = sign_in(session, self._tokens)
        if not self._may_keep(record):
            record = without_refresh(record)
        # Another user may have signed in. Deleted first, so that a kill leaves no session of the
        # former user beside the new token; then those that other processes obtained meanwhile.
        self._run.drop_sso_sessions(session)
        self._tokens.replace(self._name, record)
        self._run.drop_sso_sessions(session)
        return record

    def _may_keep(self, record: TokenRecord) -> bool:
        return _REFRESH_TOKEN not in record.values or self._run.keeps_sso_refresh()

    def _reduced(self, record: TokenRecord | None) -> TokenRecord | None:
        """Return a record of the store without what may not be kept, which is stored so."""
        if record is None or self._may_keep(record):
            return record
        reduced = without_refresh(record)
        self._tokens.replace(self._name, reduced)
        return reduced

    def _access(self, record: TokenRecord) -> SsoAccess:
        values = record.values
        return SsoAccess(
            values["accessToken"],
            portal_url(self._session, values["region"]),
            record.expires or 0,
            record.renewable,
        )


def token_record(
    *,
    access_token: str,
    refresh_token: str | None,
    expires: int,
    client: tuple[str, str, int],
    region: str,
) -> TokenRecord:
    """Return the record of new tokens.

    `client` is id, secret and expiry of the registration that got them; `region` is where the
    instance is. `expires` is in Unix seconds.
    """
    client_id, client_secret, client_expires = client
    values = {
        "accessToken": access_token,
        "region": region,
        "clientId": client_id,
        "clientSecret": client_secret,
        "clientExpires": str(client_expires),
    }
    if refresh_token is not None:
        values[_REFRESH_TOKEN] = refresh_token
    return TokenRecord(values, expires, renewable=refresh_token is not None)


def without_refresh(record: TokenRecord) -> TokenRecord:
    """Return a record of tokens without its refresh token."""
    values = {name: value for name, value in record.values.items() if name != _REFRESH_TOKEN}
    return record._replace(values=values, renewable=False)


def oidc_url(session: SsoSession, region: str) -> str:
    """Return the URL of the OIDC service."""
    from filevault.aws.sso_endpoint import OIDC, sso_url

    return session.oidc_url or sso_url(
        OIDC, region, use_fips=session.use_fips, use_dualstack=session.use_dualstack
    )


def portal_url(session: SsoSession, region: str) -> str:
    """Return the URL of the access portal."""
    from filevault.aws.sso_endpoint import PORTAL, sso_url

    return session.portal_url or sso_url(
        PORTAL, region, use_fips=session.use_fips, use_dualstack=session.use_dualstack
    )


def oidc_service(session: SsoSession, region: str, run: SourceDependencies) -> JsonService:
    """Return the OIDC service of a session, for a refresh: no signal ends it."""
    return _service(session, oidc_url(session, region), run, deadline=_REFRESH_TIMEOUT)


def portal_service(session: SsoSession, url: str, run: SourceDependencies) -> JsonService:
    """Return the access portal of a session."""
    return _service(session, url, run)


def _service(
    session: SsoSession, url: str, run: SourceDependencies, deadline: float = _DEADLINE
) -> JsonService:
    from filevault.aws.json_service import JsonService

    return JsonService(
        url,
        allow_http=run.allow_http,
        ca_bundle=session.ca_bundle,
        sleep=run.sleep,
        say=run.say,
        deadline=deadline,
    )


def with_access(tokens: SsoTokens, ask: Callable[[SsoAccess], _Result]) -> _Result:
    """Call the portal with an access token; once more if AWS does not accept the first one.

    A token may have been revoked since it was stored, so it is replaced then. Raises what `ask`
    and `SsoTokens.access` raise.
    """
    from filevault.aws.sso_portal import is_signed_out

    access = tokens.access()
    try:
        return ask(access)
    except AwsError as error:
        if not is_signed_out(error):
            raise
    return ask(tokens.access(refused=access.token))
