"""The calls to STS: those that obtain credentials, and the one that says whose they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.aws.call import call
from filevault.aws.errors import Attempt, not_awss, unexpected
from filevault.credentials import Credentials, looks_like_key_id, looks_like_secret
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint


class TokenCodeFor(Record):
    """An MFA device and a code of it, which works once."""

    serial: str
    code: str

    def __repr__(self) -> str:
        return f"TokenCodeFor(serial={self.serial!r}, ...)"


class RoleRequest(Record):
    """The parameters of AssumeRole; `duration` is in seconds."""

    role_arn: str
    session_name: str
    duration: int
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None


def get_session_token(
    clients: Clients,
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    duration: int,
    mfa: TokenCodeFor | None,
    subject: str,
) -> Credentials:
    """Obtain a session of the user whose long-term key signs; `duration` is in seconds.

    `subject` is how messages call the one it is for. Raises AwsError, NetworkError, ConfigError.
    """
    parameters: dict[str, object] = {"DurationSeconds": duration, **_mfa(mfa)}
    response = _call(clients, endpoint, credentials, "GetSessionToken", parameters, mfa, subject)
    return _credentials(response, "GetSessionToken", subject)


def assume_role(
    clients: Clients,
    endpoint: Endpoint,
    credentials: Credentials,
    request: RoleRequest,
    *,
    mfa: TokenCodeFor | None,
    subject: str,
) -> Credentials:
    """Obtain a session of a role. Raises AwsError, NetworkError, ConfigError."""
    parameters: dict[str, object] = {
        "RoleArn": request.role_arn,
        "RoleSessionName": request.session_name,
        "DurationSeconds": request.duration,
        **_mfa(mfa),
    }
    if request.external_id is not None:
        parameters["ExternalId"] = request.external_id
    if request.tags:
        parameters["Tags"] = [{"Key": key, "Value": value} for key, value in request.tags]
    if request.transitive_tags:
        parameters["TransitiveTagKeys"] = list(request.transitive_tags)
    if request.source_identity is not None:
        parameters["SourceIdentity"] = request.source_identity
    response = _call(clients, endpoint, credentials, "AssumeRole", parameters, mfa, subject)
    return _credentials(response, "AssumeRole", subject)


class Identity(Record):
    """Whose credentials signed: `arn` is that of a user, a role's session, or the account."""

    account: str
    arn: str

    @property
    def user_name(self) -> str | None:
        """The name of the IAM user, None for the account itself and for sessions of roles."""
        kind, _, name = self.arn.rpartition(":")[2].partition("/")
        return name.rpartition("/")[2] if kind == "user" and name else None


def get_caller_identity(
    clients: Clients, endpoint: Endpoint, credentials: Credentials, *, subject: str
) -> Identity:
    """Ask whose credentials these are; no policy can forbid that.

    Raises AwsError, NetworkError, ConfigError.
    """
    operation = "GetCallerIdentity"
    response = _call(clients, endpoint, credentials, operation, {}, None, subject)
    account, arn = response.get("Account"), response.get("Arn")
    if not (_is_plain(account, _LONGEST_ACCOUNT) and _is_plain(arn, _LONGEST_ARN)):
        raise not_awss(operation, subject)
    return Identity(account, arn)


def get_federation_token(
    clients: Clients,
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    name: str,
    duration: int,
    subject: str,
) -> Credentials:
    """Obtain a session of a federated user that may do what the user may whose key signs.

    AWS grants what both the user's policies and the session's allow, so the session's allows all.
    `name` has 2 to 32 characters, `duration` is in seconds. Raises AwsError, NetworkError,
    ConfigError.
    """
    parameters: dict[str, object] = {
        "Name": name,
        "DurationSeconds": duration,
        "Policy": _ALLOW_ALL,
    }
    operation = "GetFederationToken"
    response = _call(clients, endpoint, credentials, operation, parameters, None, subject)
    return _credentials(response, operation, subject)


_ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_LONGEST_ACCOUNT = 64  # AWS's have 12 digits; servers that are not AWS have names
_LONGEST_ARN = 2048
_LONGEST_TOKEN = 16 << 10
_KEY_ID = r"[A-Za-z0-9_]{16,128}\Z"
_SECRET = r"[!-~]{16,256}\Z"  # noqa: S105 - a pattern


def _mfa(mfa: TokenCodeFor | None) -> dict[str, object]:
    return {} if mfa is None else {"SerialNumber": mfa.serial, "TokenCode": mfa.code}


def _call(
    clients: Clients,
    endpoint: Endpoint,
    credentials: Credentials,
    operation: str,
    parameters: Mapping[str, object],
    mfa: TokenCodeFor | None,
    subject: str,
) -> Any:  # noqa: ANN401
    secrets = (credentials.secret_access_key, credentials.session_token)
    attempt = Attempt(operation, subject, secrets, None if mfa is None else mfa.code)
    return call(clients, "sts", endpoint, credentials, parameters, attempt, once=attempt.once)


def _credentials(response: Any, operation: str, subject: str) -> Credentials:  # noqa: ANN401
    try:
        found = response["Credentials"]
        whose = response.get("AssumedRoleUser") or response.get("FederatedUser") or {}
        arn = whose.get("Arn")
        arn = arn if _is_plain(arn, _LONGEST_ARN) else None
        credentials = Credentials(
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            session_token=found["SessionToken"],
            expiration=found["Expiration"],
            account_id=_account_of(arn),
            arn=arn,
        )
        usable = (
            re.match(_KEY_ID, credentials.access_key_id)
            and re.match(_SECRET, credentials.secret_access_key)
            and _is_plain(credentials.session_token, _LONGEST_TOKEN)
            and credentials.expiration is not None
            and not looks_like_secret(credentials.access_key_id)
            and not looks_like_key_id(credentials.secret_access_key)
        )
    except (LookupError, AttributeError, TypeError) as error:
        raise unexpected(operation, subject) from error
    if not usable:
        raise unexpected(operation, subject)
    return credentials


def _is_plain(text: object, longest: int) -> bool:
    """Tell whether something is printable ASCII text without spaces, and not empty."""
    return isinstance(text, str) and re.match(rf"[!-~]{{1,{longest}}}\Z", text) is not None


def _account_of(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    return parts[4] if len(parts) > 5 and parts[4].isdigit() else None
