"""A search for secrets and control characters in all output, files and process lists of a run."""

from __future__ import annotations

import os
import sys

from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, ProcessResult

HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202egpj\u2066\x9b2J\r\nfilevault: error: forged\u200b\x00"
RAW = {chr(code) for code in (*range(32), 127, *range(0x80, 0xA0))} - {"\n"} | set(
    "\u202e\u2066\u200b\u2028"
)


class LeakCheck:
    """Searches all that a run leaves behind for the secrets of an `AwsMachine`."""

    def __init__(self, scene: AwsMachine) -> None:
        self.scene = scene
        self.codes: set[str] = set()
        self.records = scene.machine.home / "records"
        self.records.mkdir()
        self.recorder = scene.machine.home / "recorder"
        self.recorder.write_text(
            f"#!{sys.executable}\nimport glob, os, subprocess, sys\n"
            f"path = {str(self.records)!r} + '/' + str(os.getpid())\n"
            "def others(process):\n"  # those of a test that runs beside this one
            f"    while process not in ('0', '{os.getpid()}'):\n"
            f"        if process == '{os.getppid()}':\n"
            "            return True\n"
            "        stat = open(f'/proc/{process}/stat').read()\n"
            "        process = stat.rpartition(')')[2].split()[1]\n"
            "    return False\n"
            "with open(path, 'wb') as file:\n"
            "    for name in glob.glob('/proc/[0-9]*/cmdline'):\n"
            "        try:\n"
            "            if not others(name.split('/')[2]):\n"
            "                file.write(open(name, 'rb').read() + b'\\n')\n"
            "        except OSError:\n"
            "            pass\n"
            "    file.write(repr(sorted(os.environ.items())).encode())\n"
            "sys.exit(subprocess.call(sys.argv[1:], env={**os.environ}))\n"
        )
        self.recorder.chmod(0o700)
        self.passphrase_file = scene.machine.home / "secret/passphrase"
        self.passphrase_file.parent.mkdir()
        self.passphrase_file.write_text(PASSPHRASE)
        self.passphrase_file.chmod(0o600)

    def recorded(self, command: str) -> str:
        """Return a command that first records every argv and its own environment."""
        return f"{self.recorder} {command}"

    def secrets(self) -> set[str]:
        return {*self.scene.secrets(), *self.codes}

    def code(self) -> str:
        """Return a fresh token code, to be looked for too."""
        self.scene.aws.clock.advance(30)
        code = self.scene.user.totp()
        self.codes.add(code)
        return code

    def leaks(self, text: str) -> list[str]:
        return [secret for secret in self.secrets() if secret in text]

    def check(self, result: ProcessResult, *, given_out: bool = False) -> None:
        """Require that nothing shows, but credentials on stdout where they were asked for."""
        assert not self.leaks(result.err)
        assert not self.leaks(result.tty)
        if not given_out:
            assert not self.leaks(result.out)
        for text in (result.out, result.err, result.tty.replace("\r\n", "\n")):
            assert not RAW & set(text), repr(text)
        assert "unexpected" not in result.err
        self.check_files()

    def check_files(self) -> None:
        """Require that no file under the home, the vault's own included, holds one in the clear."""
        needles = [secret.encode() for secret in self.secrets()]
        for path in self.scene.machine.home.rglob("*"):
            if path.is_file() and path != self.passphrase_file:
                data = path.read_bytes()
                assert not any(needle in data for needle in needles), path
