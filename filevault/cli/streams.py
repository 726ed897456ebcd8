"""The standard streams, stdout for results and stderr for messages, and their failures.

A failing stream never interrupts a command. A failure of stdout is kept and raised by the next
`flush`, at the latest when the command ends. A failure of stderr cannot be reported: its text is
lost, and only the exit status remains.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys

from filevault.errors import StorageError
from filevault.system.files import storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Not /dev/null: a passphrase that is shown once would be lost there.
_NO_STREAM = "run it with a terminal, a file or a pipe as stdout"


class _Descriptor(io.FileIO):
    """A descriptor that may be in non-blocking mode, set so by another process that shares it."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - Buffer comes with Python 3.12
        """Write some of the bytes; wait where the descriptor can take none now."""
        while True:
            count: int | None = super().write(data)
            if count is not None:
                return count
            import select

            poller = select.poll()  # select(2) takes no descriptor above 1023
            poller.register(self.fileno(), select.POLLOUT)
            poller.poll()


class _Output(io.TextIOWrapper):
    """stdout. `failure` is an error that was not raised yet."""

    failure: OSError | None = None
    closed_at_start = False

    def write(self, text: str) -> int:
        """Write text; raises nothing."""
        if self.failure is None:
            try:
                super().write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def write_marked(self, text: str, mark: str, sign: str) -> None:
        """Write text with a sign in the place of each mark; raises nothing.

        Text in ASCII is copied, not encoded, so that a long one with such a sign takes no more.
        """
        if not text.isascii() or self.encoding.lower() != "utf-8":
            self.write(text.replace(mark, sign))
            return
        data = text.encode("ascii").replace(mark.encode("ascii"), sign.encode("utf-8"))
        self.settle()
        if self.failure is None:
            try:
                self.buffer.write(data)
            except OSError as error:
                self._fail(error)

    def settle(self) -> None:
        """Write what is buffered; raises nothing."""
        if self.failure is None:
            try:
                super().flush()
            except OSError as error:
                self._fail(error)

    def flush(self) -> None:
        """Write what is buffered, and raise what failed since the last time.

        Raises StorageError, or BrokenPipeError where the reader is gone.
        """
        self.settle()
        failure, self.failure = self.failure, None
        if failure is None:
            return
        if isinstance(failure, BrokenPipeError):
            raise failure
        if failure.errno == errno.EBADF:
            why = "it is closed" if self.closed_at_start else "it is not open for writing"
            raise StorageError(f"cannot write to 'stdout': {why}", hint=_NO_STREAM) from failure
        # Without the hint, which is about the vault.
        raise StorageError(storage_error(failure, "write to", "stdout").message) from failure

    def probe(self) -> None:
        """Try to write nothing: that fails where stdout is closed, read-only or /dev/full."""
        if self.failure is None:
            try:
                os.write(1, b"")
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error
        discard()  # what is still buffered would fail again on exit


class _Messages(io.TextIOWrapper):
    """stderr. Text that it does not accept is dropped."""

    def write(self, text: str) -> int:
        """Write text after everything that was written to stdout before; raises nothing."""
        if isinstance(sys.stdout, _Output):
            sys.stdout.settle()
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered; raises nothing."""
        with contextlib.suppress(OSError):
            super().flush()


def prepare() -> None:
    """Replace the standard streams of Python by those of this module.

    Descriptors that were closed when the program was started are /dev/null by now (`harden`).
    Characters that an encoding lacks are printed as escapes.
    """
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        given = sys.stdout
        output = _Output(
            io.BufferedWriter(_Descriptor(1, "w", closefd=False)),
            encoding="utf-8" if given is None else given.encoding,
            errors="backslashreplace",
            line_buffering=given is not None and given.line_buffering,
        )
        if given is None:
            output.closed_at_start = True
            output.failure = OSError(errno.EBADF, "closed")
        sys.stdout = output
    if sys.stderr is sys.__stderr__:
        sys.stderr = _Messages(
            io.BufferedWriter(_Descriptor(2, "w", closefd=False)),
            encoding="utf-8" if sys.stderr is None else sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )


def require() -> None:
    """Raise StorageError if stdout can take no result; call it before a command does anything."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.probe()
        sys.stdout.flush()


def messages_are_read() -> bool:
    """Return whether stderr leads to a program or a terminal: not into a file, nor to nothing."""
    mode = os.fstat(2).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(2)


def tolerate_closed() -> None:
    """Ignore that stdout was closed at the start: this command prints only a confirmation."""
    if isinstance(sys.stdout, _Output) and sys.stdout.closed_at_start:
        sys.stdout.failure = None


def fail(error: OSError) -> NoReturn:
    """Raise what a failure to write the result is reported as: see `finish`."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.failure = error
    finish()
    raise error


def write_marked(text: str, mark: str, sign: str) -> None:
    """Write text to stdout with a sign in the place of each mark, a character of ASCII."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.write_marked(text, mark, sign)
    else:
        sys.stdout.write(text.replace(mark, sign))


def flush() -> None:
    """Write what is buffered for stdout. Raises StorageError or BrokenPipeError."""
    sys.stdout.flush()


def finish() -> None:
    """Write everything that a command printed; call it when the command has done its work.

    Raises StorageError, or BrokenPipeError where the reader is gone.
    """
    try:
        sys.stdout.flush()
    except StorageError as error:
        raise error.add_context(
            hint="only the output is lost: what the command was to change is changed"
        ) from error


def deliver(text: str) -> None:
    """Print a line that cannot be printed again, and make sure that it was written.

    Call it before creating anything that only this line opens. A regular file is synced.

    Raises StorageError if stdout did not take it, or is a device other than a terminal.
    """
    if not isinstance(sys.stdout, _Output):
        print(text, flush=True)
        return
    info = os.fstat(1)
    if stat.S_ISCHR(info.st_mode) and not os.isatty(1):  # /dev/null, /dev/zero
        raise StorageError(
            "stdout is a device that keeps nothing: what is shown only once would be lost; "
            "nothing was changed",
            hint="run it with a terminal or a file as stdout",
        )
    print(text)
    try:
        sys.stdout.flush()
        if stat.S_ISREG(info.st_mode):
            os.fsync(1)
    except StorageError as error:
        raise error.add_context(
            hint="nothing was changed; run it with a stdout that can be written"
        ) from error
    except OSError as error:
        raise storage_error(
            error,
            "write to",
            "stdout",
            hint="nothing was changed; run it with a stdout that is read",
        ) from error


def discard() -> None:
    """Discard what is still buffered for stdout, also at exit."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)
