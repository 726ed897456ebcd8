"""`filevault status`: what is open, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.keycache import SESSION
from filevault.printable import printable
from filevault.times import format_time

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Show which keys of the vault are held, where, and until when.

Nothing is unlocked for it."""


def configure(_parser: argparse.ArgumentParser) -> None:
    """Declare nothing: there are the global options only."""


def run(_args: argparse.Namespace, context: Context) -> int:
    """Print the vault and one line for each key that is held."""
    choice = context.choice
    print(f"vault: {printable(choice.root)} ({choice.backend})")
    held = context.key_cache.status(choice.state_id)
    for status in held:
        what = "sessions" if status.kind == SESSION else "long-term keys"
        until = format_time(round(context.runtime.clock() + status.seconds))
        print(f"{what}: unlocked until {until} ({status.place})")
    if not held:
        print("locked")
    return 0
