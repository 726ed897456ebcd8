"""The one way filevault runs a helper program.

Absolute path, no shell unless AWS Vault's own extensions need one, an environment without
secrets, no inherited descriptors, and a time limit: a helper never hangs us and never sees more
than it was asked about.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from filevault.errors import ProgramError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from subprocess import Popen

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_OUTPUT_LIMIT = 1 << 20
_COMPLAINT_LINES = 20
_COMPLAINT_LENGTH = 5000  # a path may be 4096 bytes long
_COMPLAINT_LIMIT = 4 * _COMPLAINT_LINES * _COMPLAINT_LENGTH  # bytes of UTF-8
_CHUNK = 64 << 10
_GRACE = 2.0  # seconds between the request to end and the kill
_LOOK = 0.1  # seconds between two looks whether a program has ended


class Result(Record):
    """What a program left: `output` may be a secret, so it is never shown.

    `complaint` is the last line of what it said on stderr, `complaints` the last 20.
    """

    _secret = ("output", "complaint", "complaints")

    status: int
    output: bytes
    complaint: str
    complaints: tuple[str, ...] = ()


def find(program: str, path: str | None) -> str | None:
    """Return a program's absolute path, None if there is none.

    Empty and relative entries of PATH are ignored: the working directory is not ours to trust.
    """
    if "/" in program:
        return program if program.startswith("/") and _executable(program) else None
    for folder in (path if path is not None else _DEFAULT_PATH).split(os.pathsep):
        if folder.startswith("/"):
            candidate = os.path.join(folder, program)
            if _executable(candidate):
                return candidate
    return None


def _executable(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)
    except OSError:
        return False


def split(command: str, origin: str) -> list[str]:
    """Split a command line as a POSIX shell would, running none of it.

    Raises ProgramError if it cannot be split or is empty; the command itself is not shown.
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
) -> Result:
    """Run a program and return its status, output and last line of complaint.

    Args:
        argv: program and arguments; a bare name is looked up on the environment's PATH.
        environment: all that the program gets to see.
        origin: what messages call it, e.g. `"FILEVAULT_PASSPHRASE_COMMAND"`.
        timeout: seconds after which it is asked to end, and then killed.
        terminal: let it talk to the person: stdin and stderr are then the terminal device.
        folder: its working directory; ours if left out.
        umask: its umask; ours if left out.
        stdin: what it reads there, without a terminal; nothing if None.
        into: where its output goes, instead of into the result: there it can be overwritten.

    Raises:
        ProgramError: if it is missing, cannot be started, prints more than 1 MiB or takes too
            long. A status that is not 0 is returned, not raised.
    """
    import subprocess

    path = _program(argv[0], environment, origin)
    tty = _open_terminal() if terminal else None
    output = bytearray() if into is None else into
    nothing = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    try:
        with subprocess.Popen(
            [path, *argv[1:]],
            executable=path,
            env=dict(environment),
            stdin=nothing if tty is None else tty,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if tty is None else tty,
            close_fds=True,
            cwd=folder,
            umask=umask,
        ) as process:
            try:
                complaint = _converse(process, stdin or b"", output, timeout, origin)
            except subprocess.TimeoutExpired as error:
                _end(process)
                raise ProgramError(
                    f"{origin} did not end within {timeout:g} seconds and was killed"
                ) from error
            except BaseException:
                _end(process)
                raise
    except OSError as error:
        raise _cannot_start(error, origin) from error
    finally:
        if tty is not None:
            os.close(tty)
    said = complaint.decode("utf-8", "replace").strip().split("\n")[-_COMPLAINT_LINES:]
    lines = tuple(printable(line.strip("\r"), _COMPLAINT_LENGTH) for line in said)
    kept = bytes(output) if into is None else b""
    return Result(process.returncode, kept, printable(said[-1], 200), lines if said[-1] else ())


def _converse(
    process: Popen[bytes], stdin: bytes, output: bytearray, timeout: float, origin: str
) -> bytes:
    """Feed a program and read what it prints, no more than we would keep, until it ends.

    A child that it leaves behind, and that still holds its streams, is not waited for. Its stdout
    goes into `output`, its stderr is returned. Raises TimeoutExpired, and ProgramError as soon as
    it has printed too much.
    """
    import selectors
    import subprocess
    import time

    deadline = time.monotonic() + timeout
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
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, timeout)
            gone = process.poll() is not None  # then all of its output is in the pipes
            patience = 0.0 if gone else min(_LOOK, max(0.0, deadline - time.monotonic()))
            events = streams.select(patience)
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
                    ended = True  # it does not want to hear the rest
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
    """Run a program in our place at the terminal and return its status, as a shell shows it.

    It has our stdin, stdout and stderr and no other descriptor, takes as long as it takes, and
    Ctrl-C is its own affair. Arguments as in `run`.

    Raises:
        ProgramError: if it is missing or cannot be started.
    """
    import subprocess

    path = _program(argv[0], environment, origin)
    with _leaving_interrupts():
        try:
            process = subprocess.Popen(
                [path, *argv[1:]],
                executable=path,
                env=dict(environment),
                close_fds=True,
                cwd=folder,
                umask=umask,
            )
        except OSError as error:
            raise _cannot_start(error, origin) from error
        status = process.wait()
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _leaving_interrupts() -> Iterator[None]:
    """Let Ctrl-C pass by: the terminal sends it to the program too.

    By a handler, because a program inherits signals that are ignored; those that we ignore
    already it shall.
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
    """Start a program that goes on when we have ended; return when it closes its stdout.

    It has no terminal, no descriptor of ours and `/` as its folder. Arguments as in `run`;
    `leaves` says that what goes on is no child of ours, and the one that was ends.

    Raises:
        ProgramError: if it is missing, cannot be started, ends at once or is not ready in time.
    """
    import select
    import subprocess
    import time

    path = _program(argv[0], environment, origin)
    try:
        process = subprocess.Popen(
            [path, *argv[1:]],
            executable=path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=True,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(error, origin) from error
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
            os.set_blocking(process.stderr.fileno(), False)  # a child of it may hold it open
            complaint = (process.stderr.read(_CHUNK) or b"").decode("utf-8", "replace").strip()
            reason = f": {printable(complaint.splitlines()[0], 300)}" if complaint else ""
            raise ProgramError(f"{origin} ended at once{reason}")
    if leaves:
        _end(process)


_started: list[Popen[bytes]] = []
"""What goes on without us: Python would complain of a child that nobody waits for."""


def launch(
    argv: Sequence[str], environment: Mapping[str, str], *, origin: str
) -> Callable[[], int | None]:
    """Start a program that may outlive us, in a session of its own and without a stream of ours.

    Returns what tells its status, None while it runs. Arguments as in `run`.

    Raises:
        ProgramError: if it is missing or cannot be started.
    """
    import subprocess

    path = _program(argv[0], environment, origin)
    try:
        process = subprocess.Popen(
            [path, *argv[1:]],
            executable=path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(error, origin) from error
    return process.poll


def _program(name: str, environment: Mapping[str, str], origin: str) -> str:
    path = find(name, environment.get("PATH"))
    if path is None:
        raise ProgramError(
            f"{origin}: there is no program {printable(name, 200)!r}",
            hint="install it, or give its absolute path",
        )
    return path


def _cannot_start(error: OSError, origin: str) -> ProgramError:
    reason = (error.strerror or "unknown reason").lower()
    return ProgramError(f"{origin} cannot be started: {reason}")


def _end(process: Popen[bytes]) -> None:
    """Let a program clean up behind itself (git its lock files), but not for long."""
    import subprocess

    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _open_terminal() -> int | None:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
