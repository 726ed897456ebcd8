"""A running `filevault serve`, and its clients."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from tests.worlds.machine import Machine
from tests.worlds.serving_process import Answer, ServingProcess, next_value


class StandingServer(ServingProcess):
    """A run of `serve`."""

    def __init__(
        self, machine: Machine, *argv: str, profiles: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        (machine.home / "run").mkdir(exist_ok=True, mode=0o700)
        given: dict[str, str | None] = {"XDG_RUNTIME_DIR": str(machine.home / "run"), **(env or {})}
        super().__init__(machine.popen("serve", *argv, env=given))
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
                raise self.ended_early()

    def get(self, profile: str | None, path: str = "/") -> Answer:
        """Ask with the token of a profile, or without one."""
        headers = {} if profile is None else {"Authorization": self.files[profile].read_text()}
        return self.ask(path, headers)

    def next_key_id(self, profile: str, before: str) -> str:
        """Ask until another key is served."""
        return next_value(lambda: str(self.get(profile).body["AccessKeyId"]), before)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it with a signal; return its status and its stderr."""
        self.process.send_signal(number)
        _out, err = self.output()
        return self.process.returncode, err
