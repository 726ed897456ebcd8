"""Calls to the OIDC service of Identity Center: registration, device authorization, tokens.

RFC 8628 (device flow), RFC 6749 and RFC 7636 (authorization code with PKCE), with the names of
AWS's API reference for `sso-oidc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import not_from_aws
from filevault.aws.json_service import JsonRequest
from filevault.aws.sso_errors import (
    EXPIRED,
    INVALID_CLIENT,
    INVALID_GRANT,
    PENDING,
    SLOW_DOWN,
    oidc_code,
    oidc_error,
)
from filevault.errors import AwsError, ConfigError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.aws.json_service import JsonAnswer, JsonService

CLIENT_NAME = "filevault"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CODE_GRANT = "authorization_code"
REFRESH_GRANT = "refresh_token"

REGISTERED_REDIRECT = "http://127.0.0.1/oauth/callback"
"""The redirection that a client is registered with; a port is added (RFC 8252 §7.3)."""

_FOR_A_TIME = (SLOW_DOWN, "too_many_requests", "429")
_MAX_LIFE = 400 * 86400
_MAX_INTERVAL = 60
_INTERVAL = 5  # seconds, where the answer has none (RFC 8628 §3.2)
_MAX_CODE = 64


class SsoClient(Record):
    """A registration; `expires` is in Unix seconds."""

    _secret = ("client_secret",)

    client_id: str
    client_secret: str
    expires: int


class DeviceAuthorization(Record):
    """A device authorization: what a person confirms; times are in seconds."""

    _secret = ("device_code", "complete_uri")

    device_code: str
    user_code: str
    uri: str
    complete_uri: str | None
    expires_in: int
    interval: int


class SsoToken(Record):
    """Tokens; `expires_in` is the life of the access token in seconds."""

    _secret = ("access_token", "refresh_token")

    access_token: str
    expires_in: int
    refresh_token: str | None


class Undecided(Record):
    """The answer to a poll: the person has not confirmed yet; `slower` asks for longer pauses."""

    slower: bool


def register(
    service: JsonService,
    scopes: Sequence[str],
    *,
    subject: str,
    now: float,
    issuer: str | None = None,
) -> SsoClient:
    """Register a client.

    Args:
        service: the OIDC service.
        scopes: that the tokens are for.
        subject: the session in messages.
        now: Unix seconds.
        issuer: the start URL, for a client of the authorization code flow; None for one of the
            device flow. AWS accepts neither in the other's place.

    Raises AwsError, NetworkError, ConfigError.
    """
    body: dict[str, object] = {"clientName": CLIENT_NAME, "clientType": "public"}
    if issuer is not None:
        body["grantTypes"] = [CODE_GRANT, REFRESH_GRANT]
        body["redirectUris"] = [REGISTERED_REDIRECT]
        body["issuerUrl"] = issuer
    body["scopes"] = list(scopes)
    attempt = Attempt("RegisterClient", subject, (), None)
    answer = service.call(JsonRequest("POST", "/client/register", body=body), attempt, repeat=True)
    if answer.status >= 300:
        raise oidc_error(answer, attempt)
    client_id, secret = answer.text("clientId"), answer.text("clientSecret")
    expires = answer.number("clientSecretExpiresAt")
    if client_id is None or secret is None:
        raise not_from_aws(attempt.operation, subject)
    latest = int(now) + _MAX_LIFE
    return SsoClient(client_id, secret, latest if not expires else min(expires, latest))


def authorize_device(
    service: JsonService, client: SsoClient, start_url: str, *, subject: str
) -> DeviceAuthorization:
    """Start a device authorization. Raises AwsError, NetworkError, ConfigError."""
    attempt = Attempt("StartDeviceAuthorization", subject, (client.client_secret,), None)
    body = {**_identified(client), "startUrl": start_url}
    answer = service.call(JsonRequest("POST", "/device_authorization", body=body), attempt)
    if answer.status >= 300:
        raise oidc_error(answer, attempt)
    device_code, user_code = answer.text("deviceCode"), answer.text("userCode")
    uri, complete = answer.text("verificationUri"), answer.text("verificationUriComplete")
    if device_code is None or user_code is None or len(user_code) > _MAX_CODE:
        raise not_from_aws(attempt.operation, subject)
    if uri is None or not all(_is_link(link) for link in (uri, complete) if link is not None):
        raise not_from_aws(attempt.operation, subject, "its link is no https URL")
    return DeviceAuthorization(
        device_code,
        user_code,
        uri,
        complete,
        expires_in=min(answer.number("expiresIn") or 600, 3600),
        interval=min(answer.number("interval") or _INTERVAL, _MAX_INTERVAL),
    )


def poll(
    service: JsonService, client: SsoClient, device: DeviceAuthorization, *, subject: str
) -> SsoToken | Undecided:
    """Ask for the tokens of a device authorization, once.

    Raises AwsError with the codes EXPIRED and DENIED where it will never be confirmed.
    """
    attempt = _attempt(subject, client, device.device_code)
    answer = _ask(service, client, DEVICE_GRANT, {"deviceCode": device.device_code}, attempt)
    if answer.status >= 300:
        code = oidc_code(answer)
        if code in (PENDING, SLOW_DOWN):
            return Undecided(code == SLOW_DOWN)
        raise oidc_error(answer, attempt)
    return _tokens(answer, attempt)


def redeem(
    service: JsonService,
    client: SsoClient,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
    subject: str,
) -> SsoToken:
    """Exchange an authorization code, which is good for one time. Raises as `register`."""
    more = {"redirectUri": redirect_uri, "codeVerifier": verifier, "code": code}
    attempt = _attempt(subject, client, code, verifier)
    answer = _ask(service, client, CODE_GRANT, more, attempt)
    if answer.status >= 300:
        raise oidc_error(answer, attempt)
    return _tokens(answer, attempt)


def refresh(
    service: JsonService, client: SsoClient, refresh_token: str, *, subject: str
) -> SsoToken:
    """Exchange a refresh token; the answer may have a new one. Raises as `register`."""
    attempt = _attempt(subject, client, refresh_token)
    answer = _ask(service, client, REFRESH_GRANT, {"refreshToken": refresh_token}, attempt)
    if answer.status >= 300:
        raise oidc_error(answer, attempt)
    return _tokens(answer, attempt)


def authorize_link(
    url: str, client: SsoClient, scopes: Sequence[str], *, state: str, challenge: str, redirect: str
) -> str:
    """Return the link at which a person signs in for the authorization code flow."""
    from urllib.parse import quote, urlencode

    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect,
        "state": state,
        "code_challenge_method": "S256",
        "scopes": " ".join(scopes),
        "code_challenge": challenge,
    }
    return f"{url.rstrip('/')}/authorize?{urlencode(query, quote_via=quote)}"


def is_over(error: AwsError) -> bool:
    """Return whether an error of `refresh` means that a person must sign in again.

    That is any refusal but one for a time; as for botocore, no code is relied on.
    """
    return error.code not in _FOR_A_TIME


def is_usual_end(error: AwsError) -> bool:
    """Return whether an error of `refresh` is one with which sessions usually end."""
    return error.code in (EXPIRED, INVALID_CLIENT, INVALID_GRANT)


def is_unknown_client(error: AwsError) -> bool:
    """Return whether an error means that the client must be registered again."""
    return error.code == INVALID_CLIENT


def _ask(
    service: JsonService,
    client: SsoClient,
    grant: str,
    more: Mapping[str, object],
    attempt: Attempt,
) -> JsonAnswer:
    body = {"grantType": grant, **_identified(client), **more}
    return service.call(JsonRequest("POST", "/token", body=body), attempt)


def _attempt(subject: str, client: SsoClient, *secrets: str) -> Attempt:
    return Attempt("CreateToken", subject, (client.client_secret, *secrets), None)


def _identified(client: SsoClient) -> dict[str, object]:
    return {"clientId": client.client_id, "clientSecret": client.client_secret}


def _tokens(answer: JsonAnswer, attempt: Attempt) -> SsoToken:
    access_token = answer.text("accessToken")
    expires_in = answer.number("expiresIn")
    # It becomes a header.
    if access_token is None or not _is_header(access_token) or not expires_in:
        raise not_from_aws(attempt.operation, attempt.subject)
    return SsoToken(access_token, min(expires_in, _MAX_LIFE), answer.text("refreshToken"))


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_link(link: str) -> bool:
    """Return whether a link can be shown and opened: https, or http on the loopback interface."""
    from filevault.aws.endpoint import check_url

    if not _is_header(link) or set(link) & set("\"'<>\\^`{|}"):
        return False
    try:
        check_url(link.partition("#")[0], allow_http=False)
    except ConfigError:
        return False
    return True
