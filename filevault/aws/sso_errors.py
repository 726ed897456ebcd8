"""Errors of Identity Center: what each code of the OIDC service and of the portal means.

Codes are those of the API references of `sso-oidc` and `sso`; the OIDC service names them twice,
as exceptions and, in bodies, as RFC 6749 and RFC 8628 do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import AwsError

if TYPE_CHECKING:
    from filevault.aws.attempt import Attempt
    from filevault.aws.json_service import JsonAnswer

PENDING = "authorization_pending"
SLOW_DOWN = "slow_down"
EXPIRED = "expired_token"
DENIED = "access_denied"
INVALID_CLIENT = "invalid_client"
INVALID_GRANT = "invalid_grant"
UNAUTHORIZED = "unauthorized"

_NAMES = {
    "invalid_request_region": "invalid_request_region",
    "internal_server": "server_error",
}
_CONFIG = "check sso_start_url and sso_region in the AWS config"
_AGAIN = "run the command again"
_WAIT = "wait a little and run the command again"

_OIDC = {
    EXPIRED: ("the code was not confirmed in time", _AGAIN),
    DENIED: (
        "the sign-in was refused in the browser",
        "run the command again to sign in after all",
    ),
    INVALID_CLIENT: ("AWS does not know this registration, or it has expired", _AGAIN),
    INVALID_GRANT: ("the sign-in has ended, or the code was used before", "sign in again"),
    "invalid_request": ("AWS does not accept the request", _CONFIG),
    "invalid_request_region": ("sso_region is not the region of this start URL", _CONFIG),
    "invalid_scope": (
        "AWS does not know one of the scopes",
        "check sso_registration_scopes in the AWS config",
    ),
    "invalid_client_metadata": ("AWS does not accept the registration", _CONFIG),
    "invalid_redirect_uri": ("AWS does not accept the redirection", "use --device-code"),
    "unauthorized_client": ("AWS does not let this client sign in", "use --device-code"),
    "unsupported_grant_type": ("AWS does not let this client sign in so", "use --device-code"),
    PENDING: ("the sign-in is not confirmed yet", _AGAIN),
    SLOW_DOWN: ("AWS limits the requests", _WAIT),
}
_PORTAL = {
    UNAUTHORIZED: ("the sign-in has ended", "sign in again"),
    "forbidden": (
        "the user who signed in has no access to this account and role",
        "filevault sso list shows the accounts and roles; check sso_account_id and sso_role_name",
    ),
    "resource_not_found": (
        "there is no such account or role, or the user who signed in has no access to it",
        "filevault sso list shows the accounts and roles; check sso_account_id and sso_role_name",
    ),
    "too_many_requests": ("AWS limits the requests", _WAIT),
    "invalid_request": (
        "AWS does not accept the request",
        "check sso_account_id and sso_role_name",
    ),
}


def oidc_code(answer: JsonAnswer) -> str:
    """Return the code of an error as the body has it: `slow_down` for SlowDownException."""
    name = _snake(answer.error)
    return _NAMES.get(name, name)


def portal_code(answer: JsonAnswer) -> str:
    """Return the code of an error of the portal: `unauthorized` for UnauthorizedException."""
    name = _snake(answer.error)
    if not name:
        return {401: UNAUTHORIZED, 403: "forbidden", 429: "too_many_requests"}.get(
            answer.status, ""
        )
    return name


def _snake(code: str) -> str:
    text = code.removesuffix("Exception")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()


def oidc_error(answer: JsonAnswer, attempt: Attempt) -> AwsError:
    """Return the error for an answer of the OIDC service that is none of success."""
    return _error(answer, attempt, oidc_code(answer), _OIDC)


def portal_error(answer: JsonAnswer, attempt: Attempt) -> AwsError:
    """Return the error for an answer of the portal that is none of success."""
    return _error(answer, attempt, portal_code(answer), _PORTAL)


def _error(
    answer: JsonAnswer, attempt: Attempt, code: str, table: dict[str, tuple[str, str]]
) -> AwsError:
    why, hint = table.get(code, ("", None))
    name = answer.error or str(answer.status)
    said = [name]
    reason = answer.text("reason")
    if reason is not None and reason.startswith("KMS_"):
        why = "AWS cannot use the encryption key of the Identity Center instance"
        hint = "its administrator must look after the key in KMS"
        said.append(attempt.shown(reason))
    text = answer.text("error_description") or answer.text("message")
    if text is not None:
        said.append(attempt.shown(text))
    told = ": ".join(said)
    return AwsError(
        f"AWS refused {attempt.operation} for {attempt.subject}: "
        + (f"{why} ({told})" if why else told),
        operation=attempt.operation,
        code=code or name,
        hint=hint,
    )
