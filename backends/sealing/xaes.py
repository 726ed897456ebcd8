"""XAES-256-GCM (C2SP): AES-256-GCM with a nonce of 192 bits (`docs/format.md` §6).

It was chosen for its long nonce: independent writers choose nonces at random under one key for
years, for which the 96 bits of plain GCM are too few.

The ciphers are imported where they are used: that takes twice as long as starting Python, and
what only reads headers needs none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
NONCE_SIZE = 24
TAG_SIZE = 16

_BLOCK = 16
# NIST SP 800-108r1 counter mode on CMAC, written out for its two blocks: counter, label "X", 0x00.
_LABELS = (b"\x00\x01X\x00", b"\x00\x02X\x00")
_POLYNOMIAL = 0x87  # NIST SP 800-38B §5.3, R_128


def _derived(key: bytes, nonce: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    if len(key) != KEY_SIZE or len(nonce) != NONCE_SIZE:
        raise ValueError("XAES-256-GCM takes a key of 32 bytes and a nonce of 24")
    blocks = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - single blocks inside CMAC
    top = int.from_bytes(blocks.update(bytes(_BLOCK)))
    subkey = (top << 1 & (1 << 128) - 1) ^ (_POLYNOMIAL if top >> 127 else 0)
    messages = [int.from_bytes(label + nonce[:12]) ^ subkey for label in _LABELS]
    return AESGCM(b"".join(blocks.update(message.to_bytes(_BLOCK)) for message in messages))


def encrypt(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Return ciphertext and tag; a nonce must be used only once."""
    return _derived(key, nonce).encrypt(nonce[12:], plaintext, associated_data)


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Return the plaintext of ciphertext and tag.

    Raises cryptography's InvalidTag unless key, nonce, ciphertext and associated data are those
    of the encryption, and ValueError for a ciphertext without room for the tag.
    """
    if len(ciphertext) < TAG_SIZE:
        raise ValueError("a ciphertext shorter than its tag")
    return _derived(key, nonce).decrypt(nonce[12:], ciphertext, associated_data)
