"""Claims of a web identity token, read without trust: who issued it, for whom, about whom.

No signature is verified. The claims serve messages, and tell the sessions of two identities apart.
"""

from __future__ import annotations

import binascii
import json

from filevault.system.printable import printable

_NAMES = ("iss", "aud", "sub")
_MAX_PAYLOAD = 16 << 10  # characters
_SHOWN = 200


def claims_of(token: str) -> dict[str, str]:
    """Return `iss`, `aud` and `sub` of a token as text; those that it lacks are absent.

    A token is three parts in base64url, separated by dots (RFC 7515 §3.1); the second one is a JSON
    object (RFC 7519 §4.1). Anything else has no claims.
    """
    parts = token.split(".")
    if len(parts) != 3 or len(parts[1]) > _MAX_PAYLOAD or not parts[1].isascii():
        return {}
    text = parts[1].replace("-", "+").replace("_", "/")
    try:
        found = json.loads(binascii.a2b_base64(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    claims = {}
    for name in _NAMES:
        value = found.get(name)
        if isinstance(value, list):  # RFC 7519 §4.1.3: of audiences there may be several
            value = " ".join(each for each in value if isinstance(each, str))
        if isinstance(value, str) and value:
            # JSON can escape lone surrogates, which nothing else takes.
            claims[name] = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return claims


def shown_claims(token: str) -> str:
    """Return the claims of a token for a message, printable and bounded; "" if it has none."""
    found = claims_of(token)
    return ", ".join(f"{name} {printable(value, _SHOWN)!r}" for name, value in found.items())


def mark_of(token: str) -> tuple[str, ...]:
    """Return the claims of a token as a mark of its identity, empty texts for what it lacks."""
    found = claims_of(token)
    return tuple(found.get(name, "") for name in _NAMES)
