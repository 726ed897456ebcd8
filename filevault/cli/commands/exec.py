"""`filevault exec`: replace this process by a command that gets credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.obtain import Obtainer, say_unless_disabled
from filevault.cli.open_vault import choose_vault, open_vault_if_any
from filevault.cli.parser import add_mask_option, add_session_options, split_command
from filevault.cli.profiles import profile_name
from filevault.cli.replace_process import find_command, replace_process
from filevault.issued.child_environment import child_environment
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Run a command with the credentials of a profile; without a command, $SHELL.

The command replaces filevault: same process id, same stdin. With --server filevault stays, serves
the credentials on this machine, and renews them as long as the command runs.

If filevault itself fails, the status is 125; a command that cannot be run ends with 126, one that
is not there with 127."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "profile", nargs="?", metavar="PROFILE", help="default: AWS_PROFILE, else one of a list"
    )
    add_session_options(parser)
    parser.add_argument(
        "-j", "--json", action="store_true", help="the same as export --format json"
    )
    add_mask_option(parser)
    parser.add_argument(
        "-s",
        "--server",
        "--ecs-server",
        action="store_true",
        help="serve the credentials to the command and renew them, instead of passing them once",
    )
    parser.add_argument(
        "--ec2-server",
        action="store_true",
        help="the same as an EC2 instance does, for programs that know nothing else",
    )
    parser.add_argument(
        "--imds-v1",
        action="store_true",
        help="with --ec2-server: answer requests without a token (IMDSv1)",
    )
    parser.add_argument(
        "--allow-local-users",
        action="store_true",
        help="with --ec2-server: answer processes of every user of this machine",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="with a server: listen there (default: 127.0.0.1 and a free port); with --ec2-server "
        "also at 169.254.169.254:80, as root",
    )
    parser.add_argument(
        "--lazy", action="store_true", help="with a server: obtain them when they are asked for"
    )
    parser.add_argument(
        "--allow-role",
        action="append",
        metavar="PATTERN",
        help="with a server: let the command assume roles whose ARN matches, at /role-arn/ARN",
    )
    parser.usage = "filevault exec [OPTIONS] [PROFILE] [--] [CMD [ARGS...]]"


def split(parser: Parser, argv: Sequence[str], _before: int) -> tuple[list[str], list[str]]:
    """Split the words of filevault from those of the command."""
    return split_command(parser, argv)


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether filevault prints a result and runs no command."""
    return bool(args.json or args.explain)


def run(args: argparse.Namespace, context: Context) -> int:
    """Replace this process by the command; return only after `--json` or `--explain`."""
    if args.json:
        from filevault.cli.print_credentials import print_credentials

        if args.command:
            raise errors.UsageError(
                "--json prints credentials and runs no command",
                hint="leave out either --json or the command",
            )
        return print_credentials(args, context, "json")
    if (args.server or args.ec2_server or args.lazy or args.allow_role) or (
        args.imds_v1 or args.allow_local_users or args.listen
    ):
        from filevault.cli.exec_server import check_options

        check_options(args)
    serves = args.server or args.ec2_server
    if args.mask and args.server:
        raise errors.UsageError(
            "with --server the command gets no credentials for --mask to hide",
            hint="leave --mask out",
        )
    # Inside a sub-shell another one is refused, whatever the profile.
    may_ask = bool(args.command or args.explain) or not context.settings.get("AWS_VAULT")
    name = profile_name(args.profile, context, may_ask=may_ask)
    choice = choose_vault(context)
    with open_vault_if_any(choice, context) as opened:
        obtainer = Obtainer(args, context, choice, opened)
        try:
            plan = obtainer.plan(name)
        except errors.ProfileNotFoundError as error:
            hint = _dashes_hint(args, context)
            if hint is None:
                raise
            raise error.add_context(hint=f"{error.hint}; {hint}" if error.hint else hint) from error
        if args.explain:
            for line in obtainer.explanation(plan):
                context.reporter.result(line)
            return 0
        sdk_profile = None if serves else _sdk_profile(args, context, choice, name)
        command = args.command or [_shell(context)]
        environ = context.settings.environ
        # A command that is not there ends with 127, one that cannot be run with 126: looked up
        # here, before any question.
        path = find_command(command[0], environ.get("PATH"))
        if not serves:
            issued = obtainer.credentials(plan)._replace(sdk_profile=sdk_profile)
            if plan.step.caution is not None and sdk_profile is None:
                context.reporter.notice(plan.step.caution)
    _say_shell(args, context, command)
    if serves:
        from filevault.cli.exec_server import ServedCommand

        return ServedCommand(args, context, choice, plan).run(path, command)
    if args.mask:
        from filevault.cli.log_mask import mask

        mask(issued.credentials, context)
    # Without what the command must not inherit, such as a stale AWS_PROFILE.
    # With an SDK's profile the command's filevault reads the source's variables.
    hidden = plan.step.source.variables if sdk_profile is None else ()
    child = child_environment(environ, issued, hidden)
    if context.settings.names_descriptor:
        from filevault.unlock.secret_sources import close_descriptors

        close_descriptors(context.settings)
    served = obtainer.served() if sdk_profile is None else None
    if context.caches_answer(served):
        from filevault.cli.cached_answers import cache_environment

        cache_environment(context, served, child)
    context.record_issued(plan.profile, "exec", issued.credentials, command[0])
    context.reporter.flush()
    return replace_process(path, command, child)


def _say_shell(args: argparse.Namespace, context: Context, command: Sequence[str]) -> None:
    """Print that a shell starts, for beginners."""
    if not args.command and context.reporter.results_on_terminal:
        say_unless_disabled(context, f"starting {printable(command[0], 200)}; exit leaves it")


def _sdk_profile(
    args: argparse.Namespace, context: Context, choice: VaultChoice, name: str
) -> str | None:
    """Return the profile that the command gets instead of credentials, usually None.

    `AWS_VAULT_PROFILE_ENV` asks for one. Raises ConfigError if SDKs could not read it.
    """
    settings = context.settings
    if not settings.flag("AWS_VAULT_PROFILE_ENV"):
        return None
    from filevault.cli import sdk_profile

    found = sdk_profile.reading(context, choice, name)
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
    """Return the command line with its dashes, if PROFILE looks like the command to run."""
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
    """Return the shell that runs without a command. Raises UsageError inside such a shell."""
    if context.settings.get("AWS_VAULT"):
        outer = printable(context.settings.environ["AWS_VAULT"])
        raise errors.UsageError(
            f"this is a sub-shell of filevault already, for profile {outer!r}",
            hint="leave it with exit, or name the command to run",
        )
    return context.settings.get("SHELL") or "/bin/sh"
