"""SHA-256 and HMAC-SHA-256 without hashlib, whose OpenSSL takes 7 ms to load."""

import sys

if sys.version_info >= (3, 12):
    from _sha2 import sha256
else:
    from _sha256 import sha256  # type: ignore[import-not-found]

_BLOCK = 64  # bytes of a block of SHA-256
_INNER = int.from_bytes(b"\x36" * _BLOCK, "big")  # RFC 2104 §2
_OUTER = int.from_bytes(b"\x5c" * _BLOCK, "big")


def hash_of(data: bytes) -> bytes:
    """Return the 32 bytes of SHA-256 (FIPS 180-4)."""
    digest: bytes = sha256(data).digest()
    return digest


def hmac(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA-256 (RFC 2104); the key has 32 bytes."""
    number = int.from_bytes(key.ljust(_BLOCK, b"\0"), "big")
    inner = hash_of((number ^ _INNER).to_bytes(_BLOCK, "big") + data)
    return hash_of((number ^ _OUTER).to_bytes(_BLOCK, "big") + inner)


def xor(one: bytes, other: bytes) -> bytes:
    """Return the exclusive or of two texts of the same length."""
    number = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return number.to_bytes(len(one), "big")


def equal(one: bytes, other: bytes) -> bool:
    """Return whether two tags are equal, without stopping at the first difference.

    `any` would stop there, and so tell how many bytes of a guess are right.
    """
    return len(one) == len(other) and sum(xor(one, other)) == 0


def hash_of_list(parts: list[bytes]) -> bytes:
    """Return SHA-256 of a list, each part preceded by its length in 8 bytes."""
    return hash_of(b"".join([len(part).to_bytes(8, "big") + part for part in parts]))
