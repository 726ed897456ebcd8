"""Decrypt one file of AWS Vault's `file` store: a compact JWE of one fixed profile.

JWE is RFC 7516, its algorithms are in RFC 7518: PBES2-HS256+A128KW (§4.8), A256GCM (§5.3). Every
size and cost in a file is checked before a key is derived from it.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any

from filevault.errors import DamagedError, UnsupportedItemError, WrongPassphraseError
from filevault.system.record import Record
from filevault.system.strict_json import is_too_deep

MAX_FILE = 1 << 20
MAX_ITERATIONS = 1_300_000  # what AWS Vault's own library reads
MAX_TOTAL_ITERATIONS = 1 << 28  # for all files of a folder: AWS Vault writes 8192 in each
MAX_TOTAL_BYTES = 64 << 20  # for all files of a folder: one of AWS Vault's has about 1 KiB
_MAX_HEADER = 4 << 10
_ALGORITHM, _ENCRYPTION = "PBES2-HS256+A128KW", "A256GCM"
_PART = r"[A-Za-z0-9_-]*\Z"
_SALT = (8, 256)  # bytes; RFC 7518 §4.8.1.1 needs 8
_WRAPPED_KEY, _NONCE, _TAG = 40, 12, 16  # bytes; RFC 3394 adds 8 to a key of 32


class Jwe(Record):
    """A parsed file. `header` is the first part as stored, which is authenticated."""

    header: bytes
    salt: bytes
    iterations: int
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes


def looks_like_jwe(data: bytes) -> bool:
    """Return whether bytes have five parts with dots between them, the first JSON in base64."""
    return data.startswith(b"eyJ") and data.count(b".") == 4 and len(data) <= MAX_FILE


def parse(data: bytes, what: str) -> Jwe:
    """Parse a file; nothing is derived yet.

    Raises DamagedError, and UnsupportedItemError for other algorithms or costs out of bounds.
    """
    parts = data.strip().split(b".")
    if len(parts) != 5 or len(data) > MAX_FILE or len(parts[0]) > _MAX_HEADER:
        raise DamagedError(f"{what} is no item of AWS Vault")
    header = _header(_decoded(parts[0], what), what)
    if (header.get("alg"), header.get("enc")) != (_ALGORITHM, _ENCRYPTION):
        raise UnsupportedItemError(f"{what} is encrypted in another way than AWS Vault does")
    if not header.keys().isdisjoint(("crit", "zip")):
        raise UnsupportedItemError(f"{what} uses an extension that AWS Vault does not use")
    iterations, salt = header.get("p2c"), header.get("p2s")
    if type(iterations) is not int or not 1 <= iterations <= MAX_ITERATIONS:
        raise UnsupportedItemError(
            f"{what} asks for more than {MAX_ITERATIONS} iterations of its passphrase, or for none"
        )
    if not isinstance(salt, str) or not salt.isascii():
        raise DamagedError(f"{what} has no salt")
    jwe = Jwe(
        parts[0],
        _decoded(salt.encode(), what),
        iterations,
        _decoded(parts[1], what),
        _decoded(parts[2], what),
        _decoded(parts[3], what) + _decoded(parts[4], what),
    )
    sizes = len(jwe.wrapped_key), len(jwe.nonce), len(_decoded(parts[4], what))
    if sizes != (_WRAPPED_KEY, _NONCE, _TAG) or not _SALT[0] <= len(jwe.salt) <= _SALT[1]:
        raise DamagedError(f"{what} has parts of the wrong size")
    return jwe


def decrypt(jwe: Jwe, passphrase: bytes, what: str) -> bytes:
    """Return the plaintext.

    Raises WrongPassphraseError, and DamagedError if the content was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    # RFC 7518 §4.8.1.1: the salt is the algorithm, a zero byte and p2s.
    salt = _ALGORITHM.encode() + b"\x00" + jwe.salt
    kdf = PBKDF2HMAC(hashes.SHA256(), 16, salt, jwe.iterations)
    try:
        key = aes_key_unwrap(kdf.derive(passphrase), jwe.wrapped_key)
    except InvalidUnwrap:
        raise WrongPassphraseError(f"the passphrase does not open {what}") from None
    try:
        return AESGCM(key).decrypt(jwe.nonce, jwe.ciphertext, jwe.header)
    except InvalidTag:
        raise DamagedError(f"{what} was changed after AWS Vault wrote it") from None


def _decoded(part: bytes, what: str) -> bytes:
    text = part.decode("ascii", "replace")
    if not re.match(_PART, text) or len(text) % 4 == 1:
        raise DamagedError(f"{what} is no item of AWS Vault")
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def _header(data: bytes, what: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
        if is_too_deep(text):
            raise ValueError
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError(f"{what} has no valid header") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{what} has no valid header")
    return value
