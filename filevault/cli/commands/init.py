"""`filevault init`: make a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import new_secret
from filevault.cli.new_file_vault import make
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
    new_secret.add_options(parser)
    parser.add_argument(
        "--new-key-file", metavar="F", help="write a key file that opens the vault, for a machine"
    )
    parser.add_argument(
        "--no-passphrase",
        action="store_true",
        help="make no passphrase keyslot, with --new-key-file; age: leave the new identity plain",
    )
    parser.add_argument(
        "--recipient",
        action="append",
        metavar="R",
        help="pass: a gpg key, age: a recipient that can open the new vault; repeatable",
    )
    parser.add_argument("--kdf-memory", type=int, metavar="KIB", help="memory of Argon2id")
    parser.add_argument("--kdf-iterations", type=int, metavar="N", help="passes of Argon2id")
    parser.add_argument("--kdf-lanes", type=int, metavar="N", help="lanes of Argon2id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Make the vault, and print its path and its pin."""
    choice = choose_vault(context)
    warn_of_other_stores(choice, context)
    create = choice.backend.creator
    if create is None:
        from filevault.cli.new_recipients_vault import adopt_or_make

        made = adopt_or_make(args, choice, context)
    else:
        made = make(args, choice, context, create)
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
