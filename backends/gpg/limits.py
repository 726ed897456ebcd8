"""Limits on a gpg that runs: time, and processor time for what a message may cost."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds for gpg alone; secret keys and their passphrases cost the agent's time. This much is for
# looking up keys in large keyrings, too.
_PROCESSOR_TIME = 10
# And this for the content of a message, once its key is found: at most a mebibyte, milliseconds of
# work. A packet that is skipped, not written, could be decompressed for minutes. The limit of the
# system counts in whole seconds, and its clock runs from gpg's start, so this one is watched here.
_CONTENT = b"[GNUPG:] BEGIN_DECRYPTION"
_CONTENT_TIME = 0.3
_LOOK = 0.05


class Watch:
    """A running gpg that is killed when its time is over."""

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
        """Bound the processor time, where the system can (Linux); waiting costs none."""
        import resource

        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.prlimit(
                self._process.pid, resource.RLIMIT_CPU, (_PROCESSOR_TIME, _PROCESSOR_TIME + 1)
            )

    def limit_content(self) -> None:
        """Kill it if it takes too long from now on, where the system tells (Linux)."""
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
        """Return the processor time that it took until now, None where that is not known."""
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as file:
                # proc(5): its name, in brackets, may hold anything; utime is the twelfth after it.
                fields = file.read().rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def end(self) -> None:
        """Leave no process, timer or pipe behind, whatever happened."""
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
    """gpg's stderr, which tells at once when gpg begins with a message's content.

    python-gnupg sees a status line only when the lines after it have filled its buffer.
    """

    def __init__(self, stream: Any, begun: Callable[[], None]) -> None:  # noqa: ANN401
        self._stream = stream.detach()
        self._begun = begun
        self._last = b""

    def read(self, size: int) -> bytes:
        """Return what there is, b"" at the end."""
        data: bytes = self._stream.read(size)
        if _CONTENT in self._last + data:
            self._begun()
        self._last = (self._last + data)[1 - len(_CONTENT) :]
        return data

    def close(self) -> None:
        """Give the descriptor back."""
        self._stream.close()
