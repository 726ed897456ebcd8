"""A terminal of its own for one command: what a person would see there and type.

Needs the standard library only, because the demo runs without the packages of the tests.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.worlds.machine import TypedAnswer

COLUMNS = 100
TIMEOUT = 60.0  # seconds
Start = Callable[[int], "subprocess.Popen[bytes]"]


class Ended(NamedTuple):
    """How a command ended, and all that its terminal showed, with newlines alone."""

    status: int
    text: str


def starting(argv: Sequence[str], env: dict[str, str], cwd: str) -> Start:
    """Return what starts a program whose stdin, stdout and stderr are the terminal."""

    def start(slave: int) -> subprocess.Popen[bytes]:
        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        return subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=take_terminal,  # noqa: PLW1509 - two calls that take no lock
        )

    return start


def watch(
    start: Start,
    typed: Sequence[TypedAnswer] = (),
    *,
    kill_at: str = "",
    show: Callable[[str], None] = lambda _text: None,
) -> Ended:
    """Run a command until it ends, type each answer when its question appears.

    `kill_at` is a text at whose appearance the command is killed with SIGKILL. `show` gets each
    part that the terminal shows. Raises AssertionError for a question that never comes, and for a
    command that takes longer than TIMEOUT.
    """
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        process = start(slave)
    finally:
        os.close(slave)
    waiting = list(typed)
    text = ""
    seen = 0
    end = time.monotonic() + TIMEOUT
    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(master, select.POLLIN)
    try:
        while time.monotonic() < end:
            # Looked at before the terminal is: what was written before the end is there then.
            ended = process.poll() is not None
            if poller.poll(0 if ended else 20):
                try:
                    part = os.read(master, 4096).decode("utf-8", "replace")
                except OSError:  # every program has closed it
                    break
                part = part.replace("\r\n", "\n")
                text += part
                show(part)
            elif ended:
                break
            if waiting and waiting[0].question in text[seen:]:
                seen = len(text)
                os.write(master, waiting.pop(0).text.encode() + b"\n")
            if kill_at and kill_at in text and process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
                kill_at = ""
        else:
            raise AssertionError(f"it hangs; the terminal shows {text!r}")
        status = process.wait(TIMEOUT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)
    assert not waiting, f"never asked {waiting[0].question!r}: {text!r}"
    return Ended(status, text)
