"""Meanings of AWS's error codes and texts: for each a sentence, a hint and an error class.

The tables come first: `_BY_CODE` for codes, `_BY_TEXT` for codes that AWS uses for many things.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from filevault.errors import (
    AwsError,
    ClockError,
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
    from filevault.aws.attempt import Attempt

_Error = TypeVar("_Error", bound=FilevaultError)

KEY = "PROFILE"
"""Placeholder in hints for the profile whose stored key signs; `name_key` replaces it."""

_SET_THE_CLOCK = "set the clock, for example with chronyd or timedatectl set-ntp true"
_CLOCK = ("the clock of this machine differs from AWS's", _SET_THE_CLOCK)
_UNKNOWN_KEY = (
    "AWS does not know the access key: it was deleted, deactivated, or is of another partition",
    (
        "check it in IAM, and that the region is enabled; if it was rotated on another machine, "
        "get the vault from there, e.g. with filevault git pull; "
        f"filevault add {KEY} --force stores another"
    ),
)
_UNKNOWN_SESSION = (
    "AWS does not know the session: it was revoked, or is of another partition",
    "--refresh obtains a new one; check that the region is enabled",
)
_EXPIRED = ("the session has expired", "--refresh obtains a new one")
_THROTTLED = ("AWS gets too many requests at the moment", "wait a little and run the command again")
_INTERNAL = ("AWS has an internal failure", "wait a little and run the command again")

_BY_CODE = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "IDPCommunicationError": (
        "AWS could not reach the identity provider of the token",
        "wait a little and run the command again",
    ),
    "IDPRejectedClaim": (
        "the identity provider does not accept the token",
        "get a new token; it may be too old or revoked",
    ),
    "InternalFailure": _INTERNAL,
    "InternalError": _INTERNAL,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "InvalidIdentityToken": (
        "AWS does not accept the web identity token",
        "check that IAM has an identity provider for the token's issuer, with its audience",
    ),
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
_CLASSES = (
    (_WRONG_REGION, WrongRegionError),
    (_WRONG_CODE, WrongCodeError),
    (_CHAINED_TOO_LONG, TooLongError),
    (_TOO_LONG, TooLongError),
    (_WRONG_TIME, ClockError),
)

# AWS uses one code for many things; its wording distinguishes them. The first match counts.
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
_WEB_IDENTITY_DENIED = (
    "the role's trust policy does not allow it to this token",
    "check role_arn, and the conditions on aud and sub in the role's trust policy",
)
_WEB_IDENTITY = "AssumeRoleWithWebIdentity"
_EXPIRED_TOKEN = ("the web identity token has expired", "the job must get a new one")
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


def name_key(error: _Error, profile: str) -> _Error:
    """Return a copy with the profile whose stored key signs in its hint's commands."""
    if not isinstance(error, AwsError) or not error.hint:
        return error.add_context()  # never the error itself, which becomes the cause of this
    return error.add_context(hint=error.hint.replace(f" {KEY} ", f" {shell_word(profile)} "))


def error_class(code: str, text: str) -> type[AwsError]:
    """Return the class of error for a code and a text of AWS's."""
    other = ClockError if code in _CLOCKS else AwsError
    return next((found for pattern, found in _CLASSES if pattern.search(text)), other)


def is_unaccepted(error: AwsError) -> bool:
    """Return whether AWS does not accept the credentials that signed a call to assume a role."""
    known = _BY_CODE.get(error.code)
    unaccepted = known in (_UNKNOWN_KEY, _EXPIRED) or error.code == "SignatureDoesNotMatch"
    return unaccepted and error.operation == "AssumeRole"


def is_denied(error: FilevaultError) -> bool:
    """Return whether AWS denied the call for a missing permission."""
    return isinstance(error, AwsError) and error.code in _DENIED_CODES


def is_passing(error: FilevaultError) -> bool:
    """Return whether the same call may succeed if it is repeated a little later."""
    if isinstance(error, AwsError):
        return error.code in _THROTTLES or may_have_taken_effect(error)
    # A wrong certificate or a captive portal stays until the user acts.
    return isinstance(error, NetworkError) and not isinstance(error, NotAwsError)


def is_plain_refusal(error: FilevaultError) -> bool:
    """Return whether AWS refused the call, so that it had no effect."""
    return not isinstance(error, AwsError) or error.code in _REFUSALS


def may_have_taken_effect(error: FilevaultError) -> bool:
    """Return whether a call that failed with this error may have taken effect at AWS."""
    if isinstance(error, AwsError):
        # The code of a gateway's answer is its HTTP status.
        return error.code in _FAILURES or error.code == "" or error.code.startswith("5")
    return isinstance(error, NetworkError)


def explain(code: str, text: str, attempt: Attempt, status: object) -> tuple[str, str | None]:
    """Return why AWS refused a call, "" if unknown, and a hint or None.

    `code` and `text` are the answer's, redacted; `status` is its HTTP status.
    """
    skew = _skew(text)
    if skew is not None:
        return skew, _SET_THE_CLOCK
    for pattern, why, hint in _BY_TEXT:
        if pattern.search(text):
            return why, hint
    known = _BY_CODE.get(code)
    if known is _EXPIRED and attempt.operation == _WEB_IDENTITY:
        return _EXPIRED_TOKEN
    if known is not None:
        return _UNKNOWN_SESSION if known is _UNKNOWN_KEY and attempt.with_session else known
    if code in _DENIED_CODES:
        return _denied(text, attempt)
    if isinstance(status, int) and status >= 500:
        return _INTERNAL
    return "", None


def _skew(text: str) -> str | None:
    """Return how wrong the clock is, if AWS names both times: of signing and of receipt."""
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
    """Return which identity lacks which permission, and a hint."""
    if attempt.operation == "AssumeRole":
        return _ROLE_DENIED
    if attempt.operation == _WEB_IDENTITY:
        return _WEB_IDENTITY_DENIED
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
