"""`index`, the creation times of a `file` vault's keys as this machine last read them.

`list` shows them, and reads a file's header only if its witness has changed: what stat(2) says of
it. Nothing else is decided by them (`docs/format.md` §9).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from filevault.errors import FilevaultError
from filevault.system.times import parse_time

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from filevault.system.files import Folder
    from filevault.vault.item_store import ItemStore

    CreationTime = tuple[int, str | None]
    Entry = tuple[int, ...]

_FILE = "index"
_FORMAT = b"filevault/2"
_LIMIT = 16 << 20
_ORIGINS = (None, "iam", "add")
_NO_TIME = len(_ORIGINS)
_WITNESS = 9  # numbers: seven of stat(2), two times in nanoseconds
_NUMBERS = _WITNESS + 2
_BYTES = 8  # of a number
_LATEST = 10**12  # later than the last second that `parse_time` reads
_LARGEST = 2**63 - 1
_SETTLED = 3_000_000_000
"""Nanoseconds for which a file must not have been changed before it is read.

Its times cannot show another change that follows closer than their resolution, which is two
seconds at most (FAT). git calls such a file racily clean.
"""


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
        self._recorded: dict[str, Entry] = {}
        self._present: dict[str, Entry] = {}
        self._is_new = False

    def of(self, items: ItemStore) -> dict[str, CreationTime | None]:
        """Return the names of all items, sorted, each with its time.

        That is Unix seconds and `iam`, `add` or None; not authenticated, None without a time.
        """
        self._recorded = recorded = self._load()
        self._present = present = {}
        self._is_new = False
        found: dict[str, CreationTime | None] = {}
        for folder, files in items.files():
            for name, file in files:
                entry = recorded.get(name)
                if entry is not None:
                    try:
                        status = file.stat(follow_symlinks=False)
                    except OSError:
                        continue  # another process has deleted it
                    if (
                        # As `_witness`, which would take longer than stat(2) for thousands.
                        status[:7] == entry[:7]
                        and status.st_mtime_ns == entry[7]
                        and status.st_ctime_ns == entry[8]
                    ):
                        origin = entry[10]
                        found[name] = None if origin == _NO_TIME else (entry[9], _ORIGINS[origin])
                        present[name] = entry
                        continue
                found[name] = self._time(name, folder, file.name)
        return {name: found[name] for name in sorted(found)}

    def record(self, state: Folder) -> None:
        """Write what `of` found, if it has changed; a failure has no consequence."""
        if self._is_new or len(self._present) != len(self._recorded):
            from array import array

            numbers = array("q", [number for entry in self._present.values() for number in entry])
            names = "\n".join(self._present).encode()
            data = b"%b %d\n%b%b" % (_FORMAT, len(self._present), numbers.tobytes(), names)
            if len(data) <= _LIMIT:
                try:
                    state.write(_FILE, data)
                except FilevaultError:
                    return
            self._recorded, self._is_new = self._present, False

    def _time(self, name: str, folder: Folder, file: str) -> CreationTime | None:
        """Return the time in the header of an item's file."""
        before = self._now()
        head, status = folder.head(file, self._size)
        header = self._read(head)
        try:
            found = None if header is None else (parse_time(header[0]), header[1])
        except ValueError:
            found = None
        if status is not None and max(status.st_mtime_ns, status.st_ctime_ns) < before - _SETTLED:
            time_and_origin = (0, _NO_TIME) if found is None else (found[0], _origin(found[1]))
            entry = (*_witness(status), *time_and_origin)
            if max(entry) <= _LARGEST and time_and_origin[0] >= 0 and "\n" not in name:
                self._present[name] = entry
                self._is_new = True
        return found

    def _load(self) -> dict[str, Entry]:
        """Return an entry for each item; none if the file is missing, damaged or too long."""
        if self._state is None:
            return {}
        try:
            data = self._state.read(_FILE, _LIMIT, own=True)
        except (FileNotFoundError, FilevaultError):
            return {}
        return _parsed(data) if len(data) <= _LIMIT else {}


def _parsed(data: bytes) -> dict[str, Entry]:
    """Return the entries in a file, without any loop over them: there may be ten thousand."""
    head, _, rest = data.partition(b"\n")
    kind, _, count = head.partition(b" ")
    if kind != _FORMAT or not count.isdigit() or len(count) > len(str(_LIMIT)):
        return {}
    end = int(count) * _NUMBERS * _BYTES
    try:
        names = rest[end:].decode("utf-8").split("\n")
        numbers = memoryview(rest)[:end].cast("q").tolist()
    except (UnicodeDecodeError, TypeError):
        return {}
    times, origins = numbers[_WITNESS::_NUMBERS], numbers[_WITNESS + 1 :: _NUMBERS]
    if len(names) != int(count) or len(times) != int(count) or len(numbers) * _BYTES != end:
        return {}
    if not (min(times) >= 0 and max(times) < _LATEST):
        return {}
    if not (min(origins) >= 0 and max(origins) <= _NO_TIME):
        return {}
    return dict(zip(names, zip(*[iter(numbers)] * _NUMBERS, strict=True), strict=True))


def _origin(origin: str | None) -> int:
    return _ORIGINS.index(origin) if origin in _ORIGINS else 0


def _witness(status: os.stat_result) -> tuple[int, ...]:
    """Return what shows that a file is the one that was read, and has not been changed since."""
    return (*status[:7], status.st_mtime_ns, status.st_ctime_ns)
