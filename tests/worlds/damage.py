"""Damage to a file of a vault: one bit of it is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flip(path: Path) -> None:
    """Change a bit of the last byte: another byte could by chance be the same."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
