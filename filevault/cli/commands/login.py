"""`filevault login`: a link that signs in to the AWS console, and its way to a browser."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from filevault import errors
from filevault.aws.console import LINK_LIFE, Console, console_of
from filevault.cli import browser, clipboard, obtain
from filevault.cli.parser import add_session_options
from filevault.system.printable import printable
from filevault.system.times import format_duration

if TYPE_CHECKING:
    import argparse

    from filevault.aws.clients import Clients
    from filevault.aws.signin import SigninToken
    from filevault.cli.context import Context
    from filevault.credentials import Credentials
    from filevault.plan.planner import Plan
    from filevault.sources.source import Step

DESCRIPTION = """Sign in to the AWS console with the credentials of a profile.

Opens a browser where there is one, else prints the link. Whoever has the link is signed
in, without a password, for as long as AWS accepts it: fifteen minutes. Without PROFILE and
AWS_PROFILE the credentials of the environment are used, as inside exec."""

_FOR_PROFILES = ("explain", "mfa_token", "no_session", "refresh", "min_ttl", "no_cache")
_ENVIRONMENT = "the credentials of the environment"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "profile", nargs="?", metavar="PROFILE", help="default: AWS_PROFILE, else AWS_ACCESS_KEY_ID"
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
    """Tell whether the link may have to be printed."""
    return not args.copy or bool(args.explain)


def run(args: argparse.Namespace, context: Context) -> int:
    """Sign in, or print what would be done."""
    settings = context.settings
    to_stdout = not args.copy and (args.stdout or bool(settings.flag("AWS_VAULT_STDOUT")))
    logout = args.auto_logout or bool(settings.flag("AWS_VAULT_AUTO_LOGOUT"))
    if args.copy:
        clipboard.check(context)
    if args.profile is None and not settings.get("AWS_PROFILE") and _key_given(context):
        console, signed, destination = _of_environment(args, context)
    else:
        name = obtain.profile_name(args.profile, context)
        made = obtain.make_plan(args, context, name, console=True)
        for warning in made.warnings:
            context.warn(warning)
        if args.explain:
            _explain(args, context, made)
            return 0
        if args.mfa_token and not made.step.takes_token_code:
            context.warn("--mfa-token does nothing: GetFederationToken takes no code")
        console, signed, destination = _of_profile(args, context, made)
    link = console.link(signed.token, destination)
    if logout:
        link = console.after_logout(link)
    _deliver(link, args, context, to_stdout=to_stdout)
    return 0


# Signing in


def _of_profile(
    args: argparse.Namespace, context: Context, made: Plan
) -> tuple[Console, SigninToken, str]:
    """Sign in with a profile; a kept session that AWS takes no longer is renewed, once."""
    # What is wrong with region or path shows before anybody is asked for anything.
    _console(context, made.region, None).destination(args.path)
    code = obtain.token_code(args, context)
    provider = obtain.provider(args, context, made, code)
    credentials = obtain.retrieve(provider, made)
    if made.step.takes_token_code:
        obtain.tell_unused(code, context)
    context.remember_slot()
    clients = _clients(context, made.profile)
    subject = f"profile {printable(made.profile)!r}"
    duration = _session_duration(args, context, made.step)
    console = _console(context, made.region, credentials.arn)
    try:
        signed = _signed(context, clients, console, credentials, duration, subject)
    except errors.AwsError:
        others = provider.renew(credentials)
        if others is None:
            raise
        signed = _signed(context, clients, console, others, duration, subject)
    return console, signed, console.destination(args.path)


def _of_environment(args: argparse.Namespace, context: Context) -> tuple[Console, SigninToken, str]:
    """Sign in with the credentials that the environment holds."""
    from filevault.aws import sts
    from filevault.aws.endpoint import Endpoint
    from filevault.partitions import FALLBACK_REGION

    for name in _FOR_PROFILES:
        if getattr(args, name):
            raise errors.UsageError(
                f"--{name.replace('_', '-')} is for profiles, and {_ENVIRONMENT} would sign in",
                hint="name a profile: filevault login PROFILE",
            )
    context.settings.take_given()
    get, flag = context.settings.get, context.settings.flag
    options = obtain.plan_options(args, context, console=True)
    region = args.region or get("AWS_REGION") or get("AWS_DEFAULT_REGION")
    _console(context, region, None).destination(args.path)
    url = get("AWS_ENDPOINT_URL_STS") or get("AWS_ENDPOINT_URL")
    if flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        url = None
    endpoint = Endpoint(
        region or FALLBACK_REGION,
        url,
        use_fips=bool(flag("AWS_USE_FIPS_ENDPOINT")),
        use_dualstack=bool(flag("AWS_USE_DUALSTACK_ENDPOINT")),
    )
    clients = _clients(context, None)
    credentials = _given(context)
    duration = None
    if credentials.session_token is None:
        from filevault.calls.get_federation_token import federated
        from filevault.plan.planner import federation_seconds

        credentials = federated(
            clients,
            endpoint,
            credentials,
            duration=federation_seconds(options),
            subject=_ENVIRONMENT,
        )
        arn = credentials.arn or ""
    else:
        identity = sts.get_caller_identity(clients, endpoint, credentials, subject=_ENVIRONMENT)
        arn = identity.arn
        kind = arn.split(":")[-1].partition("/")[0]
        if kind not in ("assumed-role", "federated-user"):
            raise errors.ProviderError(
                f"{_ENVIRONMENT} are a session of {printable(arn, 200)!r}, and AWS lets no user's "
                "session sign in",
                hint="name a profile: filevault login PROFILE",
            )
        if kind == "assumed-role":
            duration = _capped(options.duration)
    console = _console(context, region, arn)
    signed = _signed(context, clients, console, credentials, duration, _ENVIRONMENT)
    return console, signed, console.destination(args.path)


def _signed(
    context: Context,
    clients: Clients,
    console: Console,
    credentials: Credentials,
    duration: int | None,
    subject: str,
) -> SigninToken:
    from filevault.aws.signin import get_signin_token

    signed = get_signin_token(
        clients, console.federation_url, credentials, duration=duration, subject=subject
    )
    if duration is not None and signed.duration is None:
        context.warn(
            f"AWS grants no console session of {format_duration(duration)} here: it lasts as long "
            "as the credentials"
        )
    return signed


def _session_duration(args: argparse.Namespace, context: Context, step: Step) -> int | None:
    """Return how long the console session shall last, None for as long as the credentials.

    AWS takes a duration for a role only, and for none that was assumed from another's session.
    """
    if step.assumed_role is None or (step.parent and step.parent.assumed_role is not None):
        return None
    return _capped(obtain.plan_options(args, context).duration)


def _capped(seconds: int | None) -> int | None:
    from filevault.aws.signin import LONGEST

    return None if seconds is None else min(seconds, LONGEST)


def _console(context: Context, region: str | None, arn: str | None) -> Console:
    settings = context.settings
    url = settings.get("AWS_ENDPOINT_URL_SIGNIN")
    if settings.flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        url = None
    if url is not None:
        from filevault.aws.endpoint import check_url
        from filevault.aws.signin import SETTING

        check_url(url, allow_http=settings.allow_http, setting=SETTING)
    return console_of(region, arn, url)


def _clients(context: Context, profile: str | None) -> Clients:
    from filevault.aws.clients import Clients

    return Clients(profile=profile, allow_http=context.settings.allow_http)


def _key_given(context: Context) -> bool:
    return context.settings.get("AWS_ACCESS_KEY_ID") is not None


def _given(context: Context) -> Credentials:
    from filevault.credentials import Credentials

    get = context.settings.get
    secret = get("AWS_SECRET_ACCESS_KEY")
    if secret is None:
        raise errors.UsageError("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not")
    given = Credentials(get("AWS_ACCESS_KEY_ID") or "", secret, get("AWS_SESSION_TOKEN"))
    given.check_printable()
    return given


def _explain(args: argparse.Namespace, context: Context, made: Plan) -> None:
    arn = made.step.assumed_role
    console = _console(context, made.region, arn)
    for line in obtain.explanation(args, context, made):
        print(line)
    print(f"then signs in at {printable(console.federation_url)}")
    print(f"to {printable(console.destination(args.path))}")


# The link's way to a browser


def _deliver(link: str, args: argparse.Namespace, context: Context, *, to_stdout: bool) -> None:
    if args.copy:
        from filevault.unlock.prompt import to_clipboard

        to_clipboard(link)
        context.say(
            f"the link was sent to the terminal's clipboard; it is good for {_life()}"
            f"{clipboard.caution(context)}"
        )
        return
    browsers = [] if to_stdout else browser.find(context)
    if browsers and browser.open_link(link, browsers, context):
        return
    if sys.stdout.isatty():
        obtain.advise(context, f"whoever has this link can sign in; it is good for {_life()}")
    print(link)


def _life() -> str:
    return f"{LINK_LIFE // 60} minutes"
