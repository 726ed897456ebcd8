"""The links and addresses of a console login: the authorize link, the token endpoint, clients.

The service is AWS's sign-in service as an OAuth 2 authorization server, which `aws login` uses as
well. Hosts are those of botocore's endpoint rules for `signin`.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from filevault.aws.pkce import challenge
from filevault.errors import UsageError
from filevault.partitions import partition_of
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

SAME_DEVICE = "arn:aws:signin:::devtools/same-device"
"""The client for a browser on this machine, which is redirected to the loopback interface."""

CROSS_DEVICE = "arn:aws:signin:::devtools/cross-device"
"""The client for a browser on another machine, which shows a code to paste."""

_MAX_CODE = 512  # characters, as in botocore's model of CreateOAuth2Token
MAX_PASTED = 4000
"""The most characters of a pasted code, blanks and line breaks included."""


def base_url(region: str, override: str | None) -> str:
    """Return the URL of the sign-in service of a region, or the configured one, without a slash."""
    if override is not None:
        return override.rstrip("/")
    return f"https://{region}.{partition_of(region).signin_domain}"


def token_url(base: str) -> str:
    """Return the URL of the token endpoint."""
    return f"{base}/v1/token"


def confirmation_url(base: str) -> str:
    """Return the page of AWS's that shows the code to paste, the redirection of CROSS_DEVICE."""
    return f"{base}/v1/sessions/confirmation"


def revoke_url(region: str, override: str | None) -> str:
    """Return the URL that revokes a refresh token; only the `aws` partition has a host for it."""
    base = base_url(region, override)
    if override is None and partition_of(region).name == "aws":
        base = f"https://{region}.oauth.signin.aws"
    return f"{base}/v1/revoke?x-amz-client-auth-method=iam"


class AuthorizationRequest(Record):
    """One request for authorization; `verifier` is a secret until the code is exchanged."""

    _secret = ("verifier",)

    base: str
    client_id: str
    redirect_uri: str
    state: str
    verifier: str

    @property
    def link(self) -> str:
        """The link for the browser; it contains no secret."""
        from urllib.parse import quote

        query: Mapping[str, str] = {
            "response_type": "code",
            "client_id": self.client_id,
            "state": self.state,
            "code_challenge_method": "SHA-256",  # not the S256 of RFC 7636
            "scope": "openid",
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge(self.verifier),
        }
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self.base}/v1/authorize?{pairs}"


def parse_pasted(text: str, state: str) -> str:
    """Return the authorization code in the code that AWS's page shows.

    That is base64 of `state=...&code=...`. Blanks, line breaks and missing padding are accepted,
    as are both alphabets. Raises UsageError for anything else, and for another `state`: such a
    code belongs to another sign-in.
    """
    import hmac
    from urllib.parse import parse_qsl

    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    values: dict[str, str] = {}
    try:
        if len(packed) > MAX_PASTED:
            raise ValueError("too long")
        decoded = binascii.a2b_base64(packed + "=" * (-len(packed) % 4)).decode("ascii")
        pairs = parse_qsl(decoded, strict_parsing=True, max_num_fields=8)
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a repeated key")
    except ValueError:
        values = {}
    code = values.get("code", "")
    if not code or "state" not in values or len(code) > _MAX_CODE:
        raise UsageError(
            "that is not a code of AWS's sign-in page, or not all of it",
            hint="copy the whole code that the page shows after signing in",
        )
    if not hmac.compare_digest(values["state"].encode(), state.encode()):
        raise UsageError(
            "the code belongs to another sign-in",
            hint="open the link that this run has printed, and paste the code that it shows",
        )
    return code
