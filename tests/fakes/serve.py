"""Run the fake as a process of its own: `python -m tests.fakes.serve --seed seed.json`.

Prints one line, its URL, once it can be called, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from tests.fakes.aws import FakeAws
from tests.fakes.control import seed


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (any)")
    parser.add_argument("--seed", metavar="FILE", help="JSON with users and roles; - is stdin")
    parser.add_argument("--lifetime", type=float, metavar="SECONDS", help="end by itself")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    fake = FakeAws(options.port)
    if options.seed == "-":
        seed(fake, json.load(sys.stdin))
    elif options.seed is not None:
        with open(options.seed, encoding="utf-8") as file:
            seed(fake, json.load(file))
    with fake:
        print(fake.url, flush=True)
        stop.wait(options.lifetime)
    return 0


if __name__ == "__main__":
    sys.exit(main())
