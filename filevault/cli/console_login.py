"""Sign in for a profile with `login_session`: in a browser here, or with a code from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.countdown import Countdown
from filevault.errors import ConfigError, ProfileNotFoundError, ProviderError, UsageError
from filevault.sources.login_record import LoginRecord
from filevault.sources.login_session import check_fips
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.aws.login_link import AuthorizationRequest
    from filevault.aws.login_tokens import LoginRequester
    from filevault.cli.browser import Browser
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.config.overrides import Overrides
    from filevault.config.profile import Profile
    from filevault.server.authorization_callback import Authorization
    from filevault.vault.vault import Vault

_GLANCE = 0.01  # seconds
_TRIES = 3  # at pasting the code, on a terminal


class LoginTarget(Record):
    """The profile that a person signs in for.

    `login_session` is the user that it names, None if it names none yet; `in_config` whether it
    has a section. `region` is the configured one, `endpoint_url` that of the sign-in service.
    """

    profile: str
    in_config: bool
    login_session: str | None
    region: str | None
    endpoint_url: str | None

    @property
    def subject(self) -> str:
        """The profile in messages."""
        return f"profile {printable(self.profile)!r}"

    @property
    def command(self) -> str:
        """The command that signs in."""
        return f"filevault signin {shell_word(self.profile)}"


def login_target(
    name: str, context: Context, vault: Vault | None, overrides: Overrides
) -> LoginTarget:
    """Return what a profile says about its console login.

    Raises ConfigError for a profile that gets its credentials in another way.
    """
    from filevault.cli.profiles import StoredNames
    from filevault.config.profile import resolve

    stored = StoredNames(vault)
    section = context.aws_config.profile(name)
    try:
        profile = resolve(context.aws_config, name, overrides=overrides, has_item=stored.has)
    except ProfileNotFoundError:
        if section is not None:
            raise
        # As if it had an empty section: with the settings that [default] hands down.
        profile = resolve(
            context.aws_config, name, overrides=overrides, has_item=lambda each: each == name
        )
    else:
        _check_source(profile)
    check_fips(profile)
    return LoginTarget(
        name,
        section is not None,
        profile.login_session,
        profile.region,
        profile.signin_endpoint_url,
    )


def _check_source(profile: Profile) -> None:
    """Raise ConfigError if a login session would not be the source of the profile."""
    shown = printable(profile.name)
    first = profile.chain[0]
    if profile.source == "profile" and first.source == "login-session":
        raise ConfigError(
            f"profile {shown!r} gets its credentials from {printable(first.name)!r}",
            hint=f"sign in for that one: filevault signin {shell_word(first.name)}",
        )
    if profile.role_arn is not None:
        raise ConfigError(
            f"profile {shown!r} has a role_arn, and SDKs accept no login_session beside it",
            hint="sign in for a profile of its own, and name that one as source_profile here",
        )
    if profile.source in ("login-session", "none"):
        return
    where = "a stored key" if profile.source == "stored" else profile.source_where
    raise ConfigError(
        f"profile {shown!r} gets its credentials from {where}, which goes before login_session",
        hint="choose another profile to sign in for; it needs no section yet",
    )


def sign_in(
    target: LoginTarget, context: Context, *, region: str, remote: bool, from_stdin: bool = True
) -> LoginRecord:
    """Let a person sign in, and return the login; nothing is stored yet.

    Args:
        target: the profile.
        context: the run's dependencies.
        region: where to sign in.
        remote: always let the person paste a code; else only without a browser here.
        from_stdin: whether the code may come from stdin.

    Raises AwsError, ConfigError, NetworkError, ProviderError, UsageError, NoTerminalError.
    """
    import uuid

    from filevault.aws.clients import Clients
    from filevault.aws.dpop import DpopKey
    from filevault.aws.endpoint import check_url
    from filevault.aws.login_link import CROSS_DEVICE, SAME_DEVICE, base_url
    from filevault.aws.login_tokens import SETTING, LoginRequester

    base = base_url(region, target.endpoint_url)
    check_url(base, allow_http=context.settings.allow_http, setting=SETTING)
    browsers = [] if remote else _browsers(context)
    requester = LoginRequester(
        Clients(profile=target.profile, allow_http=context.settings.allow_http),
        base,
        SAME_DEVICE if browsers else CROSS_DEVICE,
        DpopKey.generate(),
        target.subject,
        target.command,
        context.runtime.clock,
    )
    state = str(uuid.uuid4())
    if browsers:
        code, request = _code_from_browser(requester, state, browsers, context)
    else:
        code, request = _pasted_code(requester, state, context, from_stdin=from_stdin)
    tokens = requester.exchange(code, request)
    return LoginRecord(
        tokens.credentials,
        tokens.refresh_token,
        requester.client_id,
        requester.key.pem(),
        region,
        tokens.token_type,
        tokens.id_token,
    )


def sign_in_meanwhile(profile: str, context: Context, opened: OpenVault) -> None:
    """Let the person at the terminal sign in, in a run that needs the login of a profile.

    Of several processes one asks; the others wait for it. A browser is opened only if stdout and
    stderr are terminals: another program may be waiting for the result. stdin belongs to the
    command. Raises what `sign_in` raises, and ProviderError if another user signs in.
    """
    from filevault.config.overrides import read_overrides
    from filevault.partitions import FALLBACK_REGION
    from filevault.sources.login_record import record_name

    reporter, tokens = context.reporter, opened.tokens()
    target = login_target(profile, context, opened.vault, read_overrides(context.settings, None))
    name = record_name(target.login_session or "")
    with tokens.lock(name, f"signing in for {target.subject}"):
        kept = tokens.read(name)
        if kept is not None and kept.renewable:
            return  # another process has signed in
        tokens.prepare(name)
        last = None if kept is None else kept.values.get("signInRegion")
        record = sign_in(
            target,
            context,
            region=last or target.region or FALLBACK_REGION,
            remote=not (reporter.messages_on_terminal and reporter.results_on_terminal),
            from_stdin=False,
        )
        if record.credentials.arn != target.login_session:
            raise ProviderError(
                f"{target.subject} is of {printable(target.login_session, 200)}, and "
                f"{printable(record.credentials.arn, 200)} has signed in; nothing was kept",
                hint=f"sign in as that user, or let this one have the profile: {target.command}",
            )
        tokens.replace(name, record.record())


def _browsers(context: Context) -> list[Browser]:
    """Return the browsers of this machine; none under ssh, where only BROWSER can name one."""
    from filevault.cli import browser

    get = context.settings.get
    if get("SSH_CONNECTION") and not get("BROWSER"):
        return []
    return browser.find(context)


def _code_from_browser(
    requester: LoginRequester, state: str, browsers: list[Browser], context: Context
) -> tuple[str, AuthorizationRequest]:
    """Open the link in a browser here, and wait for its redirection to this process."""
    from filevault.aws.login_errors import callback_refused
    from filevault.aws.login_link import AuthorizationRequest
    from filevault.aws.pkce import new_verifier
    from filevault.cli.browser import open_link
    from filevault.server.authorization_callback import TIMEOUT, AuthorizationCallback

    def doubt(error: str) -> None:
        context.reporter.warn(
            f"something reported the error {printable(error, 80)!r} without the state of this "
            "sign-in, so the wait goes on"
        )

    with AuthorizationCallback(state) as callback:
        request = AuthorizationRequest(
            requester.base, requester.client_id, callback.redirect_uri, state, new_verifier()
        )
        _show(context, "sign in in the browser of this machine; if none opens, open this link:")
        _show_link(context, request.link)
        found: Authorization | None = None

        def answered() -> bool:
            nonlocal found
            found = found or callback.wait(timeout=_GLANCE, doubt=doubt)
            return found is not None

        open_link(request.link, browsers, context, otherwise=None, done=answered)
        with Countdown(context, "the browser") as countdown:
            found = found or callback.wait(timeout=TIMEOUT, tick=countdown.show, doubt=doubt)
    if found is None:
        raise ProviderError(
            f"there was no sign-in for {requester.subject} within {TIMEOUT // 60:.0f} minutes",
            hint=f"start again: {requester.again}; --remote needs no browser on this machine",
        )
    if found.code is None:
        raise callback_refused(found.error or "", requester.subject, requester.again)
    return found.code, request


def _pasted_code(
    requester: LoginRequester, state: str, context: Context, *, from_stdin: bool
) -> tuple[str, AuthorizationRequest]:
    """Let the person open the link anywhere, and paste the code that AWS shows."""
    from filevault.aws.login_link import AuthorizationRequest, confirmation_url, parse_pasted
    from filevault.aws.pkce import new_verifier
    from filevault.cli.pasted_code import read_pasted

    def is_complete(text: str) -> bool:
        try:
            parse_pasted(text, state)
        except UsageError:
            return False
        return True

    request = AuthorizationRequest(
        requester.base,
        requester.client_id,
        confirmation_url(requester.base),
        state,
        new_verifier(),
    )
    _show(context, "open this link in any browser, sign in, and paste the code that it shows:")
    _show_link(context, request.link)
    for left in range(_TRIES - 1, -1, -1):
        try:
            return parse_pasted(read_pasted(is_complete, from_stdin=from_stdin), state), request
        except UsageError as error:
            if not left or not context.prompter.present:
                raise
            _show(context, f"{error.message}; {error.hint}")
    raise AssertionError("the last try returns or raises")


def _show(context: Context, text: str) -> None:
    """Show a line to the person: on the terminal, or on stderr where there is none."""
    if context.prompter.present and not context.reporter.messages_on_terminal:
        context.prompter.say(f"filevault: {text}")
    else:
        context.reporter.say(text)


def _show_link(context: Context, link: str) -> None:
    """Show a link on a line of its own, so that it can be copied."""
    if context.prompter.present:
        context.prompter.say(printable(link))
    else:
        context.reporter.say(printable(link))
