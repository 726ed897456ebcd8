"""The clock of the fake: real time until a test moves or stops it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Answer Unix seconds when called; safe to move while requests are being served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        with self._lock:
            return self._now()

    @property
    def moved(self) -> bool:
        """Whether it shows anything but real time."""
        with self._lock:
            return self._offset != 0.0 or self._stopped_at is not None

    def advance(self, seconds: float) -> None:
        """Move by so many seconds, which may be negative."""
        with self._lock:
            if self._stopped_at is None:
                self._offset += seconds
            else:
                self._stopped_at += seconds

    def set(self, at: float) -> None:
        """Show that many Unix seconds from now on; a running clock goes on running."""
        with self._lock:
            if self._stopped_at is None:
                self._offset = at - time.time()
            else:
                self._stopped_at = at

    def freeze(self, at: float | None = None) -> None:
        """Stop at that time, or at the time shown now: token codes then change on demand only."""
        with self._lock:
            self._stopped_at = self._now() if at is None else at

    def reset(self) -> None:
        """Show real time again."""
        with self._lock:
            self._offset = 0.0
            self._stopped_at = None

    def _now(self) -> float:
        return time.time() + self._offset if self._stopped_at is None else self._stopped_at


def iso(at: float) -> str:
    """Write Unix seconds the way AWS does, in whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
