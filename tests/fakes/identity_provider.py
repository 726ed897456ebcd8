"""An OpenID Connect identity provider: issues web identity tokens and verifies them, strictly."""

from __future__ import annotations

import base64
import json
from secrets import token_hex
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

from tests.fakes.clock import Clock
from tests.fakes.refusal import Refusal

_ES256 = ec.ECDSA(SHA256())


class IdentityProvider:
    """Signs with one P-256 key (ES256, RFC 7518 §3.4).

    `audiences` are those that IAM knows; each token is added to `secrets`.
    """

    def __init__(
        self, issuer: str, clock: Clock, audiences: tuple[str, ...], secrets: set[str]
    ) -> None:
        self.issuer = issuer
        self._secrets = secrets
        self.audiences = audiences
        self.issued: list[str] = []
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())

    def issue(
        self,
        subject: str,
        audience: str | list[str] = "sts.amazonaws.com",
        *,
        seconds: float = 300,
        **claims: Any,
    ) -> str:
        """Return a new token."""
        now = int(self._clock())
        payload = {
            "iss": self.issuer,
            "aud": audience,
            "sub": subject,
            "iat": now,
            "exp": now + int(seconds),
            "jti": token_hex(8),
            **claims,
        }
        signed = ".".join(_part(json.dumps(part)) for part in ({"alg": "ES256"}, payload))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), _ES256))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        token = f"{signed}.{_encoded(signature)}"
        self.issued.append(token)
        self._secrets.add(token)
        return token

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token of this provider; raises the refusals of STS."""
        signed, _, last = token.rpartition(".")
        try:
            signature = _decoded(last)
            r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
            self._key.public_key().verify(encode_dss_signature(r, s), signed.encode(), _ES256)
        except (InvalidSignature, ValueError):
            raise Refusal(
                "InvalidIdentityToken",
                "Couldn't retrieve verification key from your identity provider",
            ) from None
        claims = payload_of(token)
        if self._clock() >= claims["exp"]:
            raise Refusal("ExpiredTokenException", "Token expired")
        audience = claims["aud"]
        given = [audience] if isinstance(audience, str) else audience
        if not set(given) & set(self.audiences):
            raise Refusal("InvalidIdentityToken", "Incorrect token audience")
        return claims


def payload_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified; raises the refusal of STS for what is none."""
    parts = token.split(".")
    try:
        if len(parts) != 3:
            raise ValueError(len(parts))
        found: dict[str, Any] = json.loads(_decoded(parts[1]))
    except ValueError:
        raise Refusal(
            "InvalidIdentityToken",
            "The ID Token provided is not a valid JWT. (You may see this "
            "error if you sent an Access Token)",
        ) from None
    return found


def _part(text: str) -> str:
    return _encoded(text.encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
