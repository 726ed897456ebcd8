"""Calls to the access portal of Identity Center: accounts, roles, their credentials, sign-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import no_credentials, not_from_aws
from filevault.aws.json_service import JsonRequest
from filevault.aws.sso_errors import UNAUTHORIZED, portal_error
from filevault.aws.timestamp import read_timestamp
from filevault.credentials import Credentials
from filevault.errors import AwsError, FilevaultError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.aws.json_service import JsonAnswer, JsonService

_PAGE = 100
_MAX_PAGES = 1000
_TOKEN = "x-amz-sso_bearer_token"  # noqa: S105 - the name of a header


class SsoAccount(Record):
    """An account that the signed-in user may use."""

    id: str
    name: str
    email: str


def get_role_credentials(
    service: JsonService, token: str, *, account: str, role: str, subject: str
) -> Credentials:
    """Return the temporary credentials of a role in an account.

    Raises AwsError, for which `is_signed_out` may be true, NetworkError, ConfigError.
    """
    attempt = Attempt("GetRoleCredentials", subject, (token,), None)
    query = {"role_name": role, "account_id": account}
    answer = _get(service, "/federation/credentials", query, token, attempt)
    found = answer.values.get("roleCredentials")
    values = [
        found.get(key) if isinstance(found, dict) else None
        for key in ("accessKeyId", "secretAccessKey", "sessionToken", "expiration")
    ]
    key_id, secret, session_token, milliseconds = values
    expiration = read_timestamp(milliseconds // 1000) if type(milliseconds) is int else None
    if (
        not all(isinstance(each, str) and each for each in (key_id, secret, session_token))
        or not expiration
    ):
        raise no_credentials(attempt.operation, subject)
    made = Credentials(str(key_id), str(secret), str(session_token), expiration, account)
    try:
        made.check_printable()
    except FilevaultError:
        raise no_credentials(attempt.operation, subject) from None
    return made


def list_accounts(service: JsonService, token: str, *, subject: str) -> list[SsoAccount]:
    """Return the accounts that the signed-in user may use. Raises as `get_role_credentials`."""
    attempt = Attempt("ListAccounts", subject, (token,), None)
    found = []
    for item in _pages(service, "/assignment/accounts", {}, token, attempt, "accountList"):
        account, name, email = (
            item.get(key) for key in ("accountId", "accountName", "emailAddress")
        )
        if not is_account(account):
            raise not_from_aws(attempt.operation, subject)
        found.append(SsoAccount(str(account), str(name or ""), str(email or "")))
    return found


def list_roles(service: JsonService, token: str, account: str, *, subject: str) -> list[str]:
    """Return the roles that the user may use in an account. Raises as `get_role_credentials`."""
    attempt = Attempt("ListAccountRoles", subject, (token,), None)
    found = []
    query = {"account_id": account}
    for item in _pages(service, "/assignment/roles", query, token, attempt, "roleList"):
        role = item.get("roleName")
        if not isinstance(role, str) or not role:
            raise not_from_aws(attempt.operation, subject)
        found.append(role)
    return found


def logout(service: JsonService, token: str, *, subject: str) -> None:
    """End a session at AWS. Raises as `get_role_credentials`."""
    attempt = Attempt("Logout", subject, (token,), None)
    request = JsonRequest("POST", "/logout", headers={_TOKEN: token})
    answer = service.call(request, attempt, repeat=True)
    if answer.status >= 300:
        raise portal_error(answer, attempt)


def is_signed_out(error: AwsError) -> bool:
    """Return whether an error means that AWS no longer accepts the token."""
    return error.code == UNAUTHORIZED


def is_account(text: object) -> bool:
    """Return whether a value is an AWS account id, twelve digits."""
    return isinstance(text, str) and len(text) == 12 and text.isascii() and text.isdigit()


def _get(
    service: JsonService, path: str, query: dict[str, str], token: str, attempt: Attempt
) -> JsonAnswer:
    request = JsonRequest("GET", path, query, headers={_TOKEN: token})
    answer = service.call(request, attempt, repeat=True)
    if answer.status >= 300:
        raise portal_error(answer, attempt)
    return answer


def _pages(
    service: JsonService,
    path: str,
    query: dict[str, str],
    token: str,
    attempt: Attempt,
    key: str,
) -> Iterator[dict[str, Any]]:
    """Go through the items of a list that comes in pages."""
    more: str | None = None
    for _ in range(_MAX_PAGES):
        page = {**query, "max_result": str(_PAGE)}
        if more is not None:
            page["next_token"] = more
        answer = _get(service, path, page, token, attempt)
        items = answer.values.get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise not_from_aws(attempt.operation, attempt.subject)
        yield from items
        more = answer.text("nextToken")
        if more is None:
            return
    raise not_from_aws(attempt.operation, attempt.subject, "its list does not end")
