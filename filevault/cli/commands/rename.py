"""`filevault rename`: give a stored key another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.absent_key import absent_key
from filevault.cli.open_vault import existing_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.config.profile_rename import edit_names, mentions, named_lines
from filevault.errors import NotCommittedError, UsageError
from filevault.exchange.copy_item import has_copy, is_same_file, read_item, write_copy
from filevault.exchange.store_key import check_unchanged, digest_of
from filevault.git import subjects
from filevault.sources.stored import item_reference
from filevault.system.printable import printable
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser

DESCRIPTION = """Give a stored key another name.

The key is written under the new name and compared byte for byte before the old item goes. Sessions
made from the key are deleted. --config also renames the profile in the AWS config."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument(
        "--config", action="store_true", help="rename the profile in the AWS config, too"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace another key, unasked")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Check everything that can fail, then write, edit the config, and delete."""
    encode_name(args.new, ".fv")
    if args.old == args.new:
        raise UsageError("the new name is the old one", hint="give another one")
    if args.new.startswith("mfa/"):
        raise UsageError(
            "names that begin with mfa/ are reserved for TOTP seeds",
            hint="give the key another name, such as mfa-work",
        )
    settings = context.settings
    if args.config:
        edit_names(context.aws_config, args.old, args.new)  # fails before anything is changed
    choice = existing_vault(context)
    with open_vault(choice, context) as opened:
        vault = opened.vault
        if not vault.has(args.old):
            raise absent_key(args.old, choice, vault)
        uncommitted = _rename(args, opened, context)
    if not args.config:
        _say_what_names_it(args, context)
    for line in mentions(context.aws_config, args.old):
        context.reporter.warn(
            f"line {line} of {printable(settings.aws_config_path)} names "
            f"{printable(args.old)!r} in a command, which is not changed"
        )
    if uncommitted is not None:
        raise uncommitted
    return 0


def _rename(
    args: argparse.Namespace, opened: OpenVault, context: Context
) -> NotCommittedError | None:
    vault, old, new = opened.vault, args.old, args.new
    vault.check_recipients()
    if is_same_file(vault, old, vault, new):
        raise UsageError(
            f"{printable(old)!r} and {printable(new)!r} are one file in this vault",
            hint="where names differ only in case, rename to a third name first",
        )
    copy = read_item(vault, old)
    before = digest_of(vault, new)
    replaces = vault.has(new) and not has_copy(vault, new, copy)
    if replaces and not args.force:
        require_terminal(
            context.prompter,
            f"the key that is stored for {printable(new)!r} would be replaced",
            "--force replaces it without asking",
        )
        confirm_or_decline(
            context.prompter, f"Replace the key that is stored for {printable(new)}?"
        )
    uncommitted = None
    with vault.transaction():
        copy = read_item(vault, old)
        subject = subjects.renamed(vault.entry_path(old), vault.entry_path(new))
        if not has_copy(vault, new, copy):  # else an earlier run was interrupted
            check_unchanged(vault, new, before)
            write_copy(vault, new, copy, None)
        if args.config:
            _rename_profile(args, context)
        try:
            vault.remove(old, subject=subject, also=[new])
        except NotCommittedError as error:
            uncommitted = error  # it is renamed: the sessions follow
    opened.remember_slot()
    context.reporter.result(f"Renamed the key of {printable(old)} to {printable(new)}.")
    sources = [item_reference(old), *([item_reference(new)] if replaces else [])]
    sessions = opened.sessions_to_delete()
    count = sessions.drop_source(*sources) if sessions is not None else 0
    if count:
        context.reporter.result(f"Deleted {count} session{'' if count == 1 else 's'}.")
    return uncommitted


def _rename_profile(args: argparse.Namespace, context: Context) -> None:
    from filevault.config.profile_rename import rename_profile

    path = context.settings.aws_config_path
    changed = rename_profile(path, args.old, args.new, context.edit_rules)
    lines = f"{changed} line{'' if changed == 1 else 's'}"
    context.reporter.say(f"changed {lines} of {printable(path)}")


def _say_what_names_it(args: argparse.Namespace, context: Context) -> None:
    lines = named_lines(context.aws_config, args.old)
    if lines:
        shown = ", ".join(str(line) for line in lines[:10])
        plural = "" if len(lines) == 1 else "s"
        context.reporter.warn(
            f"{printable(context.settings.aws_config_path)} names the profile "
            f"{printable(args.old)!r} in line{plural} {shown}; with --config, rename changes that"
        )
