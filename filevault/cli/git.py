"""`filevault git`: git in the vault's own repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import git
from filevault.files import Folder
from filevault.vault.choice import must_exist

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context

DESCRIPTION = """Run git in the vault's own repository.

`filevault git init` makes one at the store's top; from then on each change is committed. Nothing
is pulled or pushed unless you say so."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the words are git's."""
    parser.usage = "filevault [GLOBAL OPTIONS] git ARGS..."


def split(
    _parser: argparse.ArgumentParser, argv: Sequence[str], before: int
) -> tuple[list[str], list[str]]:
    """Leave every word after `git` to git, but for a lone --help; `before` stand before it."""
    ours, theirs = list(argv[:before]), list(argv[before:])
    if theirs in (["--help"], ["-h"]):
        return [*ours, *theirs], []
    return ours, theirs


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: stdout is that of git."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Run git and return its exit status."""
    choice = context.choice
    must_exist(choice, context.settings.state_home)
    with Folder.open(choice.store) as store:
        return git.passthrough(store, args.command, context.git())
