"""Witnesses of files: the same however the system is asked, and of the files themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.system import file_systems, libc
from filevault.vault import witnesses as module
from filevault.vault.witnesses import WITNESS_SIZE, witness, witnesses


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """A folder with files, a link and times of all kinds; three of them make a chunk."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for number in range(7):
        (tmp_path / f"é{number}").write_bytes(b"x" * number)
    (tmp_path / os.fsdecode(b"\xff")).touch()
    (tmp_path / "link").symlink_to("é6")
    (tmp_path / "a\nb").touch()
    os.utime(tmp_path / "é1", ns=(0, -1_500_000_001))
    os.utime(tmp_path / "é2", ns=(0, 1_999_999_999))
    os.utime(tmp_path / "é3", ns=(0, 1 << 33))
    yield fd
    os.close(fd)


def forbidden(*_arguments: object) -> int:
    """Stand in for statx(2) under a seccomp filter."""
    return -1


def absent(_name: str) -> Callable[..., int]:
    """Stand in for a C library without statx."""
    raise OSError("undefined symbol: statx")


WITHOUT: dict[str, Callable[[str], Callable[..., int]]] = {
    "forbidden": lambda _name: forbidden,
    "absent": absent,
}


def names_in(fd: int) -> list[bytes]:
    """Return the names in a folder as system calls take them."""
    return [os.fsencode(name) for name in os.listdir(fd)]


def expected(fd: int, names: list[bytes]) -> bytes:
    """Return the witnesses by os.stat, a file at a time."""
    return b"".join(witness(os.stat(name, dir_fd=fd, follow_symlinks=False)) for name in names)


@pytest.mark.parametrize("chunk", [3, 5, 4096])
def test_statx_says_what_stat_says(
    folder: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    names = names_in(folder)
    assert module._by_statx(folder, names) == witnesses(folder, names) == expected(folder, names)


@pytest.mark.parametrize("why", WITHOUT)
def test_without_statx_the_witnesses_are_the_same(
    folder: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_in(folder)
    before = witnesses(folder, names)
    monkeypatch.setattr(libc, "direct", WITHOUT[why])
    with pytest.raises(OSError, match="statx|looked at"):
        module._by_statx(folder, names)
    assert witnesses(folder, names) == before


@pytest.mark.parametrize("why", ["statx", *WITHOUT])
def test_without_one_of_the_files_there_are_no_witnesses(
    folder: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why in WITHOUT:
        monkeypatch.setattr(libc, "direct", WITHOUT[why])
    assert witnesses(folder, ["é1".encode(), b"gone", "é2".encode()]) is None
    assert witnesses(folder, []) == b""


def test_each_part_of_a_witness_shows_a_change(folder: int, tmp_path: Path) -> None:
    """Inode, size, mtime and ctime; the device is the last, and cannot be changed here."""

    def seen() -> bytes:
        found = witnesses(folder, ["é5".encode()])
        assert found is not None
        assert len(found) == WITNESS_SIZE
        return found

    found, file = [seen()], tmp_path / "é5"
    with file.open("ab") as opened:
        opened.write(b"x")
    found.append(seen())
    os.utime(file, ns=(0, 1))
    found.append(seen())
    file.chmod(0o400)
    found.append(seen())
    file.replace(tmp_path / "kept")
    file.symlink_to("kept")
    found.append(seen())
    assert len(set(found)) == len(found)
    info = file.lstat()
    assert found[-1][:8] == info.st_ino.to_bytes(8, sys.byteorder)


def test_a_python_without_libffi_has_the_same_witnesses(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_in(folder)
    before = witnesses(folder, names)
    monkeypatch.setitem(sys.modules, "filevault.system.libc", None)
    assert witnesses(folder, names) == before
    assert not file_systems.has_exact_times(str(tmp_path))
