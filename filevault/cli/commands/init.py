"""`filevault init`: make a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.new_file_vault import make
from filevault.cli.new_vault import add_options, options_of
from filevault.cli.open_vault import choose_vault, warn_of_other_stores
from filevault.cli.vault_record import record, say_how_to_name_identities
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Make a vault: a folder of encrypted files.

The passphrase is asked for twice, or comes from --passphrase-file, --passphrase-fd,
FILEVAULT_PASSPHRASE or FILEVAULT_NEW_PASSPHRASE with their _FILE, _FD and _COMMAND forms."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    add_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Make the vault, and print its path and its pin."""
    choice = choose_vault(context)
    warn_of_other_stores(choice, context)
    create = choice.backend.creator
    if create is None:
        from filevault.cli.new_recipients_vault import adopt_or_make

        made = adopt_or_make(options_of(args), choice, context)
    else:
        made = make(options_of(args), choice, context, create)
    for path, names in made.recipients:
        for name in names:
            context.reporter.result(f"recipient: {printable(name)} ({printable(path)})")
    context.reporter.result(f"vault: {printable(made.root)}")
    context.reporter.result(f"pin: {made.pin}")
    if made.key_file is not None:
        context.reporter.result(f"key file: {printable(made.key_file)}")
    if made.identity is not None:
        context.reporter.result(f"identity: {printable(made.identity)}")
    choice = choose_vault(context)
    record(choice, context)
    say_how_to_name_identities(choice, context)
    if made.uncommitted is not None:
        raise made.uncommitted
    return 0
