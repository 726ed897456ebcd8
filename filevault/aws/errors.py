"""What botocore raises, as one sentence for a person and what to do about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filevault.aws.endpoint import redact_url, without_urls
from filevault.aws.exchange import OddAnswerError
from filevault.errors import (
    AwsError,
    ClockError,
    ConfigError,
    FilevaultError,
    NetworkError,
    NotAwsError,
    TooLongError,
    WrongCodeError,
    WrongRegionError,
)
from filevault.system.printable import printable, shell_word
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from botocore.exceptions import BotoCoreError

_TEXT_LIMIT = 400
KEY = "PROFILE"
"""In a hint: stands for the profile whose stored key signs, until `name_key` puts it in."""
# More than AWS ever says. Some patterns below take the square of a text's length in time.
_MATCH_LIMIT = 2000
_SET_THE_CLOCK = "set the clock, for example with chronyd or timedatectl set-ntp true"
_CLOCK = ("the clock of this machine differs from AWS's", _SET_THE_CLOCK)
_UNKNOWN_KEY = (
    "AWS does not know the access key: it was deleted, deactivated, or is of another partition",
    f"check it in IAM, and that the region is enabled; filevault add {KEY} --force stores another",
)
_UNKNOWN_SESSION = (
    "AWS does not know the session: it was revoked, or is of another partition",
    "--refresh obtains a new one; check that the region is enabled",
)
_EXPIRED = ("the session has expired", "--refresh obtains a new one")
_THROTTLED = ("AWS is asked too often at the moment", "wait a little and run the command again")
_INTERNAL = ("AWS has a failure of its own", "wait a little and run the command again")

_BY_CODE = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InternalFailure": _INTERNAL,
    "InternalError": _INTERNAL,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "PackedPolicyTooLarge": (
        "tags and policies together are longer than a session can carry",
        "use fewer or shorter session_tags",
    ),
    "RegionDisabledException": (
        "STS is switched off for this region in the account",
        "use another region, or switch it on under Account settings in the IAM console",
    ),
    "RequestExpired": _CLOCK,
    "RequestLimitExceeded": _THROTTLED,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestThrottled": _THROTTLED,
    "RequestThrottledException": _THROTTLED,
    "ServiceFailure": _INTERNAL,
    "ServiceUnavailable": _INTERNAL,
    "SignatureDoesNotMatch": (
        "the secret access key does not belong to the access key id",
        f"store the pair again: filevault add {KEY} --force",
    ),
    "SlowDown": _THROTTLED,
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "UnrecognizedClientException": _UNKNOWN_KEY,
}

_WRONG_CODE = re.compile(r"invalid MFA one time pass code", re.IGNORECASE)
_WRONG_TIME = re.compile(r"Signature (expired|not yet current)|is now earlier than", re.IGNORECASE)
_CHAINED_TOO_LONG = re.compile(
    r"1 hour session limit for roles assumed by role chaining", re.IGNORECASE
)
_TOO_LONG = re.compile(r"exceeds the MaxSessionDuration", re.IGNORECASE)
_WRONG_REGION = re.compile(r"Credential should be scoped to a valid region", re.IGNORECASE)
_KINDS = (
    (_WRONG_REGION, WrongRegionError),
    (_WRONG_CODE, WrongCodeError),
    (_CHAINED_TOO_LONG, TooLongError),
    (_TOO_LONG, TooLongError),
    (_WRONG_TIME, ClockError),
)
_MAYBE_USED = "the token code may be used up: wait for the next one"

# AWS uses one code for many things; its wording tells them apart. First match wins.
_BY_TEXT = (
    (
        _WRONG_CODE,
        "the token code is wrong, too old or was used before",
        "each code works once: wait for the next one; check the clock of the MFA device",
    ),
    (
        re.compile(r"MultiFactorAuthentication failed, unable to validate", re.IGNORECASE),
        "the MFA device is not one of this user's",
        "check mfa_serial in the AWS config, or AWS_MFA_SERIAL",
    ),
    (
        re.compile(r"MultiFactorAuthentication failed", re.IGNORECASE),
        "AWS did not accept the MFA",
        "check mfa_serial in the AWS config, and the token code",
    ),
    (_WRONG_TIME, *_CLOCK),
    (
        _WRONG_REGION,
        "the request was signed for a region that the endpoint does not serve",
        "correct the region (--region, AWS_REGION, region in the AWS config) or the endpoint_url",
    ),
    (
        _CHAINED_TOO_LONG,
        "a role that is assumed from another role's session lives an hour at most",
        "leave the duration out, or ask for 1h or less",
    ),
    (
        _TOO_LONG,
        "the role does not allow sessions that long",
        "ask for less with --duration or duration_seconds, or raise the role's maximum",
    ),
    (
        re.compile(r"Cannot call GetSessionToken with session credentials", re.IGNORECASE),
        "the stored key is a temporary one",
        f"store a long-term key: filevault add {KEY} --force",
    ),
)
_ROLE_DENIED = (
    "the role's trust policy or the caller's permissions do not allow it",
    "check role_arn, external_id, mfa_serial, the trust policy, and the caller's sts:AssumeRole",
)
_DENIED = re.compile(r"(arn:\S+) is not authorized to perform: ([\w:*-]+)")
_DENIED_CODES = ("AccessDenied", "AccessDeniedException")


_THROTTLES = frozenset(code for code, meaning in _BY_CODE.items() if meaning == _THROTTLED)
_CLOCKS = frozenset(code for code, meaning in _BY_CODE.items() if meaning == _CLOCK)
_REFUSALS = frozenset(
    {
        *(code for code, meaning in _BY_CODE.items() if meaning != _INTERNAL),
        *_DENIED_CODES,
        *("AuthFailure", "InvalidAccessKeyId", "InvalidAction", "InvalidParameterValue"),
        *("LimitExceeded", "NoSuchEntity", "OptInRequired", "ValidationError"),
    }
)
_FAILURES = frozenset(code for code, meaning in _BY_CODE.items() if meaning == _INTERNAL)


def name_key(error: FilevaultError, profile: str) -> None:
    """Put the profile whose stored key signs into the commands of a hint."""
    if isinstance(error, AwsError) and error.hint:
        error.hint = error.hint.replace(f" {KEY} ", f" {shell_word(profile)} ")


def is_denied(error: FilevaultError) -> bool:
    """Tell whether a right is missing."""
    return isinstance(error, AwsError) and error.code in _DENIED_CODES


def is_passing(error: FilevaultError) -> bool:
    """Tell whether the same call may succeed a little later, whatever it was."""
    if isinstance(error, AwsError):
        return error.code in _THROTTLES or may_have_taken_effect(error)
    # A certificate or a portal in between is there until somebody does something.
    return isinstance(error, NetworkError) and not isinstance(error, NotAwsError)


def is_plain_refusal(error: FilevaultError) -> bool:
    """Tell whether a call was refused with a code of AWS's, and so had no effect."""
    return not isinstance(error, AwsError) or error.code in _REFUSALS


def may_have_taken_effect(error: FilevaultError) -> bool:
    """Tell whether a call that failed so may have had its effect all the same."""
    if isinstance(error, AwsError):
        # A gateway's answer has no code but the status.
        return error.code in _FAILURES or error.code == "" or error.code.startswith("5")
    return isinstance(error, NetworkError)


class Attempt:
    """A call that is made, as far as messages about it need to know.

    Args:
        operation: AWS's name of the call.
        subject: for whom, e.g. `"profile 'work'"`, already printable.
        secrets: what must not be shown even if a server sends it back: the secret access key,
            then the session token or None.
        code: the token code that the call carries; it is not shown either.
    """

    __slots__ = ("_code", "_secrets", "operation", "subject")

    def __init__(
        self, operation: str, subject: str, secrets: Sequence[str | None], code: str | None
    ) -> None:
        self.operation = operation
        self.subject = subject
        self._secrets = secrets
        self._code = code

    @property
    def with_session(self) -> bool:
        """Whether a session signs the call, not a long-term key."""
        return len(self._secrets) > 1 and self._secrets[1] is not None

    @property
    def once(self) -> bool:
        """Whether the call carries a code, which AWS takes once."""
        return self._code is not None

    def redacted(self, text: str) -> str:
        """Return a text without what must not be shown.

        Secrets go wherever they stand; six digits are too common inside other numbers, so a code
        goes where it stands alone.
        """
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, "***")
        if self._code:
            text = re.sub(rf"(?<!\w){re.escape(self._code)}(?!\w)", "***", text)
        return text

    def shown(self, text: str) -> str:
        """Return what somebody else said, fit for a message."""
        return printable(self.redacted(text), _TEXT_LIMIT).rstrip(" .")


@contextmanager
def translated(attempt: Attempt) -> Iterator[None]:
    """Turn what botocore raises inside into AwsError, NetworkError or ConfigError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refusal(error.response, attempt) from error
    except (ResponseParserError, OddAnswerError) as error:
        raise not_awss(attempt.operation, attempt.subject) from error
    except BotoCoreError as error:
        raise _failure(error, attempt) from error
    except ValueError as error:  # an endpoint URL that botocore cannot use
        raise _unusable(error, attempt) from error


def not_awss(operation: str, subject: str) -> NotAwsError:
    """Return the error for an answer that cannot have come from AWS."""
    return NotAwsError(
        f"the answer to {operation} for {subject} is not one of AWS's",
        hint="a proxy or a captive portal may have answered; check endpoint_url",
    )


def unexpected(operation: str, subject: str) -> AwsError:
    """Return the error for an answer that lacks what it must hold."""
    return AwsError(
        f"the answer to {operation} for {subject} holds no usable credentials", operation=operation
    )


def _refusal(response: Any, attempt: Attempt) -> FilevaultError:  # noqa: ANN401
    error = response.get("Error", {})
    code = printable(attempt.redacted(str(error.get("Code", ""))), 80)
    # A secret is taken out before the cut, which could leave a part of it.
    text = attempt.redacted(str(error.get("Message", "")))[:_MATCH_LIMIT]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    why, hint = _explain(code, text, attempt, status)
    if attempt.once and isinstance(status, int) and status >= 500:
        hint = _MAYBE_USED
    said = f"{code}: {attempt.shown(text)}" if text else code
    reason = f"{why} ({said})" if why else said
    other = ClockError if code in _CLOCKS else AwsError
    kind = next((kind for pattern, kind in _KINDS if pattern.search(text)), other)
    return kind(
        f"AWS refused {attempt.operation} for {attempt.subject}: {reason}",
        operation=attempt.operation,
        code=code,
        hint=hint,
    )


def _explain(code: str, text: str, attempt: Attempt, status: object) -> tuple[str, str | None]:
    skew = _skew(text)
    if skew is not None:
        return skew, _SET_THE_CLOCK
    for pattern, why, hint in _BY_TEXT:
        if pattern.search(text):
            return why, hint
    known = _BY_CODE.get(code)
    if known is not None:
        return _UNKNOWN_SESSION if known is _UNKNOWN_KEY and attempt.with_session else known
    if code in _DENIED_CODES:
        return _denied(text, attempt)
    if isinstance(status, int) and status >= 500:
        return _INTERNAL
    return "", None


def _skew(text: str) -> str | None:
    """Say how far the clock is off, where AWS names both times: signed at, and received at."""
    match = re.search(r"(\d{8}T\d{6}Z) is [\w ]+ than \d{8}T\d{6}Z \((\d{8}T\d{6}Z) [+-]", text)
    if match is None:
        return None
    import calendar
    import time

    try:
        ours, theirs = (
            calendar.timegm(time.strptime(each, "%Y%m%dT%H%M%SZ")) for each in match.groups()
        )
    except ValueError:
        return None
    side = "behind" if ours < theirs else "ahead of"
    return f"the clock of this machine is {format_duration(abs(ours - theirs))} {side} AWS's"


def _denied(text: str, attempt: Attempt) -> tuple[str, str | None]:
    """Say who may not do what."""
    if attempt.operation == "AssumeRole":
        return _ROLE_DENIED
    match = _DENIED.search(text)
    if match is None:
        return "", None
    who, what = (printable(attempt.redacted(part), 200) for part in match.groups())
    hint = f"allow {what} in the policies of {who}"
    if "explicit deny" in text:
        hint += "; where they ask for MFA, set mfa_serial"
    if attempt.operation == "GetFederationToken":
        hint += ", or sign in with a profile that has a role_arn"
    return f"{who} is not allowed {what}", hint


def _unusable(error: Exception, attempt: Attempt) -> ConfigError:
    return ConfigError(
        f"{attempt.operation} for {attempt.subject} cannot be called: "
        f"{attempt.shown(without_urls(str(error)[:_MATCH_LIMIT]))}"
    )


def _failure(error: BotoCoreError, attempt: Attempt) -> FilevaultError:
    from botocore import exceptions

    if not isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return _unusable(error, attempt)
    address = error.kwargs.get("endpoint_url")
    url = redact_url(str(address)) if address else "AWS"
    hint = "check the network, the region, and HTTPS_PROXY and NO_PROXY"
    lost = False
    kind = NetworkError
    if isinstance(error, exceptions.SSLError):
        kind = NotAwsError
        why = f"the TLS certificate of {url} was not accepted"
        hint = "where a proxy inspects TLS, name its certificates in AWS_CA_BUNDLE"
    elif isinstance(error, exceptions.ProxyConnectionError):
        why = "the proxy cannot be reached"
        hint = "check HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, exceptions.ConnectTimeoutError):
        why = f"{url} did not answer in time"
    elif isinstance(error, exceptions.EndpointConnectionError):
        why = f"cannot connect to {url}"
    else:
        lost = attempt.once
        why = _silence(error, url) or attempt.shown(without_urls(str(error)[:_MATCH_LIMIT]))
    if lost:
        hint = f"{_MAYBE_USED}, and {hint}"
    return kind(f"{attempt.operation} for {attempt.subject} failed: {why}", hint=hint)


def _silence(error: BotoCoreError, url: str) -> str | None:
    """Say how an answer was lost, None where only botocore's words tell."""
    from botocore import exceptions

    if isinstance(error, exceptions.ReadTimeoutError):
        return f"{url} did not answer in time"
    if isinstance(error, exceptions.ConnectionClosedError):
        return f"{url} closed the connection without an answer"
    return None
