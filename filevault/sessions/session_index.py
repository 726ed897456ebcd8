"""`session-index`, the sessions in the names of files as this machine last listed their folders.

Each profile with sessions has a folder. `list` shows what the names of the files in it say; with
many profiles only the folders whose witness has changed are read (`docs/format.md` §9).
"""

from __future__ import annotations

import os
import time

from filevault.errors import FilevaultError
from filevault.sessions.session_file import OPERATIONS, split_name
from filevault.vault.names import decode_session_owner
from filevault.vault.witnesses import (
    NO_WITNESS,
    THIS_FOLDER,
    WITNESS_SIZE,
    device_of,
    settled_witness,
    witnesses,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.system.files import Folder

    ListedSession = tuple[str, str, int]  # owner, operation, expiry in Unix seconds
    Session = tuple[str, int]

_FILE = "session-index"
_FORMAT = b"filevault/5"
_LIMIT = 16 << 20
_WORD = 8
_NAMES = dict(enumerate(OPERATIONS))
_NUMBERS = {operation: number for number, operation in _NAMES.items()}
_LATEST = 10**12  # later than the last second that a name can say
_FEW = 32  # folders: listing them takes less than writing the index, which is synced


class _Index:
    """The folders in `sessions/`, the sessions in each, and the witnesses one after the other.

    The first witness is that of `sessions/` itself; names are as system calls take them.
    """

    __slots__ = ("folders", "sessions", "witnesses")

    def __init__(
        self, witnesses: bytes, folders: list[bytes], sessions: list[list[Session]]
    ) -> None:
        self.witnesses = witnesses
        self.folders = folders
        self.sessions = sessions


_NONE = _Index(NO_WITNESS, [], [])


class SessionIndex:
    """What the names of the files below `sessions/` say.

    Args:
        state: the state directory.
        now: Unix nanoseconds of the clock that files get their times from.
    """

    def __init__(self, state: Folder, now: Callable[[], int] = time.time_ns) -> None:
        self._state = state
        self._now = now

    def listing(self, top: Folder) -> list[ListedSession]:
        """Return every session in `sessions/`, which is open.

        The index is written again if many folders had to be listed, and it can be written. Raises
        StorageError for a folder that cannot be read.
        """
        before = self._now()
        known = self._load()
        if known is not _NONE:
            present = witnesses(top.fd, [*THIS_FOLDER, *known.folders])
            if present == known.witnesses:
                return _owned(known.folders, known.sessions)
        folders = [os.fsencode(name) for name in top.listing()[1]]
        rows = _rows(known.witnesses)[1:]
        kept = dict(zip(known.folders, zip(rows, known.sessions, strict=True), strict=True))
        present = witnesses(top.fd, folders) if kept else None
        found, sessions = [], []
        listed = 0
        for folder, row in zip(folders, _rows(present) if present else folders, strict=True):
            witness, inside = kept.get(folder, (b"", []))
            if row != witness:
                there = _listed(top, os.fsdecode(folder))
                if there is None:
                    continue  # deleted by another process
                inside = there
                listed += 1
            found.append(folder)
            sessions.append(inside)
        if listed > _FEW:
            self._write(top, found, sessions, before, len(found) - listed)
        return _owned(found, sessions)

    def _write(
        self,
        top: Folder,
        folders: list[bytes],
        sessions: list[list[Session]],
        before: int,
        known: int,
    ) -> None:
        """Write the index, if the times of the folders are exact; a failure has no consequence.

        `before` is when listing began: what has changed since then has no witness. `known` is how
        many folders the index that is there has right; a few more do not count.
        """
        from struct import pack

        from filevault.system.file_systems import has_exact_times

        present = witnesses(top.fd, [*THIS_FOLDER, *folders])
        names = b"".join(folder + b"\n" for folder in folders)
        if present is None or not has_exact_times(top.path) or names.count(b"\n") != len(folders):
            return
        device = device_of(present)
        rows = [settled_witness(row, before, device) for row in _rows(present)]
        if len(folders) - rows[1:].count(NO_WITNESS) <= known + _FEW:
            return
        flat = [session for inside in sessions for session in inside]
        numbers = (
            *map(len, sessions),
            *(_NUMBERS[operation] for operation, _expiration in flat),
            *(expiration for _operation, expiration in flat),
        )
        data = b"".join(
            (
                b"%b %d %d\n" % (_FORMAT, len(folders), len(flat)),
                *rows,
                pack(f"{len(numbers)}q", *numbers),
                names,
            )
        )
        if len(data) <= _LIMIT:
            try:
                self._state.write(_FILE, data)
            except FilevaultError:
                return

    def _load(self) -> _Index:
        """Return the index; an empty one if the file is missing, damaged or too long."""
        try:
            data = self._state.read(_FILE, _LIMIT, own=True)
        except (FileNotFoundError, FilevaultError):
            return _NONE
        return (_parsed(data) if len(data) <= _LIMIT else None) or _NONE


def _rows(witnesses: bytes) -> list[bytes]:
    """Return witnesses one by one."""
    return [witnesses[at : at + WITNESS_SIZE] for at in range(0, len(witnesses), WITNESS_SIZE)]


def _listed(top: Folder, name: str) -> list[Session] | None:
    """Return the sessions in a folder; None if it is gone."""
    try:
        folder = top.child(name)
    except FileNotFoundError:
        return None
    with folder:
        found = map(split_name, folder.listing()[0])
        return [(parts[0], parts[2]) for parts in found if parts is not None]


def _owned(folders: list[bytes], sessions: list[list[Session]]) -> list[ListedSession]:
    """Return the sessions with their owners, without those in other folders."""
    names = os.fsdecode(b"\0".join(folders)).split("\0") if folders else []
    owners = map(decode_session_owner, names)
    return [
        (owner, operation, expiration)
        for owner, inside in zip(owners, sessions, strict=True)
        if owner is not None
        for operation, expiration in inside
    ]


def _parsed(data: bytes) -> _Index | None:
    """Return the index in a file; None if it is damaged."""
    head, _, rest = data.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or words[0] != _FORMAT:
        return None
    if not all(word.isdigit() and len(word) <= len(str(_LIMIT)) for word in words[1:]):
        return None
    folders, sessions = map(int, words[1:])
    rows = (1 + folders) * WITNESS_SIZE
    end = rows + (folders + 2 * sessions) * _WORD
    names = rest[end:].split(b"\n")
    if end > len(rest) or len(names) != folders + 1 or names[-1] or b"\0" in rest[end:]:
        return None
    numbers = memoryview(rest)[rows:end].cast("Q").tolist()  # so that none is negative
    counts, operations = numbers[:folders], numbers[folders : folders + sessions]
    expirations = numbers[folders + sessions :]
    if (
        len(expirations) != sessions
        or sum(counts) != sessions
        or max(expirations, default=0) >= _LATEST
    ):
        return None
    try:
        flat = list(zip(map(_NAMES.__getitem__, operations), expirations, strict=True))
    except KeyError:
        return None
    found: list[list[Session]] = []
    start = 0
    for count in counts:
        found.append(flat[start : start + count])
        start += count
    return _Index(rest[:rows], names[:folders], found)
