"""A run of filevault that strace watches from its first call, and may kill at any."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from tests.conditions.tools import tool
from tests.launch import launcher, prefork
from tests.worlds.machine import Machine

TIMEOUT = 60  # seconds until a run that hangs is killed with SIGALRM
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)
_CALL = re.compile(r"(\d+) +([a-z0-9_]+)\((.*)")


class TracedCall(NamedTuple):
    """A call of the kernel's; `number` counts the calls of its name in a thread from 1."""

    name: str
    number: int
    text: str


class TracedRun(NamedTuple):
    """How a run ended; a negative status is a signal.

    `calls` are those of all threads, in the order of their begin, each name and number once: the
    first thread that comes to it is the one that strace meets.
    """

    status: int
    out: str
    err: str
    calls: Sequence[TracedCall]


def traced(machine: Machine, *argv: str, kill: TracedCall | None = None) -> TracedRun:
    """Run filevault in a copy of a process that has its imports; kill it before a call."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.NamedTemporaryFile() as trace,
    ):
        with theirs:
            process = prefork.Prefork(
                [str(theirs.fileno()), *argv],
                function=gated,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[theirs.fileno()],
                cwd=machine.home,
                env=machine.environment(),
            )
        assert ours.recv(1) == b"?"  # it may be traced from here on
        words = [tool("strace"), "-f", "-y", "-s", "200", "-o", trace.name, "-p", str(process.pid)]
        if kill is not None:
            fault = f"inject={kill.name}:signal=KILL:when={kill.number}"
            words += ["-e", f"trace={kill.name}", "-e", fault]
        with subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as strace:
            try:
                assert strace.stderr is not None
                begun = strace.stderr.readline()
                if b"attached" not in begun:
                    pytest.skip(f"strace may not attach to a process here: {begun.decode()}")
                # A kill at the first call of its kind may hit the wait for this.
                with contextlib.suppress(BrokenPipeError):
                    ours.send(b"!")
                status = process.wait()
                strace.communicate(timeout=TIMEOUT)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        lines = Path(trace.name).read_text("utf-8", "surrogateescape").splitlines()
        out.seek(0)
        err.seek(0)
        shown, said = (each.read().decode("utf-8", "replace") for each in (out, err))
    return TracedRun(status, shown, said, _calls(lines))


def _calls(lines: Sequence[str]) -> list[TracedCall]:
    counts: dict[tuple[str, str], int] = {}
    calls: dict[tuple[str, int], TracedCall] = {}
    for line in lines:
        found = _CALL.match(line)
        if found is not None:
            thread, name, text = found.groups()
            number = counts[thread, name] = counts.get((thread, name), 0) + 1
            calls.setdefault((name, number), TracedCall(name, number, f"{name}({text}"))
    return list(calls.values())


def gated(argv: list[str], orders: dict[str, str]) -> NoReturn:
    """Be filevault once the test says so on the socket of the first argument."""
    gate = int(argv[0])
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIMEOUT)
    os.write(gate, b"?")
    if os.read(gate, 1) != b"!":
        os._exit(98)
    os.close(gate)
    launcher.start(argv[1:], orders)
