"""Meanings of the errors of the console login's token endpoint: for each a sentence and a hint.

The body of an error is `{"error": CODE, "message": ...}`, the exception is in the header
`x-amzn-errortype`. The table comes first; codes are those of `OAuth2ErrorCode` in botocore's
model, in upper case.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from filevault.errors import AwsError, ClockError, FilevaultError, NetworkError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from filevault.aws.attempt import Attempt
    from filevault.aws.clients import HttpAnswer

POLICY = "SignInLocalDevelopmentAccess"
"""The managed policy with the permissions that a console login needs."""

AGAIN = "AGAIN"
"""Placeholder in hints for the command that signs in again."""

_SKEW = 60  # seconds by which a clock may differ before it is blamed
_AGAIN = "sign in again: AGAIN"
_ENDED = ("the login session has ended", _AGAIN)
_THROTTLED = ("AWS gets too many requests at the moment", "wait a little and run it again")
_INTERNAL = ("AWS has an internal failure", "wait a little and run the command again")
_FORM = ("AWS does not accept the form of the request", "is filevault up to date?")
_NO_CODE = (
    "AWS does not accept the code: it was used before, or is of another sign-in or region",
    "AGAIN starts again; if it stays so, try another --region",
)
_NO_TOKEN = (
    "AWS does not accept the refresh token: it was used elsewhere, or is of another region",
    _AGAIN,
)
_NO_PERMISSION = (
    "the user lacks the permission signin:CreateOAuth2Token",
    f"attach the policy {POLICY} to the user or role",
)

_BY_CODE = {
    "TOKEN_EXPIRED": _ENDED,
    "USER_CREDENTIALS_CHANGED": (
        "the password or the MFA of the user has changed since the sign-in",
        _AGAIN,
    ),
    "INSUFFICIENT_PERMISSIONS": _NO_PERMISSION,
    "AUTHCODE_EXPIRED": ("the code of the sign-in is too old", "start again: AGAIN"),
    "RATE_EXCEEDED": _THROTTLED,
    "SERVER_ERROR": _INTERNAL,
    "SERVICE_UNAVAILABLE": _INTERNAL,
    "RESOURCE_NOT_FOUND": ("AWS does not know the login session", _AGAIN),
    "CONFLICT": ("another request changes the login session now", "run the command again"),
    "SERVICE_QUOTA_EXCEEDED": (
        "the user has as many login sessions as AWS allows",
        "end one of them in the console, under Security credentials",
    ),
    "UNSUPPORTED_GRANT_TYPE": _FORM,
    "INVALID_SCOPE": _FORM,
    "INVALID_TARGET": _FORM,
    "INVALID_CLIENT": (
        "this region does not offer console logins to programs",
        "try another region: AGAIN --region us-east-1",
    ),
}
_INVALID = ("INVALID_REQUEST", "INVALID_GRANT")
"""Codes that AWS uses for a code or token that it does not accept, whatever the reason."""

_BY_EXCEPTION = {
    "ValidationException": "INVALID_REQUEST",
    "TooManyRequestsError": "RATE_EXCEEDED",
    "InternalServerException": "SERVER_ERROR",
    "ServiceUnavailableException": "SERVICE_UNAVAILABLE",
    "InvalidGrantException": "INVALID_GRANT",
}
_OVER = frozenset({"TOKEN_EXPIRED", "USER_CREDENTIALS_CHANGED", "RESOURCE_NOT_FOUND"})
_PASSING = frozenset({"RATE_EXCEEDED", "SERVER_ERROR", "SERVICE_UNAVAILABLE"})

_CALLBACK = {
    "access_denied": (
        "the sign-in was refused or cancelled in the browser",
        f"allow signin:AuthorizeOAuth2Access, as the policy {POLICY} does",
    ),
    "server_error": _INTERNAL,
    "temporarily_unavailable": _INTERNAL,
    "invalid_request": _FORM,
    "invalid_scope": _FORM,
    "unauthorized_client": _BY_CODE["INVALID_CLIENT"],
    "unsupported_response_type": _FORM,
}
"""Errors in the redirection to filevault (RFC 6749 §4.1.2.1)."""


class Refusal(Record):
    """What an answer other than 200 says: the error in upper case, "" if unknown, and the text."""

    name: str
    text: str


def read_refusal(answer: HttpAnswer) -> Refusal:
    """Return what an answer other than 200 says; never raises."""
    from filevault.system.strict_json import is_too_deep

    code: object = ""
    text: object = ""
    try:
        found = answer.body.decode("utf-8")
        values = {} if is_too_deep(found) else json.loads(found)
        if isinstance(values, dict):
            code = values.get("error")
            text = values.get("message") or values.get("error_description")
    except (ValueError, RecursionError):
        pass
    name = code.upper() if isinstance(code, str) else ""
    if name not in _BY_CODE and name not in _INVALID:
        exception = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        name = _BY_EXCEPTION.get(exception, name or exception)
    return Refusal(name, text if isinstance(text, str) else "")


def is_over(error: FilevaultError) -> bool:
    """Return whether AWS says that the login session has ended."""
    return isinstance(error, AwsError) and error.code in _OVER


def is_passing(answer: HttpAnswer) -> bool:
    """Return whether the same request may succeed a little later."""
    if answer.status == 429 or answer.status >= 500:
        return True
    return answer.status != 200 and read_refusal(answer).name in _PASSING


def refused(
    answer: HttpAnswer, attempt: Attempt, *, again: str, first: bool, now: float
) -> FilevaultError:
    """Return the error for an answer other than 200.

    Args:
        answer: the answer.
        attempt: what was asked for, with the secrets to redact.
        again: the command that signs in again, for the hint.
        first: whether a code was exchanged; False for a refresh.
        now: Unix seconds.

    Returns a NetworkError for what may pass, a ClockError if the clock explains the refusal, else
    an AwsError.
    """
    refusal = read_refusal(answer)
    code = printable(attempt.redacted(refusal.name), 80)
    if code in _INVALID:
        why, hint = _NO_CODE if first else _NO_TOKEN
    elif code in _BY_CODE:
        why, hint = _BY_CODE[code]
    elif answer.status in (401, 403):
        why, hint = "AWS denies it", f"allow signin:CreateOAuth2Token, as the policy {POLICY} does"
    elif answer.status == 429:
        why, hint = _THROTTLED
    elif answer.status >= 500:
        why, hint = _INTERNAL
    else:
        why, hint = f"it answered {answer.status}", "check the region, and AWS_ENDPOINT_URL_SIGNIN"
    hint = hint.replace(AGAIN, again)
    said = attempt.shown(refusal.text)
    quoted = ": ".join(part for part in (code, said) if part)
    reason = f"{why} ({quoted})" if quoted else why
    message = f"AWS refused {attempt.operation} for {attempt.subject}: {reason}"
    if is_passing(answer):
        return NetworkError(message, hint=hint)
    skew = _skew(answer, now) if code in _INVALID or not code else None
    if skew is not None:
        return ClockError(
            f"{message}; {skew}",
            operation=attempt.operation,
            code=code,
            hint="set the clock, for example with timedatectl set-ntp true; then " + hint,
        )
    return AwsError(message, operation=attempt.operation, code=code, hint=hint)


def callback_refused(error: str, subject: str, again: str) -> AwsError:
    """Return the error for an `error` in the redirection to filevault."""
    unknown = ("the sign-in ended without a code", "start again: AGAIN")
    why, hint = _CALLBACK.get(error, unknown)
    return AwsError(
        f"AWS refused the sign-in for {subject}: {why} ({printable(error, 80)})",
        operation="authorize",
        code=printable(error, 80),
        hint=hint.replace(AGAIN, again),
    )


def _skew(answer: HttpAnswer, now: float) -> str | None:
    """Return how wrong this clock is by the answer's Date, None for less than a minute."""
    from email.utils import parsedate_to_datetime

    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if abs(now - theirs) < _SKEW:
        return None
    side = "behind" if now < theirs else "ahead of"
    return f"the clock of this machine is {format_duration(abs(now - theirs))} {side} AWS's"
