"""Damage to a file of a vault: one bit of it is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flip(path: Path, position: int = -1) -> None:
    """Change a bit; a byte that is overwritten by another may be the same by chance."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
