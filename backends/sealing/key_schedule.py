"""The key schedule of a `file` vault and of sessions: HKDF-SHA-256 (`docs/format.md` §5).

Ids are lower-case hex in arguments and results, as in the files, and the raw bytes they stand
for in every computation.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KEY_SIZE = 32
KEK_SIZE = 64
_ID_SIZE = 8
_VAULT_ID_SIZE = 16


def _expand(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, info).derive(key)


def new_master(random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return a fresh master key."""
    return random(KEY_SIZE)


def new_session_key() -> bytes:
    """Return a fresh session key."""
    return os.urandom(KEY_SIZE)


def new_vault_id(random: Callable[[int], bytes] = os.urandom) -> str:
    """Return a fresh vault id, 32 hex digits."""
    return random(_VAULT_ID_SIZE).hex()


def item_key(master: bytes, vault: str) -> bytes:
    """Return the key that seals items."""
    return _expand(master, bytes.fromhex(vault), b"filevault/1 items", KEY_SIZE)


def item_key_id(master: bytes, vault: str) -> str:
    """Return the id of a master key: `key` in items, `master` in keyslots and vault.json."""
    return _expand(master, bytes.fromhex(vault), b"filevault/1 items id", _ID_SIZE).hex()


def commitment(master: bytes, vault: str) -> str:
    """Return the commitment to a master key, `commit` in vault.json: it reveals nothing of it."""
    return _expand(master, bytes.fromhex(vault), b"filevault/1 commit", KEY_SIZE).hex()


def session_key_id(session_key: bytes, state: str) -> str:
    """Return the header field `key` of the session files of one state directory."""
    return _expand(session_key, bytes.fromhex(state), b"filevault/1 sessions id", _ID_SIZE).hex()


def keyfile_kek(key: bytes, salt: bytes, vault: str) -> bytes:
    """Return the key-encrypting key of a `keyfile` slot, 64 bytes."""
    return _expand(key, salt, b"filevault/1 keyfile" + bytes.fromhex(vault), KEK_SIZE)
