"""An agent (the key cache) in its own process, started without the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name (108 bytes, unix(7))."""
    with tempfile.TemporaryDirectory(prefix="fv", dir="/tmp") as name:
        yield Path(name)


class AgentProcess:
    """A running agent; `clock` is a file with the seconds that its boot time is ahead."""

    def __init__(self, folder: Path, clock: Path | None = None) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(clock or "")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.read().decode()

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "agent.sock"

    def stop(self) -> int:
        """Let it end."""
        self.process.terminate()
        return self.process.wait(10)

    def __enter__(self) -> Self:
        assert self.said == "ready\n", self.process.communicate()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def _main(folder: str, clock: str) -> None:
    from filevault.keycache.agent import listen, run
    from filevault.system.hardening import harden
    from filevault.system.times import boottime

    harden()

    def now() -> float:
        return boottime() + float(Path(clock).read_text() if clock else 0)

    made = listen(folder, now)
    if made is None:
        print("taken")
        return
    run(made, lambda: print("ready", flush=True))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
