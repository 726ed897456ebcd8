"""Locks and atomic writes where the file system or another process does not play along."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from filevault.errors import NoLocksError, StorageError, UnsyncedError
from filevault.system import locks
from filevault.system.config_files import EditRules, check_writable, edit_config
from filevault.system.files import Folder
from filevault.system.locks import locked, writers_lock
from filevault.vault.seen_items import SeenItem
from filevault.vault.trust import Trust

HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
input()
"""


def refuse_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let flock refuse directories, as NFS does."""
    real: Callable[[int, int], None] = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@pytest.mark.parametrize("name", [None, ".lock"])
def test_a_lock_that_stays_busy_is_a_failure_of_storage(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TIMEOUT", 0.1)
    taken = tmp_path if name is None else tmp_path / name
    if name is not None:
        taken.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(taken)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with Folder.open(str(tmp_path)) as folder:
            with pytest.raises(StorageError, match="for a minute") as caught, locked(folder, name):
                pass
            assert not isinstance(caught.value, NoLocksError)
        holder.communicate(b"\n")


def test_a_busy_root_does_not_make_its_writers_go_on_under_another_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TIMEOUT", 0.1)
    (tmp_path / "root").mkdir()
    root = str(tmp_path / "root")
    with (
        Folder.open(root) as one,
        locked(one),
        Folder.open(root) as two,
        pytest.raises(StorageError, match="for a minute"),
        writers_lock(two, f"{tmp_path}/state"),
    ):
        pytest.fail("two writers at once")
    assert not (tmp_path / "state").exists()


def test_where_no_directory_can_be_locked_what_is_remembered_still_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_folders(monkeypatch)
    with Folder.open(str(tmp_path)) as state:
        with pytest.raises(NoLocksError), locked(state):
            pass
        Trust(state).record_seen("a", SeenItem(1, "ab" * 32))
        assert Trust(state).seen("a") == SeenItem(1, "ab" * 32)


def test_where_the_root_cannot_be_locked_its_writers_lock_a_file_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_folders(monkeypatch)
    with Folder.open(str(tmp_path)) as root:
        with writers_lock(root, f"{tmp_path}/state"):
            assert is_locked(tmp_path / "state/lock")
        assert not is_locked(tmp_path / "state/lock")
        with pytest.raises(NoLocksError), writers_lock(root, None):
            pass
    assert os.listdir(tmp_path) == ["state"]


def test_a_config_is_edited_without_a_lock_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_folders(monkeypatch)
    edit_config(str(tmp_path / "config"), lambda old: old + b"x\n", EditRules(None))
    assert (tmp_path / "config").read_bytes() == b"x\n"
    assert os.listdir(tmp_path) == ["config"]


def fail_to_sync_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def test_what_is_in_place_but_not_synced_is_told_apart_from_what_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with Folder.open(str(tmp_path)) as folder:
        fail_to_sync_folders(monkeypatch)
        with pytest.raises(UnsyncedError, match="may not survive a power cut"):
            folder.write("a", b"new")
        assert (tmp_path / "a").read_bytes() == b"new"
        with pytest.raises(StorageError) as caught:
            folder.write("b" * 300, b"new")
        assert not isinstance(caught.value, UnsyncedError)
        with pytest.raises(UnsyncedError):
            folder.remove("a")
    assert os.listdir(tmp_path) == []


def test_a_root_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        Folder.make(str(tmp_path / "one/two")).close()
    finally:
        os.umask(before)
    for path in ("one", "one/two"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700


def test_a_config_that_is_write_protected_is_not_replaced(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"old\n")
    config.chmod(0o444)
    with pytest.raises(StorageError, match="write-protected") as caught:
        edit_config(str(config), lambda old: old + b"new\n", EditRules(None))
    assert str(caught.value.hint).startswith("chmod u+w ")
    assert config.read_bytes() == b"old\n"
    with pytest.raises(StorageError, match="write-protected"):
        check_writable(str(config))
    config.chmod(0o644)
    check_writable(str(config))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_edited_config_keeps_its_group(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"old\n")
    os.chown(config, 0, 4321)
    config.chmod(0o640)
    edit_config(str(config), lambda old: old + b"new\n", EditRules(None))
    info = config.stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (0, 4321, 0o640)
    assert config.read_bytes() == b"old\nnew\n"
