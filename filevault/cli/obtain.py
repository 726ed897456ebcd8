"""From a profile's name to its credentials: what exec, export and login share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from filevault import errors
from filevault.cli.wiring import require_vault
from filevault.config.overrides import read_overrides
from filevault.config.profile import resolve
from filevault.issued.issued_credentials import IssuedCredentials
from filevault.plan.account import account_of_credentials
from filevault.plan.planner import Plan, PlanOptions, plan
from filevault.system.printable import printable, shell_word
from filevault.vault.lookup import hint_at_top

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container, Sequence

    from filevault.cli.context import Context
    from filevault.config.export_command import ExportCommand
    from filevault.config.overrides import Overrides
    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.mfa.token_code import TokenCode
    from filevault.sessions import SessionCache
    from filevault.sources.source import CredentialProvider

_Answer = TypeVar("_Answer")


def profile_name(given: str | None, context: Context) -> str:
    """Return the profile that is meant: the argument, else `AWS_PROFILE`."""
    if given == "":
        raise errors.UsageError(
            "the profile is empty", hint="is a variable of the script unset? name a profile"
        )
    name = given or context.settings.get("AWS_PROFILE")
    if name is None:
        raise errors.UsageError(
            "no profile is given", hint="name one, or set AWS_PROFILE; filevault list shows them"
        )
    return name


def advise(context: Context, text: str) -> None:
    """Tell what a beginner should know, unless `AWS_VAULT_DISABLE_HELP_MESSAGE` is set."""
    if not context.settings.flag("AWS_VAULT_DISABLE_HELP_MESSAGE"):
        context.reporter.say(text)


def with_profile(
    args: argparse.Namespace,
    context: Context,
    name: str,
    use: Callable[[Profile], _Answer],
    overrides: Overrides | None = None,
    stored: Container[str] = (),
) -> _Answer:
    """Decide every setting of a profile and return what `use` makes of it; nothing is called.

    Warns of, or refuses, a key that hides another source. `overrides` are those of
    `overrides_of`, and `stored` names of items, for a caller that goes through many profiles.
    """
    require_vault(context)
    missing: list[str] = []

    def has_item(name: str) -> bool:
        found = name in stored or context.has_item(name)
        if not found:
            missing.append(name)
        return found

    overrides = overrides_of(args, context) if overrides is None else overrides
    try:
        profile = resolve(
            context.aws_config,
            name,
            overrides=overrides,
            has_item=has_item,
            follows=lambda command: _same_vault(command, context),
        )
        _warn(profile, context)
        _refuse_planted(profile, context)
        for told in absent_config(context):
            context.reporter.notice(told)
        return use(profile)
    except (errors.ProfileNotFoundError, errors.NoCredentialsError) as error:
        error.hint = hint_at_top(context.choice, missing) or error.hint
        _tell_what_is_absent(error, context)
        raise


def _same_vault(command: ExportCommand, context: Context) -> bool:
    from filevault.cli.sdk_profile import same_vault

    return same_vault(command, context)


def absent_config(context: Context) -> list[str]:
    """Return one sentence if `AWS_CONFIG_FILE` names a file that is not there, else nothing."""
    config = context.settings.aws_config_path
    if not context.settings.get("AWS_CONFIG_FILE") or os.path.exists(config):
        return []
    return [f"AWS_CONFIG_FILE names {printable(config)!r}, which is not there"]


def _tell_what_is_absent(error: errors.FilevaultError, context: Context) -> None:
    """Say which of the places that were searched for a profile are not there at all."""
    absent = absent_config(context)
    if absent:
        error.hint = "check AWS_CONFIG_FILE"
    if not context.choice.exists:
        from filevault.vault.lost_vault import no_vault

        absent.append(no_vault(context.choice).message)
    if absent:
        error.message = f"{error.message}: {'; '.join(absent)}"


def make_plan(
    args: argparse.Namespace, context: Context, name: str, *, console: bool = False
) -> Plan:
    """Resolve a profile and decide how it gets its credentials; nothing is called.

    With `console` they are such as can sign in to it.
    """
    options = plan_options(args, context, console=console)
    return with_profile(args, context, name, lambda profile: _plan(profile, options, context))


def _plan(profile: Profile, options: PlanOptions, context: Context) -> Plan:
    try:
        return plan(profile, options)
    except (errors.NoCredentialsError, errors.NoSourceError) as error:
        if context.choice.exists:
            raise
        from filevault.vault.lost_vault import no_vault

        kind = (
            errors.NoSourceError if isinstance(error, errors.ConfigError) else errors.NoVaultError
        )
        raise kind(
            f"{error.message}: {no_vault(context.choice).message}", hint=error.hint
        ) from error


def plan_options(
    args: argparse.Namespace, context: Context, *, console: bool = False
) -> PlanOptions:
    """Return what command line and environment ask of a plan."""
    duration = context.settings.duration
    return PlanOptions(
        no_session=args.no_session,
        duration=duration("AWS_VAULT_DURATION") if args.duration is None else args.duration,
        assume_role_ttl=duration("AWS_ASSUME_ROLE_TTL"),
        session_token_ttl=duration("AWS_SESSION_TOKEN_TTL"),
        chained_session_token_ttl=duration("AWS_CHAINED_SESSION_TOKEN_TTL"),
        federation_token_ttl=duration("AWS_FEDERATION_TOKEN_TTL"),
        console=console,
    )


def obtain_credentials(args: argparse.Namespace, context: Context, made: Plan) -> IssuedCredentials:
    """Carry the plan out, or find its session in the cache."""
    code = token_code(args, context)
    credentials = retrieve(provider(args, context, made, code), made)
    if made.step.takes_token_code:
        tell_unused(code, context)
    context.remember_slot()
    account, doubts = account_of_credentials(made, credentials)
    for warning in (*made.warnings, *doubts):
        context.reporter.warn(warning)
    return IssuedCredentials(
        made.profile, credentials, made.region, made.endpoint_url, account, made.child
    )


def retrieve(provider: CredentialProvider, made: Plan) -> Credentials:
    """Ask a plan's provider; a refusal by AWS names the profile whose key signs."""
    try:
        return provider.retrieve()
    except errors.AwsError as error:
        from filevault.aws.errors import name_key

        raise name_key(error, made.step.source.profile) from error


def tell_unused(code: TokenCode, context: Context) -> None:
    """Warn of a token code on the command line that no call needed."""
    if code.unused:
        context.reporter.warn(
            "the code of --mfa-token was not used: no call needed one; --explain tells why, and "
            "--refresh obtains a new session"
        )


def provider(
    args: argparse.Namespace, context: Context, made: Plan, code: TokenCode
) -> CredentialProvider:
    """Return what carries the plan out when it is asked; it looks into the cache first."""
    from filevault.plan.wiring import Dependencies, build
    from filevault.sessions.cached_provider import Caching
    from filevault.sessions.lock_wait import LockWait
    from filevault.sources.source import SourceDependencies

    settings = context.settings
    min_ttl = args.min_ttl
    if min_ttl is None:
        min_ttl = settings.duration("AWS_MIN_TTL")
    if made.step.is_long_term and (args.duration is not None or args.mfa_token):
        context.reporter.warn(
            "the long-term key itself is handed out: --duration and --mfa-token do nothing"
        )
    dependencies = Dependencies(
        SourceDependencies(context.vault),
        code,
        context.runtime.clock,
        context.reporter.warn,
        settings.allow_http,
    )
    sessions = cache(args, context)
    if sessions is None:
        return build(made, dependencies, None)
    wait = LockWait(context.reporter.say, lambda: context.prompter.present, context.runtime.sleep)
    caching = Caching(sessions, wait, args.refresh, min_ttl, settings.cache_roles)
    return build(made, dependencies, caching)


def explanation(args: argparse.Namespace, context: Context, made: Plan) -> Sequence[str]:
    """Return the lines of `--explain`."""
    from filevault.plan.explain import explain, kept_until, variable_lines
    from filevault.sources.source import SourceDependencies

    sessions = cache(args, context)
    found = None if args.refresh else sessions
    shown = explain(
        made,
        context.runtime.clock(),
        until=kept_until(made, SourceDependencies(context.vault), found),
        keeps=sessions is not None,
        cache_roles=context.settings.cache_roles,
    )
    options = {name for name, value in vars(args).items() if value not in (None, "")}
    return [*shown, *variable_lines(context.settings, options)]


def cache(args: argparse.Namespace, context: Context) -> SessionCache | None:
    """Return where sessions are kept, None with `--no-cache` or nowhere to keep them."""
    return None if args.no_cache else context.sessions()


def overrides_of(args: argparse.Namespace, context: Context) -> Overrides:
    """Return the settings that options and variables override. Raises ConfigError, UsageError."""
    return read_overrides(context.settings, args.region)


def _warn(profile: Profile, context: Context) -> None:
    """Warn of lines in the sections of a chain that have no effect."""
    for each in reversed(profile.chain):
        for text in each.warnings:
            context.reporter.warn(text)
        if each.shadowed and each.source in ("stored", "profile"):
            stored = each.source == "stored"
            has, used = ("a stored key", "the stored key") if stored else ("source_profile",) * 2
            context.reporter.warn(
                f"profile {printable(each.name)!r} has {has} and also "
                f"{' and '.join(each.shadowed)}: {used} is used"
            )


def _refuse_planted(profile: Profile, context: Context) -> None:
    """Whoever can write a shared store could move a profile to a key of theirs.

    A stored key goes before every other source, so one that this machine has never seen, for a
    profile that has another source, waits for a word.
    """
    lowest = profile.chain[0]
    if lowest.source != "stored" or context.vault.is_sealed or context.vault.has_seen(lowest.name):
        return
    if lowest.shadowed:
        shown = printable(lowest.name)
        raise errors.PinError(
            f"a key for {shown!r} has appeared in the store, and the AWS config has another "
            "source for that profile",
            hint=f"if the key is meant, filevault recipients accept {shell_word(lowest.name)}",
        )


def token_code(args: argparse.Namespace, context: Context) -> TokenCode:
    """Return what gives the token codes of a run; `--mfa-token -` reads stdin now."""
    from filevault.mfa import token_code

    return token_code.token_code(args.mfa_token, context.settings, lambda: context.prompter)
