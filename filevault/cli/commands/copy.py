"""`filevault copy`: copy a stored key to another name or another vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.absent_key import absent_key
from filevault.cli.open_vault import existing_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.cli.second_vault import (
    HELP,
    NEW_VARIABLE,
    choose_target,
    sharing_passphrases,
    unlock,
)
from filevault.errors import UsageError
from filevault.exchange.copy_item import (
    ItemCopy,
    has_copy,
    read_item,
    refuse_rotation,
    write_copy,
)
from filevault.exchange.store_key import check_unchanged, digest_of
from filevault.git import subjects
from filevault.sources.stored import item_reference
from filevault.system.printable import printable, shell_word
from filevault.vault.choose import must_exist
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser

DESCRIPTION = """Copy a stored key to another name, or with --to to another vault.

The copy is compared with the item byte for byte; only the line with its name differs. Sessions
are not copied, and the AWS config stays as it is."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", metavar="PROFILE")
    parser.add_argument("new", nargs="?", metavar="NEW", help="the name of the copy")
    parser.add_argument("--to", metavar="VAULT", help=HELP)
    parser.add_argument("-f", "--force", action="store_true", help="replace another key, unasked")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Read the item, ask if another one would be replaced, write and compare."""
    new = args.new or args.profile
    encode_name(new, ".fv")
    choice = existing_vault(context)
    target, target_context = choice, context
    if args.to:
        target, target_context = choose_target(args.to, context, choice.backend)
    same = target.real_root == choice.real_root
    if same and new == args.profile:
        raise UsageError(
            "the copy needs another name, or --to another vault",
            hint=f"filevault copy {shell_word(args.profile)} NEW",
        )
    if new.startswith("mfa/"):
        raise UsageError(
            "names that begin with mfa/ are reserved for TOTP seeds",
            hint="give the key another name, such as mfa-work",
        )
    must_exist(target, context.settings.state_home)
    with sharing_passphrases(context, target_context), open_vault(choice, context) as opened:
        if not opened.vault.has(args.profile):
            raise absent_key(args.profile, choice, opened.vault)
        copy = read_item(opened.vault, args.profile)
        refuse_rotation(copy)
        if same:
            _copy(args, copy, new, opened, context)
        else:
            with open_vault(target, target_context) as other:
                unlock(other, NEW_VARIABLE)
                _copy(args, copy, new, other, context)
    return 0


def _copy(
    args: argparse.Namespace, copy: ItemCopy, new: str, target: OpenVault, context: Context
) -> None:
    vault, shown = target.vault, printable(new)
    vault.check_recipients()
    before = digest_of(vault, new)
    present = vault.has(new) and has_copy(vault, new, copy)
    replaces = vault.has(new) and not present
    if replaces and not args.force:
        require_terminal(
            context.prompter,
            f"the key that is stored for {shown!r} would be replaced",
            "--force replaces it without asking",
        )
        confirm_or_decline(context.prompter, f"Replace the key that is stored for {shown}?")
    uncommitted = None
    if not present:
        with vault.transaction():
            check_unchanged(vault, new, before)
            subject = subjects.copied(copy.name, vault.entry_path(new))
            uncommitted = write_copy(vault, new, copy, subject)
    target.remember_slot()
    sessions = target.sessions_to_delete() if replaces else None
    if sessions is not None:
        sessions.drop_source(item_reference(new))
    where = f" in {printable(target.choice.root)}" if args.to else ""
    context.reporter.result(f"Copied the key of {printable(copy.name)} to {shown}{where}.")
    if uncommitted is not None:
        raise uncommitted
