"""AWS Vault's stores, written as its format is documented and without any part of filevault."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

ALGORITHM = "PBES2-HS256+A128KW"

# Made by AWS Vault itself: the passphrase is `hunter2`, the file's name `foo`.
VECTOR_PASSPHRASE = b"hunter2"
VECTOR_KEY = ("AKIAEXAMPLE0000001", "secretkey/+abc")
VECTOR = (
    b"eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjcmVhdGVkIjoiMjAyNi0xMS0yMyAyMTo1MjowNC43NjIzNzkzMzgg"
    b"KzAwMDAgVVRDIG09KzAuMDAzNDU3MDA5IiwiZW5jIjoiQTI1NkdDTSIsInAyYyI6ODE5MiwicDJzIjoiZDEyV2UtS0tE"
    b"enhQdF9WdiJ9.PHnvI-QOdf8H7yUQAD_T15Bi94wto815S8sXq1cPSFXbHK54VyoLWg.JNh9kfYeUgN7SlgW.HZkpE8QJ"
    b"3nAaidEpDC3tRtNahbL3nfi8Jhpm2mdA07SZprQcnZZO8AEYTxo76HVE0xPRVe-EDesCrNqM4Erz9Ymb5zCgGPtKEifm"
    b"WK4POUhMXTtnCDW3DEA_AyQmlDMyqk5Nj3tIR9Af1Xn2rvT3BFa9IKGGxi3AvbuAKH3DoyxwNxfedxq5Va0wZ77STCC-"
    b"tTZON28i0jt-ZQ_ZWJn7lK7OClyyA8rfK-FhxhujLuAUKWnzU32YDk1IqdM7VGyfVGA_iFFEiNsChtrYpD3yXtFytlJS"
    b"7NnHQKYfbRZthk1mBBvPNNxYzEYS_vJDuyBEnDN9pCNKQapMoJ8ZxoHl24Yy95oqn_f5PS4Ymdh-LybQpI4oYB0ORZw9"
    b"DI5wadSk5PcNHyF67oawLTOXjLXnAh2DXIPYPAGTkYZvWXEj8Cgnatoc8pzfKWnXNHNkYAcaGR0T.bTNIREZs_NtwWSz"
    b"bX_yqhA"
)


def item(name: str, key_id: str, secret: str, *, token: str = "") -> bytes:
    """Return the JSON of an item, as it stands in any of its stores."""
    data = {
        "AccessKeyID": key_id,
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Source": "",
        "CanExpire": False,
        "Expires": "0001-01-01T00:00:00Z",
    }
    return wrapped(name, json.dumps(data).encode())


def wrapped(name: str, data: bytes) -> bytes:
    """Return the JSON around the data of an item."""
    return json.dumps(
        {
            "Key": name,
            "Data": base64.b64encode(data).decode(),
            "Label": f"aws-vault ({name})",
            "Description": "",
            "KeychainNotTrustApplication": True,
            "KeychainNotSynchronizable": False,
        }
    ).encode()


def encrypted(text: bytes, passphrase: str, iterations: int = 8192, **header: object) -> bytes:
    """Return the file of an item in the `file` store; `header` replaces or adds members."""
    salt = os.urandom(12)
    members = {
        "alg": ALGORITHM,
        "created": "2026-11-23 21:52:04.762379338 +0000 UTC m=+0.003457009",
        "enc": "A256GCM",
        "p2c": iterations,
        "p2s": _b64(salt).decode(),
        **header,
    }
    kdf = PBKDF2HMAC(hashes.SHA256(), 16, ALGORITHM.encode() + b"\0" + salt, iterations)
    key, nonce = os.urandom(32), os.urandom(12)
    protected = _b64(json.dumps(members, separators=(",", ":")).encode())
    sealed = AESGCM(key).encrypt(nonce, text, protected)
    wrapped_key = aes_key_wrap(kdf.derive(passphrase.encode()), key)
    parts = (protected, *map(_b64, (wrapped_key, nonce, sealed[:-16], sealed[-16:])))
    return b".".join(parts)


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def file_name(name: str) -> str:
    """Return the name of the file of an item."""
    return name.replace("%", "%25").replace("/", "%2F")


def add(folder: Path, name: str, key: tuple[str, str], passphrase: str) -> Path:
    """Write a key into a `file` store."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / file_name(name)
    path.write_bytes(encrypted(item(name, *key), passphrase))
    return path
