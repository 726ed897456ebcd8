"""`filevault lock`: forget the cached keys of the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import BACKENDS
from filevault.cli.open_vault import choose_vault
from filevault.system.printable import printable
from filevault.vault.choose import must_exist

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Forget the cached keys of this vault: the next command asks for its passphrase.

The keys in gpg-agent and ssh-agent stay."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--all", action="store_true", help="forget the keys of every vault")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Forget keys and print how many."""
    if args.all:  # no vault is chosen: one that is damaged or planted must not prevent this
        count = context.key_cache.forget()
        context.reporter.result(f"Locked; {_keys(count)} forgotten.")
        backends = tuple(BACKENDS.values())
    else:
        choice = choose_vault(context)
        count = context.key_cache.forget(choice.state_id)
        if not count:
            # A key may be cached for a vault that was deleted; if not, the path may be mistyped.
            must_exist(choice, context.settings.state_home)
        context.reporter.result(f"Locked {printable(choice.root)}; {_keys(count)} forgotten.")
        backends = (choice.backend,)
    for backend in backends:
        if backend.agent is not None:
            context.reporter.say(backend.agent.forget_hint)
    return 0


def _keys(count: int) -> str:
    return f"{count} key{'' if count == 1 else 's'}"
