"""Inputs: a record of everything that one run read, as witnesses for a later run.

A later run reads the same if every witness is unchanged. The witness of a file is `fstat` of the
very descriptor that it was read through; a path that was looked for in vain is a witness, too.
"""

from __future__ import annotations

import os
import stat
import time

from filevault.system.record import Record

FILE = "F"
"""A file or a listed folder: nothing of it has changed."""
FOLDER = "D"
"""A folder on the way: it is the same one, with the same owner and mode."""
ABSENT = "A"
"""There is nothing at this path."""
WRITABLE = "W"
"""A folder in which this process may create files."""

_MAX_LINKS = 40  # as in the kernel
_TICK = 20_000_000
"""Nanoseconds: twice the coarsest step in which Linux advances the times of files (HZ=100)."""
_SECOND = 1_000_000_000
"""Nanoseconds: the step of ext4 with inodes of 128 bytes, and of ext2 and ext3."""
_MAX_PATHS = 1000
"""More than an answer file takes (`filevault/lane/answer.py`); a walk over a vault keeps none."""


class Witness(Record):
    """One thing that a run found at a path: `kind` as above, `numbers` from `witness_numbers`."""

    kind: str
    path: str
    numbers: tuple[int, ...] = ()


def witness_numbers(kind: str, info: os.stat_result) -> tuple[int, ...]:
    """Return what must be equal for a witness of that kind."""
    found = (info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_gid)
    if kind == FOLDER:
        return found
    return (*found, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


class Inputs:
    """What one run has read so far.

    Args:
        began: when the run began, in nanoseconds of Unix time. A file that changed later, or just
            before, is no witness: a further change might not change its times ("racily clean" in
            git's index format).
    """

    __slots__ = ("_began", "_found", "_looked_at", "devices", "doubt", "variables")

    def __init__(self, began: int | None = None) -> None:
        self._began = time.time_ns() if began is None else began
        self._found: dict[str, Witness] = {}
        self._looked_at: dict[str, str] = {}  # path to where it led
        self.variables: set[str] = set()
        self.devices: dict[int, str] = {}  # number of a device to a path on it
        self.doubt: str | None = None

    def spoil(self, doubt: str) -> None:
        """Note why what this run read does not say what a later one would do.

        From then on nothing is kept: no later doubt counts.
        """
        if self.doubt is None:
            self.doubt = doubt
            self._found.clear()
            self._looked_at.clear()
            self.devices.clear()

    def _is_recent(self, info: os.stat_result) -> bool:
        """Return whether a further change might not show in the times of a file."""
        step = _TICK if info.st_ctime_ns % _SECOND else _TICK + _SECOND
        return info.st_ctime_ns + step >= self._began

    def variable(self, name: str) -> None:
        """Note that an environment variable was looked up."""
        self.variables.add(name)

    def read(self, path: str, before: os.stat_result, after: os.stat_result) -> None:
        """Note a file that was read, or a folder that was listed, through one descriptor.

        `before` and `after` are fstat(2) of it, taken around the reading.
        """
        if self.doubt is not None:
            return
        if witness_numbers(FILE, before) != witness_numbers(FILE, after):
            self.spoil("a file changed while it was read")
        if self._is_recent(before):
            self.spoil("a file changed shortly before it was read")
        self._note(FILE, path, before)

    def seen(self, path: str, info: os.stat_result) -> None:
        """Note what stat(2) says of a path: a folder on the way, or another file."""
        self._note(FOLDER if stat.S_ISDIR(info.st_mode) else FILE, path, info)

    def absent(self, path: str) -> None:
        """Note a path at which there is nothing."""
        self._add(Witness(ABSENT, path))

    def writable(self, path: str) -> None:
        """Note that this process may create files in a folder."""
        if self.doubt is None:
            self._found.setdefault(f"{path}/.", Witness(WRITABLE, path))

    def real_path(self, path: str) -> str:
        """Return a path with its links resolved (os.path.realpath), and note where it led."""
        real = os.path.realpath(path)
        if not path.startswith("/"):
            self.spoil("a path is relative")
        elif self.doubt is None and self._looked_at.setdefault(path, real) != real:
            self.spoil("a link changed during the run")
        return real

    def exists(self, path: str) -> bool:
        """Return whether a path exists, links followed, and note it."""
        return self._stat(path) is not None

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, links followed, and note it."""
        info = self._stat(path)
        return info is not None and stat.S_ISDIR(info.st_mode)

    def absolute(self, path: str) -> str:
        """Return a path as os.path.abspath does; a relative one depends on the working folder."""
        if not path.startswith("/"):
            self.spoil("a path is relative")
        return os.path.abspath(path)

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self.absent(path)
            return None
        except (OSError, ValueError):
            self.spoil("a path cannot be looked at")
            return None
        self.seen(path, info)
        return info

    def _note(self, kind: str, path: str, info: os.stat_result) -> None:
        if self.doubt is not None:
            return
        self.devices.setdefault(info.st_dev, path)
        self._add(Witness(kind, path, witness_numbers(kind, info)))

    def _add(self, witness: Witness) -> None:
        if not witness.path.startswith("/"):
            self.spoil("a path is relative")
        if len(self._found) >= _MAX_PATHS:
            self.spoil("it read too many files")
        if self.doubt is not None:
            return
        before = self._found.get(witness.path)
        if before is not None and before != witness:
            if {before.kind, witness.kind} == {FILE, FOLDER}:
                # A folder that was opened and also listed: the stricter one stays.
                if before.numbers[:5] == witness.numbers[:5]:
                    witness = before if before.kind == FILE else witness
                else:
                    self.spoil("a folder changed during the run")
            else:
                self.spoil("a path changed during the run")
        if self.doubt is None:
            self._found[witness.path] = witness

    def witnesses(self) -> list[Witness] | None:
        """Return the witnesses as they are now; None with a `doubt` that they say the same.

        Each folder and each link on the way to a path is one, too, once. Each path must still lead
        to what was read there.
        """
        found: dict[tuple[str, str], Witness] = {}
        there: dict[str, os.stat_result | None] = {}
        for path, real in [*self._looked_at.items()]:  # a doubt clears what is walked
            end, info = self._walk(path, found, there)
            if info is None:
                found[ABSENT, end] = Witness(ABSENT, end)
            if os.path.realpath(path) != real:
                self.spoil("a link changed during the run")
        for witness in [*self._found.values()]:
            end, info = self._walk(witness.path, found, there)
            if witness.kind == WRITABLE:
                found[WRITABLE, end] = witness._replace(path=end)
            elif witness.kind == ABSENT:
                if info is not None:
                    self.spoil("a path appeared during the run")
                found[ABSENT, end] = Witness(ABSENT, end)
            elif info is None or witness_numbers(witness.kind, info) != witness.numbers:
                self.spoil("a path changed during the run")
            elif witness.kind == FILE:
                found[FILE, end] = witness._replace(path=end)
        if any("\n" in each.path or "\0" in each.path for each in found.values()):
            self.spoil("a path contains a line end")
        return list(found.values()) if self.doubt is None else None

    def _walk(
        self,
        path: str,
        found: dict[tuple[str, str], Witness],
        there: dict[str, os.stat_result | None],
    ) -> tuple[str, os.stat_result | None]:
        """Add the folders and links on the way to a path; return where it leads, and to what.

        For a path that does not exist that is its first part that is missing, and None. `there`
        is what was found at each path so far, which many paths have in common.
        """
        at, links = "/", 0
        info = self._step(at, found, there)
        left = path.split("/")[::-1]
        while left and info is not None:
            part = left.pop()
            if part in ("", "."):
                continue
            # `at` has no links any more
            here = os.path.dirname(at) if part == ".." else f"{at.rstrip('/')}/{part}"
            info = self._step(here, found, there)
            if info is None:
                return here, None
            if stat.S_ISLNK(info.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    self.spoil("a path has too many links")
                    return here, None
                target = os.readlink(here)
                left += target.split("/")[::-1]
                here = "/" if target.startswith("/") else at
                info = there[here]
            at = here
        return at, info

    def _step(
        self,
        path: str,
        found: dict[tuple[str, str], Witness],
        there: dict[str, os.stat_result | None],
    ) -> os.stat_result | None:
        """Return what is at a path; add it if the way leads through it."""
        if path not in there:
            there[path] = self._look(path, found)
        return there[path]

    def _look(self, path: str, found: dict[tuple[str, str], Witness]) -> os.stat_result | None:
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            self.spoil("a path cannot be looked at")
            return None
        if stat.S_ISDIR(info.st_mode):
            self.devices.setdefault(info.st_dev, path)
            found[FOLDER, path] = Witness(FOLDER, path, witness_numbers(FOLDER, info))
        elif stat.S_ISLNK(info.st_mode):
            if self._is_recent(info):
                self.spoil("a link changed shortly before it was followed")
            found[FILE, path] = Witness(FILE, path, witness_numbers(FILE, info))
        return info
