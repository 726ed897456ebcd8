"""`filevault clear`: delete cached sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.wiring import require_vault
from filevault.errors import ProfileNotFoundError
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Delete cached sessions, all of them or those of one profile.

The long-term keys stay; the next exec obtains a new session. A profile that has neither a
section in the AWS config nor a stored key nor a session is an error, status 3."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="only this profile's")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: what is printed only confirms what was done."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Delete the sessions and print how many."""
    sessions = context.kept_sessions()
    if sessions is None:
        require_vault(context)
    count = sessions.clear(args.profile) if sessions is not None else 0
    if not count and args.profile is not None:
        _check_known(args.profile, context)
    context.reporter.result(f"Cleared {count} session{'' if count == 1 else 's'}.")
    return 0


def _check_known(name: str, context: Context) -> None:
    """Raise ProfileNotFoundError for a name that nothing knows: it may be misspelt."""
    from filevault.cli.unknown import similar

    configured = context.aws_config.profile_names()
    if name in configured or context.has_item(name):
        return
    stored = context.vault.names() if context.choice.exists else []
    guess = similar(name, [*configured, *stored])
    shown = printable(name)
    raise ProfileNotFoundError(
        f"there is no profile {shown!r}: it has no section in the AWS config, no stored key and "
        "no session; nothing was cleared",
        hint=f"did you mean {printable(guess)}?"
        if guess is not None
        else "filevault list shows the profiles",
    )
