"""What a cached run reads is in its inputs: the kernel's list of calls says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.tools import tool
from tests.worlds.machine import LAUNCHER, Machine
from tests.worlds.warm import locked_at_the_end

# Prints the inputs of the run where it would become the command.
OBSERVED = f"""
import os, runpy, sys
from filevault.cli import replace_process
from filevault.config.settings import Settings

captured = []
capture = Settings.capture

def observed(*args):
    captured.append(capture(*args))
    return captured[0]

def say(*_):
    inputs = captured[0].inputs
    os.write(2, b"#end\\n")
    for each in inputs.witnesses() or ():
        print(each.kind, each.path)
    for name in inputs.variables:
        print("V", name)
    print("X", inputs.doubt)
    sys.stdout.flush()
    os._exit(0)

Settings.capture = observed
replace_process._execute = say
sys.argv = ["filevault", *sys.argv[1:]]
runpy.run_path({LAUNCHER!r}, run_name="__main__")
"""
LISTS = "getdents64"
CONTAINER = "/run/secrets"


class Traced:
    """A cached `exec` under strace: what it looked at, and the inputs that it noted."""

    def __init__(self, machine: Machine, *argv: str) -> None:
        trace = machine.home.parent / "trace"
        done = subprocess.run(
            [
                *(tool("strace"), "-f", "-y", "-s", "4096", "-o", str(trace)),
                *("-e", "trace=%file,%desc"),
                *(sys.executable, "-c", OBSERVED, *argv),
            ],
            env=machine.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        assert done.stderr == "#end\n", done
        self.noted: dict[str, set[str]] = {}
        for line in done.stdout.splitlines():
            kind, value = line.split(" ", 1)
            self.noted.setdefault(kind, set()).add(value)
        self.looked_at: set[str] = set()
        self.read: set[str] = set()
        for line in trace.read_text().splitlines():
            call = line.split(maxsplit=1)[1]
            if call.startswith("write(2") and "#end" in call:
                break
            self._take(call, f"{machine.home}/")

    def _take(self, call: str, home: str) -> None:
        name = call.partition("(")[0]
        on = re.match(r"\w+\(\d+<([^>]*)>", call)
        if name in ("read", LISTS) and on:
            path = on[1]
            if path.startswith((home, CONTAINER)) and path != home + ".clock":
                self.read.add(path)
        found = re.match(r"\w+\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"([^\"]*)\"", call)
        if found and name not in ("read", "write"):
            path = os.path.normpath(os.path.join(found[1] or home, found[2]))
            if path.startswith((home, CONTAINER)) and path != home + ".clock":  # the launcher's own
                self.looked_at.add(path)

    def check(self) -> None:
        """Require that the inputs have all of it, and that there is no doubt."""
        assert self.noted["X"] == {"None"}
        assert self.read - self.noted["F"] == set()
        known = set().union(*(self.noted.get(kind, set()) for kind in "FDAW"))
        absent = tuple(f"{path}/" for path in self.noted["A"])
        unknown = {path for path in self.looked_at if os.path.realpath(path) not in known}
        assert {path for path in unknown - known if not path.startswith(absent)} == set()
        assert self.read


@needs_kernel_keyring
def test_all_that_a_cached_exec_reads_is_noted(warm: Machine) -> None:
    warm.places = "kernel"
    warm.ok("unlock")
    del warm.env["FILEVAULT_KEY_FILE"]
    with locked_at_the_end(warm):
        traced = Traced(warm, "exec", "admin", "--", "/usr/bin/env")
    traced.check()


@pytest.mark.parametrize("source", ["a file", "a link", "the system", "a readable file", "a key"])
def test_all_that_a_cached_exec_with_a_key_file_reads_is_noted(warm: Machine, source: str) -> None:
    key = Path(str(warm.env["FILEVAULT_KEY_FILE"]))
    folder, link = warm.home / "credentials", warm.home / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to("credentials")
    (folder / "filevault-key").write_text(key.read_text())
    (folder / "filevault-key").chmod(0o600 if source == "a link" else 0o444)
    time.sleep(0.03)  # a file that has just changed is no witness
    if source != "a file":
        del warm.env["FILEVAULT_KEY_FILE"]
    if source in ("the system", "a readable file"):
        warm.env["CREDENTIALS_DIRECTORY"] = str(link)
    if source == "a readable file":
        warm.env["FILEVAULT_KEY_FILE"] = str(folder / "filevault-key")
    if source == "a link":
        warm.env["FILEVAULT_KEY_FILE"] = str(link / "filevault-key")
    if source == "a key":
        warm.env["FILEVAULT_KEY"] = key.read_text().strip()
    Traced(warm, "exec", "admin", "--", "/usr/bin/env").check()


@needs_kernel_keyring
def test_all_that_a_cached_exec_of_a_shared_vault_reads_is_noted(shared_machine: Machine) -> None:
    Traced(shared_machine, "exec", "admin", "--", "/usr/bin/env").check()
