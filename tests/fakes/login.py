"""Console logins: authorize, token with DPoP, and revoke, as `aws login` uses them.

Below `/signin/<region>/` each region is a service of its own, as at AWS; the paths without it are
those of us-east-1. It is strict: a code, a refresh token and a proof's `jti` serve once, and each
is bound to client, redirection, verifier, key and region. Proofs are verified with joserfc, which
filevault does not use.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.fakes import sigv4
from tests.fakes.clock import Clock
from tests.fakes.directory import Directory
from tests.fakes.identities import Session, User
from tests.fakes.refusal import Refusal
from tests.fakes.wire import HttpAnswer, HttpRequest, Intent

SAME_DEVICE = "arn:aws:signin:::devtools/same-device"
CROSS_DEVICE = "arn:aws:signin:::devtools/cross-device"
LIFE = 900
"""Seconds that credentials live."""
WHOLE_LIFE = 12 * 3600
"""Seconds that a login lasts."""
CODE_LIFE = 300
SKEW = 300
DEFAULT_REGION = "us-east-1"
_PATH = re.compile(r"(?:/signin/([a-z0-9-]+))?(/v1/[a-z/]+)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_LOOPBACK = re.compile(r"http://127\.0\.0\.1:\d+/oauth/callback")
_QUERY = [
    *("response_type", "client_id", "state", "code_challenge_method", "scope", "redirect_uri"),
    "code_challenge",
]


class _Code(NamedTuple):
    user: User
    client_id: str
    redirect_uri: str
    challenge: str
    region: str
    expiration: float


class Login:
    """One login of a user; `refresh_token` is the present one."""

    def __init__(self, user: User, client_id: str, region: str, key: str, until: float) -> None:
        self.user = user
        self.client_id = client_id
        self.region = region
        self.key = key
        self.until = until
        self.refresh_token = ""
        self.over: str | None = None
        """The error code of a login that has ended."""
        self.last: tuple[str, dict[str, Any]] | None = None
        """The refresh token of the last refresh, and its answer."""


class LoginService:
    """The sign-in service as an OAuth 2 authorization server.

    `idempotent` lets the refresh token of the last refresh get the same answer again. `user` is
    who is signed in in the browser, `refuse_next` the error code of the next token request,
    `denied` the error that the browser is sent back with. `used` counts the uses of each refresh
    token, `revoked` has the tokens that were revoked.
    """

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self._logins: dict[str, Login] = {}
        self._spent: set[str] = set()
        self._proofs: set[str] = set()
        self.idempotent = False
        self.user: User | None = None
        self.subject: str | None = None
        """The `sub` of id tokens; None is the user's ARN."""
        self.denied: str | None = None
        self.refuse_next: tuple[int, str, str] | None = None
        self.revocable = True
        self.used: dict[str, int] = {}
        self.revoked: list[str] = []
        self.expires_in = LIFE
        self.pages: list[str] = []
        """The links that a browser has opened."""

    def login_of(self, user: User) -> Login:
        """Return the last login of a user."""
        return next(each for each in reversed(self._logins.values()) if each.user is user)

    def identify(self, request: HttpRequest) -> Intent:
        """Read the action; tokens, codes and verifiers stay out of the record."""
        region, path = _split(request.path)
        if path == "/v1/token":
            values = _body(request)
            grant = str(values.get("grantType", ""))
            action = "RefreshToken" if grant == "refresh_token" else "ExchangeCode"
            shown = {key: str(values.get(key, "")) for key in ["clientId", "grantType"]}
            return Intent(action, "signin", region, "", shown)
        if path == "/v1/revoke":
            return Intent("RevokeToken", "signin", region)
        return Intent("Authorize", "signin", region)

    def perform(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        """Do what is asked; raises `Refusal`."""
        if intent.action == "Authorize":
            return self._authorize(request, intent.region)
        if request.method != "POST" or "?" in request.target.replace("?x-amz-client-auth-meth", ""):
            raise _invalid("not a POST without a query")
        if request.header("Content-Type") != "application/json":
            raise _invalid("not JSON")
        if intent.action == "RevokeToken":
            return self._revoke(request)
        key = self._proof(request)
        if self.refuse_next is not None:
            (status, name, code), self.refuse_next = self.refuse_next, None
            raise _refusal(status, name, code, "as a test asks")
        values = _body(request)
        if intent.action == "RefreshToken":
            return self._refresh(values, key, intent.region)
        return self._exchange(values, key, intent.region)

    def refuse(self, intent: Intent, refusal: Refusal) -> HttpAnswer:  # noqa: ARG002
        """Write a refusal; the message repeats what was sent, as careless services do."""
        name, _, code = refusal.code.partition("/")
        body = {"error": code or name, "message": refusal.message}
        headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/"}
        return HttpAnswer(
            refusal.status, json.dumps(body).encode(), "application/json", headers=headers
        )

    # The browser's side

    def browse(self, link: str) -> str:
        """Do what a browser does with a link: sign in, and return where it is sent.

        For the cross-device client that is the code to paste.
        """
        self.pages.append(link)
        region, _ = _split(urlsplit(link).path)
        return self._page(urlsplit(link).query, region)

    def _authorize(self, request: HttpRequest, region: str) -> HttpAnswer:
        if request.method != "GET":
            raise _invalid("not a GET")
        found = self._page(request.target.partition("?")[2], region)
        self.pages.append(request.target)
        if found.startswith("http"):
            return HttpAnswer(302, b"", "text/plain", headers={"Location": found})
        return HttpAnswer(200, f"<code>{html.escape(found)}</code>".encode(), "text/html")

    def _page(self, query: str, region: str) -> str:
        """Check a request for authorization, and return the redirection or the code to paste."""
        pairs = parse_qsl(query, strict_parsing=True)
        values = dict(pairs)
        if [name for name, _ in pairs] != _QUERY or values["response_type"] != "code":
            raise _invalid("not the parameters of a request for authorization")
        if (values["code_challenge_method"], values["scope"]) != ("SHA-256", "openid"):
            raise _invalid("not SHA-256 and openid")
        if not _UUID.fullmatch(values["state"]) or not re.fullmatch(
            r"[A-Za-z0-9_-]{43}", values["code_challenge"]
        ):
            raise _invalid("not a state and a challenge")
        client, target = values["client_id"], values["redirect_uri"]
        if client == SAME_DEVICE:
            fits = _LOOPBACK.fullmatch(target) is not None
        else:
            fits = client == CROSS_DEVICE and target.endswith("/v1/sessions/confirmation")
        if not fits:
            raise _invalid("not a redirection of the client")
        state = {"state": values["state"]}
        if self.denied is not None:
            return f"{target}?{urlencode({'error': self.denied, **state})}"
        if self.user is None:
            raise _invalid("nobody is signed in in the browser")
        code = secrets.token_urlsafe(240)
        self._codes[code] = _Code(
            self.user,
            client,
            target,
            values["code_challenge"],
            region,
            self._clock() + CODE_LIFE,
        )
        self._directory.secrets.add(code)
        answer = urlencode({**state, "code": code})
        if client == SAME_DEVICE:
            return f"{target}?{answer}"
        return base64.b64encode(answer.encode()).decode()

    # Tokens

    def _exchange(self, values: Mapping[str, Any], key: str, region: str) -> HttpAnswer:
        if values.keys() != {"clientId", "grantType", "code", "codeVerifier", "redirectUri"}:
            raise _invalid("not the fields of an exchange")
        found = self._codes.pop(values["code"], None)
        if found is None:
            raise _invalid("the code is unknown or was used")
        if self._clock() >= found.expiration:
            raise _refusal(403, "AccessDeniedException", "AUTHCODE_EXPIRED", "too old")
        verifier = values["codeVerifier"]
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        if (
            values["grantType"] != "authorization_code"
            or not _VERIFIER.fullmatch(verifier)
            or digest.rstrip(b"=").decode() != found.challenge
            or values["clientId"] != found.client_id
            or values["redirectUri"] != found.redirect_uri
            or region != found.region
        ):
            raise _invalid(f"the code is bound otherwise: {verifier}")
        self._directory.secrets.add(verifier)
        login = Login(found.user, found.client_id, region, key, self._clock() + WHOLE_LIFE)
        return _json(self._issue(login, first=True))

    def _refresh(self, values: Mapping[str, Any], key: str, region: str) -> HttpAnswer:
        if values.keys() != {"clientId", "refreshToken", "grantType"}:
            raise _invalid("not the fields of a refresh")
        token = values["refreshToken"]
        self.used[token] = self.used.get(token, 0) + 1
        login = self._logins.get(token)
        if login is None or login.client_id != values["clientId"] or login.key != key:
            raise _invalid(f"the refresh token is unknown or bound otherwise: {token}")
        if login.region != region:
            raise _invalid("the refresh token is of another region")
        if login.over is not None:
            raise _refusal(403, "AccessDeniedException", login.over, "over")
        if self._clock() >= login.until:
            raise _refusal(403, "AccessDeniedException", "TOKEN_EXPIRED", "over")
        if token != login.refresh_token:
            if self.idempotent and login.last is not None and login.last[0] == token:
                return _json(login.last[1])
            raise _invalid(f"the refresh token was used before: {token}")
        answer = self._issue(login, first=False)
        login.last = (token, answer)
        return _json(answer)

    def _issue(self, login: Login, *, first: bool) -> dict[str, Any]:
        session = self._directory.add_session(
            Session("login", self._clock() + self.expires_in, user=login.user)
        )
        login.refresh_token = "ASOR" + secrets.token_urlsafe(700)
        self._logins[login.refresh_token] = login
        self._directory.secrets.add(login.refresh_token)
        answer: dict[str, Any] = {
            "accessToken": {
                "accessKeyId": session.access_key_id,
                "secretAccessKey": session.secret_access_key,
                "sessionToken": session.session_token,
            },
            "tokenType": "aws_sigv4",
            "expiresIn": self.expires_in,
            "refreshToken": login.refresh_token,
        }
        if first:
            answer["idToken"] = self._id_token(login.user)
        return answer

    def _id_token(self, user: User) -> str:
        parts = ({"alg": "RS256"}, {"sub": self.subject or user.arn, "iss": "signin"})
        packed = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in parts
        ]
        token = ".".join([*packed, secrets.token_urlsafe(64)])
        self._directory.secrets.add(token)
        return token

    def _proof(self, request: HttpRequest) -> str:
        """Verify a proof by the rules of RFC 9449 §4.3, and return the thumbprint of its key."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey

        given = request.headers.get_all("DPoP") or []
        if len(given) != 1:
            raise _invalid("not one DPoP header")
        try:
            header = json.loads(_unpadded(given[0].split(".")[0]))
            key = ECKey.import_key(header["jwk"])
            claims = jwt.decode(given[0], key, algorithms=["ES256"]).claims
        except (JoseError, ValueError, LookupError, TypeError) as error:
            raise _invalid(f"no proof: {error!r}") from None
        if list(header) != ["typ", "alg", "jwk"] or header["typ"] != "dpop+jwt":
            raise _invalid("not the header of a proof")
        if list(header["jwk"]) != ["kty", "x", "y", "crv"] or header["jwk"]["crv"] != "P-256":
            raise _invalid("not a public key on P-256")
        prefix = request.path.removesuffix("/v1/token")
        if claims.get("htm") != "POST" or not str(claims.get("htu", "")).endswith(
            f"{request.header('Host')}{prefix}/v1/token"
        ):
            raise _invalid("a proof for another request")
        if list(claims) != ["htm", "htu", "iat", "jti"] or not _UUID.fullmatch(claims["jti"]):
            raise _invalid("not the claims of a proof")
        if not isinstance(claims["iat"], int) or abs(claims["iat"] - self._clock()) > SKEW:
            raise _invalid("a proof of another time")
        if claims["jti"] in self._proofs:
            raise _invalid("a proof that was used before")
        self._proofs.add(claims["jti"])
        return key.thumbprint()

    def _revoke(self, request: HttpRequest) -> HttpAnswer:
        """Revoke a refresh token; the request is signed (RevokeOAuth2TokenWithIAM)."""
        authorization = sigv4.parse_authorization(request)
        session = self._directory.sessions.get(authorization.access_key_id)
        if session is None or self._clock() >= session.expiration:
            raise _refusal(403, "AccessDeniedException", "INSUFFICIENT_PERMISSIONS", "who is it")
        sigv4.verify(request, authorization, session.secret_access_key)
        token = str(_body(request).get("token", ""))
        login = self._logins.get(token)
        if not self.revocable or login is None or login.user is not session.user:
            raise _invalid("not a token that can be revoked")
        login.over = "TOKEN_EXPIRED"
        self.revoked.append(token)
        return HttpAnswer(200, b"{}", "application/json")


def _split(path: str) -> tuple[str, str]:
    found = _PATH.fullmatch(path)
    return (DEFAULT_REGION, path) if found is None else (found[1] or DEFAULT_REGION, found[2])


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        found = json.loads(request.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(values: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(
        200,
        json.dumps(values).encode(),
        "application/json",
        request_id=str(uuid.uuid4()),
        access_key_id=values["accessToken"]["accessKeyId"],
    )


def _invalid(why: str) -> Refusal:
    return _refusal(400, "ValidationException", "INVALID_REQUEST", why)


def _refusal(status: int, name: str, code: str, why: str) -> Refusal:
    return Refusal(f"{name}/{code}", why, status)
