"""The call that exchanges temporary credentials for a sign-in token of the console.

The sign-in service is no API of botocore's: it takes a form and answers JSON. The credentials are
sent in the body, never in a URL, and no message contains any part of an answer, which could
contain them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import not_from_aws, translated
from filevault.errors import AwsError, NetworkError
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.aws.clients import Clients
    from filevault.credentials import Credentials

OPERATION = "getSigninToken"
SETTING = "AWS_ENDPOINT_URL_SIGNIN"
MAX_DURATION = 43200
"""The longest console session that can be requested, in seconds."""

_MAX_TOKEN = 32 << 10


class SigninToken(Record):
    """A token that signs in once; `duration` is the granted one in seconds, or None."""

    _secret = ("token",)

    token: str
    duration: int | None


def get_signin_token(
    clients: Clients,
    url: str,
    credentials: Credentials,
    *,
    duration: int | None,
    subject: str,
) -> SigninToken:
    """Exchange temporary credentials for a sign-in token.

    Args:
        clients: sends the request.
        url: the federation endpoint.
        credentials: of a role or a federated user; those of GetSessionToken are refused.
        duration: of the console session in seconds, None for the lifetime of the credentials.
        subject: the profile in messages.

    If AWS refuses a duration, as it does for a role that was assumed from a role's session, a
    second request omits it, and the returned `duration` is None.

    Raises AwsError if the credentials are refused, ConfigError for an unsafe URL, NetworkError
    for any other failure; no message contains any part of request or answer.
    """
    try:
        return SigninToken(_ask(clients, url, credentials, duration, subject), duration)
    except AwsError:
        if duration is None:
            raise
    return SigninToken(_ask(clients, url, credentials, None, subject), None)


def _ask(
    clients: Clients, url: str, credentials: Credentials, duration: int | None, subject: str
) -> str:
    from urllib.parse import quote_plus

    session = {
        "sessionId": credentials.access_key_id,
        "sessionKey": credentials.secret_access_key,
        "sessionToken": credentials.session_token,
    }
    form = {"Action": OPERATION, "Session": json.dumps(session)}
    if duration is not None:
        form["SessionDuration"] = str(duration)
    secrets = [credentials.secret_access_key, credentials.session_token or ""]
    secrets += [quote_plus(secret) for secret in secrets]  # as encoded in the form
    with translated(Attempt(OPERATION, subject, secrets, None)):
        status, body = clients.post(url, form, setting=SETTING)
    if status == 200:
        return _token(body, subject)
    raise _failure(status, subject)


def _token(body: bytes, subject: str) -> str:
    try:
        token = json.loads(body)["SigninToken"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise not_from_aws(OPERATION, subject) from None
    if not (
        isinstance(token, str)
        and 0 < len(token) <= _MAX_TOKEN
        and token.isascii()
        and token.isprintable()
    ):
        raise not_from_aws(OPERATION, subject)
    return token


def _failure(status: int, subject: str) -> AwsError | NetworkError:
    if status == 429 or status >= 500:
        return NetworkError(
            f"{OPERATION} for {subject} failed: the sign-in service answered {status}",
            hint="wait a little and run the command again",
        )
    if status in (400, 401, 403):
        return AwsError(
            f"AWS refused {OPERATION} for {subject}: the sign-in service answered {status}, so "
            "it did not take the credentials",
            operation=OPERATION,
            code=str(status),
            hint="--refresh obtains new ones; check the region, which decides the partition",
        )
    if 300 <= status < 400:
        return NetworkError(
            f"{OPERATION} for {subject} failed: the sign-in service answered {status}, a "
            "redirection, which is never followed with credentials",
            hint="a proxy or a captive portal may have answered; check AWS_ENDPOINT_URL_SIGNIN",
        )
    return not_from_aws(OPERATION, subject)
