"""A program that an attacker wants run, which leaves a mark when it is."""

from __future__ import annotations

from pathlib import Path


class Trap:
    """A program that the attacker wants run; it leaves a mark."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / "mark"
        self.run = folder / "run"
        self.run.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.mark}\ncat\n')
        self.run.chmod(0o755)

    def sprung(self) -> str:
        return self.mark.read_text() if self.mark.exists() else ""
