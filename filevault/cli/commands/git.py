"""`filevault git`: run git in the vault's own repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.open_vault import existing_vault, local_memory, open_vault
from filevault.cli.questions import confirm_or_decline
from filevault.cli.repositories import git_of
from filevault.errors import FilevaultError, NotFoundError, UsageError
from filevault.git.adoption import find_all
from filevault.git.commit import commit_store_if_empty
from filevault.git.passthrough import passthrough
from filevault.system.files import Folder
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.git.program import Git
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Run git in the vault's own repository.

`filevault git init` makes one at the store's top; from then on each change is committed. Nothing
is pulled or pushed unless you say so.

`filevault git adopt` trusts the repositories in the store from now on. It shows first what git
would run because of them: hooks, and settings that may name programs. A repository that is not
trusted on this machine, or whose hooks or settings have changed, is not used."""


def configure(parser: Parser) -> None:
    """Declare no options: all words go to git."""
    parser.usage = "filevault [GLOBAL OPTIONS] git ARGS..."


def split(_parser: Parser, argv: Sequence[str], before: int) -> tuple[list[str], list[str]]:
    """Pass every word after `git` to git, except a lone --help; `before` words precede it."""
    options, words = list(argv[:before]), list(argv[before:])
    if words in (["--help"], ["-h"]):
        return [*options, *words], []
    return options, words


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: git prints, not filevault."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Run git and return its exit status, or trust the repositories in the store."""
    choice = existing_vault(context)
    with local_memory(choice, context) as (trust, writable), Folder.open(choice.store) as store:
        if trust.pin is None and context.settings.pin is None:
            _pin_first_use(choice, context)
            trust.reload()
        git = git_of(choice, context, trust, writable=writable)
        if args.command[:1] == ["adopt"]:
            if args.command[1:]:
                raise UsageError("git adopt takes no further words", hint="filevault git adopt")
            return _adopt(context, store, git)
        return passthrough(store, args.command, git)


def _pin_first_use(choice: VaultChoice, context: Context) -> None:
    """Pin the vault and its present repositories; print the reason if that fails."""
    try:
        with open_vault(choice, context):
            pass
    except FilevaultError as error:
        context.reporter.notice(error.message)


def _adopt(context: Context, store: Folder, runner: Git) -> int:
    """Show what git would run because of the store's repositories, and trust them."""
    runner.trusted.require_memory()
    found = find_all(store, runner)
    if not found:
        raise NotFoundError(
            f"the store {printable(store.path)!r} has no git repository of its own",
            hint="filevault git init",
        )
    for each in found:
        if not each.lines:
            context.reporter.result(
                f"The git repository at {printable(each.repository.path)} is used already."
            )
            continue
        context.reporter.result(f"The git repository at {printable(each.repository.path)}:")
        for line in each.lines:
            context.reporter.result(f"  {line}")
    if any(each.lines for each in found):
        if context.prompter.present:
            confirm_or_decline(context.prompter, "Use it from now on?")
        shown = {each.repository.relative_path: each.parts for each in found}
        runner.trusted.add_shown(shown)
        context.reporter.result("It is used from now on.")
    for each in found:
        runner.trusted.require(each.repository)  # it may have changed since it was shown
        each.repository.init_attributes()
    commit_store_if_empty(store, runner)
    if not all(each.repository.is_clean() for each in found):
        context.reporter.say("`filevault git status` shows changes that are not committed yet")
    return 0
