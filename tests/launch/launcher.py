"""The program with another clock, sleep and KDF cost, for whole-process tests only.

Production has no switch for any of this. `LAUNCH` in the environment is a JSON object:
`clock` (path of a file that holds seconds to add to the real time, or `@` and the time itself),
`kdf` ("cheap", the default, or "standard") and `places` (where keys are held: "kernel", "agent",
or both with a blank between; nowhere by default),
`root` (the folder in which agents find `/run` and `/tmp`, and servers `/sys`), `lane` (whether the
hot lane is tried first, as in production) and `names` (what names in the kernel keyring begin with:
cached answers of all vaults of a user share their names).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import posix
import sys
import time
from typing import NoReturn

if __name__ == "__main__":
    gc.disable()  # as the real start does
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from filevault.backends.kdf import STANDARD, KdfParameters, KdfPolicy
from filevault.cli import main
from filevault.cli.context import Runtime
from filevault.keycache import kernel
from filevault.lane import serve
from filevault.system.hardening import harden
from filevault.system.times import boottime

CHEAP = KdfPolicy(default=KdfParameters(64, 1, 1), min_memory_kib=8)


def runtime(orders: dict[str, str]) -> Runtime:
    """Return what the orders ask for."""

    def clock() -> float:
        path = orders.get("clock")
        if path is None:
            return time.time()
        with open(path, encoding="ascii") as file:
            shown = file.read()
        return float(shown[1:]) if shown.startswith("@") else time.time() + float(shown)

    return Runtime(
        clock=clock,
        boottime=lambda: clock() - time.time() + boottime(),
        key_stores=tuple(orders.get("places", "").split()),
        root=orders.get("root", ""),
        program=("/usr/bin/env", f"LAUNCH={json.dumps(orders)}", sys.executable, __file__),
        sleep=lambda seconds: time.sleep(min(seconds, 0.01)),
        kdf=STANDARD if orders.get("kdf") == "standard" else CHEAP,
    )


def start(argv: list[str], orders: dict[str, str]) -> NoReturn:
    """Do what `filevault.__main__` does, with this runtime."""
    chosen = runtime(orders)
    tried = None
    if orders.get("names"):
        kernel._NAMES = orders["names"]
        serve._NAMES = orders["names"].encode()
    if orders.get("lane"):
        tried = serve.attempt(
            argv,
            posix.environ,
            clock=chosen.clock,
            boottime=chosen.boottime,
            stores=chosen.key_stores,
            root=chosen.root,
        )
    harden()
    try:
        status = main(argv, chosen, tried)
    except SystemExit as ending:  # --help and --version, by argparse
        status = ending.code if isinstance(ending.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    start(sys.argv[1:], json.loads(os.environ.pop("LAUNCH", "{}")))
