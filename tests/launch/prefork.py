"""Processes of filevault that start in milliseconds: forks of one that has its imports.

A server in a process of its own, one for each process of the test run, loads the program and
botocore once. Each start is a copy of it (fork(2)) with its own arguments, environment, working
directory, descriptors and session, which then does what `launcher.py` does, or calls a function
of the tests. Tests of the start itself, of the memory or of what is imported start the
interpreter instead. To copy the test process would take five times as long: it is as much larger.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 100_000  # bytes of an order; longer ones take the real start
_HIGH = 500  # a copy closes the descriptors below
# The interpreter reads these before any code runs.
_AT_START = ("LC_", "LANG", "LD_", "MALLOC_", "PYTHON")


def suits(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Tell whether a copy would behave as a new process with these does.

    With FRESH in the environment of the test run (`make test FRESH=1`) every start is a new one.
    """
    if "FRESH" in os.environ or env.get("LANG") != "C.UTF-8":
        return False
    if len(json.dumps([*argv, dict(env)])) > LONGEST:
        return False
    return not any(name.startswith(_AT_START) and name != "LANG" for name in env)


class Prefork(subprocess.Popen[bytes]):
    """A copy of the server, with what `subprocess.Popen` does for any other process.

    It always has a session of its own. `terminal` is the descriptor of a terminal to control it.
    `function` is called in the place of `launcher.start`, if given; the server keeps its module.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        terminal: int | None = None,
        function: Callable[[list[str], dict[str, str]], NoReturn] | None = None,
        **options: Any,
    ) -> None:
        self._terminal = terminal
        self._function = reference(function) if function else ""
        self._status = -1
        super().__init__(list(argv), **options)

    def _execute_child(self, args: list[str], *options: Any) -> None:
        (_, preexec_fn, close_fds, pass_fds, cwd, env, *_rest) = options
        stdin, to_stdin, from_stdout, stdout, from_stderr, stderr = options[9:15]
        assert close_fds
        assert preexec_fn is None  # a copy would not call it
        wanted = {0: stdin, 1: stdout, 2: stderr, **{fd: fd for fd in pass_fds}}
        order = {
            "argv": args,
            "env": dict(env),
            "cwd": os.fspath(cwd),
            "umask": _umask(),
            "user": [os.geteuid(), os.getegid(), os.getgroups()],
            "targets": list(wanted),
            "terminal": self._terminal,
            "function": self._function,
        }
        self._status, status = os.pipe()
        control, lock = _server()
        with lock:
            socket.send_fds(control, [json.dumps(order).encode()], [status, *wanted.values()])
        os.close(status)
        # The ends of pipes and /dev/null; not the files that were given.
        self._close_pipe_fds(  # type: ignore[attr-defined]
            stdin, to_stdin, from_stdout, stdout, from_stderr, stderr
        )
        self._child_created = True
        with open(self._status, "rb", buffering=0, closefd=False) as stream:
            self.pid = int(stream.readline())

    def _internal_poll(self, _deadstate: Any = None, **_: Any) -> int | None:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None and self._status >= 0:
                ready = select.poll()
                ready.register(self._status, select.POLLIN)
                if ready.poll(0):
                    self._ended()
        return self.returncode

    def _try_wait(self, _flags: int) -> tuple[int, int]:
        """Wait until it has ended; the caller holds the lock."""
        if self._status >= 0:
            self._ended()
        return 0, 0  # as if another thread had waited: the exit status is there already

    def _ended(self) -> None:
        said = os.read(self._status, 100)
        os.close(self._status)
        self._status = -1
        self.returncode = int(said) if said else -signal.SIGKILL


def _umask() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    raise AssertionError("no umask in /proc/self/status")


@functools.cache
def _server() -> tuple[socket.socket, threading.Lock]:
    """Start the server; it ends with this process, whose end of the connection closes then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        env=env,
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        cwd="/",
    )
    process.returncode = 0  # it is not waited for
    theirs.close()
    atexit.register(ours.close)
    return ours, threading.Lock()


def reference(function: Callable[..., Any]) -> str:
    """Return a text by which a copy finds a function of a module."""
    return f"{function.__module__}:{function.__qualname__}"


def referred(text: str) -> Any:
    """Return the function."""
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)


class _Order(NamedTuple):
    argv: list[str]
    orders: dict[str, str]
    function: str


def _serve(control: socket.socket) -> _Order:
    """Copy this process for each order; returns in the copies alone."""
    running: dict[int, tuple[int, int]] = {}  # by pidfd: pid, where to write the status
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != control.fileno():
                poll.unregister(fd)
                pid, status = running.pop(fd)
                _, ended = os.waitpid(pid, 0)
                with contextlib.suppress(OSError):  # it is not read any more
                    os.write(status, b"%d" % os.waitstatus_to_exitcode(ended))
                os.close(status)
                os.close(fd)
                continue
            data, fds, _, _ = socket.recv_fds(control, 2 * LONGEST, 64)
            if not data:
                os._exit(0)
            status, *given = fds
            order = json.loads(data)
            if order["function"]:
                referred(order["function"])
            pid = os.fork()
            if pid == 0:
                return _become(order, given)
            for each in given:
                os.close(each)
            os.write(status, b"%d\n" % pid)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, status
            poll.register(pidfd, select.POLLIN)


def _become(order: dict[str, Any], given: list[int]) -> _Order:
    """Take over the session, descriptors, folder and environment that were ordered."""
    os.setsid()
    lowest = max(_HIGH, *(target + 1 for target in order["targets"]))
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest) for fd in given]
    os.closerange(3, _HIGH)
    for fd, target in zip(high, order["targets"], strict=True):
        os.dup2(fd, target)
        os.close(fd)
    if order["terminal"] is not None:
        fcntl.ioctl(order["terminal"], termios.TIOCSCTTY, 0)
    os.chdir(order["cwd"])
    os.umask(order["umask"])
    user, group, groups = order["user"]
    if user != os.geteuid():  # a test plays another user for a while
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(user)
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _stream(number, getattr(sys, f"__{name}__")))
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.argv = [str(Path(__file__).with_name("launcher.py")), *order["argv"]]
    orders = json.loads(os.environ.pop("LAUNCH", "{}"))
    return _Order(order["argv"], orders, order["function"])


def _stream(number: int, before: io.TextIOWrapper) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does when it starts."""
    stream = open(  # noqa: SIM115 - as long as the process lives
        number,
        "w" if number else "r",
        encoding=before.encoding,
        errors=before.errors,
        closefd=False,
    )
    assert isinstance(stream, io.TextIOWrapper)
    if number == 2:
        stream.reconfigure(line_buffering=True)
    return stream


def _main(control: int) -> NoReturn:
    import gc

    gc.disable()
    sys.path[0] = str(ROOT)
    from tests.launch import botocore_data, launcher
    from tests.launch.preload import import_everything

    import_everything()
    botocore_data.keep()
    gc.freeze()
    # Among the descriptors that a copy closes; no program that it starts has it, either.
    low = socket.socket(fileno=os.dup(control))
    os.close(control)
    order = _serve(low)
    if order.function:
        referred(order.function)(order.argv, order.orders)
    launcher.start(order.argv, order.orders)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
