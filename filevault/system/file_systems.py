"""File systems whose times change with every change of a file, on this machine."""

from __future__ import annotations

import os
import sys

_SIZE = 256  # struct statfs has at most 120 bytes
# Local ones that give a changed file a new time: statfs(2) of ext4, xfs, btrfs, tmpfs, overlay.
_LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630})


def has_exact_times(path: str) -> bool:
    """Return whether the file system of a path is one of these; False if unsure."""
    buffer = bytearray(_SIZE)
    try:
        from filevault.system.libc import function, writable

        function("statfs")(os.fsencode(path) + b"\0", writable(buffer))
    except (OSError, ImportError):  # a Python without libffi
        return False
    # The first word, of 4 bytes on s390x and on machines of 32 bits, which are big-endian or not.
    size = 4 if os.uname().machine == "s390x" or sys.maxsize < 1 << 32 else 8
    return int.from_bytes(buffer[:size], sys.byteorder) & 0xFFFFFFFF in _LOCAL
