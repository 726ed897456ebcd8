"""The creation times that this machine remembers: trusted while a file is the one that was read."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.backends.sealing import envelope
from filevault.errors import StorageError
from filevault.system import file_systems
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

    def tick(self) -> None:
        """Wait until the file system's clock gives another time: some milliseconds."""
        file = Path(self.store.path).parent / "tick"
        file.touch()
        before = file.stat().st_mtime_ns
        while file.stat().st_mtime_ns == before:
            file.touch()

    def times(self, after: float = 60, *, writes: bool = True) -> dict[str, object]:
        """Return what a run sees; `read` has the heads that it read."""
        self.read.clear()

        def created(data: bytes) -> tuple[str, str | None] | None:
            self.read.append(data)
            return envelope.created(data)

        now = max(
            time
            for file in (Path(self.store.path), *Path(self.store.path).rglob("*"))
            for time in (file.lstat().st_mtime_ns, file.lstat().st_ctime_ns)
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


FOLDERS = 2  # the root and `team`, which are before the items in each part
_ENTRIES = FOLDERS * 8 * 8


def _time(row: int, value: int) -> Callable[[bytes], bytes]:
    """Return what replaces the time of one item."""
    return _word(_ENTRIES + (len(NAMES) * 7 + row) * 8, value)


def _word(offset: int, value: int) -> Callable[[bytes], bytes]:
    """Return what replaces the number at an offset behind the first line."""

    def replaced(data: bytes) -> bytes:
        at = data.index(b"\n") + 1 + offset
        return data[:at] + value.to_bytes(8, sys.byteorder, signed=True) + data[at + 8 :]

    return replaced


def _first_line(text: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(b"filevault/5 2 3\n", text + b"\n", 1)


def _count(row: int, value: int) -> Callable[[bytes], bytes]:
    """Return what replaces the number of the items of a folder."""
    return _word((FOLDERS * 7 + row) * 8, value)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"\x00garbage",
    "cut short": lambda data: data[:-10],
    "without its last line end": lambda data: data[:-1],
    "cut in the numbers": lambda data: data[:100],
    "without its numbers": lambda data: data[: data.index(b"\n") + 1],
    "another format": _first_line(b"filevault/6 2 3"),
    "the last format": _first_line(b"filevault/4 3"),
    "without a number of items": _first_line(b"filevault/5 2"),
    "with another number": _first_line(b"filevault/5 2 3 4"),
    "fewer items than said": _first_line(b"filevault/5 2 4"),
    "more items than said": _first_line(b"filevault/5 2 2"),
    "fewer folders than said": _first_line(b"filevault/5 3 3"),
    "more folders than said": _first_line(b"filevault/5 1 3"),
    "no items": lambda _: b"filevault/5 0 0\n",
    "a negative number of items": _first_line(b"filevault/5 2 -3"),
    "a negative number of folders": _first_line(b"filevault/5 -2 3"),
    "a long number of items": _first_line(b"filevault/5 2 3" + b"3" * 999),
    "the largest number": _first_line(b"filevault/5 99999999 99999999"),
    "a folder with more items than there are": _count(0, 4),
    "a folder with fewer items": _count(0, 1),
    "a folder with very many items": _count(1, -1),
    "no root": lambda data: data.replace(b"\0\nteam/\n", b"\0root/\nteam/\n"),
    "a folder twice": lambda data: data.replace(b"\nteam/\n", b"\n\n"),
    "a folder without a slash": lambda data: data.replace(b"\nteam/\n", b"\nteamx\n"),
    "a folder in none": lambda data: data.replace(b"\nteam/\n", b"\nte/m/\n"),
    "a file in another folder": lambda data: data.replace(b"\nwork.fv\n", b"\n/ork.fv\n"),
    "a file with a zero": lambda data: data.replace(b"\nwork.fv\n", b"\nwork.fv\0n"),
    "a negative time": _time(1, -767323045),
    "a time after the year 9999": _time(1, 4 * 10**12),
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


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the folders that are listed, on a file system whose times are exact."""
    found: list[str] = []
    real = Folder.listing

    def recording(folder: Folder) -> tuple[list[str], list[str]]:
        found.append(folder.path)
        return real(folder)

    monkeypatch.setattr(Folder, "listing", recording)
    monkeypatch.setattr(file_systems, "has_exact_times", lambda _path: True)
    return found


def test_an_unchanged_folder_is_not_listed_again(listing: Listing, listed: list[str]) -> None:
    first = listing.times()
    assert len(listed) == 2
    assert listing.times() == first
    assert len(listed) == 2


def test_only_a_folder_that_changed_is_listed_again(listing: Listing, listed: list[str]) -> None:
    listing.times()
    listing.tick()
    listing.items.write("team/new", NEW)
    del listed[:]
    assert listing.times()["team/new"] == NEW_TIME
    assert listed == [f"{listing.store.path}/team"]
    listing.times()
    assert len(listed) == 1


@pytest.mark.parametrize("after", [-60, 0.001, 2.0])
def test_a_folder_that_has_just_changed_is_listed_again(
    listing: Listing, listed: list[str], after: float
) -> None:
    listing.times(after)
    listing.times()
    assert len(listed) == 4


@pytest.mark.parametrize("exact", [True, False])
def test_folders_are_remembered_only_where_their_times_are_exact(
    listing: Listing, listed: list[str], monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    monkeypatch.setattr(file_systems, "has_exact_times", lambda _path: exact)
    listing.times()
    before = listing.index.stat()
    listing.times()
    assert len(listed) == (2 if exact else 4)
    assert listing.read == []
    assert listing.index.stat() == before


def test_a_folder_that_could_not_be_opened_shows_its_keys_as_soon_as_it_can(
    listing: Listing, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode changes nothing in the folder that it is in."""

    def refused(_folder: Folder, name: str) -> Folder:
        raise StorageError(f"cannot open {name!r}")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "child", refused)
        for _ in range(2):
            assert sorted(listing.times()) == ["jonsmith", "work"]
    for _ in range(3):
        assert sorted(listing.times()) == sorted(NAMES)
    assert len(listed) == 2 + 2  # twice without the folder, then once with it


def test_a_folder_with_a_key_that_has_just_changed_is_listed_again(
    listing: Listing, listed: list[str]
) -> None:
    """That key is not entered, so what is entered is not all that the folder has."""
    later = Path(listing.store.path).stat().st_mtime_ns + 5 * SECOND
    os.utime(listing.work, ns=(later, later))
    for _ in range(2):
        assert listing.times(0.5) == dict.fromkeys(NAMES, OLD_TIME)
    assert listed.count(listing.store.path) == 2
    assert listed.count(f"{listing.store.path}/team") == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "in place", "remove", "rename", "link", "folder", "note"]),
        st.sampled_from(["a", "b", "team/a", "team/b", "team/x/a", ".hidden/a", "x y/ä"]),
        st.sampled_from(["a", "team/b", "team/x/b", "other/a"]),
        st.sampled_from([0.001, 60]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_a_listing_shows_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str, float]]
) -> None:
    """The same as without an index, after any changes, at any time."""
    made = Listing(tmp_path_factory.mktemp("any"))
    root = Path(made.store.path)
    with made.store, made.state, pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_systems, "has_exact_times", lambda _path: True)
        for number, (action, one, other, after) in enumerate(steps):
            made.tick()
            data = head(f"2026-03-{number + 1:02}T00:00:00Z")
            file, target = root / f"{one}.fv", root / f"{other}.fv"
            for each in (file, target):
                each.parent.mkdir(parents=True, exist_ok=True)
            if action == "write":
                other_file = file.with_name("new")
                other_file.write_bytes(data)
                other_file.replace(file)
            elif action == "in place" and not file.is_symlink():
                file.write_bytes(data)
            elif action == "remove":
                file.unlink(missing_ok=True)
            elif action == "rename" and file.exists():
                file.rename(target)
            elif action == "link" and not target.is_symlink():
                target.unlink(missing_ok=True)
                target.symlink_to("nothing")
            elif (
                action == "folder"
                and file.parent != root
                and not target.is_relative_to(file.parent)
            ):
                with contextlib.suppress(OSError):
                    file.parent.rename(target.parent / "moved")
            elif action == "note":
                file.with_suffix(".txt").write_bytes(data)
            plain = CreationTimes(None, envelope.created, 1024).of(made.items)
            assert made.times(after) == dict(plain)
            assert list(plain) == sorted(plain)
