"""A real browser without a display, for the pages of the stand-ins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.conditions.tools import tool

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--no-proxy-server",
)
_TIMEOUT = 60


class Chromium:
    """Chromium with a profile of its own below a folder; the test is skipped where it is missing.

    `words` start it; an address follows.
    """

    def __init__(self, folder: Path) -> None:
        self._profile = folder / "chromium"
        self.words = [tool("chromium"), *_OPTIONS, f"--user-data-dir={self._profile}"]

    @property
    def _pid(self) -> Path:
        return Path(f"{self._profile}.pid")

    def opener(self) -> str:
        """Return a program that opens the address of its argument; `close` ends what it starts."""
        return f'#!/bin/sh\necho $$ >{self._pid}\nexec {" ".join(self.words)} "$1"\n'

    def page(self, link: str) -> str:
        """Return the page of a link, with what its scripts have made of it."""
        with subprocess.Popen(
            [*self.words, "--dump-dom", link],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return process.communicate(timeout=_TIMEOUT)[0].decode()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the browser that `opener` started."""
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int(self._pid.read_text()), signal.SIGKILL)
