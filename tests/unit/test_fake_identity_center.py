"""The stand-in for Identity Center refuses what AWS refuses."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from filevault.aws import pkce
from tests.fakes import FakeAws
from tests.fakes.identity_center import DEVICE_GRANT, START_URL

REDIRECT = "http://127.0.0.1:5555/oauth/callback"
VERIFIER = pkce.new_verifier()
BROWSER = {
    "grantTypes": ["authorization_code", "refresh_token"],
    "redirectUris": ["http://127.0.0.1/oauth/callback"],
    "issuerUrl": START_URL,
}


class Caller:
    """Calls the stand-in as any program could."""

    def __init__(self, aws: FakeAws) -> None:
        aws.clock.freeze()
        self.aws = aws
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())

    def post(self, path: str, **values: object) -> Any:
        """Return the answer, or `status code` of a refusal."""
        body = json.dumps(values).encode()
        return self._open(path, body, {"Content-Type": "application/json"})

    def portal(self, path: str, token: str, body: bytes | None = None) -> Any:
        return self._open(path, body, {"x-amz-sso_bearer_token": token})

    def _open(self, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self.aws.url + path, body, headers)
        try:
            with self._opener.open(request, timeout=10) as answer:
                text = answer.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            error.close()
            return f"{error.code} {error.headers.get('x-amzn-ErrorType')}"

    def register(self, **more: object) -> dict[str, Any]:
        values: dict[str, object] = {"clientName": "x", "clientType": "public", "scopes": ["a:b"]}
        found = self.post("/client/register", **{**values, **more})
        assert isinstance(found, dict), found
        return {key: found[key] for key in ("clientId", "clientSecret")}

    def device(self, client: dict[str, Any]) -> dict[str, Any]:
        found = self.post("/device_authorization", **client, startUrl=START_URL)
        assert isinstance(found, dict), found
        return {**client, "grantType": DEVICE_GRANT, "deviceCode": found["deviceCode"]}

    def token(self, **more: object) -> dict[str, Any]:
        """Return tokens, with the client that got them."""
        client = self.register(**more)
        grant = self.device(client)
        self.aws.sso.confirm_all()
        return {**client, **self.post("/token", **grant)}

    def code(self, client: dict[str, Any]) -> str:
        """Let a browser sign in; return the code that it brings."""
        query = {
            "response_type": "code",
            "client_id": client["clientId"],
            "redirect_uri": REDIRECT,
            "state": "s",
            "code_challenge_method": "S256",
            "scopes": "a:b",
            "code_challenge": pkce.challenge(VERIFIER),
        }
        request = urllib.request.Request(
            f"{self.aws.url}/authorize?{urllib.parse.urlencode(query)}", b""
        )
        with pytest.raises(urllib.error.HTTPError) as moved:
            self._opener.open(request, timeout=10)
        moved.value.close()
        where = urllib.parse.urlsplit(moved.value.headers["Location"])
        values = dict(urllib.parse.parse_qsl(where.query))
        assert values["state"] == "s"
        return values["code"]


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirection."""

    def redirect_request(self, *_: object) -> None:
        return None


@pytest.fixture
def caller(aws: FakeAws) -> Caller:
    return Caller(aws)


def test_polls_before_the_interval_are_slowed_down(caller: Caller) -> None:
    grant = caller.device(caller.register())
    assert caller.post("/token", **grant) == "400 AuthorizationPendingException"
    assert caller.post("/token", **grant) == "400 SlowDownException"
    caller.aws.clock.advance(1)
    assert caller.post("/token", **grant) == "400 SlowDownException"
    caller.aws.clock.advance(11)
    assert caller.post("/token", **grant) == "400 AuthorizationPendingException"


def test_a_device_code_serves_its_client_once_and_ten_minutes(caller: Caller) -> None:
    grant = caller.device(caller.register())
    other = caller.register()
    caller.aws.sso.confirm_all()
    assert caller.post("/token", **{**grant, **other}) == "400 InvalidGrantException"
    assert caller.post("/token", **{**grant, "clientSecret": "x"}) == "401 InvalidClientException"
    assert "accessToken" in caller.post("/token", **grant)
    assert caller.post("/token", **grant) == "400 InvalidGrantException"
    late = caller.device(caller.register())
    caller.aws.clock.advance(601)
    assert caller.post("/token", **late) == "400 ExpiredTokenException"
    denied = caller.device(caller.register())
    caller.aws.sso.confirm_all("denied")
    assert caller.post("/token", **denied) == "400 AccessDeniedException"


def test_the_two_kinds_of_registrations_do_not_mix(caller: Caller) -> None:
    browser = caller.register(**BROWSER)
    refused = caller.post("/device_authorization", **browser, startUrl=START_URL)
    assert refused == "400 UnauthorizedClientException"
    device = caller.register()
    query = urllib.parse.urlencode(
        {"client_id": device["clientId"], "redirect_uri": REDIRECT, "response_type": "code"}
    )
    assert caller._open(f"/authorize?{query}", None, {}) == "401 InvalidClientException"


def test_a_registration_for_a_browser_is_checked(caller: Caller) -> None:
    values: dict[str, object] = {"clientName": "x", "clientType": "public", "scopes": ["a:b"]}
    for change, error in (
        ({"redirectUris": ["http://127.0.0.1:5555/oauth/callback"]}, "InvalidRedirectUri"),
        ({"redirectUris": ["https://evil.example/"]}, "InvalidRedirectUri"),
        ({"issuerUrl": "https://other.example"}, "InvalidClientMetadata"),
        ({"grantTypes": ["authorization_code"]}, "InvalidClientMetadata"),
        ({"clientType": "confidential"}, "InvalidClientMetadata"),
        ({"scopes": ["everything"]}, "InvalidScope"),
    ):
        answer = caller.post("/client/register", **{**values, **BROWSER, **change})
        assert answer == f"400 {error}Exception"


def test_a_code_needs_its_client_redirection_and_verifier_and_serves_once(caller: Caller) -> None:
    client = caller.register(**BROWSER)
    grant = {
        **client,
        "grantType": "authorization_code",
        "codeVerifier": VERIFIER,
        "redirectUri": REDIRECT,
    }
    for change in (
        {"codeVerifier": pkce.new_verifier()},
        {"redirectUri": "http://127.0.0.1/oauth/callback"},
        caller.register(**BROWSER),
    ):
        code = caller.code(client)
        answer = caller.post("/token", **{**grant, "code": code, **change})
        assert answer == "400 InvalidGrantException"
        assert caller.post("/token", **grant, code=code) == "400 InvalidGrantException", "spent"
    code = caller.code(client)
    assert "refreshToken" in caller.post("/token", **grant, code=code)
    assert caller.post("/token", **grant, code=code) == "400 InvalidGrantException"
    late = caller.code(client)
    caller.aws.clock.advance(601)
    assert caller.post("/token", **grant, code=late) == "400 InvalidGrantException"


def test_only_scopes_bring_a_refresh_token_and_it_serves_its_client_once(caller: Caller) -> None:
    plain = caller.token(scopes=[])
    assert plain["expiresIn"] == 28800
    assert "refreshToken" not in plain
    found = caller.token()
    assert found["expiresIn"] == 3600
    refresh = {
        "grantType": "refresh_token",
        "refreshToken": found["refreshToken"],
        "clientId": found["clientId"],
        "clientSecret": found["clientSecret"],
    }
    other = caller.register()
    assert caller.post("/token", **{**refresh, **other}) == "400 InvalidGrantException"
    renewed = caller.post("/token", **refresh)
    assert renewed["refreshToken"] != found["refreshToken"]
    assert caller.post("/token", **refresh) == "400 InvalidGrantException"
    refresh["refreshToken"] = renewed["refreshToken"]
    caller.aws.clock.advance(8 * 3600)
    assert caller.post("/token", **refresh) == "400 InvalidGrantException", "the session is over"
    caller.aws.clock.advance(90 * 86400)
    assert caller.post("/token", **refresh) == "401 InvalidClientException"


def test_the_portal_takes_a_token_until_it_expires_or_its_user_signs_out(caller: Caller) -> None:
    caller.aws.sso.assign("111122223333", "prod", "Admin")
    role = "/federation/credentials?role_name=Admin&account_id=111122223333"
    assert caller.portal(role, "guess") == "401 UnauthorizedException"
    token = caller.token()["accessToken"]
    assert "roleCredentials" in caller.portal(role, token)
    none = role.replace("Admin", "Owner")
    assert caller.portal(none, token) == "403 ForbiddenException"
    caller.aws.clock.advance(3600)
    assert caller.portal(role, token) == "401 UnauthorizedException"
    token = caller.token()["accessToken"]
    assert caller.portal("/logout", token) == "400 InvalidRequestException"
    assert caller.portal("/logout", token, b"") == {}
    assert caller.portal(role, token) == "401 UnauthorizedException"
