"""A network of the test's own: a namespace with a loopback device and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from filevault.system.libc import function
from tests.conditions.tools import tool

_CLONE_NEWNET = 0x40000000  # linux/sched.h
T = TypeVar("T")


class OwnNetwork:
    """The namespace of a process; `enter` is the beginning of a command that runs in it."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/ns/net")
        self.enter = (tool("nsenter"), f"--net={self._path}")
        self.ip("link", "set", "lo", "up")

    def inside(self, action: Callable[[], T]) -> T:
        """Return what an action returns; the sockets that it makes are in the namespace."""
        found: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                with self._path.open() as namespace:
                    function("setns")(namespace.fileno(), _CLONE_NEWNET)  # of this thread alone
                found.append(action())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        for error in errors:
            raise error
        return found[0]

    def ip(self, *words: str) -> str:
        """Run ip(8) in it; return what it prints."""
        return subprocess.check_output([*self.enter, tool("ip"), *words], text=True)

    def life(self, address: str) -> int | None:
        """Return the seconds after which the kernel removes an address, None if it is not there."""
        for device in json.loads(self.ip("-json", "address")):
            for each in device.get("addr_info", ()):
                if each["local"] == address:
                    return int(each["valid_life_time"])
        return None


@contextmanager
def own_network() -> Iterator[OwnNetwork]:
    """Make one; skip the test where that is not allowed."""
    unshare = tool("unshare")
    if os.geteuid() != 0 or subprocess.run([unshare, "-n", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here")
    words = [unshare, "-n", "sh", "-c", "echo; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()  # it is in its namespace
        yield OwnNetwork(process.pid)
        process.stdin.close()  # ends it, and with it the namespace
