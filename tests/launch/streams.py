"""Standard streams that are closed, read-only, full or limited, for a copy of the server.

The copy sets its descriptors up and then does what Python does at its start. Without pytest,
because the server of `prefork.py` keeps this module.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
from typing import Any, NoReturn

from filevault.cli import main
from filevault.system import hardening
from tests.launch import launcher

WORKS = "works"
LIMITED = "limited"
FULL_SIZE = 4096
"""Bytes: the size of the file behind a stream that is limited, and its largest size."""
_NAMES = ("stdin", "stdout", "stderr")


def child(argv: list[str], orders: dict[str, str]) -> NoReturn:
    """Be filevault with the streams and the RLIMIT_FSIZE that the only argument describes."""
    status = 99
    try:
        given = json.loads(argv[0])
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        for number, (kind, name) in enumerate(zip(given["streams"], _NAMES, strict=True)):
            stream = _stream(kind, number)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if given["limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (given["limit"], given["limit"]))
        hardening.harden()
        try:
            status = main(given["argv"], launcher.runtime(orders))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the child must end here
        import traceback

        status = 98
        with contextlib.suppress(Exception):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _stream(kind: str, number: int) -> io.TextIOWrapper | None:
    """Put a stream of a kind in the place of a descriptor; None for a closed one."""
    if kind == "closed":
        os.close(number)
        return None
    if kind != WORKS:
        fd = _opened(kind, number)
        os.dup2(fd, number)
        os.close(fd)
    raw: Any = io.FileIO(number, "w" if number else "r", closefd=False)
    buffered: Any = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    return io.TextIOWrapper(buffered, encoding="utf-8")


def _opened(kind: str, number: int) -> int:
    """Return a descriptor for a stream of a kind."""
    if kind == "unread":
        reading, writing = os.pipe()
        os.close(reading)
        return writing
    if kind == LIMITED:  # a file as large as RLIMIT_FSIZE allows
        with tempfile.TemporaryFile() as file:
            file.write(bytes(FULL_SIZE))
            file.flush()
            return os.dup(file.fileno())
    paths = {
        "read-only": (os.devnull, os.O_RDONLY),
        "full": ("/dev/full", os.O_WRONLY),
        "null": (os.devnull, os.O_RDWR),
    }
    path, flags = paths[kind]
    return os.open(path, flags if number else os.O_RDONLY)
