"""Open the vault that a key is stored in; make it first if there is none and that is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.new_file_vault import make
from filevault.cli.new_vault import NewVaultOptions
from filevault.cli.open_vault import choose_vault, open_vault, require_named_vault
from filevault.cli.questions import confirm_or_decline
from filevault.system.printable import printable
from filevault.unlock.new_passphrase import has_new_passphrase
from filevault.vault.lost_vault import adoptions

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice


def add_options(parser: Parser) -> None:
    """Declare the options that make a vault."""
    parser.add_argument("--init", action="store_true", help="make the vault first if there is none")
    parser.add_argument(
        "--allow-weak", action="store_true", help="with --init: accept a short passphrase"
    )


def check_vault(choice: VaultChoice, context: Context, *, makes: bool) -> None:
    """Raise what `require_named_vault` raises, unless the vault exists or will be made."""
    if choice.exists or makes:
        return
    asks = context.prompter.present or has_new_passphrase(context.settings, ordinary=False)
    if asks and choice.backend.creator is not None:
        return
    require_named_vault(choice, context)


def open_or_make(args: argparse.Namespace, choice: VaultChoice, context: Context) -> OpenVault:
    """Open the vault; make one if there is none, and an option or the user asks for it."""
    try:
        return open_vault(choice, context)
    except errors.NoVaultError as missing:
        backend, root = choice.backend, choice.root
        create = backend.creator
        if create is None:
            if args.init:
                raise errors.UsageError(
                    f"--init makes a file vault, and {printable(root)!r} would be of the backend "
                    f"{backend.name}",
                    hint=f"filevault init --backend {backend.name}",
                ) from missing
            raise
        if os.path.isdir(root) and os.listdir(root):
            raise errors.NoVaultError(
                f"there is no vault at {printable(root)!r}, but other files",
                hint="to make one beside them: filevault init",
            ) from missing
        unattended = args.init or has_new_passphrase(context.settings, ordinary=False)
        if not unattended:
            if not context.prompter.present:
                raise errors.NoVaultError(
                    missing.message, hint=f"{missing.hint}; --init makes a file vault now"
                ) from missing
            for sentence in adoptions(choice):
                context.reporter.say(sentence)
            question = f"There is no vault at {printable(choice.root)}. Make one?"
            confirm_or_decline(context.prompter, question)
    made = make(NewVaultOptions(allow_weak=args.allow_weak), choice, context, create)
    context.reporter.say(f"made a vault at {printable(made.root)}")
    return open_vault(choose_vault(context), context, backend=made.backend)
