"""filevault as an executable in a folder, as pip or pipx installs it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.worlds.machine import LAUNCHER, Machine


def install(machine: Machine) -> Path:
    """Write `opt/bin/filevault` below the machine's home and let the machine start that."""
    orders = machine.environment()["LAUNCH"]
    program = machine.home / "opt/bin/filevault"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{sys.executable}\n"
        "import os\n"
        f"os.environ['LAUNCH'] = {orders!r}\n"
        f"code = compile(open({LAUNCHER!r}).read(), {LAUNCHER!r}, 'exec')\n"
        f"exec(code, {{'__name__': '__main__', '__file__': {LAUNCHER!r}}})\n"
    )
    program.chmod(0o755)
    machine.launcher = (str(program),)
    return program
