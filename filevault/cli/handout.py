"""From a profile's name to its credentials: what exec, export and login share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from filevault import errors
from filevault.environment import Handout
from filevault.printable import printable, shell_word
from filevault.profiles import Overrides, resolve
from filevault.providers.mfa import TokenCode
from filevault.providers.plan import Options, Plan, plan
from filevault.providers.steps import StoredKey
from filevault.vault.choice import hint_at_top

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.cli.context import Context
    from filevault.profiles import Profile
    from filevault.providers import CredentialProvider
    from filevault.sessions import SessionCache

_MFA_TIMEOUT = 120.0
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
        context.say(text)


def with_profile(
    args: argparse.Namespace, context: Context, name: str, use: Callable[[Profile], _Answer]
) -> _Answer:
    """Decide every setting of a profile and return what `use` makes of it; nothing is called.

    Warns of, or refuses, a key that hides another source.
    """
    missing: list[str] = []

    def has_item(name: str) -> bool:
        found = context.has_item(name)
        if not found:
            missing.append(name)
        return found

    overrides = _overrides(args, context)
    try:
        profile = resolve(context.aws_config, name, overrides=overrides, has_item=has_item)
        _warn_shadowed(profile, context)
        _refuse_planted(profile, context)
        return use(profile)
    except (errors.ProfileNotFoundError, errors.NoCredentialsError) as error:
        error.hint = hint_at_top(context.choice, missing) or error.hint
        raise


def make_plan(
    args: argparse.Namespace, context: Context, name: str, *, console: bool = False
) -> Plan:
    """Resolve a profile and decide how it gets its credentials; nothing is called.

    With `console` they are such as can sign in to it.
    """
    options = plan_options(args, context, console=console)
    return with_profile(args, context, name, lambda profile: _plan(profile, options, context))


def _plan(profile: Profile, options: Options, context: Context) -> Plan:
    try:
        return plan(profile, options)
    except errors.NoCredentialsError as error:
        if context.choice.exists:
            raise
        raise errors.NoVaultError(
            f"{error.message}: there is no vault at {printable(context.choice.root)!r} yet",
            hint=error.hint,
        ) from error


def plan_options(args: argparse.Namespace, context: Context, *, console: bool = False) -> Options:
    """Return what command line and environment ask of a plan."""
    duration = context.settings.duration
    return Options(
        no_session=args.no_session,
        duration=duration("AWS_VAULT_DURATION") if args.duration is None else args.duration,
        assume_role_ttl=duration("AWS_ASSUME_ROLE_TTL"),
        session_token_ttl=duration("AWS_SESSION_TOKEN_TTL"),
        chained_session_token_ttl=duration("AWS_CHAINED_SESSION_TOKEN_TTL"),
        federation_token_ttl=duration("AWS_FEDERATION_TOKEN_TTL"),
        console=console,
    )


def hand_out(args: argparse.Namespace, context: Context, made: Plan) -> Handout:
    """Carry the plan out, or find its session in the cache."""
    credentials = provider(args, context, made).retrieve()
    context.remember_slot()
    return Handout(made.profile, credentials, made.region, made.endpoint_url)


def provider(args: argparse.Namespace, context: Context, made: Plan) -> CredentialProvider:
    """Return what carries the plan out when it is asked; it looks into the cache first."""
    from filevault.providers.build import build
    from filevault.sessions.waiting import Waiting

    settings = context.settings
    min_ttl = args.min_ttl
    if min_ttl is None:
        min_ttl = settings.duration("AWS_MIN_TTL")
    if isinstance(made.step, StoredKey) and (args.duration is not None or args.mfa_token):
        context.warn(
            "the long-term key itself is handed out: --duration and --mfa-token do nothing"
        )
    return build(
        made,
        context.vault,
        cache(args, context),
        token_code(args, context),
        context.runtime.clock,
        Waiting(context.say, lambda: context.prompter.present, context.runtime.sleep),
        context.warn,
        refresh=args.refresh,
        min_ttl=min_ttl,
        cache_roles=settings.cache_roles,
        allow_http=settings.options.allow_http,
    )


def explanation(args: argparse.Namespace, context: Context, made: Plan) -> Sequence[str]:
    """Return the lines of `--explain`."""
    from filevault.providers.explain import explain, kept_until

    sessions = cache(args, context)
    return explain(
        made,
        context.runtime.clock(),
        until=kept_until(context.vault, None if args.refresh else sessions),
        keeps=sessions is not None,
        cache_roles=context.settings.cache_roles,
    )


def cache(args: argparse.Namespace, context: Context) -> SessionCache | None:
    """Return where sessions are kept, None with `--no-cache` or nowhere to keep them."""
    return None if args.no_cache else context.sessions()


def _overrides(args: argparse.Namespace, context: Context) -> Overrides:
    get = context.settings.get
    urls = {
        service: url
        for service, url in (
            ("", get("AWS_ENDPOINT_URL")),
            ("sts", get("AWS_ENDPOINT_URL_STS")),
            ("iam", get("AWS_ENDPOINT_URL_IAM")),
        )
        if url
    }
    return Overrides(
        region=args.region or get("AWS_REGION") or get("AWS_DEFAULT_REGION"),
        mfa_serial=get("AWS_MFA_SERIAL"),
        sts_regional_endpoints=get("AWS_STS_REGIONAL_ENDPOINTS"),
        use_fips_endpoint=context.settings.flag("AWS_USE_FIPS_ENDPOINT"),
        use_dualstack_endpoint=context.settings.flag("AWS_USE_DUALSTACK_ENDPOINT"),
        endpoint_urls=urls,
        ignore_configured_endpoints=bool(
            context.settings.flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        ),
        role_arn=get("AWS_ROLE_ARN"),
        role_session_name=get("AWS_ROLE_SESSION_NAME"),
        session_tags=get("AWS_SESSION_TAGS"),
        transitive_session_tags=get("AWS_TRANSITIVE_TAGS"),
        source_identity=get("AWS_SOURCE_IDENTITY"),
    )


def _warn_shadowed(profile: Profile, context: Context) -> None:
    lowest = profile
    while lowest.source_profile is not None:
        lowest = lowest.source_profile
    if lowest.shadowed:
        context.warn(
            f"profile {printable(lowest.name)!r} has a stored key and also "
            f"{' and '.join(lowest.shadowed)}: the stored key is used"
        )


def _refuse_planted(profile: Profile, context: Context) -> None:
    """Whoever can write a shared store could move a profile to a key of theirs.

    A stored key goes before every other source, so one that this machine has never seen, for a
    profile that has another source, waits for a word.
    """
    lowest = profile
    while lowest.source_profile is not None:
        lowest = lowest.source_profile
    if lowest.source != "stored" or not context.vault.shared or context.vault.seen(lowest.name):
        return
    section = context.aws_config.profile(lowest.name)
    if lowest.shadowed or (section is not None and "source_profile" in section.values):
        shown = printable(lowest.name)
        raise errors.PinError(
            f"a key for {shown!r} has appeared in the store, and the AWS config has another "
            "source for that profile",
            hint=f"if the key is meant, filevault recipients accept {shell_word(lowest.name)}",
        )


def token_code(args: argparse.Namespace, context: Context) -> TokenCode:
    """Return what answers where a call carries MFA: option, program, or person."""
    given = _code_from_stdin() if args.mfa_token == "-" else args.mfa_token  # noqa: S105
    question = _Question(context)
    return TokenCode(given, _MfaProcess(context).run, question.ask, question.again)


def _code_from_stdin() -> str:
    """Read one line byte by byte: what follows it belongs to the command."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 64:
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode("ascii", "replace").strip()


class _MfaProcess:
    """Runs `mfa_process`, which AWS Vault defines to be a shell command."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def run(self, command: str) -> str:
        """Return what it printed. Raises MfaError, ProgramError."""
        from filevault import programs

        result = programs.run(
            ("/bin/sh", "-c", command),
            self._context.settings.program_environment(),
            origin="mfa_process",
            timeout=_MFA_TIMEOUT,
            terminal=True,
        )
        if result.status != 0:
            reason = f": {result.complaint}" if result.complaint else ""
            raise errors.MfaError(f"mfa_process failed with status {result.status}{reason}")
        return result.output.decode("utf-8", "replace")


class _Question:
    """Asks for a code: on the terminal, or of a YubiKey."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ask(self, serial: str, profile: str) -> str:
        """Return a code for a device. Raises NobodyToAskError, MfaError, ProgramError."""
        how = self._context.settings.prompt
        if how == "ykman":
            return self._ykman(serial)
        if how == "none" or not self._context.prompter.present:
            why = "--prompt none is set" if how == "none" else "there is no terminal"
            raise errors.NobodyToAskError(
                f"profile {printable(profile)!r} needs a code of {printable(serial)}, and {why}",
                hint="give it with --mfa-token - on stdin, set mfa_process in the AWS config, or "
                "run it once on a terminal: the session is kept",
            )
        answer = self._context.prompter.line(
            f"MFA code of {printable(serial)} for {printable(profile)}: "
        )
        if not answer:
            raise errors.MfaError("no MFA code was given")
        return answer

    def again(self, wrong: str) -> bool:
        """Say what was wrong with a typed code; tell whether a code can be typed again."""
        if self._context.settings.prompt in ("ykman", "none"):
            return False
        self._context.prompter.say(wrong)
        return True

    def _ykman(self, serial: str) -> str:
        from filevault import programs

        settings = self._context.settings
        argv = ["ykman"]
        device = settings.get("YKMAN_OATH_DEVICE_SERIAL")
        if device:
            argv += ["--device", device]
        name = settings.get("YKMAN_OATH_CREDENTIAL_NAME") or serial
        argv += ["oath", "accounts", "code", "--single", name]
        result = programs.run(
            argv,
            settings.program_environment(),
            origin="ykman",
            timeout=_MFA_TIMEOUT,
            terminal=True,
        )
        if result.status != 0:
            reason = f": {result.complaint}" if result.complaint else ""
            raise errors.MfaError(f"ykman failed with status {result.status}{reason}")
        return result.output.decode("ascii", "replace")
