"""Witnesses: what stat(2) says of a file, which shows whether it is the one that was read.

A witness has inode, size, ctime, mtime and device of the file itself; a link is not followed. Any
change of mode, owner or links changes the ctime, which no call can set. A folder has a witness too:
its ctime changes with every name in it that is added, removed or given to another file.
"""

from __future__ import annotations

import os
from itertools import repeat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WITNESS_SIZE = 56
NO_WITNESS = b"\xff" * WITNESS_SIZE
"""The witness of no file: a second has fewer nanoseconds."""
THIS_FOLDER = (b".",)
_WORD = 8
# linux/stat.h: struct statx has 256 bytes; these words of it make a witness, in this order.
_STATX_SIZE = 256
_WORDS = (4, 5, 12, 13, 14, 15, 17)
_CHANGED, _MODIFIED = 2, 4  # the seconds of ctime and mtime among the words of a witness
_DEVICE = slice(6 * _WORD, 7 * _WORD)
_FORM = "=QQqIiqIiII"  # the same; nanoseconds have 4 bytes, and 4 that are 0 behind them
_BASIC_STATS = 0x7FF
_NO_FOLLOW = 0x100
_SECOND = 10**9
_CHUNK = 512  # files of which all that statx(2) says is in memory at a time
_SETTLED = 3
"""Seconds for which a file must not have been changed before it is read.

Its times cannot show another change that follows closer than their resolution, which is two
seconds at most (FAT). git calls such a file racily clean.
"""


def witness(status: os.stat_result) -> bytes:
    """Return the witness of a file."""
    from struct import pack  # here, since a run that finds all files unchanged needs it nowhere

    changed, modified = divmod(status.st_ctime_ns, _SECOND), divmod(status.st_mtime_ns, _SECOND)
    device = os.major(status.st_dev), os.minor(status.st_dev)
    return pack(_FORM, status.st_ino, status.st_size, *changed, 0, *modified, 0, *device)


def witnesses(fd: int, files: Sequence[bytes]) -> bytes | None:
    """Return the witnesses of files in a folder one after the other; None if one is gone.

    There may be thousands: no object is made of what the system says of each.
    """
    try:
        return _by_statx(fd, files) if files else b""
    except (OSError, ImportError):
        pass  # also without statx(2): an old C library or kernel, it is forbidden, or no libffi
    try:
        return b"".join(witness(os.stat(file, dir_fd=fd, follow_symlinks=False)) for file in files)
    except OSError:
        return None


def _by_statx(fd: int, files: Sequence[bytes]) -> bytes:
    """Return the same; raise OSError if one is gone, or without statx(2)."""
    from filevault.system.libc import direct, parts_of, writable

    statx = direct("statx")
    buffer = bytearray(min(len(files), _CHUNK) * _STATX_SIZE)
    slots = parts_of(writable(buffer), range(0, len(buffer), _STATX_SIZE))
    words = memoryview(buffer).cast("Q")
    found = bytearray(len(files) * WITNESS_SIZE)
    rows = memoryview(found).cast("Q")
    width, start = len(_WORDS), 0
    for at in range(0, len(files), _CHUNK):
        chunk = files[at : at + _CHUNK]
        failed = map(statx, repeat(fd), chunk, repeat(_NO_FOLLOW), repeat(_BASIC_STATS), slots)
        if any(failed):
            raise OSError("a file cannot be looked at")
        end = start + len(chunk) * width
        for place, word in enumerate(_WORDS):
            rows[start + place : end : width] = words[word :: _STATX_SIZE // _WORD][: len(chunk)]
        start = end
    return bytes(found)


def is_settled(status: os.stat_result, before: int) -> bool:
    """Return whether the times of a file will show any change after this moment.

    `before` is when reading began, in Unix nanoseconds of the clock that files get times from.
    """
    return max(status.st_mtime_ns, status.st_ctime_ns) < before - _SETTLED * _SECOND


def settled_witness(witness: bytes, before: int, device: bytes) -> bytes:
    """Return a witness, or NO_WITNESS if the same times may be those of a later change.

    `before` is as above. Folders of another device than this one, a mount, have no witness: the
    caller knows the times of this one alone (`filevault.system.file_systems`).
    """
    words = memoryview(witness).cast("q")
    latest = max(words[_CHANGED], words[_MODIFIED])
    settled = latest < before // _SECOND - _SETTLED
    return witness if settled and device_of(witness) == device else NO_WITNESS


def device_of(witness: bytes) -> bytes:
    """Return the device in a witness."""
    return witness[_DEVICE]
