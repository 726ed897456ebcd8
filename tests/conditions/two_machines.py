"""Two machines with a cable between them: network namespaces of the test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.conditions.tools import tool

_WAIT = "read line"


class TwoMachines(NamedTuple):
    """The beginning of a command that runs on one of them, and the address of the first."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    address: str


@contextmanager
def two_machines() -> Iterator[TwoMachines]:
    """Make them; skip the test where that is not allowed."""
    unshare, enter, ip = tool("unshare"), tool("nsenter"), tool("ip")
    if os.geteuid() != 0 or subprocess.run([unshare, "-n", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here")
    words = [unshare, "-n", "sh", "-c", f"echo; {_WAIT}"]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            process.stdout.readline()  # it is in its namespace
        first, second = ((enter, f"--net=/proc/{each.pid}/ns/net") for each in (one, two))
        for command in (
            [*first, ip, "link", "add", "name", "near", "type", "veth", "peer", "name", "far"],
            [*first, ip, "link", "set", "far", "netns", str(two.pid)],
            [*first, ip, "addr", "add", "10.99.0.1/24", "dev", "near"],
            [*second, ip, "addr", "add", "10.99.0.2/24", "dev", "far"],
            [*first, ip, "link", "set", "near", "up"],
            [*second, ip, "link", "set", "far", "up"],
            [*first, ip, "link", "set", "lo", "up"],
            [*second, ip, "link", "set", "lo", "up"],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"no cable can be made here: {done.stderr.strip()}")
        yield TwoMachines(first, second, "10.99.0.1")
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.close()  # ends it, and with it its namespace
