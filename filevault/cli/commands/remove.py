"""`filevault remove`: delete stored keys and every session made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.absent_key import absent_key
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.errors import NotCommittedError, UsageError
from filevault.sources.stored import item_reference
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.vault import Vault

DESCRIPTION = """Delete stored keys and every session made from them.

A key itself goes on working at AWS until it is deleted there. The sections of the AWS config
stay as they are."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", metavar="PROFILE", nargs="*")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "-s", "--sessions-only", action="store_true", help="delete the sessions, keep the keys"
    )


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Ask, delete, and print what was deleted."""
    if not args.profiles:
        raise UsageError(
            "no profile is given", hint="name one or more; filevault list shows the stored keys"
        )
    with open_vault(choose_vault(context), context) as opened:
        return _remove(args, opened, context)


def _remove(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault, names = opened.vault, list(dict.fromkeys(args.profiles))
    sessions = opened.sessions_to_delete()
    if not args.sessions_only:
        for name in names:  # before anything is deleted
            if not vault.has(name):
                raise absent_key(name, opened.choice, vault)
        if not args.force:
            _ask(names, vault, context)
    count = 0
    uncommitted: NotCommittedError | None = None
    for name in names:
        if not args.sessions_only:
            with vault.transaction():
                subject = f"Remove {vault.entry_path(name)} from store."
                entries = _entries(vault, name)
                try:
                    vault.remove(name, subject=subject)
                except NotCommittedError as error:
                    uncommitted = uncommitted or error  # the key is deleted: its sessions follow
            context.reporter.result(f"Deleted the key of profile {printable(name)}{entries}.")
        count += sessions.drop_source(item_reference(name)) if sessions is not None else 0
    if count or args.sessions_only:
        context.reporter.result(f"Deleted {count} session{'' if count == 1 else 's'}.")
    if uncommitted is not None:
        raise uncommitted
    return 0


def _ask(names: Sequence[str], vault: Vault, context: Context) -> None:
    """Ask whether the keys are to be deleted. Raises DeclinedError, NoTerminalError."""
    one = len(names) == 1
    quoted = ", ".join(repr(printable(name)) for name in names)
    require_terminal(
        context.prompter,
        f"the key{'' if one else 's'} of {quoted} would be deleted",
        "--force deletes without asking",
    )
    shown = ", ".join(f"{printable(name)}{_entries(vault, name)}" for name in names)
    what = f"key of profile {shown}" if one else f"keys of {len(names)} profiles, {shown}"
    confirm_or_decline(context.prompter, f"Delete the {what}?")


def _entries(vault: Vault, name: str) -> str:
    """Return the entries that contain a key, if there are several: all are deleted."""
    paths = vault.entry_paths(name)
    return f" ({', '.join(map(printable, paths))})" if len(paths) > 1 else ""
