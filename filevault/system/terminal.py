"""The controlling terminal as a device, whatever stdin, stdout and stderr are."""

from __future__ import annotations

import os


def open_terminal() -> int:
    """Open the controlling terminal and return the descriptor. Raises OSError if there is none."""
    return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
