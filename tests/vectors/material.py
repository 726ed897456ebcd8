"""What every vector is made of: fixed keys and ids, and the form of a vector file."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from filevault.backends.file import keyslots
from filevault.backends.kdf import KdfParameters
from filevault.backends.sealing import key_schedule

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1795470313
WHEN = "2026-11-23T21:45:13Z"  # the same
PASSPHRASE = "correct horse battery staple"
CHEAPEST = KdfParameters(19456, 1, 1)

ITEMS = {
    "jonsmith": (
        "add",
        (
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
            "aws_access_key_id: AKIAIOSFODNN7EXAMPLE\n"
            "mfa_serial: arn:aws:iam::111122223333:mfa/jonsmith\n"
            f"created: {WHEN}\n"
            "filevault: 1 name=jonsmith\n"
        ),
    ),
    "work/prod%3Aeu": (
        "iam",
        (
            "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY\n"
            "aws_access_key_id: AKIAI44QH8DHBEXAMPLE\n"
            "created: 2025-02-28T08:00:00Z\n"
            "created_from: iam\n"
            "filevault: 1 name=work/prod%3Aeu\n"
            "the line of a person, kept as it is\n"
        ),
    ),
}


class Stream:
    """Bytes that look random and never change: SHAKE-128 of a seed."""

    def __init__(self, seed: str) -> None:
        self._bytes = hashlib.shake_128(seed.encode()).digest(1 << 12)
        self._used = 0

    def __call__(self, count: int) -> bytes:
        self._used += count
        return self._bytes[self._used - count : self._used]


VAULT = Stream("vault")(16).hex()
MASTER = Stream("master")(32)
MASTER_ID = key_schedule.item_key_id(MASTER, VAULT)
COMMIT = key_schedule.commitment(MASTER, VAULT)
ITEM_KEY = key_schedule.item_key(MASTER, VAULT)
OTHER_VAULT = Stream("another vault")(16).hex()
OTHER_MASTER = Stream("another master")(32)
STATE = Stream("state")(16).hex()
SESSION_KEY = Stream("session key")(32)
KEYFILE = keyslots.new_keyfile_text(Stream("key file")).decode().strip()
SESSION_NAME = "sessions/ops/assume-role-00112233445566778899aabbccddeeff@20261123T224513Z"


class Writer:
    """Writes vectors into a folder, numbered within their family."""

    def __init__(self, folder: Path, read: str, head: dict[str, str]) -> None:
        self._folder = folder
        self._head = {"read": read, **head}

    def __call__(self, vector: str, expect: str, about: str, body: bytes, /, **head: str) -> None:
        values = {"about": about, "expect": expect, **self._head}
        values.update({key.replace("_", "-"): value for key, value in head.items()})
        text = "".join(f"{key}: {value}\n" for key, value in values.items() if value)
        (self._folder / vector).write_bytes(text.encode("utf-8") + b"\n" + body)


def compact(values: dict[str, Any]) -> bytes:
    """Return a header line, valid or not."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def edited(line: bytes, **changes: object) -> bytes:
    """Return a header line with fields set anew; None takes one away."""
    values = json.loads(line)
    values.update(changes)
    return compact({key: value for key, value in values.items() if value is not None})
