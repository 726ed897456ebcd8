"""Where the program starts: the console script and `python -m filevault`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

# The process lives for milliseconds; looking for garbage while it imports costs it two of them.
gc.disable()


def entry() -> NoReturn:
    """Run the command line and end the process.

    It ends without Python's clean-up, which frees object by object what the kernel takes back at
    once: 3 ms of each run. Files are closed and synced where they are written.
    """
    import contextlib
    import os

    _fill_standard_streams(os)
    from filevault.cli import main

    try:
        status = main(sys.argv[1:])
    except SystemExit as ending:  # --help and --version, by argparse
        status = ending.code if isinstance(ending.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _fill_standard_streams(os: ModuleType) -> None:
    """Put /dev/null where a standard stream is closed, and let no text be unprintable.

    Otherwise the next file that is opened, a vault's for example, would take its number and get
    what is meant for a terminal.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        elif number:
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    entry()
