"""Programs other than filevault, run on a `Machine`: gpg, age, git and pass."""

from __future__ import annotations

import subprocess

from tests.worlds.machine import Machine, ProcessResult


class OtherPrograms:
    """Runs programs other than filevault as the machine's user."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> ProcessResult:
        """Run a program without a terminal."""
        done = subprocess.run(
            argv,
            env=self.machine.environment({"LAUNCH": None}),
            input=None if stdin is None else stdin.encode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            cwd=self.machine.home,
            start_new_session=True,
            timeout=60,
        )
        # As bytes: line ends are what some tests are about.
        result = ProcessResult(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert not check or result.status == 0, (argv, result)
        return result


def commit_identity(machine: Machine) -> None:
    """Let git commit on this machine."""
    (machine.home / ".gitconfig").write_text(
        "[user]\n\tname = Jon Smith\n\temail = jon@example.com\n[init]\n\tdefaultBranch = main\n",
        encoding="utf-8",
    )
