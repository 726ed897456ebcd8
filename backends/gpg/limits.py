"""Limits on a running gpg: elapsed time, and processor time for a message."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds for gpg alone: secret keys and their passphrases take the agent's time. Looking up keys
# among many keys is included.
_PROCESSOR_TIME = 10
# Seconds for the content of a message, once its key is found: at most a mebibyte, milliseconds of
# work. A packet that is skipped, not written, could be decompressed for minutes. The system's limit
# is in whole seconds since gpg's start, so this one is checked here.
_CONTENT = b"[GNUPG:] BEGIN_DECRYPTION"
_CONTENT_TIME = 0.3
_LOOK = 0.05


class Watch:
    """A running gpg that is killed when its time limit is reached."""

    def __init__(self, process: Any, timeout: float) -> None:  # noqa: ANN401 - a Popen
        import threading

        self.expired = False
        self.slow = False
        self._process = process
        self._ended = threading.Event()
        self._timer = threading.Timer(timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        if self._process.poll() is None:
            self.expired = True
            self.kill()

    def limit_processor(self) -> None:
        """Limit the processor time, if the system can (Linux); waiting takes none."""
        import resource

        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.prlimit(
                self._process.pid, resource.RLIMIT_CPU, (_PROCESSOR_TIME, _PROCESSOR_TIME + 1)
            )

    def limit_content(self) -> None:
        """Kill gpg if it takes too much processor time from now on, if the system can (Linux)."""
        import threading

        before = self._used()
        if before is None or self._ended.is_set():
            return

        def look() -> None:
            while not self._ended.wait(_LOOK):
                used = self._used()
                if used is None:
                    return
                if used - before > _CONTENT_TIME:
                    self.slow = True
                    self.kill()
                    return

        threading.Thread(target=look, daemon=True).start()

    def _used(self) -> float | None:
        """Return the seconds of processor time that gpg has taken, None if that is unknown."""
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as file:
                # proc(5): the name, in brackets, is arbitrary; utime is the twelfth field after it.
                fields = file.read().rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def kill(self) -> None:
        """Kill gpg."""
        self._process.kill()

    def end(self) -> None:
        """End process, timer and pipes, in whatever state they are."""
        self._timer.cancel()
        self._ended.set()
        process = self._process
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        process.wait()


class Stderr:
    """Wrap gpg's stderr and call `begun` as soon as gpg begins with a message's content.

    python-gnupg sees a status line only when the lines after it have filled its buffer.
    """

    def __init__(self, stream: Any, begun: Callable[[], None]) -> None:  # noqa: ANN401
        self._stream = stream.detach()
        self._begun = begun
        self._last = b""

    def read(self, size: int) -> bytes:
        """Return available bytes, b"" at the end."""
        data: bytes = self._stream.read(size)
        if _CONTENT in self._last + data:
            self._begun()
        self._last = (self._last + data)[1 - len(_CONTENT) :]
        return data

    def close(self) -> None:
        """Close the descriptor."""
        self._stream.close()
