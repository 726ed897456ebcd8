"""Helper programs: run one, attach one to the terminal, start one in the background.

Each has an absolute path, a given environment without secrets, no inherited descriptors and, if
filevault waits for it, a time limit. No shell is involved unless the caller names one.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.errors import NoTerminalError, ProgramError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.search_path import find_program
from filevault.system.terminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from subprocess import Popen

_OUTPUT_LIMIT = 1 << 20
_COMPLAINT_LINES = 20
_COMPLAINT_LENGTH = 5000  # a path may be 4096 bytes long
_COMPLAINT_LIMIT = 4 * _COMPLAINT_LINES * _COMPLAINT_LENGTH  # bytes of UTF-8
_CHUNK = 64 << 10
_SILENCE = 3.0  # seconds; most programs end sooner
_GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_POLL_INTERVAL = 0.1  # seconds between two checks whether a program has ended


class Result(Record):
    """The result of a program; `output`, its stdout, may be a secret.

    `complaint` is the last line of its stderr, `complaints` are the last 20.
    """

    _secret = ("output", "complaint", "complaints")

    status: int
    output: bytes
    complaint: str
    complaints: tuple[str, ...] = ()


def split(command: str, origin: str) -> list[str]:
    """Split a command line into words as a POSIX shell does, without expanding anything.

    Raises ProgramError if it is empty or cannot be split; the message does not contain it.
    """
    import shlex

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ProgramError(f"{origin} cannot be split into words: {str(error).lower()}") from error
    if not words:
        raise ProgramError(f"{origin} is empty")
    return words


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    origin: str,
    timeout: float,
    terminal: bool = False,
    folder: str | None = None,
    umask: int = -1,
    stdin: bytes | None = None,
    into: bytearray | None = None,
    tell: Callable[[str], None] | None = None,
) -> Result:
    """Run a program to its end and return its status, stdout and last lines of stderr.

    Args:
        argv: program and arguments; a bare name is looked up on the environment's PATH.
        environment: the program's environment.
        origin: its name in messages, e.g. `"FILEVAULT_PASSPHRASE_COMMAND"`.
        timeout: seconds after which it gets SIGTERM and, 2 seconds later, SIGKILL.
        terminal: make the terminal its stdin and stderr, if there is one.
        folder: its working directory; by default that of this process.
        umask: its umask; by default that of this process.
        stdin: its input, if it has no terminal; by default empty.
        into: gets its stdout instead of the result, so that the caller can overwrite it.
        tell: shows a person a line; called once, if the program runs longer than 3 seconds, but
            not while it reads an answer without echo, or each key, from the terminal.

    Raises:
        ProgramError: if it is missing, cannot be started, prints more than 1 MiB or takes too
            long. A status other than 0 is returned, not raised.
    """
    import subprocess

    output = bytearray() if into is None else into
    tty = _open_terminal() if terminal else None
    modes = None if tty is None else _modes(tty)
    piped = subprocess.DEVNULL if stdin is None else subprocess.PIPE

    def slow(left: float) -> bool:
        if tty is not None and _modes(tty) != modes:
            return False  # a line would appear in the middle of its question or screen
        if tell is not None:
            with contextlib.suppress(NoTerminalError):  # it is gone
                tell(f"waiting for {origin}, {-int(-left // 1)} s left; Ctrl-C ends")
        return True

    try:
        with _popen(
            argv,
            environment,
            origin,
            stdin=piped if tty is None else tty,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if tty is None else tty,
            folder=folder,
            umask=umask,
        ) as process:
            try:
                complaint = _communicate(process, stdin or b"", output, timeout, origin, slow)
            except subprocess.TimeoutExpired as error:
                _end(process)
                raise ProgramError(
                    f"{origin} did not end within {timeout:g} seconds and was killed"
                ) from error
            except BaseException:
                _end(process)
                raise
    finally:
        if tty is not None:
            os.close(tty)
    said = complaint.decode("utf-8", "replace").strip().split("\n")[-_COMPLAINT_LINES:]
    lines = tuple(printable(line.strip("\r"), _COMPLAINT_LENGTH) for line in said)
    kept = bytes(output) if into is None else b""
    return Result(process.returncode, kept, printable(said[-1], 200), lines if said[-1] else ())


def _communicate(
    process: Popen[bytes],
    stdin: bytes,
    output: bytearray,
    timeout: float,
    origin: str,
    slow: Callable[[float], bool],
) -> bytes:
    """Write to a program's stdin and read its output within limits, until it ends.

    Its stdout is added to `output`, its stderr is returned. A child that it leaves behind with
    the streams open is not waited for. `slow` is called after 3 seconds, with the seconds that are
    left, until it returns True. Raises TimeoutExpired, and ProgramError as soon as stdout is too
    long.
    """
    import selectors
    import subprocess
    import time

    began = time.monotonic()
    deadline = began + timeout
    silent = True
    complaint = bytearray()
    chunk = bytearray(_CHUNK)
    left = memoryview(stdin)
    with selectors.DefaultSelector() as streams:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                event = selectors.EVENT_WRITE if stream is process.stdin else selectors.EVENT_READ
                streams.register(stream, event)
        while streams.get_map():
            now = time.monotonic()
            if now > deadline:
                raise subprocess.TimeoutExpired(process.args, timeout)
            gone = process.poll() is not None  # then the pipes contain all of its output
            wait = 0.0 if gone else min(_POLL_INTERVAL, max(0.0, deadline - time.monotonic()))
            if silent and not gone and now - began > _SILENCE:
                silent = not slow(deadline - now)
            events = streams.select(wait)
            if gone and not any(mask & selectors.EVENT_READ for _, mask in events):
                break
            for key, _ in events:
                try:
                    if key.fileobj is process.stdin:
                        left = left[os.write(key.fd, left) :]
                        ended = not left
                    else:
                        count = os.readv(key.fd, [chunk])
                        with memoryview(chunk)[:count] as part:
                            (output if key.fileobj is process.stdout else complaint).extend(part)
                        chunk[:count] = bytes(count)  # it may be a secret
                        ended = not count
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    ended = True  # the program closed its stdin
                if ended:
                    streams.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            if len(output) > _OUTPUT_LIMIT:
                raise ProgramError(f"{origin} printed more than {_OUTPUT_LIMIT} bytes")
            del complaint[:-_COMPLAINT_LIMIT]
    process.wait(max(0.0, deadline - time.monotonic()))
    return bytes(complaint)


def attach(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    origin: str,
    folder: str | None = None,
    umask: int = -1,
) -> int:
    """Run a program in the foreground; return its status (128 + signal for a killed program).

    It has the stdin, stdout and stderr of this process, no other descriptor and no time limit;
    Ctrl-C is left to it. Arguments as in `run`.

    Raises:
        ProgramError: if it is missing or cannot be started.
    """
    with _ignored_interrupts():
        status = _popen(argv, environment, origin, folder=folder, umask=umask).wait()
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the program: the terminal sends SIGINT to both.

    A handler that does nothing is set rather than SIG_IGN, because programs inherit SIG_IGN. If
    SIG_IGN is set already, it stays.
    """
    import signal

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    origin: str,
    timeout: float,
    leaves: bool = False,
) -> None:
    """Start a daemon; return when it closes its stdout, which says that it is ready.

    It has no terminal, no descriptor of this process and `/` as its working directory. Arguments
    as in `run`; with `leaves` the program forks the daemon and exits.

    Raises:
        ProgramError: if it is missing, cannot be started, ends at once or is not ready in time.
    """
    import select
    import subprocess
    import time

    process = _popen(
        argv,
        environment,
        origin,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        folder="/",
        new_session=True,
    )
    if not leaves:
        _started.append(process)
    if process.stdout is None or process.stderr is None:  # for the type checker
        raise ProgramError(f"{origin} cannot be started")
    deadline = time.monotonic() + timeout
    said = b""
    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(process.stdout, select.POLLIN)
    with process.stdout, process.stderr:
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not poller.poll(left * 1000):
                _end(process)
                raise ProgramError(f"{origin} was not ready within {timeout:g} seconds")
            part = os.read(process.stdout.fileno(), _CHUNK)
            if not part:
                break
            said += part
        if not said:
            os.set_blocking(process.stderr.fileno(), False)  # a child of it may have it open
            complaint = (process.stderr.read(_CHUNK) or b"").decode("utf-8", "replace").strip()
            reason = f": {printable(complaint.splitlines()[0], 300)}" if complaint else ""
            raise ProgramError(f"{origin} ended at once{reason}")
    if leaves:
        _end(process)


_started: list[Popen[bytes]] = []
"""Daemons that outlive this process: a collected Popen would warn that they were not waited for."""


def launch(
    argv: Sequence[str], environment: Mapping[str, str], *, origin: str
) -> Callable[[], int | None]:
    """Start a program that may outlive this process, in a new session, without any stream.

    Returns a function that returns its status, None while it runs. Arguments as in `run`.

    Raises:
        ProgramError: if it is missing or cannot be started.
    """
    import subprocess

    return _popen(
        argv,
        environment,
        origin,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        new_session=True,
    ).poll


def _popen(
    argv: Sequence[str],
    environment: Mapping[str, str],
    origin: str,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    folder: str | None = None,
    umask: int = -1,
    new_session: bool = False,
) -> Popen[bytes]:
    """Start a program; streams that are None are those of this process. Raises ProgramError."""
    import subprocess

    path = find_program(argv[0], environment.get("PATH"))
    if path is None:
        raise ProgramError(
            f"{origin}: there is no program {printable(argv[0], 200)!r}",
            hint="install it, or give its absolute path",
        )
    try:
        return subprocess.Popen(
            [path, *argv[1:]],
            executable=path,
            env=dict(environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            cwd=folder,
            umask=umask,
            start_new_session=new_session,
        )
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise ProgramError(f"{origin} cannot be started: {reason}") from error
    except ValueError as error:  # of an argument with a NUL, or with what UTF-8 cannot encode
        raise ProgramError(f"{origin} cannot be started: it has a forbidden character") from error


def _end(process: Popen[bytes]) -> None:
    """End a program with SIGTERM (git then deletes its lock files), after a pause with SIGKILL."""
    import subprocess

    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _modes(tty: int) -> int | None:
    """Return whether a terminal echoes and waits for whole lines, None if it cannot say."""
    import termios

    try:
        return int(termios.tcgetattr(tty)[3]) & (termios.ECHO | termios.ICANON)
    except termios.error:
        return None


def _open_terminal() -> int | None:
    try:
        return open_terminal()
    except OSError:
        return None
