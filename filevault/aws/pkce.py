"""The verifier of an authorization request and its challenge (RFC 7636)."""

from __future__ import annotations

_VERIFIER_BYTES = 48  # 64 characters of base64url; RFC 7636 §4.1 allows 43 to 128


def new_verifier() -> str:
    """Return a random verifier of 64 characters, a secret until it is sent with the code."""
    import secrets

    return secrets.token_urlsafe(_VERIFIER_BYTES)


def challenge(verifier: str) -> str:
    """Return the challenge of a verifier: base64url of its SHA-256, without padding (§4.2)."""
    import base64
    import hashlib

    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
