"""`exec --server` with a command that waits, and the endpoint as a client sees it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.worlds.machine import Machine

TIMEOUT = 20.0
# Prints its environment, then waits for a line from the test, which is its exit status.
WAITING = 'env; echo "COMMAND_PID=$$"; echo; read status < "$FIFO"; exit $status'


class Answer(NamedTuple):
    """The answer of an endpoint."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


class ServedCommand:
    """A run of `exec --server`; a context manager, which ends it.

    `terminal` is the descriptor of a terminal that controls it.
    """

    def __init__(
        self,
        machine: Machine,
        *argv: str,
        server: str = "--server",
        command: str = WAITING,
        env: dict[str, str | None] | None = None,
        terminal: int | None = None,
    ) -> None:
        self.machine = machine
        fifo = machine.home / "fifo"
        if not fifo.exists():
            os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR)
        words = ("exec", server, *argv, "--", "sh", "-c", command)
        given = {"FIFO": str(fifo), **(env or {})}
        self.process = (
            machine.popen(*words, env=given)
            if terminal is None
            else machine.on_open_terminal(terminal, *words, env=given)
        )
        assert self.process.stdout is not None
        self.env: dict[str, str] = {}
        for line in self.process.stdout:
            name, separator, value = line.decode().rstrip("\n").partition("=")
            if not separator:
                break
            self.env[name] = value
        else:
            _out, err = self.process.communicate(timeout=TIMEOUT)
            raise AssertionError(f"it has ended: {self.process.returncode} {err.decode()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            self.end()
        os.close(self._fifo)

    @property
    def uri(self) -> str:
        """The address that the command gets."""
        names = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
        return next(self.env[name] for name in names if name in self.env)

    @property
    def token(self) -> str:
        """The token that the command gets."""
        return self.env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]

    @property
    def port(self) -> int:
        """The port of the endpoint."""
        port = urlsplit(self.uri).port
        assert port is not None
        return port

    @property
    def command_pid(self) -> int:
        """The process id of the command."""
        return int(self.env["COMMAND_PID"])

    @property
    def renewing_pid(self) -> int:
        """The process id of the renewing process."""
        return next(pid for pid in children(self.process.pid) if pid != self.command_pid)

    def get(self, path: str = "/", **headers: str) -> Answer:
        """Ask the endpoint as an SDK does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path, headers={"Authorization": self.token, **headers})
            response = connection.getresponse()
            body = json.loads(response.read())
            return Answer(response.status, body, dict(response.getheaders()))
        finally:
            connection.close()

    def key_id(self) -> str:
        """Return the key id that a client gets."""
        found = self.get()
        assert found.status == 200, found
        return str(found.body["AccessKeyId"])

    def next_key_id(self, before: str) -> str:
        """Ask until another key is served."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            found = self.key_id()
            if found != before:
                return found
            time.sleep(0.02)
        raise AssertionError("nothing was renewed")

    def end(self, status: int = 0) -> tuple[int, str, str]:
        """Let the command end; return the status of filevault, its stdout and its stderr."""
        os.write(self._fifo, f"{status}\n".encode())
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        """Wait until filevault has ended."""
        try:
            out, err = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            raise
        return self.process.returncode, out.decode(), err.decode()


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
