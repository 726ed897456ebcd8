"""Calls to STS: four that obtain credentials, and GetCallerIdentity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.aws.botocore_errors import no_credentials, not_from_aws
from filevault.aws.call import call
from filevault.credentials import Credentials, is_key_id, looks_like_key_id, looks_like_secret
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.aws.call import Caller


class TokenCodeFor(Record):
    """An MFA device and one of its codes, which AWS accepts once."""

    _secret = ("code",)

    serial: str
    code: str


class RoleRequest(Record):
    """The parameters of AssumeRole; `duration` is in seconds."""

    role_arn: str
    session_name: str
    duration: int
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None


def get_session_token(caller: Caller, *, duration: int, mfa: TokenCodeFor | None) -> Credentials:
    """Call GetSessionToken with a user's long-term key and return the session.

    `duration` is in seconds. Raises AwsError, NetworkError, ConfigError.
    """
    parameters: dict[str, object] = {"DurationSeconds": duration}
    return _session(caller, "GetSessionToken", parameters, mfa)


def assume_role(caller: Caller, request: RoleRequest, *, mfa: TokenCodeFor | None) -> Credentials:
    """Call AssumeRole and return the session. Raises AwsError, NetworkError, ConfigError."""
    parameters: dict[str, object] = {
        "RoleArn": request.role_arn,
        "RoleSessionName": request.session_name,
        "DurationSeconds": request.duration,
    }
    if request.external_id is not None:
        parameters["ExternalId"] = request.external_id
    if request.tags:
        parameters["Tags"] = [{"Key": key, "Value": value} for key, value in request.tags]
    if request.transitive_tags:
        parameters["TransitiveTagKeys"] = list(request.transitive_tags)
    if request.source_identity is not None:
        parameters["SourceIdentity"] = request.source_identity
    return _session(caller, "AssumeRole", parameters, mfa)


class WebIdentityRequest(Record):
    """The parameters of AssumeRoleWithWebIdentity; `duration` is in seconds."""

    _secret = ("token",)

    role_arn: str
    session_name: str
    token: str
    duration: int


def assume_role_with_web_identity(caller: Caller, request: WebIdentityRequest) -> Credentials:
    """Call AssumeRoleWithWebIdentity, which is not signed, and return the session.

    botocore repeats the call where AWS could not reach the identity provider
    (IDPCommunicationError). Raises AwsError, NetworkError, ConfigError.
    """
    operation = "AssumeRoleWithWebIdentity"
    parameters = {
        "RoleArn": request.role_arn,
        "RoleSessionName": request.session_name,
        "WebIdentityToken": request.token,
        "DurationSeconds": request.duration,
    }
    response = call(caller, "sts", operation, parameters, token=request.token)
    return _credentials(response, operation, caller.subject)


class Identity(Record):
    """The identity behind credentials; `arn` is of a user, a role's session, or the account."""

    account: str
    arn: str

    @property
    def user_name(self) -> str | None:
        """The name of the IAM user, None for the root user and for sessions of roles."""
        kind, _, name = self.arn.rpartition(":")[2].partition("/")
        return name.rpartition("/")[2] if kind == "user" and name else None


def get_caller_identity(caller: Caller) -> Identity:
    """Call GetCallerIdentity, which no policy can deny, and return the identity.

    Raises AwsError, NetworkError, ConfigError.
    """
    operation = "GetCallerIdentity"
    response = call(caller, "sts", operation, {})
    account, arn = response.get("Account"), response.get("Arn")
    if not (_is_plain(account, _MAX_ACCOUNT) and _is_plain(arn, _MAX_ARN)):
        raise not_from_aws(operation, caller.subject)
    return Identity(account, arn)


def get_federation_token(caller: Caller, *, name: str, duration: int) -> Credentials:
    """Call GetFederationToken and return a session with the permissions of the signing user.

    AWS grants what both the user's and the session's policies allow, so the session's allows all.
    `name` has 2 to 32 characters, `duration` is in seconds. Raises AwsError, NetworkError,
    ConfigError.
    """
    parameters: dict[str, object] = {
        "Name": name,
        "DurationSeconds": duration,
        "Policy": _ALLOW_ALL,
    }
    return _session(caller, "GetFederationToken", parameters, None)


_ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_MAX_ACCOUNT = 64  # AWS's have 12 digits; servers that are not AWS have names
_MAX_ARN = 2048
_MAX_TOKEN = 16 << 10
_SECRET = r"[!-~]{16,256}\Z"  # noqa: S105 - a pattern


def _session(
    caller: Caller, operation: str, parameters: dict[str, object], mfa: TokenCodeFor | None
) -> Credentials:
    """Make a call whose answer has credentials, with a token code if there is one."""
    code = None
    if mfa is not None:
        code = mfa.code
        parameters |= {"SerialNumber": mfa.serial, "TokenCode": code}
    response = call(caller, "sts", operation, parameters, token_code=code)
    return _credentials(response, operation, caller.subject)


def _credentials(response: Any, operation: str, subject: str) -> Credentials:  # noqa: ANN401
    try:
        found = response["Credentials"]
        whose = response.get("AssumedRoleUser") or response.get("FederatedUser") or {}
        arn = whose.get("Arn")
        arn = arn if _is_plain(arn, _MAX_ARN) else None
        credentials = Credentials(
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            session_token=found["SessionToken"],
            expiration=found["Expiration"],
            account_id=_account_of(arn),
            arn=arn,
        )
        usable = (
            is_key_id(credentials.access_key_id)
            and re.match(_SECRET, credentials.secret_access_key)
            and _is_plain(credentials.session_token, _MAX_TOKEN)
            and credentials.expiration is not None
            and not looks_like_secret(credentials.access_key_id)
            and not looks_like_key_id(credentials.secret_access_key)
        )
    except (LookupError, AttributeError, TypeError) as error:
        raise no_credentials(operation, subject) from error
    if not usable:
        raise no_credentials(operation, subject)
    return credentials


def _is_plain(text: object, longest: int) -> bool:
    """Return whether a value is printable ASCII text without spaces, and not empty."""
    return isinstance(text, str) and re.match(rf"[!-~]{{1,{longest}}}\Z", text) is not None


def _account_of(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    return parts[4] if len(parts) > 5 and parts[4].isdigit() else None
