"""`filevault exec`: run a command with credentials, in this very process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli import obtain
from filevault.cli.parser import add_session_options, split_command
from filevault.cli.replace_process import find_command, replace_process
from filevault.issued.child_environment import child_environment
from filevault.system.printable import printable, shell_word
from filevault.unlock.secret_sources import close_descriptors

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Run a command with the credentials of a profile; without a command, $SHELL.

filevault is replaced by the command: same process id, same stdin. A failure of filevault's own
has status 125; 126 and 127 mean that the command cannot be run or is not there."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="default: AWS_PROFILE")
    add_session_options(parser)
    parser.add_argument(
        "-j", "--json", action="store_true", help="the same as export --format json"
    )
    parser.usage = "filevault exec [OPTIONS] [PROFILE] [--] [CMD [ARGS...]]"


def split(parser: Parser, argv: Sequence[str], _before: int) -> tuple[list[str], list[str]]:
    """Split our own words from the command's."""
    return split_command(parser, argv)


def needs_stdout(args: argparse.Namespace) -> bool:
    """Tell whether stdout is ours, and not the command's."""
    return bool(args.json or args.explain)


def run(args: argparse.Namespace, context: Context) -> int:
    """Replace this process by the command; returns only without one to run."""
    if args.json:
        from filevault.cli.print_credentials import print_credentials

        if args.command:
            raise errors.UsageError("--json prints credentials and runs no command")
        return print_credentials(args, context, "json")
    name = obtain.profile_name(args.profile, context)
    try:
        made = obtain.make_plan(args, context, name)
    except errors.ProfileNotFoundError as error:
        hint = _dashes_hint(args, context)
        if hint is None:
            raise
        if error.hint:
            hint = f"{error.hint}; {hint}"
        raise errors.ProfileNotFoundError(error.message, hint=hint) from error
    if args.explain:
        for line in obtain.explanation(args, context, made):
            context.reporter.result(line)
        return 0
    sdk_profile = _sdk_profile(args, context, name)
    program = args.command or [_shell(context)]
    environ = context.settings.environ
    path = find_command(program[0], environ.get("PATH"))
    given = obtain.obtain_credentials(args, context, made)._replace(sdk_profile=sdk_profile)
    context.hold_session_key()
    child = child_environment(environ, given)
    close_descriptors(context.settings)
    if not args.command and context.reporter.results_on_terminal:
        obtain.advise(context, f"starting {printable(program[0], 200)}; exit leaves it")
    context.reporter.flush()
    return replace_process(path, program, child)


def _sdk_profile(args: argparse.Namespace, context: Context, name: str) -> str | None:
    """Return the profile that the command gets instead of credentials, None as a rule.

    `AWS_VAULT_PROFILE_ENV` asks for it. Raises ConfigError where SDKs could not read one.
    """
    settings = context.settings
    if not settings.flag("AWS_VAULT_PROFILE_ENV"):
        return None
    from filevault.cli import sdk_profile

    found = sdk_profile.reading(context, name)
    if args.no_session or args.duration is not None:
        context.reporter.warn(
            "AWS_VAULT_PROFILE_ENV is set: --no-session and --duration do nothing for the "
            f"command, which asks through profile {printable(found)!r}"
        )
    warning = sdk_profile.locked_out(settings.secret_names, settings.options._asdict())
    if warning is not None:
        context.reporter.warn(warning)
    return found


def _dashes_hint(args: argparse.Namespace, context: Context) -> str | None:
    """Return how to write a command line in which the program stands in PROFILE's place."""
    if not args.profile or args.program is None:
        return None
    if not args.command:
        try:
            find_command(args.profile, context.settings.environ.get("PATH"))
        except errors.FilevaultError:
            return None
    words = [] if context.settings.get("AWS_PROFILE") else ["PROFILE"]
    words += ["--", *(shell_word(word) for word in args.program)]
    first = printable(args.profile, 40)
    return f"if {first} is the command to run: filevault exec " + printable(" ".join(words), 220)


def _shell(context: Context) -> str:
    if context.settings.get("AWS_VAULT"):
        outer = printable(context.settings.environ["AWS_VAULT"])
        raise errors.UsageError(
            f"this is a sub-shell of filevault already, for profile {outer!r}",
            hint="leave it with exit, or name the command to run",
        )
    return context.settings.get("SHELL") or "/bin/sh"
