"""Faults at every call that changes files: a command runs in a forked child, which fails or dies.

The child is a copy of the server of `prefork.py`, so that a point costs milliseconds. Everything
that `os` and `fcntl` offer for changing files below the home is counted; a file that is opened
for writing in any other way ends the survey, so that no new code escapes it.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import signal
import sys
import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qs

from filevault import cli
from filevault.cli.command import COMMANDS
from filevault.cli.context import Context
from filevault.cli.open_vault import OpenVault, choose_vault, open_vault
from tests.launch import launcher, prefork
from tests.worlds.machine import Machine

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
TIMEOUT = 30  # seconds until a child that hangs is killed with SIGALRM
_BY_NAME = ("unlink", "remove", "mkdir", "rmdir", "chmod", "truncate", "utime")
_BY_TARGET = ("rename", "replace", "link", "symlink")
_BY_DESCRIPTOR = ("write", "writev", "pwrite", "fsync", "fdatasync", "fchmod", "ftruncate", "close")
_SYNCING = ("fsync", "fdatasync")
_NEED_SPACE = ("open", "write", "writev", "pwrite", "fsync", "mkdir", "rename", "replace", "link")


class HarnessCommand(NamedTuple):
    """A command line with its stdin and variables; `action` runs in its place if given."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = {}
    action: Callable[[Context], int] | None = None


class CountedCall(NamedTuple):
    """A counted call; `path` is relative to the home, `target` of a rename its new name.

    `aws` is a request to AWS, with the action for a path.
    """

    name: str
    path: str
    target: str = ""


class CallFault(NamedTuple):
    """What happens at call number `at`.

    `mode` is `kill`, the name of an errno, or `short` for a write that takes only a part. `when`
    is `before` or `after` the call, or `within` it: a half of the bytes is written. A `lasting`
    fault meets every later call too that needs space, or with EROFS every one.
    """

    at: int
    mode: str
    when: str = "before"
    lasting: bool = False


class RunOutcome(NamedTuple):
    """How a child ended; a negative status is a signal."""

    status: int
    out: str
    err: str
    calls: list[CountedCall]

    @property
    def errors(self) -> list[str]:
        """The lines that report a failure."""
        return [line for line in self.err.splitlines() if line.startswith("filevault: error:")]

    @property
    def everything(self) -> str:
        """All text, for searching it for what must not be there."""
        return self.out + self.err


class Snapshot(NamedTuple):
    """Everything below a folder: relative path to (mode, bytes, or None for a folder)."""

    root: Path
    entries: dict[str, tuple[int, bytes | None]]

    @classmethod
    def take(cls, root: Path) -> Snapshot:
        """Read it."""
        entries: dict[str, tuple[int, bytes | None]] = {}
        for path in sorted(root.rglob("*")):
            data = None if path.is_dir() else path.read_bytes()
            entries[str(path.relative_to(root))] = (path.stat().st_mode & 0o7777, data)
        return cls(root, entries)

    def restore(self) -> None:
        """Put everything back, and take away what has come."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            name = str(path.relative_to(self.root))
            if name not in self.entries:
                path.rmdir() if path.is_dir() else path.unlink()
        for name, (mode, data) in self.entries.items():
            path = self.root / name
            if data is None:
                path.mkdir(exist_ok=True)
            elif not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
            if path.stat().st_mode & 0o7777 != mode:
                path.chmod(mode)

    def files(self) -> set[str]:
        """The paths of all files."""
        return {name for name, (_, data) in self.entries.items() if data is not None}


class NeverReached(AssertionError):  # noqa: N818 - a fact about a run
    """The command ended before the call at which it was to fail."""


def survey(command: HarnessCommand, home: Machine) -> RunOutcome:
    """Run a command unharmed; `calls` of what is returned are the points for faults."""
    return Running(command, home).wait()


def run_with_fault(
    command: HarnessCommand,
    home: Machine,
    *,
    at: int,
    mode: str,
    when: str = "before",
    **more: bool,
) -> RunOutcome:
    """Run a command that meets a fault; fails if it never came to call number `at`."""
    fault = CallFault(at, mode, when, **more)
    outcome = Running(command, home, fault).wait()
    if len(outcome.calls) <= at:
        raise NeverReached(f"{fault}: {outcome}")
    return outcome


class Running:
    """A child under way, for several at a time."""

    def __init__(
        self, command: HarnessCommand, home: Machine, fault: CallFault | None = None
    ) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(4)]  # noqa: SIM115 - until waited for
        stdin, stdout, stderr, report = self._files
        stdin.write(command.stdin)
        stdin.seek(0)
        action = None if command.action is None else prefork.reference(command.action)
        given = {
            "argv": command.argv,
            "action": action,
            "home": str(home.home.resolve()),
            "fault": fault,
            "report": report.fileno(),
        }
        self._process = prefork.Prefork(
            [json.dumps(given)],
            function=child,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[report.fileno()],
            cwd=home.home,
            env=home.environment(command.env),
        )

    def kill(self) -> None:
        """Kill it as `kill -9` does; call before `wait`."""
        self._process.kill()

    def wait(self) -> RunOutcome:
        """Return how it ended."""
        ended = self._process.wait()
        for file in self._files:
            file.seek(0)
        _, out, err, report = (file.read() for file in self._files)
        for file in self._files:
            file.close()
        # A kill from outside can cut the last line.
        lines = [line for line in report.splitlines(keepends=True) if line.endswith(b"\n")]
        return RunOutcome(
            ended,
            out.decode("utf-8", "replace"),
            err.decode("utf-8", "replace"),
            [CountedCall(*json.loads(line)) for line in lines],
        )


def child(argv: list[str], orders: dict[str, str]) -> NoReturn:
    """Be filevault in a copy of the server, with the faults that the only argument describes."""
    status = 99
    try:
        given = json.loads(argv[0])
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TIMEOUT)
        words = given["argv"]
        if given["action"] is not None:
            _add_command(words[0], prefork.referred(given["action"]))
        fault = None if given["fault"] is None else CallFault(*given["fault"])
        _Interposer(given["home"], fault, given["report"]).install()
        status = cli.main(words, launcher.runtime(orders))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
        import traceback

        sys.stderr.write(traceback.format_exc())
        sys.stderr.flush()
    finally:
        os._exit(status)


def vault_of(context: Context) -> OpenVault:
    """Open the vault, for an action in a command's place."""
    return open_vault(choose_vault(context), context)


def _add_command(name: str, action: Callable[[Context], int]) -> None:
    """Let the command line run a function as if it were one of its commands."""
    module: Any = types.ModuleType(f"filevault.cli.commands.{name}")
    module.DESCRIPTION = name
    module.configure = lambda _parser: None
    module.run = lambda _args, context: action(context)
    sys.modules[module.__name__] = module
    COMMANDS[name] = name


class _Interposer:
    """Stands between this process and the calls that change files."""

    def __init__(self, home: str, fault: CallFault | None, report: int) -> None:
        self._home = home
        self._fault = fault
        self._report = report
        self._count = 0
        self._written: set[int] = set()
        self._inside = False
        self._real_write = os.write

    def install(self) -> None:
        """Take the place of the calls."""
        for name in ("open", *_BY_NAME, *_BY_TARGET, *_BY_DESCRIPTOR):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        setattr(fcntl, "flock", self._wrapped("flock", fcntl.flock))  # noqa: B010 - for mypy
        http = sys.modules.get("botocore.httpsession")
        if http is not None:
            http.URLLib3Session.send = self._wrapped("aws", http.URLLib3Session.send)
        if self._fault is None:
            sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and not self._inside and isinstance(args[2], int):
            path = os.path.abspath(os.fsdecode(args[0])) if isinstance(args[0], str) else ""
            if args[2] & WRITING and path.startswith(self._home + "/"):
                self._real_write(2, f"{path} was opened past the harness\n".encode())
                os._exit(98)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            found = self._describe(name, args, named)
            if found is None:
                self._inside = True
                try:
                    return real(*args, **named)
                finally:
                    self._inside = False
            number, self._count = self._count, self._count + 1
            self._real_write(self._report, json.dumps(found).encode() + b"\n")
            when = self._due(name, number)
            if when == "within":
                data = bytes(args[1])
                taken: int = real(args[0], data[: max(1, len(data) // 2)])
                if self._fault is not None and self._fault.mode == "short":
                    return taken
                self._strike()
            if when == "before":
                if name == "close" and self._fault is not None and self._fault.mode != "kill":
                    real(*args, **named)  # the kernel gives the descriptor back all the same
                self._strike()
            self._inside = True
            try:
                # A process that dies loses no page of the kernel's, and syncing takes long.
                result = None if name in _SYNCING else real(*args, **named)
            finally:
                self._inside = False
                if when == "after":
                    self._strike()
            if name == "open" and result is not None:
                self._written.add(result)
            elif name == "close":
                self._written.discard(args[0])
            return result

        return call

    def _due(self, name: str, number: int) -> str | None:
        fault = self._fault
        if fault is None or number < fault.at:
            return None
        if number == fault.at:
            return fault.when
        if not fault.lasting:
            return None
        if fault.mode == "EROFS":
            return None if name in ("aws", "close", "flock") else "before"
        return "before" if name in _NEED_SPACE else None

    def _strike(self) -> None:
        assert self._fault is not None
        if self._fault.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self._fault.mode)
        raise OSError(code, os.strerror(code))

    def _describe(
        self, name: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> CountedCall | None:
        """Return what a call does, None if it changes no file below the home, nor asks AWS."""
        if name == "aws":
            given = parse_qs(os.fsdecode(args[1].body)).get("Action")
            return CountedCall(name, given[0] if given else args[1].url.rpartition("/")[2])
        if name == "open":
            if not args[1] & WRITING:
                return None
            return self._call(name, self._path(args[0], named.get("dir_fd")))
        if name in _BY_TARGET:
            source = self._path(args[0], named.get("src_dir_fd"))
            target = self._path(args[1], named.get("dst_dir_fd", named.get("dir_fd")))
            return self._call(name, source, target)
        if name in _BY_NAME:
            return self._call(name, self._path(args[0], named.get("dir_fd")))
        if name == "close" and args[0] not in self._written:
            return None
        kind = "unlock" if name == "flock" and args[1] & fcntl.LOCK_UN else name
        return self._call(kind, self._path(args[0], None))

    def _path(self, path: Any, dir_fd: int | None) -> str:
        if isinstance(path, io.IOBase):
            path = path.fileno()
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        text = os.fsdecode(path)
        folder = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
        return os.path.normpath(os.path.join(folder, text))

    def _call(self, name: str, path: str, target: str = "") -> CountedCall | None:
        if not f"{target or path}/".startswith(self._home + "/"):
            return None
        return CountedCall(
            name, os.path.relpath(path, self._home), target and self._relative(target)
        )

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._home)
