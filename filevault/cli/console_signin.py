"""Sign in to the AWS console, with a profile or with the credentials of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.aws.console import Console, console_of
from filevault.cli.obtain import plan_options, retrieve, warn_of_unused_code
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.system.times import format_duration

if TYPE_CHECKING:
    import argparse

    from filevault.aws.clients import Clients
    from filevault.aws.signin import SigninToken
    from filevault.cli.context import Context
    from filevault.cli.obtain import Obtainer
    from filevault.cli.reporter import Reporter
    from filevault.credentials import Credentials
    from filevault.plan.planner import Plan
    from filevault.sources.source import Step

_FOR_PROFILES = ("explain", "mfa_token", "no_session", "refresh", "min_ttl", "no_cache")
_ENVIRONMENT = "the credentials of the environment"


def sign_in_with_profile(
    args: argparse.Namespace, context: Context, obtainer: Obtainer, plan: Plan
) -> tuple[Console, SigninToken]:
    """Sign in with a profile; renew a cached session, once, that AWS no longer accepts."""
    # A wrong region or path must be reported before any question.
    console_for(context, plan.region, None).destination(args.path)
    code = obtainer.token_code()
    provider = obtainer.provider(plan, code)
    credentials = retrieve(provider, plan)
    if plan.step.takes_token_code:
        warn_of_unused_code(code, context)
    obtainer.remember_slot()
    clients = _clients(context, plan.profile)
    subject = f"profile {printable(plan.profile)!r}"
    if credentials.session_token is None:
        raise errors.ProviderError(
            f"{subject} gets a long-term key from {plan.step.source.title}, and the console takes "
            "temporary credentials only",
            hint="add a role_arn to a profile that has it as source_profile, or store the key: "
            f"filevault add {shell_word(plan.profile)}",
        )
    duration = _session_duration(args, context, plan.step)
    console = console_for(context, plan.region, credentials.arn)
    signin = _Signin(context.reporter, clients, console, duration, subject)
    try:
        token = signin.token(credentials)
    except errors.AwsError:
        others = provider.renew(credentials)
        if others is None:
            raise
        credentials = others
        token = signin.token(credentials)
    context.record_issued(plan.profile, "login", credentials)
    return console, token


def sign_in_with_environment(
    args: argparse.Namespace, context: Context
) -> tuple[Console, SigninToken]:
    """Sign in with the credentials of the environment.

    Temporary credentials of a role or a federated user sign in as they are; with a long-term key
    GetFederationToken is called. Raises UsageError for options that are for profiles only.
    """
    from filevault.aws import sts
    from filevault.aws.call import Caller
    from filevault.aws.endpoint import Endpoint
    from filevault.partitions import FALLBACK_REGION

    for name in _FOR_PROFILES:
        if getattr(args, name):
            raise errors.UsageError(
                f"--{name.replace('_', '-')} is for profiles, and {_ENVIRONMENT} would sign in",
                hint="name a profile: filevault login PROFILE",
            )
    context.settings.restore_outer_settings()
    get, flag = context.settings.get, context.settings.flag
    options = plan_options(args, context, console=True)
    region = args.region or get("AWS_REGION") or get("AWS_DEFAULT_REGION")
    console_for(context, region, None).destination(args.path)
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
    caller = Caller(clients, endpoint, credentials, _ENVIRONMENT)
    duration = None
    if credentials.session_token is None:
        from filevault.calls.get_federation_token import federated
        from filevault.plan.planner import federation_seconds

        credentials = federated(caller, duration=federation_seconds(options))
        arn = credentials.arn or ""
    else:
        identity = sts.get_caller_identity(caller)
        arn = identity.arn
        arn_type = arn.split(":")[-1].partition("/")[0]
        if arn_type not in ("assumed-role", "federated-user"):
            raise errors.ProviderError(
                f"{_ENVIRONMENT} are a session of {printable(arn, 200)!r}, and AWS lets no user's "
                "session sign in",
                hint="name a profile: filevault login PROFILE",
            )
        if arn_type == "assumed-role":
            duration = _capped(options.duration)
    console = console_for(context, region, arn)
    signin = _Signin(context.reporter, clients, console, duration, _ENVIRONMENT)
    token = signin.token(credentials)
    context.record_issued("", "login", credentials)
    return console, token


class _Signin(Record):
    """A sign-in to a console; `subject` names the credentials in errors."""

    reporter: Reporter
    clients: Clients
    console: Console
    duration: int | None
    subject: str

    def token(self, credentials: Credentials) -> SigninToken:
        """Exchange credentials for a sign-in token; warn if AWS grants less than `duration`."""
        from filevault.aws.signin import get_signin_token

        signed = get_signin_token(
            self.clients,
            self.console.federation_url,
            credentials,
            duration=self.duration,
            subject=self.subject,
        )
        if self.duration is not None and signed.duration is None:
            self.reporter.warn(
                f"AWS grants no console session of {format_duration(self.duration)} here: it lasts "
                "as long as the credentials"
            )
        return signed


def _session_duration(args: argparse.Namespace, context: Context, step: Step) -> int | None:
    """Return the seconds that the console session lasts, None for as long as the credentials.

    AWS accepts a duration for a role only, and only if it was not assumed from another role.
    """
    if step.assumed_role is None or (step.parent and step.parent.assumed_role is not None):
        return None
    return _capped(plan_options(args, context).duration)


def _capped(seconds: int | None) -> int | None:
    from filevault.aws.signin import MAX_DURATION

    return None if seconds is None else min(seconds, MAX_DURATION)


def console_for(context: Context, region: str | None, arn: str | None) -> Console:
    """Return the console of a region, and of the partition of an ARN. Raises ConfigError."""
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


def environment_has_key(context: Context) -> bool:
    """Return whether the environment has an access key."""
    return context.settings.get("AWS_ACCESS_KEY_ID") is not None


def _given(context: Context) -> Credentials:
    from filevault.credentials import Credentials

    get = context.settings.get
    secret = get("AWS_SECRET_ACCESS_KEY")
    if secret is None:
        raise errors.UsageError(
            "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not", hint="set both or neither"
        )
    given = Credentials(get("AWS_ACCESS_KEY_ID") or "", secret, get("AWS_SESSION_TOKEN"))
    given.check_printable()
    return given
