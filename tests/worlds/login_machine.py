"""A machine, a user who signs in to the console, and a profile for that."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fakes import FakeAws, User
from tests.worlds.machine import Machine, ProcessResult, TypedAnswer

BROWSER = f"{sys.executable} {Path(__file__).resolve().parents[1] / 'fakes' / 'browser.py'}"
REGION = "eu-west-1"
ASKED = "code: "


class LoginMachine:
    """A user `jon` without access key on this machine, and a vault that a key file opens.

    Profile `console` has a region and the stand-in's endpoints, and no login yet; `admin` has a
    role on top.
    """

    def __init__(self, machine: Machine, aws: FakeAws, region: str = REGION) -> None:
        self.machine = machine
        self.aws = aws
        self.user: User = aws.add_user("jon")
        self.role = aws.add_role("admin")
        aws.login.user = self.user
        self.base = f"{aws.url}/signin/{region}"
        machine.env["AWS_ENDPOINT_URL_SIGNIN"] = self.base
        key_file = machine.home / "key"
        machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
        machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
        self.settings = f"region = {region}\nendpoint_url = {aws.url}\n"
        machine.write_config(
            f"# kept\n[profile console]\n{self.settings}\n"
            f"[profile admin]\n{self.settings}source_profile = console\n"
            f"role_arn = {self.role.arn}\n"
        )

    def by_browser(self, *options: str, profile: str = "console") -> ProcessResult:
        """Sign in with a browser on this machine."""
        return self.machine.run("signin", profile, *options, env={"BROWSER": BROWSER})

    def by_code(self, *options: str, profile: str = "console") -> ProcessResult:
        """Sign in with a browser elsewhere: its code is written to stdin once the link is there."""
        import subprocess

        argv = ("signin", profile, *options)
        process = self.machine._start(argv, None, stdin=subprocess.PIPE, cwd=self.machine.home)
        assert process.stderr is not None
        seen = b""
        while (link := link_in(seen.decode())) is None:
            line = process.stderr.readline()
            if not line:
                break
            seen += line
        code = "" if link is None else self.aws.login.browse(link)
        out, err = process.communicate(f"{code}\n".encode(), timeout=60)
        return ProcessResult(process.returncode, out.decode(), (seen + err).decode())

    def on_terminal(
        self,
        *argv: str,
        wrapped: int | None = None,
        stdin: bytes | None = None,
        browse: Callable[[str], str] | None = None,
    ) -> ProcessResult:
        """Run on a terminal, and paste the code of the link that it shows, perhaps with breaks.

        `browse` is the browser elsewhere, which returns the code of a link.
        """
        import os
        import pty
        import subprocess

        master, slave = pty.openpty()
        process = self.machine._start(
            argv,
            None,
            terminal=slave,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            pass_fds=(slave,),
            cwd=self.machine.home,
        )
        os.close(slave)
        shown = b""
        while (link := link_in(shown.decode())) is None or ASKED.encode() not in shown:
            shown += os.read(master, 4096)
        code = (browse or self.aws.login.browse)(link)
        size = wrapped or len(code)
        for start in range(0, len(code), size):
            os.write(master, code[start : start + size].encode() + b"\n")
        out, err = process.communicate(stdin, timeout=60)
        os.close(master)
        return ProcessResult(process.returncode, out.decode(), err.decode(), shown.decode())

    def signed_in(self) -> LoginMachine:
        """Sign in."""
        result = self.by_code()
        assert result.status == 0, result
        return self

    def advance(self, seconds: float) -> None:
        """Move all clocks."""
        self.machine.advance(seconds)
        self.aws.clock.advance(seconds)

    def record(self) -> Path:
        """Return the file of the login."""
        (found,) = self.machine.state.glob("*/login/*.fvs")
        return found


def link_in(text: str) -> str | None:
    """Return the link that a text shows."""
    found = re.search(r"\bhttps?://\S+/v1/authorize\S+", text)
    return None if found is None else found[0]


__all__ = ["ASKED", "BROWSER", "LoginMachine", "TypedAnswer", "link_in"]
