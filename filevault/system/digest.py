"""SHA-256, the hash of names, pins and cache keys."""

from __future__ import annotations

# pyca's class, not hashlib: its module is loaded for decryption anyway, hashlib costs 7 ms.
from cryptography.hazmat.primitives.hashes import SHA256, Hash


def sha256(data: bytes) -> bytes:
    """Return the 32 bytes of SHA-256 (FIPS 180-4) of `data`."""
    digest = Hash(SHA256())
    digest.update(data)
    return digest.finalize()


def sha256_hex(data: bytes) -> str:
    """Return SHA-256 of `data` as 64 lower-case hex digits."""
    return sha256(data).hex()
