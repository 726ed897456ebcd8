"""`filevault completion`: print the script that completes filevault's command lines in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.completion.scripts import SHELLS, script

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Print the script that completes filevault's command lines in a shell.

bash   source <(filevault completion bash)      in ~/.bashrc
zsh    source <(filevault completion zsh)       in ~/.zshrc, after compinit
fish   filevault completion fish | source       in ~/.config/fish/config.fish

The script asks filevault for each Tab, so it stays right after an upgrade. Nothing is unlocked, and
no name is evaluated by the shell."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=tuple(SHELLS), metavar="|".join(SHELLS))


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the script."""
    context.reporter.write(script(args.shell))
    return 0
