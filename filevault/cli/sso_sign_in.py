"""SsoSignIn: lets a person sign in to Identity Center, by a code or in a browser here.

The code of the device flow (RFC 8628) is confirmed on any device. The browser flow (RFC 8252,
RFC 7636) is used only where a display and a terminal are at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from filevault import errors
from filevault.aws import sso_oidc
from filevault.aws.sso_errors import DENIED, EXPIRED
from filevault.sources.sso_tokens import oidc_url, token_name, token_record
from filevault.sources.token_records import SSO_CLIENT, TokenRecord
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.json_service import JsonService
    from filevault.cli.browser import Browser
    from filevault.cli.context import Context
    from filevault.cli.countdown import Countdown
    from filevault.config.sso_session import SsoSession
    from filevault.server.authorization_callback import Authorization
    from filevault.sources.token_records import TokenName, TokenRecords

_Found = TypeVar("_Found")

_VARIABLES = ("AWS_VAULT_DEVICE_CODE", "AWS_VAULT_STDOUT")
_REMOTE = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
_DEVICE = "device"
_BROWSER = "browser"
_SLOWER = 5  # seconds, RFC 8628 §3.5
_LONGEST_PAUSE = 60.0
_GLANCE = 0.01  # seconds
_LEAST_LIFE = 900  # seconds that a registration must live on to be used


class SsoSignIn:
    """Signs in to Identity Center; an instance is `SourceDependencies.sso_sign_in`.

    Args:
        context: the run's dependencies.
        device_code: always use the device flow.
        only_from_terminal: open a browser only if stdout is a terminal as well, for commands
            whose result another program may be waiting for.
    """

    def __init__(
        self, context: Context, *, device_code: bool = False, only_from_terminal: bool = True
    ) -> None:
        self._context = context
        self._device_code = device_code
        self._only_from_terminal = only_from_terminal

    def __call__(self, session: SsoSession, tokens: TokenRecords) -> TokenRecord:
        """Let a person sign in, and return the new tokens, which are not stored yet.

        Raises AwsError, NetworkError, ConfigError.
        """
        from filevault.aws.sso_start_url import resolve

        service = self._service(session.start_url, session.ca_bundle)
        started = resolve(session, service.location)
        signing = _SigningIn(session, started.url, started.region, tokens)
        browsers = self._browsers()
        if browsers:
            record = self._with_browser(signing, browsers)
            if record is not None:
                return record
            self._show("no browser was opened, so the sign-in goes on with a code")
        return self._with_code(signing)

    def _browsers(self) -> list[Browser]:
        """Return the browsers for the browser flow, none where the device flow is used."""
        from filevault.cli import browser

        context = self._context
        reporter, get = context.reporter, context.settings.get
        if self._device_code or any(map(context.settings.flag, _VARIABLES)):
            return []
        if any(map(get, _REMOTE)):
            return []
        on_terminal = reporter.messages_on_terminal and context.prompter.present
        if not on_terminal or (self._only_from_terminal and not reporter.results_on_terminal):
            return []
        return browser.find(context)

    # The device flow

    def _with_code(self, signing: _SigningIn) -> TokenRecord:
        session = signing.session
        service = self._service(oidc_url(session, signing.region), session.ca_bundle)

        def act(client: sso_oidc.SsoClient) -> TokenRecord:
            device = sso_oidc.authorize_device(
                service, client, signing.start_url, subject=session.shown
            )
            token = self._confirmed(service, client, device, session)
            return self._record(signing, client, token)

        return self._registered(signing, service, _DEVICE, act)

    def _confirmed(
        self,
        service: JsonService,
        client: sso_oidc.SsoClient,
        device: sso_oidc.DeviceAuthorization,
        session: SsoSession,
    ) -> sso_oidc.SsoToken:
        """Show the code and poll until it is confirmed. Raises AwsError if it never is."""
        from filevault.cli.countdown import Countdown

        clock = self._context.runtime.boottime
        deadline = clock() + device.expires_in
        pause = float(device.interval)
        # Before anything is shown: the user may have confirmed this device before.
        found = sso_oidc.poll(service, client, device, subject=session.shown)
        if isinstance(found, sso_oidc.SsoToken):
            return found
        self._show_code(device, session)
        waiting_for = f"the code {printable(device.user_code)} to be confirmed"
        with Countdown(self._context, waiting_for) as countdown:
            while True:
                if isinstance(found, sso_oidc.Undecided) and found.slower:
                    pause += _SLOWER
                self._pause(min(pause, deadline - clock()), deadline, countdown)
                if clock() >= deadline:
                    raise _expired(session)
                try:
                    found = sso_oidc.poll(service, client, device, subject=session.shown)
                except errors.NotAwsError:
                    raise
                except errors.NetworkError as error:  # RFC 8628 §3.5: wait longer each time
                    self._context.reporter.warn(error.message)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    found = sso_oidc.Undecided(slower=False)
                if isinstance(found, sso_oidc.SsoToken):
                    return found

    def _pause(self, seconds: float, deadline: float, countdown: Countdown) -> None:
        """Wait, and count down each second."""
        runtime = self._context.runtime
        left = seconds
        while left > 0:
            countdown.show(deadline - runtime.boottime())
            runtime.sleep(min(1.0, left))
            left -= 1.0

    def _show_code(self, device: sso_oidc.DeviceAuthorization, session: SsoSession) -> None:
        code = printable(device.user_code)
        link = printable(device.complete_uri or device.uri)
        self._show(f"sign in to {session.shown}: open this link in a browser, on any device")
        self._show(f"  {link}")
        self._show(f"and confirm only if it shows the code {code}")

    # The browser flow

    def _with_browser(self, signing: _SigningIn, browsers: list[Browser]) -> TokenRecord | None:
        """Sign in in a browser of this machine; return None if none could be opened."""
        session = signing.session
        url = oidc_url(session, signing.region)
        service = self._service(url, session.ca_bundle)

        def act(client: sso_oidc.SsoClient) -> TokenRecord | None:
            from filevault.aws import pkce

            verifier = pkce.new_verifier()
            found = self._authorized(url, client, verifier, session, browsers)
            if found is None:
                return None
            code, redirect = found
            token = sso_oidc.redeem(
                service,
                client,
                code=code,
                verifier=verifier,
                redirect_uri=redirect,
                subject=session.shown,
            )
            return self._record(signing, client, token)

        return self._registered(signing, service, _BROWSER, act)

    def _authorized(
        self,
        url: str,
        client: sso_oidc.SsoClient,
        verifier: str,
        session: SsoSession,
        browsers: list[Browser],
    ) -> tuple[str, str] | None:
        """Return the code that the browser brings and the redirection, None without a browser."""
        import secrets

        from filevault.aws import pkce
        from filevault.cli import browser
        from filevault.cli.countdown import Countdown
        from filevault.server.authorization_callback import AuthorizationCallback

        state = secrets.token_urlsafe(32)
        with AuthorizationCallback(state) as callback:
            link = sso_oidc.authorize_link(
                url,
                client,
                session.scopes,
                state=state,
                challenge=pkce.challenge(verifier),
                redirect=callback.redirect_uri,
            )
            self._show(f"sign in to {session.shown} in the browser; if none appears, open there")
            self._show(f"  {link}")
            answer: Authorization | None = None

            def answered() -> bool:
                nonlocal answer
                answer = answer or callback.wait(timeout=_GLANCE, doubt=self._doubt)
                return answer is not None

            if not browser.open_link(
                link,
                browsers,
                self._context,
                otherwise="--device-code signs in on another device",
                done=answered,
            ):
                return None
            with Countdown(self._context, "the sign-in in the browser") as countdown:
                answer = answer or callback.wait(tick=countdown.show, doubt=self._doubt)
            if answer is None:
                raise _expired(session)
            if answer.code is None:
                raise _refused(session, answer.error or "")
            return answer.code, callback.redirect_uri

    def _doubt(self, error: str) -> None:
        self._context.reporter.warn(
            f"a request without proof says that the sign-in failed: {printable(error, 80)}; "
            "filevault waits on"
        )

    # Both

    def _registered(
        self,
        signing: _SigningIn,
        service: JsonService,
        flow: str,
        act: Callable[[sso_oidc.SsoClient], _Found],
    ) -> _Found:
        """Act with the kept registration, or a new one; with a new one if AWS forgot the kept."""
        kept = self._kept_client(signing, flow)
        if kept is not None:
            try:
                return act(kept)
            except errors.AwsError as error:
                if not sso_oidc.is_unknown_client(error):
                    raise
        session = signing.session
        now = self._context.runtime.clock()
        client = sso_oidc.register(
            service,
            session.scopes,
            subject=session.shown,
            now=now,
            issuer=signing.start_url if flow == _BROWSER else None,
        )
        values = {"clientId": client.client_id, "clientSecret": client.client_secret}
        signing.tokens.replace(
            _client_name(session, flow), TokenRecord(values, client.expires, renewable=False)
        )
        return act(client)

    def _kept_client(self, signing: _SigningIn, flow: str) -> sso_oidc.SsoClient | None:
        record = signing.tokens.read(_client_name(signing.session, flow))
        if record is None or record.expires is None:
            return None
        if record.expires - self._context.runtime.clock() < _LEAST_LIFE:
            return None
        values = record.values
        return sso_oidc.SsoClient(values["clientId"], values["clientSecret"], record.expires)

    def _record(
        self, signing: _SigningIn, client: sso_oidc.SsoClient, token: sso_oidc.SsoToken
    ) -> TokenRecord:
        return token_record(
            access_token=token.access_token,
            refresh_token=token.refresh_token,
            expires=int(self._context.runtime.clock()) + token.expires_in,
            client=(client.client_id, client.client_secret, client.expires),
            region=signing.region,
        )

    def _service(self, url: str, ca_bundle: str | None = None) -> JsonService:
        from filevault.aws.json_service import JsonService

        context = self._context
        return JsonService(
            url,
            allow_http=context.settings.allow_http,
            ca_bundle=ca_bundle,
            sleep=context.runtime.sleep,
            say=context.reporter.say,
        )

    def _show(self, text: str) -> None:
        """Show a line to the person: on stderr, or on the terminal if stderr is none."""
        reporter, prompter = self._context.reporter, self._context.prompter
        if prompter.present and not reporter.messages_on_terminal:
            prompter.say(f"filevault: {text}")
        else:
            reporter.say(text)


class _SigningIn(Record):
    """A sign-in under way: `start_url` and `region` are those of AWS, as resolved."""

    session: SsoSession
    start_url: str
    region: str
    tokens: TokenRecords


def _client_name(session: SsoSession, flow: str) -> TokenName:
    name = token_name(session)
    return name._replace(kind=SSO_CLIENT, identity=(*name.identity, flow))


def _expired(session: SsoSession) -> errors.AwsError:
    return errors.AwsError(
        f"the sign-in to {session.shown} was not confirmed in time",
        operation="CreateToken",
        code=EXPIRED,
        hint="run the command again",
    )


def _refused(session: SsoSession, error: str) -> errors.AwsError:
    if error == DENIED:
        return errors.AwsError(
            f"the sign-in to {session.shown} was refused in the browser",
            operation="CreateToken",
            code=DENIED,
            hint="run the command again to sign in after all",
        )
    return errors.AwsError(
        f"the sign-in to {session.shown} failed: AWS sent the browser back with the error "
        f"{printable(error, 80)!r}",
        operation="CreateToken",
        code=printable(error, 80),
        hint="try it with --device-code",
    )
