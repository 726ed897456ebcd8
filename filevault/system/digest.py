"""SHA-256, the hash of names, pins and cache keys."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _interpreters_own() -> Any:  # noqa: ANN401
    """Return the constructor of SHA-256 that hashlib takes where there is no OpenSSL.

    hashlib itself loads OpenSSL, and pyca's module all that its ciphers need: a third of the time
    of starting Python, and twice that time. Python 3.12 renamed the module.
    """
    try:
        return __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    except ImportError:
        import hashlib

        return hashlib.sha256


_sha256 = _interpreters_own()


def sha256(data: bytes) -> bytes:
    """Return the 32 bytes of SHA-256 (FIPS 180-4) of `data`."""
    digest: bytes = _sha256(data).digest()
    return digest


def sha256_hex(data: bytes) -> str:
    """Return SHA-256 of `data` as 64 lower-case hex digits."""
    return sha256(data).hex()
