"""The two requests of a console login: exchange a code for tokens, and refresh them.

They are unsigned JSON with a DPoP proof, a new one for each attempt (RFC 9449 §4.2). A refresh
token serves once: each answer has the next one.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import not_from_aws, translated
from filevault.aws.login_errors import is_passing, read_refusal, refused
from filevault.aws.login_link import token_url
from filevault.credentials import Credentials, is_key_id, looks_like_key_id, looks_like_secret
from filevault.errors import AwsError, NetworkError, NotAwsError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filevault.aws.clients import Clients, HttpAnswer
    from filevault.aws.dpop import DpopKey
    from filevault.aws.login_link import AuthorizationRequest

SETTING = "AWS_ENDPOINT_URL_SIGNIN, or endpoint_url in the AWS config"
_OPERATION = "CreateOAuth2Token"
_REVOCATION = "RevokeOAuth2TokenWithIAM"
_MAX_LIFE = 43200  # seconds; AWS grants 900
_MAX_REFRESH_TOKEN = 12288  # botocore's model of CreateOAuth2Token
_MAX_ID_TOKEN = 4096
_MAX_SESSION_TOKEN = 16 << 10
_MAX_SUBJECT = 2048
_SECRET = r"[!-~]{16,256}\Z"  # noqa: S105 - a pattern
_ARN = r"arn:[a-z0-9-]+:(?:iam|sts)::(\d{12}):"
_DEADLINE = 20.0  # seconds for one attempt
_PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt


class LoginTokens(Record):
    """An answer of the token endpoint; `id_token` and `subject` come with the first one only.

    `subject` is the user: an ARN, the value of `login_session`.
    """

    _secret = ("refresh_token", "id_token")

    credentials: Credentials
    refresh_token: str
    token_type: str
    id_token: str | None
    subject: str | None


class LoginRequester(Record):
    """What the requests of one login have in common.

    `base` is the URL of the sign-in service; `subject` names the profile in messages, `again` is
    the command that signs in again. `clock` returns Unix seconds, `sleep` takes seconds.
    """

    clients: Clients
    base: str
    client_id: str
    key: DpopKey
    subject: str
    again: str
    clock: Callable[[], float]
    sleep: Callable[[float], None] = time.sleep

    def exchange(self, code: str, request: AuthorizationRequest) -> LoginTokens:
        """Exchange an authorization code, which serves once, for tokens.

        Raises AwsError, NetworkError, ConfigError.
        """
        body = {
            "clientId": self.client_id,
            "grantType": "authorization_code",
            "code": code,
            "codeVerifier": request.verifier,
            "redirectUri": request.redirect_uri,
        }
        tokens = self._ask(body, (code, request.verifier), first=True)
        if tokens.subject is None:
            raise not_from_aws(_OPERATION, self.subject, "it does not say who has signed in")
        return tokens

    def refresh(self, refresh_token: str) -> LoginTokens:
        """Return new tokens for a refresh token.

        A request without an answer is repeated: if AWS has accepted the first one, it refuses the
        second one or repeats its answer, so that nothing more is lost. Raises AwsError,
        NetworkError, ConfigError.
        """
        body = {
            "clientId": self.client_id,
            "refreshToken": refresh_token,
            "grantType": "refresh_token",
        }
        return self._ask(body, (refresh_token,), first=False)

    def _ask(
        self, body: Mapping[str, str], secrets: tuple[str, ...], *, first: bool
    ) -> LoginTokens:
        attempt = Attempt(_OPERATION, self.subject, secrets, None)
        asked = self.clock()
        answer = self._answer(json.dumps(body).encode("ascii"), attempt, repeats=not first)
        if answer.status != 200:
            raise refused(answer, attempt, again=self.again, first=first, now=self.clock())
        return _tokens(answer, asked, self.subject)

    def _answer(self, body: bytes, attempt: Attempt, *, repeats: bool) -> HttpAnswer:
        """Send a request, several times where it may succeed later."""
        url = token_url(self.base)
        for pause in (*_PAUSES, None):
            try:
                with translated(attempt):
                    answer = self.clients.post_json(
                        url,
                        body,
                        setting=SETTING,
                        headers={"DPoP": self.key.proof(url, self.clock())},
                        deadline=_DEADLINE,
                    )
            except NetworkError as error:
                if pause is None or not repeats or isinstance(error, NotAwsError):
                    raise
            else:
                # A code counts as used once a request with it has failed inside AWS.
                repeatable = repeats or answer.status == 429
                if pause is None or not repeatable or not is_passing(answer):
                    return answer
            self.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def revoke(
    clients: Clients,
    url: str,
    region: str,
    credentials: Credentials,
    refresh_token: str,
    *,
    subject: str,
) -> None:
    """Revoke a refresh token, so that the login ends at AWS (RevokeOAuth2TokenWithIAM).

    `credentials` are those of the login, which sign the request. Raises AwsError, NetworkError,
    ConfigError.
    """
    from filevault.aws.clients import Signer

    secrets = (credentials.secret_access_key, credentials.session_token, refresh_token)
    attempt = Attempt(_REVOCATION, subject, secrets, None)
    with translated(attempt):
        answer = clients.post_json(
            url,
            json.dumps({"token": refresh_token}).encode("ascii"),
            setting=SETTING,
            deadline=_DEADLINE,
            signer=Signer(credentials, "signin", region),
        )
    if answer.status != 200:
        refusal = read_refusal(answer)
        code = printable(attempt.redacted(refusal.name), 80)
        said = ": ".join(each for each in (code, attempt.shown(refusal.text)) if each)
        raise AwsError(
            f"AWS refused {_REVOCATION} for {subject}: it answered {answer.status}"
            f"{f' ({said})' if said else ''}",
            operation=_REVOCATION,
            code=code,
            hint=f"allow signin:{_REVOCATION} to the user or role",
        )


def _tokens(answer: HttpAnswer, asked: float, subject: str) -> LoginTokens:
    """Return the content of an answer; `asked` is when it was asked for, in Unix seconds."""
    from filevault.system.strict_json import is_too_deep

    try:
        text = answer.body.decode("utf-8")
        values: Any = None if is_too_deep(text) else json.loads(text)
        given = values["accessToken"]
        key_id, secret = given["accessKeyId"], given["secretAccessKey"]
        session_token, refresh_token = given["sessionToken"], values["refreshToken"]
        life, token_type = values["expiresIn"], values["tokenType"]
        id_token = values.get("idToken")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise not_from_aws(_OPERATION, subject) from None
    usable = (
        isinstance(key_id, str)
        and is_key_id(key_id)
        and isinstance(secret, str)
        and re.match(_SECRET, secret)
        and _is_plain(session_token, _MAX_SESSION_TOKEN)
        and not looks_like_secret(key_id)
        and not looks_like_key_id(secret)
        and _is_plain(refresh_token, _MAX_REFRESH_TOKEN)
        and _is_plain(token_type, 64)
        and type(life) is int
        and 0 < life <= _MAX_LIFE
        and (id_token is None or _is_plain(id_token, _MAX_ID_TOKEN))
    )
    if not usable:
        raise not_from_aws(_OPERATION, subject, "it contains no usable credentials")
    arn = None if id_token is None else subject_of(id_token)
    credentials = Credentials(
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=session_token,
        expiration=int(asked) + life,
        account_id=account_of_login(arn or ""),
        arn=arn,
    )
    return LoginTokens(credentials, refresh_token, token_type, id_token, arn)


def subject_of(id_token: str) -> str | None:
    """Return the `sub` of an id token, None if it has none that can be used.

    The signature is not verified: the token comes straight from the token endpoint over TLS
    (OpenID Connect Core §3.1.3.7, 6).
    """
    import binascii

    parts = id_token.split(".")
    if len(parts) != 3:
        return None
    try:
        packed = parts[1].replace("-", "+").replace("_", "/")
        found = binascii.a2b_base64(packed + "=" * (-len(packed) % 4))
        subject = json.loads(found.decode("utf-8"))["sub"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return subject if is_login_session(subject) else None


def is_login_session(text: object) -> bool:
    """Return whether a text can be the value of `login_session`: printable, without blanks."""
    return _is_plain(text, _MAX_SUBJECT)


def account_of_login(login_session: str) -> str | None:
    """Return the account in the ARN of a user, None for another text."""
    found = re.match(_ARN, login_session)
    return None if found is None else found[1]


def _is_plain(text: object, longest: int) -> bool:
    """Return whether a value is printable ASCII text without spaces, and not empty."""
    return isinstance(text, str) and re.match(rf"[!-~]{{1,{longest}}}\Z", text) is not None
