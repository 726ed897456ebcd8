"""`filevault lock`: forget what unlocks the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Forget the keys that are held for this vault, so that the next command asks again.

What gpg-agent and ssh-agent hold is theirs, and stays."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--all", action="store_true", help="forget the keys of every vault")


def run(args: argparse.Namespace, context: Context) -> int:
    """Forget keys and print how many."""
    count = context.key_cache.lock(None if args.all else context.choice.state_id)
    print(f"Locked; {count} key{'' if count == 1 else 's'} forgotten.")
    if args.all or context.choice.backend == "pass":
        context.say("gpg-agent keeps its own keys: gpgconf --reload gpg-agent lets it forget them")
    return 0
