"""Counts the instructions of a process with callgrind: exact, whatever else is running."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence


def instructions(valgrind: str, argv: Sequence[str], env: Mapping[bytes, bytes]) -> int:
    """Return how many instructions a process executes in user mode, up to its end.

    It must succeed. Two runs differ by a thousandth, for texts hash otherwise in each.
    """
    done = subprocess.run(
        [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", *argv],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"{argv} cannot be counted:\n{done.stderr}")
    return int(found[1])
