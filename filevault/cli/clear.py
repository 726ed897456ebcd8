"""`filevault clear`: delete cached sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Delete cached sessions, all of them or those of one profile.

The long-term keys stay; the next exec obtains a new session."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="only this profile's")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: what is printed only confirms what was done."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Delete the sessions and print how many."""
    sessions = context.kept_sessions()
    count = sessions.clear(args.profile) if sessions is not None else 0
    print(f"Cleared {count} session{'' if count == 1 else 's'}.")
    return 0
