"""Credentials that something outside filevault gave as JSON, checked before they are used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.credentials import Credentials, looks_like_key_id, looks_like_secret
from filevault.errors import ProviderError
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SECRET = 1024
_MAX_TOKEN = 16 << 10


def read_credentials(
    values: Mapping[str, Any],
    origin: str,
    now: float,
    *,
    token: str = "Token",  # noqa: S107 - a name
) -> Credentials:
    """Return the credentials in a JSON object.

    Args:
        values: `AccessKeyId`, `SecretAccessKey` and, if there are any, the session token,
            `Expiration` and `AccountId`; null means that there is none.
        origin: names the object in messages.
        now: Unix seconds.
        token: the name of the session token.

    The form of id and secret is not AWS's alone: other services use the same protocol. Raises
    ProviderError for what cannot be used, and for credentials that have expired.
    """
    from filevault.aws.timestamp import read_timestamp

    key_id = _text(values, "AccessKeyId", _MAX_SECRET, origin)
    secret = _text(values, "SecretAccessKey", _MAX_SECRET, origin)
    session = _text(values, token, _MAX_TOKEN, origin)
    if key_id is None or secret is None:
        missing = "AccessKeyId" if key_id is None else "SecretAccessKey"
        raise ProviderError(f"{origin} contains no {missing}")
    if looks_like_secret(key_id) or looks_like_key_id(secret):
        raise ProviderError(f"{origin} has an access key id in place of a secret, or the reverse")
    expiration = None
    if values.get("Expiration") is not None:
        expiration = read_timestamp(values["Expiration"])
        if expiration is None:
            raise ProviderError(
                f"{origin} has an Expiration that is no time",
                hint="it must have a form like 2026-11-28T12:00:00Z",
            )
        if expiration <= now:
            raise ProviderError(
                f"{origin} contains credentials that expired at {format_time(expiration)}",
                hint="check the clock of this machine, and what gives the credentials",
            )
    account = _text(values, "AccountId", 12, origin)
    if account is not None and not re.match(r"\d{12}\Z", account, re.ASCII):
        account = None
    return Credentials(key_id, secret, session, expiration, account)


def _text(values: Mapping[str, Any], name: str, longest: int, origin: str) -> str | None:
    """Return a value, None if it is missing, null or empty. Raises ProviderError."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not re.match(rf"[!-~]{{1,{longest}}}\Z", value):
        raise ProviderError(f"{origin} has no usable {name}")
    return value
