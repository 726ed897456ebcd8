"""Folders and files: private, atomic, synced, reached through nothing but folders."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.errors import StorageError
from filevault.system.files import Folder, storage_error

OLD = ".fv-0123456789abcdef.tmp"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.make(str(tmp_path / "root")) as made:
        yield made


def inside(folder: Folder) -> list[str]:
    return sorted(os.listdir(folder.path))


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


# Writing


@settings(deadline=None)
@given(data=st.binary(max_size=5000))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with Folder.open(str(tmp_path_factory.getbasetemp())) as folder:
        folder.write("a", data)
        assert folder.read("a", 5000) == data


def test_a_longer_file_gives_one_byte_more_than_the_limit(folder: Folder) -> None:
    folder.write("a", bytes(100_000))
    for limit in (0, 10, 99_999):
        assert len(folder.read("a", limit)) == limit + 1
    assert len(folder.read("a", 100_000)) == 100_000


def test_writing_leaves_the_file_alone_in_its_folder(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.write("a", b"2")
    assert inside(folder) == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_are_as_asked_whatever_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Folder.make(str(tmp_path / "a/b")) as root, root.make_child("c") as child:
            child.write("file", b"1", mode)
            child.create("created", b"2")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/b/c/file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "a/b/c/created").stat().st_mode) == 0o600


def test_a_link_in_place_of_a_file_is_replaced_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    os.symlink(tmp_path / "victim", f"{folder.path}/a")
    folder.write("a", b"new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert folder.read("a", 10) == b"new"


def test_a_reader_that_has_the_old_file_open_keeps_it(folder: Folder) -> None:
    folder.write("a", b"old")
    with open(f"{folder.path}/a", "rb") as file:
        folder.write("a", b"new")
        assert file.read() == b"old"


def test_create_never_overwrites(folder: Folder) -> None:
    folder.create("a", b"1")
    with pytest.raises(FileExistsError):
        folder.create("a", b"2")
    assert folder.read("a", 10) == b"1"
    os.symlink("nowhere", f"{folder.path}/link")
    with pytest.raises(FileExistsError):
        folder.create("link", b"2")


def test_a_folder_in_place_of_a_file_is_an_error_and_stays(folder: Folder) -> None:
    folder.make_child("a").close()
    with pytest.raises(StorageError, match="cannot write .*/a': is a directory"):
        folder.write("a", b"1")
    with pytest.raises(StorageError, match="cannot delete"):
        folder.remove("a")
    assert inside(folder) == ["a"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "link"])
def test_what_is_no_file_can_be_refused(folder: Folder, kind: str) -> None:
    folder.write("a", b"1")
    folder.refuse_other("a")
    folder.refuse_other("missing")
    path = f"{folder.path}/b"
    if kind == "link":
        os.symlink("a", path)
    else:
        os.mknod(path, 0o600 | (stat.S_IFIFO if kind == "pipe" else stat.S_IFSOCK))
    with pytest.raises(StorageError, match="/b' is (not a regular file|a link)"):
        folder.refuse_other("b")


def test_writing_into_a_folder_that_is_gone_is_an_error(folder: Folder) -> None:
    os.rmdir(folder.path)
    with pytest.raises(StorageError, match="no such file"):
        folder.write("a", b"1")


def test_a_write_that_is_interrupted_by_ctrl_c_leaves_the_old_file_alone(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a", b"old")

    def interrupted(*_args: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new")
    assert inside(folder) == ["a"]
    assert folder.read("a", 10) == b"old"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_used_all_the_same(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    folder.write("a", b"1")
    folder.make_child("b").close()
    folder.remove("a")
    assert inside(folder) == ["b"]


def test_many_writers_at_once_leave_one_whole_file(folder: Folder) -> None:
    texts = [bytes([number]) * 20_000 for number in range(8)]
    threads = [threading.Thread(target=folder.write, args=("a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folder.read("a", 100_000) in texts
    assert inside(folder) == ["a"]


def test_no_descriptor_is_left_open(folder: Folder) -> None:
    before = os.listdir("/proc/self/fd")
    folder.write("a", b"1")
    folder.read("a", 1)
    folder.head("a", 1)
    folder.entries()
    folder.make_child("b").close()
    os.mkfifo(f"{folder.path}/pipe")
    for name in ("pipe", "b", "missing"):
        with pytest.raises((StorageError, FileNotFoundError)):
            folder.read(name, 1)
    with pytest.raises(StorageError):
        folder.write("b", b"1")
    with pytest.raises(StorageError):
        Folder.make(f"{folder.path}/a/c")
    assert os.listdir("/proc/self/fd") == before


# Leftovers


def test_leftovers_of_a_crash_go_with_the_next_write_once_they_are_old(folder: Folder) -> None:
    old, young = Path(folder.path, OLD), Path(folder.path, ".fv-ffffffffffffffff.tmp")
    for path in (old, young):
        path.write_bytes(b"half")
    age(old, 3700)
    age(young, 3500)  # somebody may still be writing it, slowly
    folder.write("a", b"1")
    assert inside(folder) == [young.name, "a"]


def test_nothing_else_is_swept(folder: Folder) -> None:
    names = (".fv-notes", "notes.tmp", "fv-0123456789abcdef.tmp", "a.fv~", ".a.fv.swp")
    for name in names:
        path = Path(folder.path, name)
        path.write_bytes(b"mine")
        age(path, 86400)
    os.mkdir(f"{folder.path}/{OLD}")
    os.symlink("nowhere", f"{folder.path}/.fv-link.tmp")
    age(Path(folder.path, OLD), 86400)
    os.utime(f"{folder.path}/.fv-link.tmp", (0, 0), follow_symlinks=False)
    before = inside(folder)
    folder.write("x", b"1")
    assert inside(folder) == sorted([*before, "x"])


def test_what_is_old_is_judged_by_the_file_system_not_by_our_clock(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a battery starts in 1970; a server of files has a clock of its own."""
    running = Path(folder.path, OLD)
    running.write_bytes(b"half")
    monkeypatch.setattr("time.time", lambda: 4e9)
    folder.write("a", b"1")
    assert running.exists()


def test_sweeping_never_fails_a_write(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> Any:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "scandir", refuse)
    folder.write("a", b"1")
    assert folder.read("a", 10) == b"1"


# Reading


def test_what_is_missing_is_missing(folder: Folder) -> None:
    for action in (lambda: folder.read("a", 1), lambda: folder.child("a")):
        with pytest.raises(FileNotFoundError):
            action()
    with pytest.raises(FileNotFoundError):
        folder.remove("a")
    with pytest.raises(FileNotFoundError):
        Folder.open(f"{folder.path}/a")
    assert not folder.is_file("a")
    assert folder.head("a", 10)[0] == b""


def test_a_link_is_named_with_the_way_out(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    (tmp_path / "folder").mkdir()
    os.symlink(tmp_path / "target", f"{folder.path}/file")
    os.symlink(tmp_path / "folder", f"{folder.path}/child")
    os.symlink("nowhere", f"{folder.path}/dangling")
    for name in ("file", "dangling"):
        with pytest.raises(StorageError, match=f"/{name}' is a link, which is refused") as caught:
            folder.read(name, 10)
        assert (
            caught.value.hint
            == "only the folder of the whole store may be a link: link that instead"
        )
        assert not folder.is_file(name)
    for name in ("child", "file", "dangling"):
        for action in (folder.child, folder.make_child, folder.refuse_link):
            with pytest.raises(StorageError, match=f"/{name}' is a link, which is refused"):
                action(name)


def test_a_root_may_be_a_link(folder: Folder, tmp_path: Path) -> None:
    os.symlink(folder.path, tmp_path / "link")
    for opened in (Folder.open(str(tmp_path / "link")), Folder.make(str(tmp_path / "link/new"))):
        with opened:
            opened.write("a", b"1")
    assert inside(folder) == ["a", "new"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_only_regular_files_are_read_and_nothing_waits(folder: Folder, kind: str) -> None:
    path = f"{folder.path}/a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        os.mkdir(path)
    with pytest.raises(StorageError):
        folder.read("a", 10)
    assert not folder.is_file("a")
    assert folder.head("a", 10)[0] == b""


def test_a_file_is_not_taken_for_a_folder(folder: Folder) -> None:
    folder.write("a", b"1")
    for action in (folder.child, folder.make_child):
        with pytest.raises(StorageError, match="not a directory"):
            action("a")
    with pytest.raises(StorageError, match="not a directory"):
        Folder.open(f"{folder.path}/a")
    with pytest.raises(StorageError):
        Folder.make(f"{folder.path}/a/b")


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere_else(
    folder: Folder, tmp_path: Path
) -> None:
    """Whoever may rename folders must not redirect what is open already."""
    child = folder.make_child("team")
    os.rename(f"{folder.path}/team", tmp_path / "moved")
    (tmp_path / "victim").mkdir()
    os.symlink(tmp_path / "victim", f"{folder.path}/team")
    with child:
        child.write("a", b"1")
    assert os.listdir(tmp_path / "victim") == []
    assert (tmp_path / "moved/a").read_bytes() == b"1"


def test_entries_are_sorted_and_folders_go_only_when_empty(folder: Folder) -> None:
    for name in ("b", "a", "c"):
        folder.make_child(name).close()
    with folder.child("b") as child:
        child.write("x", b"1")
    assert [entry.name for entry in folder.entries()] == ["a", "b", "c"]
    assert [folder.remove_folder(name) for name in ("a", "b", "c", "d")] == [
        True,
        False,
        True,
        False,
    ]


def test_making_a_folder_twice_or_at_once_is_no_error(folder: Folder, tmp_path: Path) -> None:
    opened: list[Folder] = []
    path = str(tmp_path / "deep/er/and/deeper")
    threads = [
        threading.Thread(target=lambda: opened.append(Folder.make(path))) for _ in range(8)
    ] + [threading.Thread(target=lambda: opened.append(folder.make_child("x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 16
    for each in opened:
        each.close()
        each.close()


# Messages


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EPERM, "permissions"),
        (errno.EIO, None),
    ],
)
def test_errors_name_the_file_and_the_way_out(code: int, hint: str | None) -> None:
    error = storage_error(OSError(code, os.strerror(code)), "write", "/a/\x1b[2Jb")
    assert error.message.startswith("cannot write '/a/")
    assert error.message.endswith(f"b': {os.strerror(code).lower()}")
    assert "\x1b" not in error.message
    assert error.exit_status == 7
    assert hint in (error.hint or "") if hint else error.hint is None
