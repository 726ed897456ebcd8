"""Time-based one-time passwords as AWS virtual MFA devices use them.

RFC 6238 with SHA-1, 30 seconds and six digits, over HOTP (RFC 4226 §5.3).
"""

from __future__ import annotations

import hashlib
import hmac

STEP_SECONDS = 30
DIGITS = 6


def hotp(seed: bytes, counter: int) -> str:
    """Compute the code of one counter value."""
    digest = hmac.new(seed, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def totp(seed: bytes, at: float) -> str:
    """Compute the code valid at a Unix time."""
    return hotp(seed, step_of(at))


def step_of(at: float) -> int:
    """Return the number of the 30-second step that holds a Unix time."""
    return int(at // STEP_SECONDS)


def matching_steps(seed: bytes, code: str, at: float) -> list[int]:
    """List the steps, of a time and next to it, whose code this is, oldest first."""
    now = step_of(at)
    return [
        step
        for step in range(max(now - 1, 0), now + 2)
        if hmac.compare_digest(hotp(seed, step), code)
    ]
