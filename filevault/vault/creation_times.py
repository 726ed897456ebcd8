"""`index`, the creation times of a `file` vault's keys as this machine last read them.

`list` and `doctor` show them. A folder is listed again, and a file's header read, only if its
witness has changed: what stat(2) says of it. Nothing else is decided by them (`docs/format.md` §9).
"""

from __future__ import annotations

import os
import time

from filevault.errors import FilevaultError
from filevault.system.times import parse_time
from filevault.vault.witnesses import (
    NO_WITNESS,
    THIS_FOLDER,
    WITNESS_SIZE,
    device_of,
    is_settled,
    settled_witness,
    witness,
    witnesses,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.system.files import Folder
    from filevault.vault.item_store import ItemFolder, ItemStore, Listing

    CreationTime = tuple[int, str | None]

_FILE = "index"
_FORMAT = b"filevault/5"
_LIMIT = 16 << 20
_ORIGINS = {0: None, 1: "iam", 2: "add"}
_NUMBERS = {origin: number for number, origin in _ORIGINS.items()}
_NO_TIME = len(_ORIGINS)
_WORD = 8
_FOLDER_SIZE = WITNESS_SIZE + _WORD
_ENTRY_SIZE = WITNESS_SIZE + _WORD
_LATEST = 10**12  # later than the last second that `parse_time` reads


class _Entries:
    """The entries of one folder: its files, their witnesses one after the other, their times.

    No object for each entry, so that a folder in which nothing has changed is compared as a
    whole: there may be ten thousand. `witness` is that of the folder, `folders` are those inside.
    """

    __slots__ = ("_positions", "files", "folders", "times", "witness", "witnesses")

    def __init__(
        self,
        witness: bytes,
        files: list[bytes],
        witnesses: bytes,
        times: list[CreationTime | None],
    ) -> None:
        self.witness = witness
        self.files = files
        self.witnesses = witnesses
        self.times = times
        self.folders: list[str] = []
        self._positions: dict[bytes, int] | None = None

    def time_of(self, file: bytes, witness: bytes) -> tuple[CreationTime | None] | None:
        """Return the time of a file, in a tuple; None unless it has this witness."""
        if self._positions is None:
            self._positions = {file: number for number, file in enumerate(self.files)}
        number = self._positions.get(file)
        if number is None:
            return None
        at = number * WITNESS_SIZE
        return (self.times[number],) if self.witnesses[at : at + WITNESS_SIZE] == witness else None


class CreationTimes:
    """The creation times of the items of a `file` vault.

    Args:
        state: the state directory, None without one.
        read: returns time and origin (`iam`, `add` or None) from the first bytes of a file.
        size: how many bytes `read` needs.
        now: Unix nanoseconds of the clock that files get their times from.
    """

    def __init__(
        self,
        state: Folder | None,
        read: Callable[[bytes], tuple[str, str | None] | None],
        size: int,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._state = state
        self._read = read
        self._size = size
        self._now = now
        self._recorded: dict[str, _Entries] = {}  # by the prefix of each folder
        self._present: dict[str, _Entries] = {}
        self._device: bytes | None = None

    def of(self, items: ItemStore) -> dict[str, CreationTime | None]:
        """Return the names of all items, sorted, each with its time.

        That is Unix seconds and `iam`, `add` or None; not authenticated, None without a time.
        """
        before = self._now()
        self._recorded, self._present, self._device = self._load(), {}, None
        found: dict[str, CreationTime | None] = {}
        for each in items.files(self._unchanged):
            entries = self._entries(each, before, found)
            if "\n" not in each.prefix:
                self._present[each.prefix] = entries
        for prefix, entries in self._present.items():
            # A folder that could not be read now may be readable later, without any change here.
            if any(f"{prefix}{name}/" not in self._present for name in entries.folders):
                entries.witness = NO_WITNESS
        names = sorted(found)
        return found if names == list(found) else {name: found[name] for name in names}

    def record(self, state: Folder) -> None:
        """Write what `of` found, if it has changed; a failure has no consequence."""
        if self._has_news():
            data = _written(self._present)
            if len(data) <= _LIMIT:
                try:
                    state.write(_FILE, data)
                except FilevaultError:
                    return
            self._recorded = self._present

    def _has_news(self) -> bool:
        """Return whether something was found that a later run would not have to read again."""
        recorded, present = self._recorded, self._present
        return recorded.keys() != present.keys() or any(
            entries is not recorded[prefix]
            and (
                entries.files != recorded[prefix].files
                or entries.witnesses != recorded[prefix].witnesses
                or entries.witness not in (recorded[prefix].witness, NO_WITNESS)
            )
            for prefix, entries in present.items()
        )

    def _unchanged(self, folder: Folder, prefix: str) -> Listing | None:
        """Return what was in a folder if that is the same now."""
        known = self._recorded.get(prefix)
        if known is None or known.witness == NO_WITNESS:
            return None
        same = witnesses(folder.fd, THIS_FOLDER) == known.witness
        return (known.files, known.folders) if same else None

    def _entries(
        self, listed: ItemFolder, before: int, found: dict[str, CreationTime | None]
    ) -> _Entries:
        """Return the entries of a folder's items, and add their times to `found`."""
        known = self._recorded.get(listed.prefix)
        names, files, fd = listed.names, listed.files, listed.folder.fd
        present = witnesses(fd, files)
        if known is not None and present == known.witnesses and files == known.files:
            found.update(zip(names, known.times, strict=True))
            if files is known.files:
                return known
            entries = _Entries(NO_WITNESS, files, known.witnesses, known.times)
        else:
            entries = self._read_again(listed, present, before, found)
        entries.folders = listed.folders
        if len(entries.files) == len(files):
            again = witnesses(fd, THIS_FOLDER)
            if again is not None:
                entries.witness = self._settled(again, listed.folder, before)
        return entries

    def _read_again(
        self,
        listed: ItemFolder,
        present: bytes | None,
        before: int,
        found: dict[str, CreationTime | None],
    ) -> _Entries:
        """Return the same of a folder in which something has changed."""
        known = self._recorded.get(listed.prefix)
        kept: list[bytes] = []
        seen: list[bytes] = []
        times: list[CreationTime | None] = []
        for number, (name, file) in enumerate(zip(listed.names, listed.files, strict=True)):
            at = number * WITNESS_SIZE
            now = NO_WITNESS if present is None else present[at : at + WITNESS_SIZE]
            same = None if known is None else known.time_of(file, now)
            if same is None:
                found[name], now = self._time(listed.folder, file, before)
            else:
                found[name] = same[0]
            if now != NO_WITNESS:
                kept.append(file)
                seen.append(now)
                times.append(found[name])
        return _Entries(NO_WITNESS, kept, b"".join(seen), times)

    def _time(self, folder: Folder, file: bytes, before: int) -> tuple[CreationTime | None, bytes]:
        """Return the time in the header of an item's file, and the witness of the file."""
        head, status = folder.head(os.fsdecode(file), self._size)
        header = self._read(head)
        try:
            found = None if header is None else (parse_time(header[0]), header[1])
        except ValueError:
            found = None
        if (
            status is None
            or not is_settled(status, before)
            or (found is not None and found[0] < 0)
            or b"\n" in file
        ):
            return found, NO_WITNESS
        return found, witness(status)

    def _settled(self, found: bytes, folder: Folder, before: int) -> bytes:
        """Return the witness of a folder, NO_WITNESS if it may not show the next change."""
        from filevault.system.file_systems import has_exact_times

        if self._device is None:
            self._device = device_of(found) if has_exact_times(folder.path) else b""
        return settled_witness(found, before, self._device)

    def _load(self) -> dict[str, _Entries]:
        """Return the entries in the file; none if it is missing, damaged or too long."""
        data = b""
        if self._state is not None:
            try:
                data = self._state.read(_FILE, _LIMIT, own=True)
            except (FileNotFoundError, FilevaultError):
                data = b""
        return (_parsed(data) if len(data) <= _LIMIT else None) or {}


def _parsed(data: bytes) -> dict[str, _Entries] | None:
    """Return the entries in a file, by folder; None if it is damaged."""
    numbers = data.find(b"\n") + 1
    words = data[:numbers].removesuffix(b"\n").split(b" ")
    if len(words) != 3 or words[0] != _FORMAT:
        return None
    if not all(word.isdigit() and len(word) <= len(str(_LIMIT)) for word in words[1:]):
        return None
    folders, items = map(int, words[1:])
    counts = numbers + folders * WITNESS_SIZE
    rows = numbers + folders * _FOLDER_SIZE
    created = rows + items * WITNESS_SIZE
    end = rows + items * _ENTRY_SIZE
    text = data[end:]
    lines = text.split(b"\n")
    times = _times(data[created:end], items)
    if times is None or len(lines) != folders + items + 1 or lines[-1] or b"\0" in text:
        return None
    found: dict[str, _Entries] = {}
    first = 0
    for number, count in enumerate(memoryview(data)[counts:rows].cast("Q").tolist()):
        last = first + count
        at = numbers + number * WITNESS_SIZE
        known = _Entries(
            data[at : at + WITNESS_SIZE],
            lines[folders + first : folders + last],
            data[rows + first * WITNESS_SIZE : rows + last * WITNESS_SIZE],
            times[first:last],
        )
        first = last
        path = os.fsdecode(lines[number])
        if path in found or len(known.files) != count or not _add(found, path, known):
            return None
    return found if first == items and text.rfind(b"/") < _end_of(lines[:folders]) else None


def _end_of(lines: list[bytes]) -> int:
    """Return where lines at the beginning of a text end."""
    return sum(map(len, lines)) + len(lines)


def _add(found: dict[str, _Entries], path: str, known: _Entries) -> bool:
    """Add the entries of a folder; return False if the one that it is in was not before it."""
    if path:
        parent, _, name = path[:-1].rpartition("/")
        above = found.get(f"{parent}/" if parent else "")
        if above is None or not path.endswith("/"):
            return False
        above.folders.append(name)
    found[path] = known
    return True


class _Times(dict[int, "CreationTime | None"]):
    """The creation times that numbers in the file stand for; each is made once."""

    def __missing__(self, number: int) -> CreationTime | None:
        """Raise KeyError for a number that stands for none."""
        seconds, origin = divmod(number, _NO_TIME + 1)
        if seconds >= _LATEST:
            raise KeyError(number)
        time = self[number] = None if origin == _NO_TIME else (seconds, _ORIGINS[origin])
        return time


def _times(numbers: bytes, items: int) -> list[CreationTime | None] | None:
    """Return the times that are written as a number each; None if there are no such times."""
    try:
        values = memoryview(numbers).cast("Q").tolist()  # so that none is negative
        return list(map(_Times().__getitem__, values)) if len(values) == items else None
    except (TypeError, KeyError):
        return None


def _number(time: CreationTime | None) -> int:
    """Return the number that stands for a time."""
    return _NO_TIME if time is None else time[0] * (_NO_TIME + 1) + _NUMBERS.get(time[1], 0)


def _written(present: dict[str, _Entries]) -> bytes:
    """Return the bytes of a file."""
    from struct import pack

    folders = list(present.values())
    times = [time for each in folders for time in each.times]
    paths = map(os.fsencode, present)
    files = (file for each in folders for file in each.files)
    return b"".join(
        (
            b"%b %d %d\n" % (_FORMAT, len(folders), len(times)),
            *(each.witness for each in folders),
            pack(f"{len(folders)}q", *(len(each.files) for each in folders)),
            *(each.witnesses for each in folders),
            pack(f"{len(times)}q", *map(_number, times)),
            *(line + b"\n" for line in (*paths, *files)),
        )
    )
