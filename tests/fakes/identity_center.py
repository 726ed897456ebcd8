"""IAM Identity Center: its OIDC service, its access portal, and the pages a browser sees.

Strict where a careless client would get away with it elsewhere: a registration of one flow is not
taken in the other, polls too soon are answered with slow_down, codes serve once, PKCE is verified,
a token is bound to the client that got it, and only scopes bring refresh tokens.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from tests.fakes.clock import Clock
from tests.fakes.directory import Directory
from tests.fakes.identities import Role, Session
from tests.fakes.refusal import Refusal
from tests.fakes.wire import HttpAnswer, HttpRequest, Intent

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
START_URL = "https://d-9067f2a1b3.awsapps.com/start"
PATHS = (
    "/client/register",
    "/device_authorization",
    "/token",
    "/authorize",
    "/device",
    "/federation/credentials",
    "/assignment/accounts",
    "/assignment/roles",
    "/logout",
    "/vanity",
)
_PORTAL = ("/federation/credentials", "/assignment/accounts", "/assignment/roles", "/logout")
_ACTIONS = {
    "/client/register": "RegisterClient",
    "/device_authorization": "StartDeviceAuthorization",
    "/token": "CreateToken",
    "/authorize": "Authorize",
    "/device": "Device",
    "/federation/credentials": "GetRoleCredentials",
    "/assignment/accounts": "ListAccounts",
    "/assignment/roles": "ListAccountRoles",
    "/logout": "Logout",
    "/vanity": "Vanity",
}
_SECRETS = ("clientSecret", "deviceCode", "refreshToken", "code", "codeVerifier")
_EXCEPTIONS = {
    "authorization_pending": "AuthorizationPendingException",
    "slow_down": "SlowDownException",
    "expired_token": "ExpiredTokenException",
    "access_denied": "AccessDeniedException",
    "invalid_client": "InvalidClientException",
    "invalid_grant": "InvalidGrantException",
    "invalid_request": "InvalidRequestException",
    "invalid_scope": "InvalidScopeException",
    "invalid_client_metadata": "InvalidClientMetadataException",
    "invalid_redirect_uri": "InvalidRedirectUriException",
    "unauthorized_client": "UnauthorizedClientException",
    "unsupported_grant_type": "UnsupportedGrantTypeException",
}
TOKEN_LIFE = 3600
TOKEN_LIFE_WITHOUT_SCOPES = 28800
CODE_LIFE = 600


class Client(NamedTuple):
    """A registered client; `redirect` is None for one of the device flow."""

    secret: str
    expires: float
    scopes: tuple[str, ...]
    redirect: str | None


class Device:
    """A device authorization under way."""

    def __init__(self, client_id: str, user_code: str, expires: float) -> None:
        self.client_id = client_id
        self.user_code = user_code
        self.expires = expires
        self.state = "pending"
        self.polls = 0
        self.polled: float | None = None
        self.interval = 0.0


class Grant(NamedTuple):
    """An authorization code that was given to a browser."""

    client_id: str
    challenge: str
    redirect: str
    expires: float


class Portal:
    """The session of the user who signed in; tokens of one session end together."""

    def __init__(self, ends: float) -> None:
        self.ends = ends


class Access(NamedTuple):
    """An access or refresh token."""

    portal: Portal
    client_id: str
    expires: float


class IdentityCenter:
    """One instance with one user.

    `confirm_after` lets the user confirm each device authorization by the poll of that number;
    with None only `confirm`, `deny` or the page does. `interval` is in seconds; without
    `enforces_interval` polls may come at any time.
    """

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self.start_url = START_URL
        self.region_url = ""
        self.interval = 1
        self.enforces_interval = True
        self.confirm_after: int | None = None
        self.session_life = 8 * 3600
        self.rotates = True
        self.clients: dict[str, Client] = {}
        self.devices: dict[str, Device] = {}
        self.grants: dict[str, Grant] = {}
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Access] = {}
        self.accounts: dict[str, tuple[str, str, dict[str, Role]]] = {}
        self.location = START_URL + "/"
        """Where the vanity address leads."""
        self.page_size = 100

    # For tests

    def assign(self, account: str, name: str, *roles: str) -> None:
        """Give the user roles in an account."""
        found = self.accounts.setdefault(account, (name, f"root@{name}.example", {}))[2]
        for role in roles:
            path = "/aws-reserved/sso.amazonaws.com/"
            full = f"AWSReservedSSO_{role}_0123456789abcdef"
            found[role] = self._directory.add_role(full, account=account, path=path, trusts=())

    def confirm(self, user_code: str, state: str = "confirmed") -> None:
        """Let the user confirm a code, or with another state deny it."""
        for device in self.devices.values():
            if device.user_code == user_code:
                device.state = state
                return
        raise LookupError(user_code)

    def confirm_all(self, state: str = "confirmed") -> None:
        """Let the user confirm everything that is pending."""
        for device in self.devices.values():
            device.state = state

    def sign_out(self) -> None:
        """End every session, as an administrator can."""
        for found in (*self.access.values(), *self.refresh.values()):
            found.portal.ends = 0.0

    def forget_clients(self) -> None:
        """Forget every registration."""
        self.clients.clear()

    # The endpoint

    def identify(self, request: HttpRequest) -> Intent:
        """Read the action; the record gets everything but secrets."""
        values = {**_query(request), **_body(request)}
        shown = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
            if key not in _SECRETS
        }
        return Intent(_ACTIONS[request.path], "sso", "", "", shown)

    def perform(self, request: HttpRequest, intent: Intent) -> HttpAnswer:  # noqa: ARG002
        """Do what is asked; raises `Refusal`."""
        if request.path in _PORTAL:
            return self._portal(request)
        if request.path == "/vanity":
            return HttpAnswer(302, b"", headers={"Location": self.location})
        if request.path == "/device":
            return self._device_page(request)
        if request.path == "/authorize":
            return self._authorize_page(request)
        if request.method != "POST" or request.header("Content-Type") != "application/json":
            raise _oidc("invalid_request")
        values = _body(request)
        if request.path == "/client/register":
            return _json(self._register(values))
        if request.path == "/device_authorization":
            return _json(self._authorize_device(values))
        return _json(self._token(values))

    def refuse(self, intent: Intent, refusal: Refusal) -> HttpAnswer:
        """Write an error as the service does: a header, and a body."""
        if intent.action in ("GetRoleCredentials", "ListAccounts", "ListAccountRoles", "Logout"):
            body = {"message": refusal.message, "__type": refusal.code}
            name = refusal.code
        else:
            name = _EXCEPTIONS.get(refusal.code, refusal.code)
            body = {"error": refusal.code, "error_description": refusal.message}
        return _json(body, refusal.status, name)

    # OIDC

    def _register(self, values: Mapping[str, Any]) -> dict[str, Any]:
        scopes = values.get("scopes", [])
        if values.get("clientType") != "public" or not values.get("clientName"):
            raise _oidc("invalid_client_metadata")
        if not isinstance(scopes, list) or any(":" not in scope for scope in scopes):
            raise _oidc("invalid_scope")
        redirect = None
        if "grantTypes" in values:
            redirects = values.get("redirectUris")
            if (
                values["grantTypes"] != ["authorization_code", "refresh_token"]
                or values.get("issuerUrl") != self.start_url
                or not isinstance(redirects, list)
                or len(redirects) != 1
            ):
                raise _oidc("invalid_client_metadata")
            redirect = redirects[0]
            if redirect != "http://127.0.0.1/oauth/callback":
                raise _oidc("invalid_redirect_uri")
        client_id, secret = secrets.token_urlsafe(16), self._secret("secret")
        expires = int(self._clock()) + 90 * 86400
        self.clients[client_id] = Client(secret, expires, tuple(scopes), redirect)
        return {
            "clientId": client_id,
            "clientSecret": secret,
            "clientIdIssuedAt": int(self._clock()),
            "clientSecretExpiresAt": expires,
        }

    def _client(self, values: Mapping[str, Any]) -> Client:
        client = self.clients.get(values.get("clientId", ""))
        if (
            client is None
            or client.secret != values.get("clientSecret")
            or self._clock() >= client.expires
        ):
            raise _oidc("invalid_client", 401)
        return client

    def _authorize_device(self, values: Mapping[str, Any]) -> dict[str, Any]:
        client = self._client(values)
        if client.redirect is not None:
            raise _oidc("unauthorized_client")
        if values.get("startUrl") != self.start_url:
            raise _oidc("invalid_request")
        letters = "BCDFGHJKLMNPQRSTVWXZ"
        half = ["".join(secrets.choice(letters) for _ in range(4)) for _ in range(2)]
        user_code = "-".join(half)
        code = self._secret("device")
        device = Device(values["clientId"], user_code, self._clock() + CODE_LIFE)
        device.interval = float(self.interval)
        self.devices[code] = device
        page = f"{self.region_url}/device"
        return {
            "deviceCode": code,
            "userCode": user_code,
            "verificationUri": page,
            "verificationUriComplete": f"{page}?user_code={user_code}",
            "expiresIn": CODE_LIFE,
            "interval": self.interval,
        }

    def _token(self, values: Mapping[str, Any]) -> dict[str, Any]:
        client = self._client(values)
        grant = values.get("grantType")
        if grant == DEVICE_GRANT:
            return self._device_token(client, values)
        if grant == "authorization_code":
            return self._code_token(client, values)
        if grant == "refresh_token":
            return self._refresh_token(client, values)
        raise _oidc("unsupported_grant_type")

    def _device_token(self, client: Client, values: Mapping[str, Any]) -> dict[str, Any]:
        if client.redirect is not None:
            raise _oidc("unauthorized_client")
        code = values.get("deviceCode", "")
        device = self.devices.get(code)
        if device is None or device.client_id != values["clientId"]:
            raise _oidc("invalid_grant")
        now = self._clock()
        if now >= device.expires:
            raise _oidc("expired_token")
        device.polls += 1
        polled, device.polled = device.polled, now
        if self.enforces_interval and polled is not None and now - polled < device.interval:
            device.interval += 5
            raise _oidc("slow_down")
        if self.confirm_after is not None and device.polls >= self.confirm_after:
            device.state = "confirmed"
        if device.state == "denied":
            raise _oidc("access_denied")
        if device.state != "confirmed":
            raise _oidc("authorization_pending")
        del self.devices[code]
        return self._grant(client, values["clientId"], Portal(now + self.session_life))

    def _code_token(self, client: Client, values: Mapping[str, Any]) -> dict[str, Any]:
        grant = self.grants.pop(values.get("code", ""), None)
        verifier = values.get("codeVerifier", "")
        if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
            raise _oidc("invalid_request")
        self._directory.secrets.add(verifier)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            grant is None
            or grant.client_id != values["clientId"]
            or grant.challenge != challenge
            or grant.redirect != values.get("redirectUri")
            or self._clock() >= grant.expires
        ):
            raise _oidc("invalid_grant")
        portal = Portal(self._clock() + self.session_life)
        return self._grant(client, values["clientId"], portal)

    def _refresh_token(self, client: Client, values: Mapping[str, Any]) -> dict[str, Any]:
        token = values.get("refreshToken", "")
        found = self.refresh.get(token)
        if found is None or found.client_id != values["clientId"]:
            raise _oidc("invalid_grant")
        if self._clock() >= found.portal.ends:
            raise _oidc("invalid_grant")
        if self.rotates:
            del self.refresh[token]
        return self._grant(client, values["clientId"], found.portal)

    def _grant(self, client: Client, client_id: str, portal: Portal) -> dict[str, Any]:
        life = TOKEN_LIFE if client.scopes else TOKEN_LIFE_WITHOUT_SCOPES
        token = self._secret("aoaAAAAA")
        self.access[token] = Access(portal, client_id, self._clock() + life)
        answer = {"accessToken": token, "expiresIn": life, "tokenType": "Bearer"}
        if client.scopes:
            answer["refreshToken"] = self._secret("aorAAAAA")
            self.refresh[str(answer["refreshToken"])] = Access(portal, client_id, portal.ends)
        return answer

    # The portal

    def _portal(self, request: HttpRequest) -> HttpAnswer:
        token = request.header("x-amz-sso_bearer_token")
        found = self.access.get(token)
        now = self._clock()
        if found is None or now >= found.expires or now >= found.portal.ends:
            raise Refusal("UnauthorizedException", "Session token not found or invalid", 401)
        if request.path == "/logout":
            if request.method != "POST":
                raise Refusal("InvalidRequestException", "not a POST", 400)
            found.portal.ends = 0.0
            return HttpAnswer(200, b"", "application/json")
        values = _query(request)
        if request.path == "/assignment/accounts":
            accounts = [
                {"accountId": account, "accountName": name, "emailAddress": email}
                for account, (name, email, _) in self.accounts.items()
            ]
            return self._page("accountList", accounts, values)
        account = values.get("account_id", "")
        roles = self.accounts.get(account, ("", "", {}))[2]
        if request.path == "/assignment/roles":
            listed = [{"roleName": role, "accountId": account} for role in roles]
            return self._page("roleList", listed, values)
        role = roles.get(values.get("role_name", ""))
        if role is None:
            raise Refusal("ForbiddenException", "No access", 403)
        session = self._directory.add_session(
            Session("role", float(int(now) + 3600), user=None, role=role, name="jon", chain_depth=1)
        )
        made = {
            "accessKeyId": session.access_key_id,
            "secretAccessKey": session.secret_access_key,
            "sessionToken": session.session_token,
            "expiration": int(session.expiration) * 1000,
        }
        answer = _json({"roleCredentials": made})
        return answer._replace(access_key_id=session.access_key_id)

    def _page(self, key: str, items: list[dict[str, str]], values: Mapping[str, str]) -> HttpAnswer:
        size = min(self.page_size, int(values.get("max_result", "20")))
        start = int(values.get("next_token", "0"))
        page: dict[str, Any] = {key: items[start : start + size]}
        if start + size < len(items):
            page["nextToken"] = str(start + size)
        return _json(page)

    # The browser

    def _device_page(self, request: HttpRequest) -> HttpAnswer:
        values = _query(request)
        code = values.get("user_code", "")
        if request.method == "POST":
            form = dict(parse_qsl(request.body.decode()))
            self.confirm(form["user_code"], form["answer"])
            return _html("Request approved. You can close this window.")
        shown = html.escape(code)
        return _html(
            f'<p id="code">{shown}</p><form method="post" action="/device">'
            f'<input name="user_code" value="{shown}">'
            '<button name="answer" value="confirmed" id="confirm">Confirm</button>'
            '<button name="answer" value="denied" id="deny">Deny</button></form>'
            + _self_clicking(values)
        )

    def _authorize_page(self, request: HttpRequest) -> HttpAnswer:
        values = _query(request)
        client = self.clients.get(values.get("client_id", ""))
        redirect = values.get("redirect_uri", "")
        port = re.fullmatch(r"http://127\.0\.0\.1:\d{1,5}/oauth/callback", redirect)
        if client is None or client.redirect is None or port is None:
            raise _oidc("invalid_client", 401)
        if (
            values.get("response_type") != "code"
            or values.get("code_challenge_method") != "S256"
            or not values.get("state")
            or not re.fullmatch(r"[A-Za-z0-9_-]{43}", values.get("code_challenge", ""))
            or tuple(values.get("scopes", "").split()) != client.scopes
        ):
            raise _oidc("invalid_request")
        if request.method == "GET":
            return _html(
                '<form method="post"><button id="confirm">Allow</button></form>'
                + _self_clicking({"click": "confirm"})
            )
        code = self._secret("code")
        self.grants[code] = Grant(
            values["client_id"], values["code_challenge"], redirect, self._clock() + CODE_LIFE
        )
        back = urlencode({"code": code, "state": values["state"]})
        return HttpAnswer(303, b"", headers={"Location": f"{redirect}?{back}"})

    def _secret(self, word: str) -> str:
        made = f"{word}.{secrets.token_urlsafe(32)}"
        self._directory.secrets.add(made)
        return made


def _self_clicking(values: Mapping[str, str]) -> str:
    """Return a script that clicks as a person would, where the address asks for it."""
    button = values.get("click", "")
    if button not in ("confirm", "deny"):
        return ""
    return f"<script>document.getElementById('{button}').click()</script>"


def _query(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.header("Content-Type") != "application/json":
        return {}
    try:
        found = json.loads(request.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _oidc(code: str, status: int = 400) -> Refusal:
    return Refusal(code, f"refused: {code}", status)


def _json(value: Any, status: int = 200, error: str | None = None) -> HttpAnswer:
    headers = {} if error is None else {"x-amzn-ErrorType": error}
    return HttpAnswer(status, json.dumps(value).encode(), "application/json", headers=headers)


def _html(text: str) -> HttpAnswer:
    page = f'<!doctype html><meta charset="utf-8"><title>Sign in</title>{text}'
    return HttpAnswer(200, page.encode(), "text/html")
