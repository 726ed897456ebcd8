"""`exec --server` with a command that waits, and the endpoint as a client sees it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from tests.worlds.machine import Machine
from tests.worlds.serving_process import Answer, ServingProcess, children, next_value

# Prints its environment, then waits for a line from the test, which is its exit status.
WAITING = 'env; echo "COMMAND_PID=$$"; echo; read status < "$FIFO"; exit $status'

ROLE = "/latest/meta-data/iam/security-credentials/filevault"


class ServedCommand(ServingProcess):
    """A run of `exec --server`.

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
        super().__init__(
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
            raise self.ended_early()
        names = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
        self.uri = next((self.env[name] for name in names if name in self.env), "")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.close(self._fifo)

    @property
    def token(self) -> str:
        """The token that the command gets, empty if it gets none."""
        return self.env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")

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
        return self.ask(path, {"Authorization": self.token, **headers})

    def key_id(self) -> str:
        """Return the key id that a client gets; of a metadata endpoint, by IMDSv1."""
        found = self.get("/" if self.token else ROLE)
        assert found.status == 200, found
        return str(found.body["AccessKeyId"])

    def next_key_id(self, before: str) -> str:
        """Ask until another key is served."""
        return next_value(self.key_id, before)

    def end(self, status: int = 0) -> tuple[int, str, str]:
        """Let the command end; return the status of filevault, its stdout and its stderr."""
        self.order(str(status))
        return self.ended()

    def order(self, line: str) -> None:
        """Send a line to the command, which reads `$FIFO`."""
        os.write(self._fifo, f"{line}\n".encode())

    def ended(self) -> tuple[int, str, str]:
        """Wait until filevault has ended."""
        out, err = self.output()
        return self.process.returncode, out, err
