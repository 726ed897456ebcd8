"""Witnesses: what stat(2) says of a file, which shows whether it is the one that was read.

A witness has inode, size, ctime, mtime and device of the file itself; a link is not followed. Any
change of mode, owner or links changes the ctime, which no call can set.
"""

from __future__ import annotations

import os
from struct import pack

from filevault.system.libc import direct, writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

WITNESS_SIZE = 56
_WORD = 8
# linux/stat.h: struct statx has 256 bytes; these words of it make a witness, in this order.
_STATX_SIZE = 256
_WORDS = (4, 5, 12, 13, 14, 15, 17)
_FORM = "=QQqIiqIiII"  # the same; nanoseconds have 4 bytes, and 4 that are 0 behind them
_BASIC_STATS = 0x7FF
_NO_FOLLOW = 0x100
_SECOND = 10**9
_CHUNK = 4096  # files of which all that statx(2) says is in memory at a time


def witness(status: os.stat_result) -> bytes:
    """Return the witness of a file."""
    changed, modified = divmod(status.st_ctime_ns, _SECOND), divmod(status.st_mtime_ns, _SECOND)
    device = os.major(status.st_dev), os.minor(status.st_dev)
    return pack(_FORM, status.st_ino, status.st_size, *changed, 0, *modified, 0, *device)


def witnesses(fd: int, files: Sequence[str]) -> bytes | None:
    """Return the witnesses of files in a folder one after the other; None if one is gone.

    There may be thousands: no object is made of what the system says of each.
    """
    try:
        return b"".join(
            _by_statx(fd, files[at : at + _CHUNK]) for at in range(0, len(files), _CHUNK)
        )
    except OSError:
        pass  # also without statx(2): an old C library or kernel, or it is forbidden
    try:
        return b"".join(witness(os.stat(file, dir_fd=fd, follow_symlinks=False)) for file in files)
    except OSError:
        return None


def _by_statx(fd: int, files: Sequence[str]) -> bytes:
    """Return the same; raise OSError if one is gone, or without statx(2)."""
    statx = direct("statx")
    slot: Any = writable(bytearray(_STATX_SIZE))
    found = [
        slot.raw  # a copy, made faster than `bytes` makes one
        for name in os.fsencode("\0".join(files)).split(b"\0")
        if statx(fd, name, _NO_FOLLOW, _BASIC_STATS, slot) == 0
    ]
    if len(found) != len(files):
        raise OSError("a file cannot be looked at")
    words = memoryview(b"".join(found)).cast("Q")
    chosen = bytearray(len(found) * WITNESS_SIZE)
    rows = memoryview(chosen).cast("Q")
    for place, word in enumerate(_WORDS):
        rows[place :: len(_WORDS)] = words[word :: _STATX_SIZE // _WORD]
    return bytes(chosen)
