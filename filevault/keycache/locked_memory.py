"""Memory for keys that is not written to swap, divided into slots."""

from __future__ import annotations

import contextlib
import mmap

_SLOTS = 64


class LockedMemory:
    """Slots of a fixed size that are never moved or copied.

    Each page is locked when it is first used: an ordinary user may lock 8 MiB, with older kernels
    64 KiB (getrlimit(2), RLIMIT_MEMLOCK), too little for a whole process.

    Args:
        slot_size: in bytes.
    """

    def __init__(self, slot_size: int) -> None:
        size = _SLOTS * slot_size
        self._slot_size = slot_size
        self._memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._free = list(range(0, size, slot_size))

    def write(self, key: bytes) -> int | None:
        """Write a key to a free slot and return the slot, None if all are in use."""
        if not self._free:
            return None
        slot = self._free.pop(0)
        with contextlib.suppress(ImportError, OSError):  # best effort
            from filevault.system.libc import function, writable

            function("mlock")(writable(self._memory, slot), self._slot_size)
        self._memory[slot : slot + len(key)] = key
        return slot

    def read(self, slot: int, size: int) -> bytes:
        """Return the first bytes of a slot."""
        return self._memory[slot : slot + size]

    def wipe(self, slot: int) -> None:
        """Overwrite a slot and make it free."""
        self._memory[slot : slot + self._slot_size] = bytes(self._slot_size)
        self._free.insert(0, slot)
