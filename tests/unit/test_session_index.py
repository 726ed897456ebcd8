"""The sessions that this machine remembers: trusted while a folder is the one that was listed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.sessions import session_file
from filevault.sessions.session_index import SessionIndex
from filevault.system import file_systems
from filevault.system.files import Folder
from filevault.vault.names import decode_session_owner

if TYPE_CHECKING:
    from filevault.sessions.session_index import ListedSession

MANY = 40
SECOND = 10**9


def file_name(number: int, operation: str = "assume-role", end: str | None = None) -> str:
    """Return the name of a session file."""
    return f"{operation}-{number:032x}@{end or f'20261129T12{number % 60:02}00Z'}.fvs"


class Sessions:
    """A state directory with the sessions of many profiles."""

    def __init__(self, folder: Path, owners: int = MANY) -> None:
        self.state = Folder.make(str(folder / "state"))
        self.top = folder / "state/sessions"
        self.index = folder / "state/session-index"
        for number in range(owners):
            self.add(f"p{number:02}", number)

    def add(self, owner: str, number: int, **named: str) -> Path:
        """Make a session file, as another process does."""
        folder = self.top / owner
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / file_name(number, **named)
        new = folder / ".fv-new.tmp"
        new.touch()
        new.replace(file)
        return file

    def tick(self) -> None:
        """Wait until the file system's clock gives another time: some milliseconds."""
        file = self.top.parent / "tick"
        file.touch()
        before = file.stat().st_mtime_ns
        while file.stat().st_mtime_ns == before:
            file.touch()

    def listing(self, after: float = 60) -> list[ListedSession]:
        """Return what a run sees, seconds after the last change."""
        with self.state.child("sessions") as top:
            return SessionIndex(self.state, lambda: time.time_ns() + int(after * SECOND)).listing(
                top
            )

    def plain(self) -> list[ListedSession]:
        """Return the same without an index."""
        found = []
        for folder in sorted(self.top.iterdir()):
            owner = decode_session_owner(folder.name)
            if owner is None or folder.is_symlink() or not folder.is_dir():
                continue
            for file in sorted(folder.iterdir()):
                named = session_file.parse_name(file.name)
                if named is not None and file.is_file() and not file.is_symlink():
                    found.append((owner, named.operation, named.expiration))
        return found


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are exact here, whatever the file system of the tests."""
    monkeypatch.setattr(file_systems, "has_exact_times", lambda _path: True)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    made = Sessions(tmp_path)
    with made.state:
        yield made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of sessions that are opened."""
    found: list[str] = []
    real = Folder.child

    def recording(folder: Folder, name: str) -> Folder:
        if name != "sessions":
            found.append(name)
        return real(folder, name)

    monkeypatch.setattr(Folder, "child", recording)
    return found


def test_a_second_listing_opens_no_folder(sessions: Sessions, opened: list[str]) -> None:
    first = sessions.listing()
    assert first == sessions.plain()
    assert len(first) == len(opened) == MANY
    before = sessions.index.stat()
    assert before.st_mode & 0o777 == 0o600
    assert sessions.listing() == first
    assert len(opened) == MANY
    assert sessions.index.stat() == before


def test_few_folders_are_listed_each_time(tmp_path: Path) -> None:
    """Writing is synced, which takes longer than listing some folders."""
    few = Sessions(tmp_path, owners=32)
    with few.state:
        assert few.listing() == few.listing() == few.plain()
        assert not few.index.exists()


def test_without_exact_times_nothing_is_remembered(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "has_exact_times", lambda _path: False)
    assert sessions.listing() == sessions.plain()
    assert not sessions.index.exists()


def _new(sessions: Sessions) -> None:
    sessions.add("p03", 1000)


def _renewed(sessions: Sessions) -> None:
    sessions.add("p03", 3, end="20261129T130000Z")
    (sessions.top / "p03" / file_name(3)).unlink()


def _removed(sessions: Sessions) -> None:
    (sessions.top / "p03" / file_name(3)).unlink()


def _new_owner(sessions: Sessions) -> None:
    sessions.add("p031", 1000)


def _owner_removed(sessions: Sessions) -> None:
    _removed(sessions)
    (sessions.top / "p03").rmdir()


def _owner_exchanged(sessions: Sessions) -> None:
    (sessions.top / "p03").rename(sessions.top / "p")
    (sessions.top / "p04").rename(sessions.top / "p03")
    (sessions.top / "p").rename(sessions.top / "p04")


def _link(sessions: Sessions) -> None:
    (sessions.top / "p03").rename(sessions.top.parent / "elsewhere")
    (sessions.top / "p03").symlink_to(sessions.top.parent / "elsewhere")


def _folder_for_a_file(sessions: Sessions) -> None:
    _removed(sessions)
    (sessions.top / "p03" / file_name(3)).mkdir()


CHANGES = (
    *(_new, _renewed, _removed, _new_owner, _owner_removed, _owner_exchanged, _link),
    _folder_for_a_file,
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_at_once(
    sessions: Sessions, opened: list[str], change: Callable[[Sessions], None]
) -> None:
    before = sessions.listing()
    del opened[:]
    sessions.tick()
    change(sessions)
    for _ in range(2):
        assert sessions.listing() == sessions.plain() != before
    assert len(opened) <= 4


@pytest.mark.parametrize(("after", "remembered"), [(-60, 0), (0.001, 0), (1.9, 0), (4.1, MANY)])
def test_a_folder_that_has_just_changed_is_not_remembered(
    sessions: Sessions, opened: list[str], after: float, remembered: int
) -> None:
    """Its times could not show another change: git's racily clean files."""
    sessions.listing(after)
    del opened[:]
    sessions.listing(after)
    assert MANY - len(opened) == remembered


def test_what_is_no_session_is_not_shown(sessions: Sessions) -> None:
    for name in ("notes.txt", file_name(1, "assume-roles"), file_name(1, end="20261332T120000Z")):
        (sessions.top / "p07" / name).touch()
    (sessions.top / "%zz").mkdir()
    sessions.add("%zz", 5)
    (sessions.top / "a\nb").mkdir()
    for _ in range(2):
        assert sessions.listing() == sessions.plain()
        assert len(sessions.plain()) == MANY
    assert not sessions.index.exists()  # a line end in the name of a folder


def _word(offset: int, value: int) -> Callable[[bytes], bytes]:
    """Return what replaces the number at an offset behind the first line."""

    def replaced(data: bytes) -> bytes:
        at = data.index(b"\n") + 1 + offset
        return data[:at] + value.to_bytes(8, sys.byteorder, signed=True) + data[at + 8 :]

    return replaced


def _first_line(text: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(b"filevault/5 40 40\n", text + b"\n", 1)


_COUNTS = (1 + MANY) * 56
_OPERATIONS, _ENDS = _COUNTS + MANY * 8, _COUNTS + 2 * MANY * 8
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"\x00garbage",
    "cut short": lambda data: data[:-10],
    "cut in the numbers": lambda data: data[:100],
    "without its numbers": lambda data: data[: data.index(b"\n") + 1],
    "another format": _first_line(b"filevault/4 40 40"),
    "without a number": _first_line(b"filevault/5 40"),
    "fewer folders than said": _first_line(b"filevault/5 41 40"),
    "more folders than said": _first_line(b"filevault/5 39 40"),
    "fewer sessions than said": _first_line(b"filevault/5 40 41"),
    "more sessions than said": _first_line(b"filevault/5 40 39"),
    "a negative number": _first_line(b"filevault/5 40 -1"),
    "a long number": _first_line(b"filevault/5 40 4" + b"0" * 999),
    "the largest numbers": _first_line(b"filevault/5 99999999 99999999"),
    "no folders": lambda _: b"filevault/5 0 0\n",
    "sessions without a folder": lambda _: b"filevault/5 0 5\n" + bytes(60),
    "a folder with more sessions than there are": _word(_COUNTS, 41),
    "a folder with a negative number": _word(_COUNTS, -1),
    "another operation": _word(_OPERATIONS, 8),
    "a negative operation": _word(_OPERATIONS, -1),
    "a time after the year 9999": _word(_ENDS, 10**12),
    "a negative time": _word(_ENDS + 8, -1),
    "a folder twice": lambda data: data.replace(b"\np01\n", b"\np02\n"),
    "a folder above": lambda data: data.replace(b"\np01\n", b"\n..\n"),
    "a folder without a name": lambda data: data.replace(b"\np01\n", b"\n\n"),
    "a folder with a zero": lambda data: data.replace(b"\np01\n", b"\np\x001\n"),
    "too long": lambda data: data + bytes(16 << 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_index_misleads_no_listing(sessions: Sessions, damage: str) -> None:
    sessions.listing()
    sound = sessions.index.read_bytes()
    damaged = DAMAGED[damage](sound)
    assert damaged != sound
    sessions.index.write_bytes(damaged)
    assert sessions.listing() == sessions.plain()


def test_operations_have_their_numbers_permanently() -> None:
    """They are in indexes; the format's page has the table."""
    assert (
        *("get-session-token", "assume-role", "assume-role-with-web-identity"),
        *("get-federation-token", "get-scoped-credentials", "sso-role", "login", "process"),
    ) == session_file.OPERATIONS


@pytest.mark.parametrize("other", ["link", "pipe", "folder", "foreign", "read-only"])
def test_what_is_in_the_place_of_the_index_harms_nothing(
    sessions: Sessions, tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions.listing()
    if other == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(sessions.index, 1, -1)
    elif other == "read-only":
        sessions.index.unlink()
        monkeypatch.setattr(Folder, "write", _fails)
    else:
        sessions.index.replace(tmp_path / "kept")
        if other == "link":
            sessions.index.symlink_to(tmp_path / "kept")
        elif other == "pipe":
            os.mkfifo(sessions.index)
        else:
            sessions.index.mkdir()
    assert sessions.listing() == sessions.plain()


def _fails(folder: Folder, name: str, _data: bytes) -> None:
    from filevault.system.files import storage_error

    raise storage_error(OSError(30, "Read-only file system"), "write", folder.join(name))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove", "rename", "remove all", "note"]),
        st.sampled_from(["p00", "p01", "new", "a%20"]),
        st.integers(0, 3),
        st.sampled_from([0.001, 60]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=30)
@given(steps=STEPS)
def test_whatever_happens_a_listing_shows_the_sessions_that_are_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int, float]]
) -> None:
    made = Sessions(tmp_path_factory.mktemp("any"))
    with made.state:
        for action, owner, number, after in steps:
            made.tick()
            folder = made.top / owner
            if action == "add":
                made.add(owner, number)
            elif action == "remove":
                (folder / file_name(number)).unlink(missing_ok=True)
            elif action == "rename" and folder.exists() and not (made.top / "moved").exists():
                folder.rename(made.top / "moved")
            elif action == "remove all" and folder.exists():
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
            elif action == "note" and folder.exists():
                (folder / f"note{number}").touch()
            assert made.listing(after) == made.plain()
