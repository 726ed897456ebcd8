"""LoginRecord: everything that is kept of a console login, in one token record.

The names of the values are those of the AWS CLI's token file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import Credentials
from filevault.errors import DamagedError
from filevault.sources.token_records import LOGIN, TokenName, TokenRecord
from filevault.system.record import Record
from filevault.system.times import format_time, parse_time

if TYPE_CHECKING:
    from filevault.aws.login_tokens import LoginTokens

_WHAT = "the kept login session"
_REQUIRED = (
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
    "expiresAt",
    "clientId",
    "refreshToken",
    "dpopKey",
    "signInRegion",
)


def reference_of(login_session: str) -> str:
    """Return a login session as a credential source, for the headers of session files."""
    return f"login:{login_session}"


def record_name(login_session: str) -> TokenName:
    """Return the name of the token record of a login session."""
    return TokenName(LOGIN, (login_session,), reference_of(login_session))


class LoginRecord(Record):
    """A console login.

    `dpop_key` is the key in PEM, `region` that of the sign-in: AWS refreshes a token only there.
    `ended` says that AWS has refused to refresh it. `rest` has values that another version or
    program has added.
    """

    _secret = ("refresh_token", "dpop_key", "id_token", "rest")

    credentials: Credentials
    refresh_token: str
    client_id: str
    dpop_key: str
    region: str
    token_type: str = "aws_sigv4"  # noqa: S105 - a type
    id_token: str | None = None
    ended: bool = False
    rest: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, record: TokenRecord) -> LoginRecord:
        """Return the content of a token record. Raises DamagedError."""
        values = dict(record.values)
        try:
            key_id, secret, token, expires, client, refresh, dpop, region = (
                values.pop(each) for each in _REQUIRED
            )
            expiration = parse_time(expires)
        except (KeyError, ValueError) as error:
            raise DamagedError(f"{_WHAT} is damaged: it lacks a value") from error
        credentials = Credentials(
            access_key_id=key_id,
            secret_access_key=secret,
            session_token=token,
            expiration=expiration,
            account_id=values.pop("accountId", None),
            arn=values.pop("loginSession", None),
        )
        return cls(
            credentials,
            refresh,
            client,
            dpop,
            region,
            values.pop("tokenType", "aws_sigv4"),
            values.pop("idToken", None),
            not record.renewable,
            tuple(values.items()),
        )

    def record(self) -> TokenRecord:
        """Return the token record that contains this login."""
        made = self.credentials
        values = {
            "accessKeyId": made.access_key_id,
            "secretAccessKey": made.secret_access_key,
            "sessionToken": made.session_token or "",
            "expiresAt": format_time(made.expiration or 0),
            "clientId": self.client_id,
            "refreshToken": self.refresh_token,
            "dpopKey": self.dpop_key,
            "signInRegion": self.region,
            "tokenType": self.token_type,
        }
        optional = (
            ("accountId", made.account_id),
            ("loginSession", made.arn),
            ("idToken", self.id_token),
        )
        values |= {name: value for name, value in optional if value is not None}
        return TokenRecord({**dict(self.rest), **values}, made.expiration, not self.ended)

    def renewed(self, tokens: LoginTokens) -> LoginRecord:
        """Return the login with the tokens of a refresh; account and user stay."""
        credentials = tokens.credentials._replace(
            account_id=self.credentials.account_id, arn=self.credentials.arn
        )
        return self._replace(
            credentials=credentials,
            refresh_token=tokens.refresh_token,
            token_type=tokens.token_type,
            id_token=tokens.id_token or self.id_token,
        )
