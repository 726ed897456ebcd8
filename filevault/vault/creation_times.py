"""`index`, the creation times of a `file` vault's keys as this machine last read them.

`list` and `doctor` show them, and read a file's header only if its witness has changed: what
stat(2) says of it. Nothing else is decided by them (`docs/format.md` §9).
"""

from __future__ import annotations

import time
from struct import pack

from filevault.errors import FilevaultError
from filevault.system.times import parse_time
from filevault.vault.witnesses import WITNESS_SIZE, witness, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.system.files import Folder
    from filevault.vault.item_store import ItemStore

    CreationTime = tuple[int, str | None]

_FILE = "index"
_FORMAT = b"filevault/4"
_LIMIT = 16 << 20
_ORIGINS = {0: None, 1: "iam", 2: "add"}
_NUMBERS = {origin: number for number, origin in _ORIGINS.items()}
_NO_TIME = len(_ORIGINS)
_ENTRY = WITNESS_SIZE + 2 * 8
_LATEST = 10**12  # later than the last second that `parse_time` reads
_SETTLED = 3_000_000_000
"""Nanoseconds for which a file must not have been changed before it is read.

Its times cannot show another change that follows closer than their resolution, which is two
seconds at most (FAT). git calls such a file racily clean.
"""


class _Entries:
    """The entries of an index: the names, their witnesses one after the other, their times.

    No object for each entry, so that a folder in which nothing has changed is compared as a
    whole: there may be ten thousand.
    """

    def __init__(
        self, names: list[str], witnesses: bytes, times: list[CreationTime | None]
    ) -> None:
        self.names = names
        self.witnesses = bytearray(witnesses)
        self.times = times
        self._positions: dict[str, int] | None = None

    def add(self, names: list[str], witnesses: bytes, times: list[CreationTime | None]) -> None:
        """Add entries at the end."""
        self.names += names
        self.witnesses += witnesses
        self.times += times

    def has(self, start: int, witnesses: bytes) -> bool:
        """Return whether the entries from a position on have these witnesses."""
        at = start * WITNESS_SIZE
        return self.witnesses[at : at + len(witnesses)] == witnesses

    def position(self, name: str) -> int | None:
        """Return where the entry of a name is."""
        if self._positions is None:
            self._positions = {name: number for number, name in enumerate(self.names)}
        return self._positions.get(name)


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
        self._recorded = _Entries([], b"", [])
        self._present = _Entries([], b"", [])
        self._is_new = False

    def of(self, items: ItemStore) -> dict[str, CreationTime | None]:
        """Return the names of all items, sorted, each with its time.

        That is Unix seconds and `iam`, `add` or None; not authenticated, None without a time.
        """
        self._recorded = recorded = self._load()
        self._present = _Entries([], b"", [])
        self._is_new = False
        found: dict[str, CreationTime | None] = {}
        start = 0  # where the next folder should be: they are listed and recorded in one order
        for folder, names, files in items.files():
            end = start + len(names)
            if recorded.names[start:end] == names:
                present = witnesses(folder.fd, files)
                if present is not None and recorded.has(start, present):
                    times = recorded.times[start:end]
                    self._present.add(names, present, times)
                    found.update(zip(names, times, strict=True))
                    start = end
                    continue
            for name, file in zip(names, files, strict=True):
                position = recorded.position(name)
                present = None if position is None else witnesses(folder.fd, [file])
                if position is not None and present is not None and recorded.has(position, present):
                    found[name] = recorded.times[position]
                    self._present.add([name], present, [found[name]])
                    start = position + 1
                else:
                    found[name] = self._time(name, folder, file)
        names = sorted(found)
        return found if names == list(found) else {name: found[name] for name in names}

    def record(self, state: Folder) -> None:
        """Write what `of` found, if it has changed; a failure has no consequence."""
        present = self._present
        if self._is_new or len(present.names) != len(self._recorded.names):
            data = _written(present)
            if len(data) <= _LIMIT:
                try:
                    state.write(_FILE, data)
                except FilevaultError:
                    return
            self._recorded, self._is_new = present, False

    def _time(self, name: str, folder: Folder, file: str) -> CreationTime | None:
        """Return the time in the header of an item's file."""
        before = self._now()
        head, status = folder.head(file, self._size)
        header = self._read(head)
        try:
            found = None if header is None else (parse_time(header[0]), header[1])
        except ValueError:
            found = None
        if (
            status is not None
            and max(status.st_mtime_ns, status.st_ctime_ns) < before - _SETTLED
            and (found is None or found[0] >= 0)
            and "\n" not in name
        ):
            self._present.add([name], witness(status), [found])
            self._is_new = True
        return found

    def _load(self) -> _Entries:
        """Return the entries in the file; none if it is missing, damaged or too long."""
        data = b""
        if self._state is not None:
            try:
                data = self._state.read(_FILE, _LIMIT, own=True)
            except (FileNotFoundError, FilevaultError):
                data = b""
        found = _parsed(data) if len(data) <= _LIMIT else None
        return _Entries([], b"", []) if found is None else found


def _parsed(data: bytes) -> _Entries | None:
    """Return the entries in a file; None if it is damaged."""
    head, _, rest = data.partition(b"\n")
    kind, _, text = head.partition(b" ")
    if kind != _FORMAT or not text.isdigit() or len(text) > len(str(_LIMIT)):
        return None
    count = int(text)
    at, end = count * WITNESS_SIZE, count * _ENTRY
    try:
        names = rest[end:].decode("utf-8").split("\n")
        numbers = memoryview(rest)[at:end].cast("Q").tolist()  # so that none is negative
    except (UnicodeDecodeError, TypeError):
        return None
    created, origins = numbers[:count], numbers[count:]
    if len(names) != count or len(origins) != count:
        return None
    if max(created) >= _LATEST:
        return None
    texts = {**_ORIGINS, _NO_TIME: None}
    try:
        times: list[CreationTime | None] = list(
            zip(created, map(texts.__getitem__, origins), strict=True)
        )
    except KeyError:
        return None
    if _NO_TIME in origins:
        times = [
            None if origin == _NO_TIME else time
            for time, origin in zip(times, origins, strict=True)
        ]
    return _Entries(names, rest[:at], times)


def _written(entries: _Entries) -> bytes:
    """Return the bytes of a file."""
    times = entries.times
    created = [0 if time is None else time[0] for time in times]
    origins = [_NO_TIME if time is None else _NUMBERS.get(time[1], 0) for time in times]
    numbers = pack(f"{2 * len(times)}q", *created, *origins)
    names = "\n".join(entries.names).encode()
    return b"%b %d\n%b%b%b" % (_FORMAT, len(times), bytes(entries.witnesses), numbers, names)
