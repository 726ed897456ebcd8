"""Secrets in memory that can be overwritten once they have served.

Python copies what it likes, and nothing here can promise that no copy is left: less of them lie
in memory, and for a shorter time. Texts and `bytes` cannot be overwritten at all.
"""

from __future__ import annotations

import os

SecretBytes = bytes | bytearray
_LF = 10


def overwrite(secret: SecretBytes) -> None:
    """Fill a secret with zeros, if it can be changed."""
    if isinstance(secret, bytearray):
        secret[:] = bytes(len(secret))


class SecretBuffer:
    """Memory into which a secret is read bit by bit, and which never moves while it grows.

    Args:
        limit: the most bytes that are expected; one more is read, to tell that there are.
    """

    __slots__ = ("_length", "_memory")

    def __init__(self, limit: int) -> None:
        self._memory = bytearray(limit + 1)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def overfull(self) -> bool:
        """Whether there is more than was expected."""
        return self._length == len(self._memory)

    def read(self, fd: int) -> int:
        """Read what a descriptor has, as far as there is room; return how much, 0 at its end."""
        with memoryview(self._memory) as whole, whole[self._length :] as rest:
            count = os.readv(fd, [rest])
        self._length += count
        return count

    def ends_with_line(self) -> bool:
        """Tell whether the last byte is a line end."""
        return self._length > 0 and self._memory[self._length - 1] == _LF

    def take(self) -> bytearray:
        """Return what was read, and leave nothing of it here."""
        with memoryview(self._memory) as whole, whole[: self._length] as part:
            taken = bytearray(part)
        self.clear()
        return taken

    def clear(self) -> None:
        """Overwrite what was read."""
        self._memory[: self._length] = bytes(self._length)
        self._length = 0
