"""stdout for results: buffered, printable anywhere, and with an error of ours when it is full."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from filevault.files import storage_error
from filevault.printable import printable

if TYPE_CHECKING:
    from filevault.errors import FilevaultError

_LONGEST = 1400  # characters of a message


class _Output(io.TextIOWrapper):
    """A stream whose failures are told from those of the vault's files."""

    def write(self, text: str) -> int:
        """Write text. Raises StorageError, or BrokenPipeError where nobody reads any more."""
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard()  # what is buffered still would fail again on exit
            raise storage_error(error, "write to", "stdout") from error

    def flush(self) -> None:
        """Write what is buffered. Raises as `write`."""
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            discard()  # what is buffered still would fail again on exit
            raise storage_error(error, "write to", "stdout") from error


def prepare() -> None:
    """Make the standard streams fit for anything.

    A closed one becomes /dev/null: otherwise the next file that is opened, one of a vault's for
    example, would take its number and get what is meant for a terminal. What an encoding lacks
    is printed as an escape.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        raw = io.FileIO(1, "w", closefd=False)
        sys.stdout = _Output(
            io.BufferedWriter(raw), encoding=sys.stdout.encoding, errors="backslashreplace"
        )


def discard() -> None:
    """Let what is still to be written to stdout, on exit too, go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)


def report(error: FilevaultError) -> None:
    """Say on stderr what failed and, where there is something to do, what."""
    # A name out of a file can be as long as the file.
    print(f"filevault: error: {printable(error.message, _LONGEST)}", file=sys.stderr)
    if error.hint:
        print(f"filevault: hint: {printable(error.hint, _LONGEST)}", file=sys.stderr)
