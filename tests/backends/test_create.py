from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from filevault.backends.file import FILE, keyslots
from filevault.backends.file.new_vault import create
from filevault.backends.item_header import ItemHeader
from filevault.backends.kdf import DEFAULT, STANDARD, KdfParameters
from filevault.errors import (
    LockedError,
    NewerFormatError,
    StorageError,
    UsageError,
    VaultChoiceError,
)
from filevault.system.files import Folder
from filevault.vault.choose import has_marker
from tests.worlds.file_vault import (
    CHEAP,
    PASSPHRASE,
    TIME,
    WHEN,
    GivenSecrets,
    keyfile,
    make,
    reopen,
    slot_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = ItemHeader("credentials", "jonsmith", 1, WHEN, "add")
KEY = keyslots.new_keyfile_text()


def test_new_vault_is_open_and_opens_again(tmp_path: Path) -> None:
    made = make(tmp_path, keyfile_text=KEY)
    data = made.encrypt(HEADER, b"x")
    assert made.decrypt("credentials", "jonsmith", data) == b"x"
    for secret in (PASSPHRASE, keyfile(KEY)):
        assert (
            reopen(tmp_path, GivenSecrets(secret)).decrypt("credentials", "jonsmith", data) == b"x"
        )


def test_new_vault_consists_of_the_documented_files(tmp_path: Path) -> None:
    made = make(tmp_path, keyfile_text=KEY)
    inner = tmp_path / ".filevault"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".filevault"]
    assert sorted(path.name for path in inner.iterdir()) == ["slots", "vault.json"]
    assert len(list((inner / "slots").iterdir())) == 2
    assert json.loads((inner / "vault.json").read_text()) == {
        "format": "filevault/1",
        "vault": made.vault_id,
        "master": made.master_id,
        "commit": made.commitment,
    }
    assert made.opened_slot in {file.stem for file in slot_files(tmp_path)}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_private_whatever_the_umask(mask: int, tmp_path: Path) -> None:
    old = os.umask(mask)
    try:
        make(tmp_path / "vault")
    finally:
        os.umask(old)
    for path in (tmp_path / "vault").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_slots_carry_label_time_and_costs(tmp_path: Path) -> None:
    make(tmp_path, keyfile_text=KEY, parameters=KdfParameters(72, 2, 3), label="the b\u00fcro")
    lines = [json.loads(file.read_bytes().partition(b"\n")[0]) for file in slot_files(tmp_path)]
    assert {line["type"] for line in lines} == {"argon2id", "keyfile"}
    for line in lines:
        assert (line["label"], line["created"]) == ("the b\u00fcro", WHEN)
        if line["type"] == "argon2id":
            assert (line["memory_kib"], line["iterations"], line["lanes"]) == (72, 2, 3)


def test_costs_default_to_the_policys(tmp_path: Path) -> None:
    with Folder.make(str(tmp_path)) as root:
        create(root, passphrase=PASSPHRASE, policy=STANDARD, clock=lambda: TIME)
    (file,) = slot_files(tmp_path)
    assert keyslots.parse(file.read_bytes(), file.name, "it").parameters == DEFAULT


def test_two_vaults_share_no_id(tmp_path: Path) -> None:
    first, second = make(tmp_path / "1"), make(tmp_path / "2")
    assert first.vault_id != second.vault_id
    assert first.master_id != second.master_id
    assert first.commitment != second.commitment


def test_existing_vault_is_never_replaced(tmp_path: Path) -> None:
    make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(VaultChoiceError, match="there is a vault already") as caught:
        make(tmp_path)
    assert caught.value.exit_status == 3
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_marker_that_cannot_be_read_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / ".filevault").mkdir()
    file = tmp_path / ".filevault" / "vault.json"
    file.write_text('{"format":"filevault/2"}')
    with pytest.raises(NewerFormatError):
        make(tmp_path)
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="is a link"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, UsageError),
        ({"passphrase": b""}, LockedError),
        ({"passphrase": b"\xff"}, LockedError),
        ({"keyfile_text": b"filevault-key-1:short"}, LockedError),
        ({"passphrase": PASSPHRASE, "keyfile_text": b""}, LockedError),
        ({"passphrase": PASSPHRASE, "label": "x" * 201}, UsageError),
        ({"passphrase": PASSPHRASE, "label": "\x1b[2J"}, UsageError),
        ({"passphrase": PASSPHRASE, "label": "\ud800"}, UsageError),
        ({"passphrase": PASSPHRASE, "parameters": KdfParameters(19455, 3, 4)}, UsageError),
        ({"passphrase": PASSPHRASE, "parameters": KdfParameters(65536, 0, 4)}, UsageError),
        ({"passphrase": PASSPHRASE, "parameters": KdfParameters(65536, 3, 17)}, UsageError),
    ],
)
def test_what_cannot_make_a_vault_writes_nothing(
    arguments: dict[str, Any], kind: type[Exception], tmp_path: Path
) -> None:
    with Folder.make(str(tmp_path)) as root, pytest.raises(kind):
        create(root, policy=STANDARD, clock=lambda: TIME, **arguments)
    assert list(tmp_path.iterdir()) == []


class DeadError(BaseException):
    """The process was killed."""


WRITING = ("open", "mkdir", "write", "fsync", "fchmod", "rename", "unlink")


def interrupted(
    monkeypatch: pytest.MonkeyPatch, path: Path, last: int, fail: Callable[[], BaseException]
) -> tuple[int, bool]:
    """Make a vault, failing at the write-relevant call of that number.

    Returns how many calls were made, and whether the vault was finished. A killed process
    does nothing more; after an error the clean-up still runs.
    """
    count = 0
    dead = isinstance(fail(), DeadError)

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == last or (dead and count > last > 0):
                raise fail()
            return real(*args, **keywords)

        return call

    with monkeypatch.context() as patch:
        for name in WRITING:
            patch.setattr(os, name, failing(getattr(os, name)))
        try:
            with Folder.make(str(path)) as root:
                create(
                    root, passphrase=PASSPHRASE, keyfile_text=KEY, policy=CHEAP, clock=lambda: TIME
                )
        except (DeadError, StorageError):
            return count, False
    return count, True


@pytest.mark.parametrize(
    "fail",
    [DeadError, lambda: OSError(28, "No space left on device"), lambda: OSError(5, "I/O error")],
    ids=["kill", "ENOSPC", "EIO"],
)
def test_failure_at_any_call_leaves_no_vault_or_a_whole_one(
    fail: Callable[[], BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total, finished = interrupted(monkeypatch, tmp_path / "whole", 0, fail)
    assert finished
    assert total > 20
    absent = whole = 0
    for last in range(1, total + 1):
        path = tmp_path / str(last)
        _, finished = interrupted(monkeypatch, path, last, fail)
        path.mkdir(exist_ok=True)
        with Folder.open(str(path)) as root:
            exists = has_marker(root, FILE)
        if finished:
            assert exists
        if exists:
            whole += 1
        else:
            absent += 1
            make(path, keyfile_text=KEY)  # a second run works over what the first one left
        for secret in (PASSPHRASE, keyfile(KEY)):
            reopen(path, GivenSecrets(secret)).unlock()
        if not isinstance(fail(), DeadError):
            assert not list(path.rglob("*.tmp")), last
    assert absent > 15
    # What failed is taken back; what was killed after the last step is there.
    assert (whole >= 1) == isinstance(fail(), DeadError)


def test_marker_is_written_after_every_slot_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    real = Folder.write

    def write(self: Folder, name: str, data: bytes, mode: int = 0o600, **options: Any) -> None:
        names.append(name.rpartition(".")[2])
        real(self, name, data, mode, **options)

    monkeypatch.setattr(Folder, "write", write)
    make(tmp_path, keyfile_text=KEY)
    assert names == ["slot", "slot", "json"]
