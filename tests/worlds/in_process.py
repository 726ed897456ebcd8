"""filevault called in this process, thousands of times: nothing of a run is left behind."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from filevault.cli import main
from filevault.cli.context import Runtime
from tests.launch import launcher

LIMIT = 2.0
_LARGE = 64 << 20


class InProcessResult(NamedTuple):
    """How a run ended; `seconds` are of processor time."""

    status: int
    out: str
    err: str
    seconds: float


class InProcess:
    """Runs the command line in this process, with an environment of its own.

    Standard input is closed and there is no terminal, as in a job. `tidy` closes what a run
    leaves open, which must not be done where a thread of this process opens files meanwhile.
    """

    def __init__(self, env: Mapping[str, str], *, tidy: bool = True) -> None:
        self.env = dict(env)
        self._tidy = tidy

    def run(
        self, *argv: str, runtime: Runtime | None = None, stdin: bytes | None = None
    ) -> InProcessResult:
        """Run one command; what it opened and exported is closed and taken back."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        closing = _descriptors() if self._tidy else contextlib.nullcontext()
        with _environment(self.env), closing, _no_sync(), _reading(stdin):
            start = time.process_time()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    status = main(argv, runtime or launcher.runtime({}))
                except SystemExit as end:  # the parser's --help and usage errors
                    status = end.code if isinstance(end.code, int) else 1
            seconds = time.process_time() - start
        return InProcessResult(status, _text(out), _text(err), seconds)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(env)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(env: Mapping[str, str]) -> None:
    """Change what differs: each change is a call of the C library."""
    now = dict(os.environ)
    for name in now.keys() - env.keys():
        del os.environ[name]
    for name, value in env.items():
        if now.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def _reading(stdin: bytes | None) -> Iterator[None]:
    """Let the command read these bytes."""
    if stdin is None:
        yield
        return
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        yield
    finally:
        sys.stdin = before


def _nothing(fd: object) -> None:
    del fd


@contextlib.contextmanager
def _no_sync() -> Iterator[None]:
    """Nothing here is about power cuts, and a disk takes longer than all the rest."""
    before = os.fsync
    setattr(os, "fsync", _nothing)  # noqa: B010 - mypy would refuse a plain assignment
    try:
        yield
    finally:
        os.fsync = before


@contextlib.contextmanager
def _descriptors() -> Iterator[None]:
    """Close what a run leaves open, as the end of its process would."""
    before = _open_descriptors()
    try:
        yield
    finally:
        after = _open_descriptors() - before
        if after:
            gc.collect(0)
        for fd in after:
            with contextlib.suppress(OSError):
                os.close(fd)


def _open_descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))  # that of the listing itself is closed by now
            found.add(int(name))
    return found


class Tree:
    """What lies below a folder, to be put back as it was; links and odd files are compared."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taken = picture(root)

    def restore(self) -> None:
        """Put back every file whose bytes changed, and delete what was not there."""
        now = picture(self.root)
        for path in sorted(now.keys() - self.taken.keys(), reverse=True):
            place = self.root / os.fsdecode(path)
            if now[path][0] == "folder":
                place.rmdir()
            else:
                place.unlink()
        for path, entry in sorted(self.taken.items()):
            if now.get(path) != entry:
                place = self.root / os.fsdecode(path)
                if entry[0] == "folder":
                    place.mkdir(0o700)
                else:
                    place.unlink(missing_ok=True)
                    place.write_bytes(entry[1])
                    place.chmod(0o600)


def picture(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Return every path below a folder with its kind, and its bytes or the link's target."""
    found: dict[bytes, tuple[str, bytes]] = {}
    start = os.fsencode(root)
    for folder, folders, files in os.walk(start):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, start)] = _entry(path)
    return found


def _entry(path: bytes) -> tuple[str, bytes]:
    info = os.lstat(path)
    mode = info.st_mode
    if stat.S_ISLNK(mode):
        return "link", os.readlink(path)
    if stat.S_ISDIR(mode):
        return "folder", b""
    if stat.S_ISREG(mode) and info.st_size < _LARGE:
        with open(path, "rb") as file:
            return "file", file.read()
    return f"other {mode:o} {info.st_size}", b""


def calm(ended: InProcessResult, *, secrets: Iterable[str] = ()) -> None:
    """Require what holds for every run whatever it was given.

    No traceback, no bug, no secret in a message, one line for the error, soon.
    """
    assert ended.seconds < LIMIT, ended
    assert "Traceback" not in ended.err, ended.err
    assert "bug in filevault" not in ended.err, ended.err
    for secret in secrets:
        assert secret not in ended.err
        if ended.status != 0:
            assert secret not in ended.out
    lines = ended.err.splitlines()
    for line in lines:
        assert line.isprintable(), line
        assert line.startswith("filevault: "), ended.err
        assert len(line) < 1500, line
    errors = [line for line in lines if line.startswith("filevault: error: ")]
    assert len(errors) == (ended.status != 0), ended
