"""Waiting for another process that obtains the same session."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from filevault.errors import BusyError
from filevault.sessions import SessionCache, SessionName
from filevault.sessions.lock_wait import LockWait
from filevault.system.files import Folder

NAME = SessionName("p", "assume-role", "0" * 32, "item:p")


class WatchedWait:
    """A clock that only sleeping moves, and what was said."""

    def __init__(self, *, attended: bool, until: float = 1e9) -> None:
        self.now = 5000.0
        self.said: list[tuple[float, str]] = []
        self.waiting = LockWait(self.tell, lambda: attended, self.sleep, lambda: self.now)
        self.until = 5000 + until
        self.holder = -1

    def tell(self, text: str) -> None:
        self.said.append((round(self.now - 5000, 1), text))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.until and self.holder >= 0:
            os.close(self.holder)  # the other process is done
            self.holder = -1

    def obtain(self, folder: Path) -> float:
        """Hold the lock as another process would, and return how long the cache waited."""
        (folder / "locks").mkdir()
        self.holder = os.open(
            folder / "locks" / f"{NAME.operation}-{NAME.hash}", os.O_RDWR | os.O_CREAT
        )
        fcntl.flock(self.holder, fcntl.LOCK_EX)
        try:
            with Folder.open(str(folder)) as state:
                cache = SessionCache(state, "ab" * 16, bytes, lambda: 0.0, pytest.fail)
                with cache.lock(NAME, self.waiting):
                    return self.now - 5000
        finally:
            if self.holder >= 0:
                os.close(self.holder)


def test_a_short_wait_is_silent(tmp_path: Path) -> None:
    watch = WatchedWait(attended=False, until=0.5)
    assert 0.5 <= watch.obtain(tmp_path) < 1
    assert watch.said == []


def test_after_a_second_it_says_once_what_it_waits_for(tmp_path: Path) -> None:
    watch = WatchedWait(attended=False, until=40)
    assert 40 <= watch.obtain(tmp_path) < 41
    ((when, text),) = watch.said
    assert 1 <= when < 1.2
    assert "waiting for another filevault" in text


def test_with_a_terminal_it_waits_as_long_as_it_takes(tmp_path: Path) -> None:
    watch = WatchedWait(attended=True, until=3600)
    assert watch.obtain(tmp_path) >= 3600
    assert len(watch.said) == 1


def test_without_a_terminal_it_gives_up_after_a_minute(tmp_path: Path) -> None:
    watch = WatchedWait(attended=False)
    with pytest.raises(BusyError, match="for a minute") as caught:
        watch.obtain(tmp_path)
    assert 60 <= watch.now - 5000 < 61
    assert "MFA code" in str(caught.value.hint)
    assert caught.value.exit_status == 5
