"""`index.json`, the creation times of a `file` vault's keys as this machine last read them.

`list` shows them, and reads a file's header only if its witness has changed: what stat(2) says of
it. Nothing else is decided by them (`docs/format.md` §9).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from filevault.errors import FilevaultError
from filevault.system.strict_json import dumps, loads_nested
from filevault.system.times import parse_time

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from filevault.system.files import Folder
    from filevault.vault.item_store import ItemStore

    CreationTime = tuple[int, str | None]

_FILE = "index.json"
_FORMAT = "filevault/1"
_LIMIT = 16 << 20
_ORIGINS = ("iam", "add", "")
_DIGITS = 12  # of the last second that `parse_time` reads
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
        self._recorded: Mapping[str, object] = {}
        self._present: dict[str, str] = {}

    def of(self, items: ItemStore) -> dict[str, CreationTime | None]:
        """Return the names of all items, sorted, each with its time.

        That is Unix seconds and `iam`, `add` or None; not authenticated, None without a time.
        """
        self._recorded = recorded = self._load()
        self._present = present = {}
        found: dict[str, CreationTime | None] = {}
        for name, folder, entry in items.files():
            line = recorded.get(name)
            if type(line) is str:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # another process has deleted it
                witness, _, shown = line.partition(":")
                if witness == _witness(status):
                    try:
                        found[name] = _parsed(shown)
                    except ValueError:
                        pass  # as a changed one
                    else:
                        present[name] = line
                        continue
            found[name] = self._time(name, folder, entry.name)
        return {name: found[name] for name in sorted(found)}

    def record(self, state: Folder) -> None:
        """Write what `of` found, if it has changed; a failure has no consequence."""
        if self._present != self._recorded:
            data = dumps({"format": _FORMAT, "items": self._present})
            if len(data) <= _LIMIT:
                try:
                    state.write(_FILE, data)
                except FilevaultError:
                    return
            self._recorded = self._present

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
            shown = "" if found is None else f"{found[0]} {found[1] or ''}"
            self._present[name] = f"{_witness(status)}:{shown}"
        return found

    def _load(self) -> Mapping[str, object]:
        """Return a line for each item; none if the file is missing, damaged or too long."""
        if self._state is None:
            return {}
        try:
            data = self._state.read(_FILE, _LIMIT, own=True)
            content = loads_nested(data, _FILE, 2) if len(data) <= _LIMIT else {}
        except (FileNotFoundError, FilevaultError):
            return {}
        items = content.get("items")
        return items if content.get("format") == _FORMAT and isinstance(items, dict) else {}


def _parsed(shown: str) -> CreationTime | None:
    """Return the time in a line. Raises ValueError for what `CreationTimes` does not write."""
    if not shown:
        return None
    seconds, _, origin = shown.partition(" ")
    digits = seconds.isascii() and seconds.isdecimal() and len(seconds) <= _DIGITS
    if not digits or origin not in _ORIGINS:
        raise ValueError("not a time")
    return int(seconds), origin or None


def _witness(status: os.stat_result) -> str:
    """Return what shows that a file is the one that was read, and has not been changed since."""
    # Hexadecimal: the decimal digits of a time in nanoseconds take three times as long.
    return "%x %x %x %x %x %x %x" % (  # noqa: UP031 - format takes twice as long
        status.st_ino,
        status.st_ctime_ns,
        status.st_mtime_ns,
        status.st_size,
        status.st_dev,
        status.st_uid,
        status.st_mode,
    )
