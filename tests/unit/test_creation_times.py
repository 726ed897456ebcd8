"""The creation times that this machine remembers: trusted while a file is the one that was read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.backends.sealing import envelope
from filevault.system.files import Folder
from filevault.vault.creation_times import CreationTimes
from filevault.vault.item_store import ItemStore

NAMES = ("jonsmith", "team/a:b", "work")
SECOND = 10**9


def head(created: str, origin: str = "iam") -> bytes:
    """Return the beginning of an item."""
    return f'{{"format":"filevault/1","created":"{created}","created_from":"{origin}"}}\n'.encode()


OLD, NEW = head("2026-01-02T03:04:05Z"), head("2026-05-02T03:04:05Z")
OLD_TIME, NEW_TIME = (1767323045, "iam"), (1777691045, "iam")


class Listing:
    """A vault's folder and a state directory, listed `after` seconds after the last change."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = Folder.make(str(tmp_path / "store"))
        self.state = Folder.make(str(tmp_path / "state"))
        self.items = ItemStore(self.store, ".fv")
        self.index = tmp_path / "state/index"
        self.work = tmp_path / "store/work.fv"
        self.read: list[bytes] = []
        for name in NAMES:
            self.items.write(name, OLD)

    def times(self, after: float = 60, *, writes: bool = True) -> dict[str, object]:
        """Return what a run sees; `read` has the heads that it read."""
        self.read.clear()

        def created(data: bytes) -> tuple[str, str | None] | None:
            self.read.append(data)
            return envelope.created(data)

        now = max(
            time
            for _, _, files in self.items.files()
            for file in files
            for time in (file.stat().st_mtime_ns, file.stat().st_ctime_ns)
        )
        run = CreationTimes(self.state, created, 1024, lambda: int(now + after * SECOND))
        found = run.of(self.items)
        if writes:
            run.record(self.state)
        return dict(found)


@pytest.fixture
def listing(tmp_path: Path) -> Iterator[Listing]:
    made = Listing(tmp_path)
    with made.store, made.state:
        yield made


def test_a_second_listing_reads_no_item(listing: Listing) -> None:
    first = listing.times()
    assert first == dict.fromkeys(NAMES, OLD_TIME)
    assert len(listing.read) == len(NAMES)
    assert listing.times() == first
    assert listing.read == []
    assert list(first) == sorted(NAMES)


def test_the_index_is_private_and_written_only_when_it_changes(listing: Listing) -> None:
    listing.times()
    before = listing.index.stat()
    assert before.st_mode & 0o777 == 0o600
    listing.times()
    assert listing.index.stat() == before


def test_a_state_directory_that_cannot_be_written_is_still_read(listing: Listing) -> None:
    listing.times()
    listing.items.write("another", OLD)
    before = listing.index.read_bytes()
    for _ in range(2):
        assert listing.times(writes=False)["another"] == OLD_TIME
        assert listing.read == [OLD]
    assert listing.index.read_bytes() == before


def _same_size_and_time(file: Path) -> None:
    times = file.stat()
    file.write_bytes(NEW)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _by_rename(file: Path) -> None:
    times = file.stat()
    other = file.with_name("new")
    other.write_bytes(NEW)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)


def _removed_and_made_again(file: Path) -> None:
    file.unlink()
    file.write_bytes(NEW)


def _longer(file: Path) -> None:
    file.write_bytes(NEW + b"more")


CHANGES: dict[str, Callable[[Path], None]] = {
    "content of equal size, with its time put back": _same_size_and_time,
    "another file by rename, as git pull": _by_rename,
    "removed and made again": _removed_and_made_again,
    "longer": _longer,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_that_was_replaced_shows_its_new_time_at_once(listing: Listing, change: str) -> None:
    listing.times()
    CHANGES[change](listing.work)
    for _ in range(2):
        assert listing.times() == {**dict.fromkeys(NAMES, OLD_TIME), "work": NEW_TIME}
    assert listing.read == []


@pytest.mark.parametrize("changes_owner", [False, True])
def test_a_new_mode_or_owner_is_read_again(listing: Listing, changes_owner: bool) -> None:
    listing.times()
    if changes_owner:
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(listing.work, 1, -1)
    else:
        listing.work.chmod(0o640)
    listing.times()
    assert listing.read == [OLD]


@pytest.mark.parametrize(("after", "remembered"), [(-60, 0), (0.001, 0), (2.9, 0), (3.1, 3)])
def test_a_file_that_has_just_changed_is_not_remembered(
    listing: Listing, after: float, remembered: int
) -> None:
    """Its times could not show another change: git's racily clean files."""
    listing.times(after)
    listing.times()
    assert len(NAMES) - len(listing.read) == remembered


def test_what_is_gone_is_forgotten(listing: Listing) -> None:
    listing.times()
    listing.items.remove("work")
    assert "work" not in listing.times()
    assert b"work" not in listing.index.read_bytes()


def test_a_file_without_a_time_is_remembered_too(listing: Listing) -> None:
    listing.work.write_bytes(b"no item")
    for _ in range(2):
        assert listing.times()["work"] is None
    assert listing.read == []


def _number(row: int, column: int, value: int) -> Callable[[bytes], bytes]:
    """Return what replaces one number of the index, in one of the last two columns."""

    def replaced(data: bytes) -> bytes:
        at = data.index(b"\n") + 1 + (len(NAMES) * (5 + column) + row) * 8
        return data[:at] + value.to_bytes(8, sys.byteorder, signed=True) + data[at + 8 :]

    return replaced


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"\x00garbage",
    "cut short": lambda data: data[:-10],
    "cut in the numbers": lambda data: data[:100],
    "without its numbers": lambda data: data[: data.index(b"\n") + 1],
    "another format": lambda data: data.replace(b"filevault/3", b"filevault/4"),
    "without a number of items": lambda data: data.replace(b"filevault/3 3", b"filevault/3"),
    "fewer items than said": lambda data: data.replace(b"filevault/3 3", b"filevault/3 4"),
    "more items than said": lambda data: data.replace(b"filevault/3 3", b"filevault/3 2"),
    "no items": lambda _: b"filevault/3 0\n",
    "a negative number of items": lambda data: data.replace(b"filevault/3 3", b"filevault/3 -3"),
    "a long number of items": lambda data: data.replace(b"filevault/3 3", b"filevault/3 3" * 999),
    "the largest number": lambda data: data.replace(b"filevault/3 3", b"filevault/3 99999999"),
    "a negative time": _number(1, 0, -767323045),
    "a time after the year 9999": _number(1, 0, 10**12),
    "another origin": _number(2, 1, 4),
    "a negative origin": _number(2, 1, -1),
    "a name that is no text": lambda data: data.replace(b"work", b"wor\xff"),
    "a name twice": lambda data: data.replace(b"jonsmith", b"team/a:b"),
    "too long": lambda data: data + b" " * (17 << 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_index_is_ignored_and_made_again(listing: Listing, damage: str) -> None:
    listing.times()
    sound = listing.index.read_bytes()
    damaged = DAMAGED[damage](sound)
    assert damaged != sound
    listing.index.write_bytes(damaged)
    assert listing.times() == dict.fromkeys(NAMES, OLD_TIME)
    assert listing.read
    assert listing.index.read_bytes() == sound


@pytest.mark.parametrize("other", ["link", "pipe", "folder", "foreign"])
def test_what_is_in_the_place_of_the_index_harms_nothing(
    listing: Listing, tmp_path: Path, other: str
) -> None:
    listing.times()
    if other == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(listing.index, 1, -1)
    else:
        listing.index.replace(tmp_path / "kept")
        if other == "link":
            listing.index.symlink_to(tmp_path / "kept")
        elif other == "pipe":
            os.mkfifo(listing.index)
        else:
            listing.index.mkdir()
    assert listing.times() == dict.fromkeys(NAMES, OLD_TIME)
    assert len(listing.read) == len(NAMES)
