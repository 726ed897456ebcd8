"""A running `filevault serve`, and its clients."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.worlds.machine import Machine
from tests.worlds.served_command import TIMEOUT, Answer


class StandingServer:
    """A run of `serve`; a context manager, which ends it."""

    def __init__(
        self, machine: Machine, *argv: str, profiles: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        (machine.home / "run").mkdir(exist_ok=True, mode=0o700)
        given: dict[str, str | None] = {"XDG_RUNTIME_DIR": str(machine.home / "run"), **(env or {})}
        self.process = machine.popen("serve", *argv, env=given)
        assert self.process.stdout is not None
        self.uri = ""
        self.files: dict[str, Path] = {}
        profile = ""
        for _ in range(3 * profiles):
            line = self.process.stdout.readline().decode().rstrip("\n")
            if line.startswith("# "):
                profile = line[2:]
            elif line.startswith("AWS_CONTAINER_CREDENTIALS_FULL_URI="):
                self.uri = line.partition("=")[2]
            elif line:
                self.files[profile] = Path(line.partition("=")[2])
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
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def get(self, profile: str | None, path: str = "/") -> Answer:
        """Ask with the token of a profile, or without one."""
        headers = {} if profile is None else {"Authorization": self.files[profile].read_text()}
        host = urlsplit(self.uri)
        assert host.hostname is not None
        connection = http.client.HTTPConnection(host.hostname, host.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = json.loads(response.read())
            return Answer(response.status, body, dict(response.getheaders()))
        finally:
            connection.close()

    def next_key_id(self, profile: str, before: str) -> str:
        """Ask until another key is served."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            found = str(self.get(profile).body["AccessKeyId"])
            if found != before:
                return found
            time.sleep(0.02)
        raise AssertionError("nothing was renewed")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it with a signal; return its status and its stderr."""
        self.process.send_signal(number)
        try:
            _out, err = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, err.decode()
