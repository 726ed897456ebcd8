"""A process that serves credentials, its clients, and the processes that it starts."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

TIMEOUT = 20.0


class Answer(NamedTuple):
    """The answer of an endpoint."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


class ServingProcess:
    """A run that serves credentials at `uri`; a context manager, which ends it."""

    uri: str

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def end(self) -> object:
        """End it, and return how it ended."""
        raise NotImplementedError

    def output(self) -> tuple[str, str]:
        """Wait for the end; return stdout and stderr."""
        try:
            out, err = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return out.decode(), err.decode()

    def ended_early(self) -> AssertionError:
        """Return the error for a run that has ended before it serves."""
        _out, err = self.output()
        return AssertionError(f"it has ended: {self.process.returncode} {err}")

    def ask(self, path: str, headers: dict[str, str]) -> Answer:
        """Ask the endpoint as an SDK does."""
        address = urlsplit(self.uri)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = json.loads(response.read())
            return Answer(response.status, body, dict(response.getheaders()))
        finally:
            connection.close()


def next_value(look: Callable[[], str], before: str) -> str:
    """Look until there is another value."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        found = look()
        if found != before:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing was renewed")


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that is not a child of this one."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
