"""`filevault remove`: delete a stored key and every session made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.absent_key import absent_key
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.errors import NotCommittedError
from filevault.sources.stored import item_reference
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.vault import Vault

DESCRIPTION = """Delete a stored key and every session made from it.

The key itself goes on working at AWS until it is deleted there. The section of the AWS config
stays as it is."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", metavar="PROFILE")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "-s", "--sessions-only", action="store_true", help="delete the sessions, keep the key"
    )


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Ask, delete, and print what was deleted."""
    with open_vault(choose_vault(context), context) as opened:
        return _remove(args, opened, context)


def _remove(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault, shown = opened.vault, printable(args.profile)
    uncommitted: NotCommittedError | None = None
    sessions = opened.sessions_to_delete()
    source = item_reference(args.profile)
    if not args.sessions_only:
        if not vault.has(args.profile):
            raise absent_key(args.profile, opened.choice, vault)
        if not args.force:
            require_terminal(
                context.prompter,
                f"the key of {shown!r} would be deleted",
                "--force deletes without asking",
            )
            question = f"Delete the key of profile {shown}{_entries(vault, args.profile)}?"
            confirm_or_decline(context.prompter, question)
        with vault.transaction():
            subject = f"Remove {vault.entry_path(args.profile)} from store."
            entries = _entries(vault, args.profile)
            try:
                vault.remove(args.profile, subject=subject)
            except NotCommittedError as error:
                uncommitted = error  # the key is deleted: its sessions follow
        context.reporter.result(f"Deleted the key of profile {shown}{entries}.")
    count = sessions.drop_source(source) if sessions is not None else 0
    if count or args.sessions_only:
        context.reporter.result(f"Deleted {count} session{'' if count == 1 else 's'}.")
    if uncommitted is not None:
        raise uncommitted
    return 0


def _entries(vault: Vault, name: str) -> str:
    """Return the entries that contain a key, if there are several: all are deleted."""
    paths = vault.entry_paths(name)
    return f" ({', '.join(map(printable, paths))})" if len(paths) > 1 else ""
