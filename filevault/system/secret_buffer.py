"""Secrets in memory that can be overwritten after use.

Python may copy any value, so this does not guarantee that no copy is left; it reduces their number
and lifetime. `str` and `bytes` cannot be overwritten at all.
"""

from __future__ import annotations

import os

SecretBytes = bytes | bytearray
_LF = 10


def overwrite(secret: SecretBytes) -> None:
    """Fill a secret with zeros if it is a bytearray."""
    if isinstance(secret, bytearray):
        secret[:] = bytes(len(secret))


class SecretBuffer:
    """Memory into which a secret is read piece by piece, without reallocation.

    Args:
        limit: bytes that the secret may have; one more is read to detect a longer one.
    """

    __slots__ = ("_length", "_memory")

    def __init__(self, limit: int) -> None:
        self._memory = bytearray(limit + 1)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def overfull(self) -> bool:
        """Whether there are more bytes than the limit."""
        return self._length == len(self._memory)

    def read(self, fd: int) -> int:
        """Read from a descriptor and return the number of bytes, 0 at its end or without space."""
        with memoryview(self._memory) as whole, whole[self._length :] as rest:
            count = os.readv(fd, [rest])
        self._length += count
        return count

    def ends_with_line(self) -> bool:
        """Return whether the last byte is a line end."""
        return self._length > 0 and self._memory[self._length - 1] == _LF

    def take(self) -> bytearray:
        """Return the secret and clear this buffer."""
        with memoryview(self._memory) as whole, whole[: self._length] as part:
            taken = bytearray(part)
        self.clear()
        return taken

    def clear(self) -> None:
        """Overwrite the secret."""
        self._memory[: self._length] = bytes(self._length)
        self._length = 0
