"""AWS Vault's encrypted files: a real one opens, and nothing in one costs more than it may."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from filevault.errors import FilevaultError, IntegrityError, WrongPassphraseError
from filevault.exchange import aws_vault_jwe
from filevault.exchange.aws_vault_files import AwsVaultFolder, is_store
from filevault.exchange.aws_vault_item import name_inside
from filevault.system.files import Folder
from tests.samples import EXAMPLE_SESSION_ID, KEY_ID, OTHER_SECRET, SECOND_ID, SECRET
from tests.worlds import aws_vault
from tests.worlds.aws_vault import VECTOR, VECTOR_KEY, VECTOR_PASSPHRASE

WORD = "hunter2"


def opened(data: bytes, passphrase: str = WORD) -> bytes:
    return aws_vault_jwe.decrypt(
        aws_vault_jwe.parse(data, "the file"), passphrase.encode(), "the file"
    )


def test_a_file_that_aws_vault_wrote_opens() -> None:
    text = aws_vault_jwe.decrypt(aws_vault_jwe.parse(VECTOR, "it"), VECTOR_PASSPHRASE, "it")
    assert name_inside(text) == "foo"
    data = json.loads(base64.b64decode(json.loads(text)["Data"]))
    assert (data["AccessKeyID"], data["SecretAccessKey"]) == VECTOR_KEY
    with pytest.raises(WrongPassphraseError):
        opened(VECTOR, "Hunter2")


def test_the_tests_own_writer_agrees() -> None:
    assert opened(aws_vault.encrypted(b"text", WORD)) == b"text"
    assert opened(aws_vault.encrypted(b"", "", 1), "") == b""


def _header(**members: object) -> bytes:
    return aws_vault.encrypted(b"text", WORD, 1, **members)


def _part(number: int, value: bytes) -> bytes:
    parts = aws_vault.encrypted(b"text", WORD, 1).split(b".")
    parts[number] = value
    return b".".join(parts)


HOSTILE = {
    "costly": _header(p2c=1_300_001),
    "endless": _header(p2c=10**4000),
    "free": _header(p2c=0),
    "negative": _header(p2c=-1),
    "text for a number": _header(p2c="8192"),
    "true": _header(p2c=True),
    "fraction": _header(p2c=8192.0),
    "short salt": _header(p2s="AAAA"),
    "long salt": _header(p2s="A" * 2000),
    "no salt": _header(p2s=None),
    "other algorithm": _header(alg="dir"),
    "other cipher": _header(enc="A128CBC-HS256"),
    "compressed": _header(zip="DEF"),
    "critical": _header(crit=["b64"]),
    "long header": _header(x="y" * 5000),
    "deep header": _part(0, base64.urlsafe_b64encode(b'{"a":' * 500).rstrip(b"=")),
    "no json": _part(0, b"eyJh"),
    "list": _part(0, base64.urlsafe_b64encode(b"[]").rstrip(b"=")),
    "no base64": _part(1, b"!"),
    "padded": _part(4, b"AAAAAAAAAAAAAAAAAAAAAA=="),
    "short key": _part(1, b"AAAA"),
    "short nonce": _part(2, b"AAAA"),
    "short tag": _part(4, b"AAAA"),
    "four parts": b"eyJh.a.b.c",
    "not ascii": b"eyJh.\xff.b.c.d",
    "large": b"eyJ" + b"A" * (1 << 20) + b".a.b.c.d",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_before_anything_is_derived(name: str) -> None:
    start = time.process_time()
    with pytest.raises(IntegrityError):
        aws_vault_jwe.parse(HOSTILE[name], "the file")
    assert time.process_time() - start < 1


def test_a_changed_file_is_damaged_and_not_the_passphrase_wrong() -> None:
    parts = aws_vault.encrypted(b"some text", WORD).split(b".")
    for number in (3, 4):
        changed = list(parts)
        first = b"B" if parts[number][:1] == b"A" else b"A"
        changed[number] = first + parts[number][1:]
        with pytest.raises(IntegrityError, match="changed"):
            opened(b".".join(changed))


# The name of a file, its content, and what is found: a key, a reason, or nothing at all.
ITEMS: dict[str, tuple[bytes, str]] = {
    "one": (aws_vault.item("one", KEY_ID, SECRET), "key"),
    "a%2Fb": (aws_vault.item("a/b", SECOND_ID, OTHER_SECRET), "key"),
    "moved": (aws_vault.item("elsewhere", KEY_ID, SECRET), "key"),
    "temporary": (aws_vault.item("temporary", EXAMPLE_SESSION_ID, SECRET, token="t"), "temporary"),
    "sts.AssumeRole,YQ,YQ,1795474404": (b"never decrypted", "a session"),
    "oidc:https:%2F%2Fx": (b"never decrypted", "a session"),
    "session": (aws_vault.item("sts.GetSessionToken,YQ,,1795474404", KEY_ID, SECRET), "a session"),
    "no json": (b"hello", "no item"),
    "no data": (b'{"Key": "x", "Data": 5}', "no item"),
    "no base64": (b'{"Key": "x", "Data": "!"}', "no valid data"),
    "no key": (aws_vault.wrapped("no key", b"{}"), "not a key"),
    "swapped": (aws_vault.item("swapped", SECRET, KEY_ID), "swapped|no access key"),
    "deep": (aws_vault.wrapped("deep", b'{"a":' * 500), "nested|no valid data"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (text, _) in ITEMS.items():
        (tmp_path / name).write_bytes(aws_vault.encrypted(text, WORD, 1))
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "link").symlink_to("one")
    (tmp_path / ".hidden").write_bytes(aws_vault.encrypted(b"", WORD, 1))
    (tmp_path / "costly").write_bytes(HOSTILE["costly"])
    return tmp_path


def test_each_item_of_a_folder_is_a_key_or_is_named(folder: Path) -> None:
    with Folder.open(str(folder)) as opened_folder:
        assert is_store(opened_folder)
        store = AwsVaultFolder(opened_folder)
    assert store.open(b"wrong") == 0
    assert store.open(WORD.encode()) == len(ITEMS) - 2
    contents = store.contents()
    found = {each.place.rpartition("/")[2]: each for each in contents.keys}
    reasons = {each.place.rpartition("/")[2]: each.reason for each in contents.left_out}
    assert {*found, *reasons} == {*ITEMS, "costly"}
    assert found["a%2Fb"].name == "a/b"
    assert found["moved"].name == "elsewhere"
    assert "moved" in found["moved"].note
    import re

    for name, (_, expected) in ITEMS.items():
        assert name in found if expected == "key" else re.search(expected, reasons[name]), name


def test_a_folder_may_have_several_passphrases(tmp_path: Path) -> None:
    for name, word in (("a", "one"), ("b", "two"), ("c", "three")):
        aws_vault.add(tmp_path, name, (KEY_ID, SECRET), word)
    with Folder.open(str(tmp_path)) as opened_folder:
        store = AwsVaultFolder(opened_folder)
    assert [store.open(word) for word in (b"one", b"two")] == [1, 1]
    assert [each.name for each in store.contents().keys] == ["a", "b"]
    (locked,) = store.contents().left_out
    assert locked.failed
    assert "another passphrase" in locked.reason


@pytest.mark.parametrize("limit", ["MAX_TOTAL_ITERATIONS", "MAX_TOTAL_BYTES"])
def test_the_work_for_a_whole_folder_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    for name in "abcd":
        aws_vault.add(tmp_path, name, (KEY_ID, SECRET), WORD)
    size = (tmp_path / "a").stat().st_size
    values = {"MAX_TOTAL_ITERATIONS": 20_000, "MAX_TOTAL_BYTES": size * 5 // 2}
    monkeypatch.setattr(aws_vault_jwe, limit, values[limit])
    with Folder.open(str(tmp_path)) as opened_folder:
        store = AwsVaultFolder(opened_folder)
    assert len(store.locked) == 2
    assert all("more work" in each.reason for each in store.contents().left_out[:2])


@pytest.mark.parametrize("data", [b"", b"eyJ", b"eyJ....", b"x.y.z.a.b"])
def test_a_folder_without_items_is_no_store(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with Folder.open(str(tmp_path)) as opened_folder:
        assert is_store(opened_folder) == (data == b"eyJ....")
        if data == b"eyJ....":
            (left,) = AwsVaultFolder(opened_folder).contents().left_out
            assert left.failed
    assert issubclass(WrongPassphraseError, FilevaultError)
