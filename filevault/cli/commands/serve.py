"""`filevault serve`: serve credentials of profiles to other programs, and renew them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.obtain import Obtainer
from filevault.cli.open_vault import choose_vault, open_vault_if_any
from filevault.cli.parser import add_session_options
from filevault.cli.profiles import profile_name
from filevault.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser

DESCRIPTION = """Serve the credentials of profiles on this machine, and renew them, until it ends.

Programs find them at a container credentials endpoint, which every AWS SDK knows. Each profile has
a token, in a file of its own. The variables for the programs are printed."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: AWS_PROFILE")
    add_session_options(parser)
    parser.add_argument(
        "--ec2",
        action="store_true",
        help="serve one profile as an EC2 instance does, for programs that know nothing else",
    )
    parser.add_argument(
        "--imds-v1",
        action="store_true",
        help="with --ec2: answer requests without a token (IMDSv1)",
    )
    parser.add_argument(
        "--allow-local-users",
        action="store_true",
        help="with --ec2: answer processes of every user of this machine",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="listen there (default: 127.0.0.1 and a free port, or the service manager's socket); "
        "with --ec2 also at 169.254.169.254:80, as root",
    )
    parser.add_argument(
        "--insecure-listen",
        action="store_true",
        help="accept an address that other machines or containers can reach",
    )
    parser.add_argument(
        "--token-file",
        action="append",
        metavar="F",
        help="write the token to this file; once for each profile, in their order",
    )
    parser.add_argument(
        "--allow-role",
        action="append",
        metavar="PATTERN",
        help="let programs assume roles whose ARN matches, at /role-arn/ARN; repeatable",
    )
    parser.add_argument(
        "--lazy", action="store_true", help="obtain credentials when they are asked for"
    )
    parser.usage = "filevault serve [OPTIONS] PROFILE..."


def run(args: argparse.Namespace, context: Context) -> int:
    """Serve until SIGTERM or SIGINT."""
    names = list(dict.fromkeys(args.profiles)) or [profile_name(None, context)]
    if "" in names:
        raise UsageError("a profile is empty", hint="is a variable of the script unset?")
    choice = choose_vault(context)
    if args.explain:
        with open_vault_if_any(choice, context) as opened:
            obtainer = Obtainer(args, context, choice, opened)
            for name in names:
                for line in obtainer.explanation(obtainer.plan(name)):
                    context.reporter.result(line)
        return 0
    from filevault.cli.served_profiles import plan_profiles
    from filevault.cli.standing_server import StandingServer, check_options

    check_options(args, len(names))

    profiles = plan_profiles(args, context, choice, names)
    return StandingServer(args, context, choice, profiles).run()
