"""`filevault login`: open a link that signs in to the AWS console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.console import LINK_LIFETIME
from filevault.cli import browser, clipboard
from filevault.cli.console_signin import (
    console_for,
    environment_has_key,
    sign_in_with_environment,
    sign_in_with_profile,
)
from filevault.cli.obtain import Obtainer, say_unless_disabled
from filevault.cli.open_vault import choose_vault, open_vault_if_any
from filevault.cli.parser import add_session_options
from filevault.cli.profiles import profile_name
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.plan.planner import Plan

DESCRIPTION = """Sign in to the AWS console with the credentials of a profile.

Opens a browser if there is one, else prints the link. Anyone who has the link is signed in,
without a password, for as long as AWS accepts it: fifteen minutes. Without PROFILE and
AWS_PROFILE the credentials of the environment are used, as inside exec."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "profile",
        nargs="?",
        metavar="PROFILE",
        help="default: AWS_PROFILE, else AWS_ACCESS_KEY_ID, else one of a list",
    )
    parser.add_argument("--path", metavar="P", help="the page to open, e.g. s3/buckets")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "-s", "--stdout", action="store_true", help="print the link (AWS_VAULT_STDOUT)"
    )
    how.add_argument(
        "--copy", action="store_true", help="put it on the clipboard of the terminal (OSC 52)"
    )
    parser.add_argument(
        "-a",
        "--auto-logout",
        action="store_true",
        help="sign out of the console first (AWS_VAULT_AUTO_LOGOUT)",
    )
    add_session_options(parser)


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether the link, or the plan, may be printed on stdout."""
    return not args.copy or bool(args.explain)


def run(args: argparse.Namespace, context: Context) -> int:
    """Sign in, or print the plan."""
    settings = context.settings
    to_stdout = not args.copy and (args.stdout or bool(settings.flag("AWS_VAULT_STDOUT")))
    logout = args.auto_logout or bool(settings.flag("AWS_VAULT_AUTO_LOGOUT"))
    if args.copy:
        clipboard.check(context)
    if args.profile is None and not settings.get("AWS_PROFILE") and environment_has_key(context):
        console, signed = sign_in_with_environment(args, context)
    else:
        name = profile_name(args.profile, context, may_ask=True)
        choice = choose_vault(context)
        with open_vault_if_any(choice, context) as opened:
            obtainer = Obtainer(args, context, choice, opened)
            plan = obtainer.plan(name, console=True)
            for warning in plan.warnings:
                context.reporter.warn(warning)
            if args.explain:
                _explain(args, context, obtainer, plan)
                return 0
            if args.mfa_token and not plan.step.takes_token_code:
                context.reporter.warn(
                    "--mfa-token does nothing: no call of this login takes a token code"
                )
            console, signed = sign_in_with_profile(args, context, obtainer, plan)
    link = console.link(signed.token, console.destination(args.path))
    if logout:
        link = console.after_logout(link)
    _deliver(link, args, context, to_stdout=to_stdout)
    return 0


def _explain(args: argparse.Namespace, context: Context, obtainer: Obtainer, made: Plan) -> None:
    arn = made.step.assumed_role
    console = console_for(context, made.region, arn)
    for line in obtainer.explanation(made):
        context.reporter.result(line)
    context.reporter.result(f"then signs in at {printable(console.federation_url)}")
    context.reporter.result(f"to {printable(console.destination(args.path))}")


# Opening, copying or printing the link


def _deliver(link: str, args: argparse.Namespace, context: Context, *, to_stdout: bool) -> None:
    if args.copy:
        clipboard.copy(link)
        context.reporter.say(
            f"the link was sent to the terminal's clipboard; it is good for {_life()}"
            f"{clipboard.caution(context)}"
        )
        return
    browsers = [] if to_stdout else browser.find(context)
    if browsers and browser.open_link(link, browsers, context):
        return
    if context.reporter.results_on_terminal:
        say_unless_disabled(context, f"anyone with this link can sign in; it is good for {_life()}")
    context.reporter.result(link)


def _life() -> str:
    return f"{LINK_LIFETIME // 60} minutes"
