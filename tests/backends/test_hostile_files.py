"""Each field of each file replaced by anything: a clean error with a documented status.

3 made by a newer filevault, 5 a slot that may not be tried or is another passphrase's,
6 damaged or tampered. Nothing else, no traceback, bounded time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from filevault.backends.file import keyslots
from filevault.backends.item_header import ItemHeader
from filevault.errors import FilevaultError
from tests.conditions.work_limits import at_most
from tests.worlds.file_vault import (
    PASSPHRASE,
    GivenSecrets,
    keyfile,
    make,
    put_slot,
    reopen,
    slot_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STATUSES = (3, 5, 6)
KEY = keyslots.new_keyfile_text()
HEADER = ItemHeader("credentials", "jonsmith", 1, "2026-11-23T21:45:13Z", "add")

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2**31, 2**53 - 1, 2**53, 10**300])
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["", "filevault/1", "filevault/2", "0" * 16, "0" * 32, "\ud800", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
hostile = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def replaced(data: bytes, field: str, value: object, *, drop: bool = False) -> bytes:
    line, newline, body = data.partition(b"\n")
    values = json.loads(line)
    values[field] = value
    if drop:
        del values[field]
    text = json.dumps(values, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass") + newline + body


class Hostile:
    """A vault whose files are replaced one at a time; its bounds let 64 MiB be spent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        made = make(path, keyfile_text=KEY)
        self.item = made.encrypt(HEADER, b"secret text")
        files = {self._type(file): file for file in slot_files(path)}
        self.slots = {kind: file.read_bytes() for kind, file in files.items()}
        self.vault = (path / ".filevault/vault.json").read_bytes()
        for file in files.values():
            file.unlink()

    @staticmethod
    def _type(file: Path) -> str:
        return str(json.loads(file.read_bytes().partition(b"\n")[0])["type"])

    def read_item(self, data: bytes) -> bytes:
        put_slot(self.path, self.slots["keyfile"])
        backend = reopen(self.path, GivenSecrets(keyfile(KEY)))
        return backend.decrypt("credentials", "jonsmith", data)

    def read_slot(self, kind: str, data: bytes) -> bytes:
        file = put_slot(self.path, data)
        try:
            secret = keyfile(KEY) if kind == "keyfile" else PASSPHRASE
            backend = reopen(self.path, GivenSecrets(secret), available=lambda: 0)
            return backend.decrypt("credentials", "jonsmith", self.item)
        finally:
            file.unlink()

    def read_vault(self, data: bytes) -> bytes:
        put_slot(self.path, self.slots["keyfile"])
        file = self.path / ".filevault/vault.json"
        file.write_bytes(data)
        try:
            backend = reopen(self.path, GivenSecrets(keyfile(KEY)))
            return backend.decrypt("credentials", "jonsmith", self.item)
        finally:
            file.write_bytes(self.vault)


@pytest.fixture
def hostile_vault(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path)


def judge(read: Callable[[bytes], bytes], data: bytes) -> None:
    """Read a hostile file: the right content, or a documented error, soon."""
    failure = None
    with at_most(1):
        try:
            content = read(data)
        except FilevaultError as error:
            failure = error
    if failure is None:
        assert content == b"secret text"
        return
    assert failure.exit_status in STATUSES, failure.message
    assert failure.message.isprintable()
    assert len(failure.message) < 600


ITEM_FIELDS = ["format", "vault", "key", "kind", "name", "generation", "created", "created_from"]
SLOT_FIELDS = ["format", "vault", "master", "type", "label", "created", "salt", "check"]
COSTS = ["memory_kib", "iterations", "lanes"]
VAULT_FIELDS = ["format", "vault", "master", "commit"]


@pytest.mark.parametrize("field", [*ITEM_FIELDS, "source", "more"])
@hostile
@given(value=ANYTHING, drop=st.booleans())
def test_any_field_of_an_item(hostile_vault: Hostile, field: str, value: Any, drop: bool) -> None:
    judge(hostile_vault.read_item, replaced(hostile_vault.item, field, value, drop=drop))


@pytest.mark.parametrize("field", [*SLOT_FIELDS, *COSTS, "more"])
@hostile
@given(value=ANYTHING, drop=st.booleans())
def test_any_field_of_a_passphrase_slot(
    hostile_vault: Hostile, field: str, value: Any, drop: bool
) -> None:
    data = replaced(hostile_vault.slots["argon2id"], field, value, drop=drop)
    judge(lambda data: hostile_vault.read_slot("argon2id", data), data)


@pytest.mark.parametrize("field", [*SLOT_FIELDS, *COSTS])
@hostile
@given(value=ANYTHING, drop=st.booleans())
def test_any_field_of_a_keyfile_slot(
    hostile_vault: Hostile, field: str, value: Any, drop: bool
) -> None:
    data = replaced(hostile_vault.slots["keyfile"], field, value, drop=drop)
    judge(lambda data: hostile_vault.read_slot("keyfile", data), data)


@pytest.mark.parametrize("field", [*VAULT_FIELDS, "more"])
@hostile
@given(value=ANYTHING, drop=st.booleans())
def test_any_field_of_vault_json(
    hostile_vault: Hostile, field: str, value: Any, drop: bool
) -> None:
    judge(hostile_vault.read_vault, replaced(hostile_vault.vault, field, value, drop=drop))


BYTES = st.binary(max_size=3000) | st.text(max_size=500).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


@hostile
@given(data=BYTES)
@example(data=b"[" * 4095 + b"\n")
@example(data=b'{"a":' * 800 + b"\n")
@example(data=b'{"format":"filevault/2"' + b"\x00" * 5000)
@example(data=b"\xff\xfe{\x00}\x00\n")
@example(data=b"9" * 4090 + b"\n" + bytes(300))
@example(data=bytes(1 << 21))
def test_any_bytes_instead_of_a_file(hostile_vault: Hostile, data: bytes) -> None:
    judge(hostile_vault.read_item, data)
    judge(lambda data: hostile_vault.read_slot("argon2id", data), data)
    judge(lambda data: hostile_vault.read_slot("keyfile", data), data)
    judge(hostile_vault.read_vault, data)


@hostile
@given(where=st.integers(0), bit=st.integers(0, 7), cut=st.booleans())
def test_flipped_bits_and_cuts(hostile_vault: Hostile, where: int, bit: int, cut: bool) -> None:
    def harmed(data: bytes) -> bytes:
        position = where % len(data)
        if cut:
            return data[:position]
        return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]

    judge(hostile_vault.read_item, harmed(hostile_vault.item))
    judge(
        lambda data: hostile_vault.read_slot("argon2id", data),
        harmed(hostile_vault.slots["argon2id"]),
    )
    judge(
        lambda data: hostile_vault.read_slot("keyfile", data),
        harmed(hostile_vault.slots["keyfile"]),
    )
    judge(hostile_vault.read_vault, harmed(hostile_vault.vault))
