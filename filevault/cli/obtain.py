"""Obtainer: plan a profile and obtain its credentials, for exec, export and login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.profiles import Profiles
from filevault.config.overrides import read_durations, read_overrides
from filevault.issued.issued_credentials import IssuedCredentials
from filevault.plan.account import account_of_credentials
from filevault.plan.planner import Plan, PlanOptions
from filevault.system.record import Record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.config.sso_session import SsoSession
    from filevault.credentials import Credentials
    from filevault.keycache.cache import FoundKey
    from filevault.mfa.token_code import TokenCode
    from filevault.sessions import SessionCache
    from filevault.sessions.lock_wait import LockWait
    from filevault.sessions.token_store import TokenStore
    from filevault.sources.key_source import KeySource
    from filevault.sources.source import CredentialProvider, SourceDependencies
    from filevault.sources.token_records import TokenRecord, TokenRecords
    from filevault.unlock.secret_sources import KeyOrigin
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault


def say_unless_disabled(context: Context, text: str) -> None:
    """Print a message for beginners, unless `AWS_VAULT_DISABLE_HELP_MESSAGE` is set."""
    if not context.settings.flag("AWS_VAULT_DISABLE_HELP_MESSAGE"):
        context.reporter.say(text)


class Served(Record):
    """What a run served from the session cache.

    `state_id` is that of the vault, `key` the cached session key that was used, or where the key
    file is that gave it, `until` the end of the session less the life that it must have left, in
    Unix seconds.
    """

    state_id: str
    key: FoundKey | KeyOrigin
    until: int


class Obtainer:
    """Plan profiles and obtain their credentials, with the options of one command.

    Args:
        args: the options for sessions.
        context: the run's dependencies.
        choice: the vault that was looked for.
        opened: the same, open; None if it does not exist.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        choice: VaultChoice,
        opened: OpenVault | None,
    ) -> None:
        self._args = args
        self._context = context
        self._choice = choice
        self._opened = opened
        self._cache: SessionCache | None = None
        self._provider: CredentialProvider | None = None

    def plan(self, name: str, *, console: bool = False) -> Plan:
        """Resolve a profile and plan its calls; with `console`, for signing in to the console.

        Raises ConfigError, NotFoundError, PinError.
        """
        options = plan_options(self._args, self._context, console=console)
        vault = self._opened.vault if self._opened is not None else None
        overrides = read_overrides(self._context.settings, self._args.region)
        profiles = Profiles(self._context, self._choice, vault, overrides)
        return profiles.plan(profiles.resolve(name), options)

    def explanation(self, plan: Plan) -> Sequence[str]:
        """Return the lines of `--explain`."""
        from filevault.plan.explain import explain, kept_until, variable_lines

        context, sessions = self._context, self._sessions(plan)
        lines = explain(
            plan,
            context.runtime.clock(),
            until=kept_until(
                plan,
                self._source_dependencies(),
                None if self._args.refresh else sessions,
            ),
            keeps=sessions is not None,
            cache_roles=context.settings.cache_roles,
        )
        options = {name for name, value in vars(self._args).items() if value not in (None, "")}
        return [*lines, *variable_lines(context.settings, options)]

    def credentials(self, plan: Plan) -> IssuedCredentials:
        """Carry a plan out, or take its session from the cache."""
        context = self._context
        code = None if self._args.mfa_token is None else self.token_code()
        provider = self.provider(plan, code)
        credentials = retrieve(provider, plan)
        if plan.step.source.declares_inputs:
            self._provider = provider
        if code is not None and plan.step.takes_token_code:
            warn_of_unused_code(code, context)
        self.remember_slot()
        account, doubts = account_of_credentials(plan, credentials)
        for warning in (*plan.warnings, *doubts):
            context.reporter.warn(warning)
        return IssuedCredentials(
            plan.profile, credentials, plan.region, plan.endpoint_url, account, plan.child
        )

    def served(self) -> Served | None:
        """Return what was served from the session cache, None if anything else was needed."""
        opened, cache, provider = self._opened, self._cache, self._provider
        if opened is None or cache is None or cache.usable_until is None:
            return None
        if provider is None or not provider.from_cache:
            return None
        key = opened.keys.found or opened.key_origin()
        return None if key is None else Served(opened.choice.state_id, key, cache.usable_until)

    def token_code(self) -> TokenCode:
        """Return the source of token codes of a run; `--mfa-token -` reads stdin now."""
        return token_code(self._args, self._context)

    def provider(self, plan: Plan, code: TokenCode | None) -> CredentialProvider:
        """Return the provider that carries a plan out; it looks into the session cache first.

        `code` gives the token codes; with None it is made when a call is.
        """
        from filevault.plan.providers import Dependencies, build
        from filevault.sessions.cached_provider import Caching

        args, context, settings = self._args, self._context, self._context.settings
        min_ttl = args.min_ttl
        if min_ttl is None:
            min_ttl = settings.duration("AWS_MIN_TTL")
        if plan.step.parent is None and (args.duration is not None or args.mfa_token):
            issued = "the long-term key itself is issued"
            if not plan.step.is_long_term:
                issued = "the credentials are issued as their source gives them"
            context.reporter.warn(f"{issued}: --duration and --mfa-token do nothing")
        dependencies = Dependencies(
            self._source_dependencies()._replace(
                fresh=args.refresh, min_ttl=min_ttl, sign_in=self._sign_in
            ),
            self.token_code if code is None else lambda: code,
            context.runtime.clock,
            context.reporter.warn,
            settings.allow_http,
        )
        sessions = self._cache = self._sessions(plan)
        if sessions is None:
            return build(plan, dependencies, None)
        caching = Caching(sessions, self._lock_wait, args.refresh, min_ttl, settings.cache_roles)
        return build(plan, dependencies, caching)

    def _lock_wait(self) -> LockWait:
        """Return how long to wait for another process that obtains the same session."""
        from filevault.sessions.lock_wait import LockWait

        context = self._context
        return LockWait(
            context.reporter.say, lambda: context.prompter.present, context.runtime.sleep
        )

    def remember_slot(self) -> None:
        """Remember which keyslot opened the vault."""
        if self._opened is not None:
            self._opened.remember_slot()

    def _sessions(self, plan: Plan) -> SessionCache | None:
        """Return the session cache, None with `--no-cache` or without a state directory.

        For a credential source that needs no vault also None where only a person could open it.
        """
        if self._args.no_cache or self._opened is None:
            return None
        if plan.step.source.needs_vault:
            return self._opened.sessions()
        return self._opened.sessions_unasked()

    def _sign_in(self, profile: str) -> None:
        from filevault.cli.console_login import sign_in_meanwhile

        if self._opened is not None:
            sign_in_meanwhile(profile, self._context, self._opened)

    def _source_dependencies(self) -> SourceDependencies:
        return source_dependencies(
            self._context,
            self._keys,
            self._opened,
            self._choice,
            # `login --stdout` opens no browser at all.
            device_code=bool(getattr(self._args, "stdout", False)),
        )

    def _keys(self) -> Vault:
        """Return the vault, for sources that need it. Raises NoVaultError."""
        if self._opened is None:
            from filevault.vault.lost_vault import no_vault

            raise no_vault(self._choice)
        return self._opened.vault


def source_dependencies(
    context: Context,
    keys: Callable[[], KeySource],
    opened: OpenVault | None,
    choice: VaultChoice,
    *,
    device_code: bool = False,
) -> SourceDependencies:
    """Return the arguments of the providers of credential sources.

    `keys` returns the store of long-term keys; `opened` is the vault, None if there is none. With
    `device_code` a sign-in to Identity Center opens no browser.
    """
    from filevault.sources.source import SourceDependencies

    def sso_sign_in(session: SsoSession, records: TokenRecords) -> TokenRecord:
        from filevault.cli.sso_sign_in import SsoSignIn

        return SsoSignIn(context, device_code=device_code)(session, records)

    def drop_sessions(session: SsoSession) -> None:
        from filevault.cli.sso_sessions import drop_sso_sessions

        if opened is not None:
            drop_sso_sessions(session, context, opened)

    def tokens() -> TokenStore:
        if opened is None:
            from filevault.vault.lost_vault import no_vault

            raise no_vault(choice)
        return opened.tokens()

    return SourceDependencies(
        keys,
        None,
        tokens,
        lambda: context.prompter.present,
        context.runtime.clock,
        context.reporter.say,
        context.reporter.warn,
        context.settings.allow_http,
        context.runtime.sleep,
        sso_sign_in,
        lambda: context.settings,
        tell=lambda text: context.prompter.say(f"filevault: {text}"),
        keeps_sso_refresh=lambda: context.settings.cache_sso_refresh,
        drop_sso_sessions=drop_sessions,
    )


def plan_options(
    args: argparse.Namespace, context: Context, *, console: bool = False
) -> PlanOptions:
    """Return the options of a plan that the command line and the environment give."""
    durations = read_durations(context.settings, args.duration)
    return PlanOptions(no_session=args.no_session, console=console)._replace(**durations)


def retrieve(provider: CredentialProvider, plan: Plan) -> Credentials:
    """Return a provider's credentials; say in errors of AWS what to do about those that sign."""
    try:
        return provider.retrieve()
    except errors.AwsError as error:
        from filevault.aws.errors import is_unaccepted, name_key

        source = plan.step.source
        if source.refused_hint is not None and is_unaccepted(error):
            raise error.add_context(hint=source.refused_hint) from error
        named = name_key(error, source.profile)
        if named is error:
            raise
        raise named from error


def token_code(args: argparse.Namespace, context: Context) -> TokenCode:
    """Return the source of token codes of a run; `--mfa-token -` reads stdin now."""
    from filevault.mfa import token_code

    return token_code.token_code(args.mfa_token, context.settings, lambda: context.prompter)


def warn_of_unused_code(code: TokenCode, context: Context) -> None:
    """Warn of a token code on the command line that no call needed."""
    if code.unused:
        context.reporter.warn(
            "the code of --mfa-token was not used: no call needed one; --explain says why, and "
            "--refresh obtains a new session"
        )
