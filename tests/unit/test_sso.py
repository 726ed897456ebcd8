"""Identity Center: which calls are made, what is kept, and what each error of AWS's says."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

from filevault.aws import sso_endpoint, sso_portal
from filevault.aws.sso_start_url import StartUrl, is_aws, resolve
from filevault.cli.browser import Browser, open_link
from filevault.cli.context import Context, Runtime
from filevault.cli.reporter import Reporter
from filevault.cli.sso_sessions import drop_sso_sessions
from filevault.cli.sso_sign_in import SsoSignIn
from filevault.config.settings import Settings
from filevault.config.sso_session import SsoSession
from filevault.errors import (
    AwsError,
    ConfigError,
    FilevaultError,
    NetworkError,
    NotAwsError,
    ProviderError,
)
from filevault.sources.sso_tokens import portal_service
from filevault.sources.token_records import SSO_CLIENT
from filevault.system import programs
from tests.fakes import FakeAws
from tests.fakes.faults import Fault
from tests.fakes.identity_center import START_URL
from tests.worlds.sso import ACCOUNT, REGION, SsoWorld

KEYS = b'{"roleCredentials":{"accessKeyId":"A","secretAccessKey":"B","sessionToken":%s}}'
SIGN_IN = ["RegisterClient", "StartDeviceAuthorization", "CreateToken"]
ROLE = ["GetRoleCredentials"]
REFRESHED = ["CreateToken", "GetRoleCredentials"]


@pytest.fixture
def world(aws: FakeAws) -> SsoWorld:
    return SsoWorld(aws)


@pytest.fixture
def signed_in(world: SsoWorld) -> SsoWorld:
    """A world in which the user has signed in."""
    world.aws.sso.confirm_after = 1
    world.obtain()
    world.made()
    world.memory.done.clear()
    world.said.clear()
    return world


# The device flow


def test_only_a_sign_in_deletes_the_sessions_of_the_one_before(signed_in: SsoWorld) -> None:
    signed_in.aws.clock.advance(3000)
    signed_in.obtain()
    assert signed_in.memory.done == ["prepare sso-token", "replace sso-token"], "a refresh"
    signed_in.aws.sso.refresh.clear()
    signed_in.aws.clock.advance(3590)
    signed_in.memory.done.clear()
    signed_in.obtain()
    assert signed_in.memory.done[-3:] == ["drop sso:work", "replace sso-token", "drop sso:work"]


def test_a_sign_in_makes_exactly_these_calls_and_waits_the_interval(world: SsoWorld) -> None:
    world.aws.sso.interval = 2
    world.aws.sso.confirm_after = 3
    world.obtain()
    assert world.made() == [*SIGN_IN, "CreateToken", "CreateToken", *ROLE]
    assert world.slept == [1.0] * 4
    assert world.memory.done == [
        *("prepare sso-token", "replace sso-client"),
        *("drop sso:work", "replace sso-token", "drop sso:work"),
    ]


@pytest.mark.parametrize("section", ["work", None])
def test_a_sign_in_takes_the_sessions_of_its_start_url_whatever_their_section_is_called_now(
    tmp_path: Path, section: str | None
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[sso-session work]\nsso_start_url = {START_URL}\n"
        f"[sso-session same]\nsso_start_url = {START_URL}\n"
        f"[sso-session other]\nsso_start_url = {START_URL}/2\n"
        "[sso-session empty]\n"
    )
    settings = Settings({"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(config)})
    context = Context(settings, Runtime(), Reporter())
    found: list[str] = []
    sources = (
        *("sso:work", "sso:same", f"sso:{START_URL}", "sso:a-former-name", "sso:other"),
        *("sso:empty", f"sso:{START_URL}/2", "item:work", "login:work", "process:a-former-name"),
    )

    class Opened:
        """A vault with one session of each source."""

        def sessions(self) -> Opened:
            return self

        def drop_sources(self, chosen: Callable[[str], bool]) -> int:
            found.extend(filter(chosen, sources))
            return len(found)

    opened: Any = Opened()
    session = SsoSession(section, START_URL, REGION, ())
    assert drop_sso_sessions(session, context, opened) == 4
    assert tuple(found) == sources[:4]


def test_the_code_and_the_link_are_shown_with_what_to_check(world: SsoWorld) -> None:
    world.on_sleep = world.aws.sso.confirm_all
    world.obtain()
    calls = [call for call in world.aws.calls if call.action == "StartDeviceAuthorization"]
    assert calls[0].parameters["startUrl"] == START_URL
    shown = "\n".join(world.said)
    assert "sign in to SSO session 'work': open this link in a browser, on any device" in shown
    link = next(line for line in world.said if line.startswith("  http"))
    code = link.rpartition("=")[2]
    assert f"and confirm only if it shows the code {code}" in world.said
    assert f"waiting for the code {code} to be confirmed, 10 min left; Ctrl-C ends" in world.said


def test_nothing_is_shown_where_the_device_was_confirmed_before(world: SsoWorld) -> None:
    world.aws.sso.confirm_after = 1
    world.obtain()
    assert world.made() == [*SIGN_IN, *ROLE]
    assert not world.said
    assert not world.slept


def test_slow_down_adds_five_seconds_each_time_and_they_stay(world: SsoWorld) -> None:
    """RFC 8628 §3.5."""
    slow = Fault("error", code="slow_down", status=400)
    world.aws.arm(slow, action="CreateToken", nth=2, times=2)
    world.aws.sso.confirm_after = 3
    world.obtain()
    assert world.made() == [*SIGN_IN, *["CreateToken"] * 4, *ROLE]
    assert sum(world.slept) == 1 + 6 + 11 + 11


def test_a_code_that_nobody_confirms_ends_after_ten_minutes(world: SsoWorld) -> None:
    world.aws.sso.interval = 60
    with pytest.raises(AwsError, match="was not confirmed in time") as caught:
        world.obtain()
    assert caught.value.exit_status == 8
    assert sum(world.slept) == 600
    assert world.memory.done == ["prepare sso-token", "replace sso-client"]


def test_a_no_in_the_browser_ends_it_at_once(world: SsoWorld) -> None:
    world.on_sleep = lambda: world.aws.sso.confirm_all("denied")
    with pytest.raises(AwsError, match="the sign-in was refused in the browser") as caught:
        world.obtain()
    assert caught.value.code == "access_denied"
    assert len(world.slept) == 1


def test_a_network_that_fails_while_polling_ends_nothing(world: SsoWorld) -> None:
    world.aws.arm(Fault("drop"), action="CreateToken", nth=2, times=2)
    world.aws.sso.confirm_after = 2
    world.obtain()
    assert sum(world.slept) == 1 + 2 + 4
    assert any("closed the connection" in line for line in world.said)


@pytest.mark.parametrize(
    ("env", "terminals", "only_from_terminal", "opens"),
    [
        ({}, "oet", True, True),
        ({"SSH_CONNECTION": "x"}, "oet", True, False),
        ({"SSH_CLIENT": "x"}, "oet", True, False),
        ({"SSH_TTY": "x"}, "oet", True, False),
        ({"AWS_VAULT_DEVICE_CODE": "1"}, "oet", True, False),
        ({"AWS_VAULT_DEVICE_CODE": "0"}, "oet", True, True),
        ({"AWS_VAULT_STDOUT": "1"}, "oet", True, False),
        ({"BROWSER": ""}, "oet", True, False),
        ({}, "et", True, False),
        ({}, "et", False, True),
        ({}, "ot", False, False),
        ({}, "oe", False, False),
    ],
)
def test_a_browser_is_opened_only_with_a_display_and_from_a_terminal(
    aws: FakeAws, env: dict[str, str], terminals: str, only_from_terminal: bool, opens: bool
) -> None:
    """Terminals are stdout, stderr and the terminal device."""
    world = SsoWorld(aws, env={"BROWSER": "/bin/true", **env}, terminals=terminals)
    sign_in = SsoSignIn(world.context, only_from_terminal=only_from_terminal)
    assert bool(sign_in._browsers()) == opens
    assert not SsoSignIn(world.context, device_code=True)._browsers()


def test_a_link_that_was_opened_elsewhere_needs_no_other_browser(
    world: SsoWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser of this machine may hang, and its user takes another one."""
    monkeypatch.setattr(programs, "launch", lambda *_, **__: lambda: None)
    hanging = Browser(("hangs",), "a browser that hangs")
    assert open_link("http://127.0.0.1/", [hanging], world.context, done=lambda: True)


# Registrations


def test_a_registration_is_kept_until_it_expires(signed_in: SsoWorld) -> None:
    signed_in.aws.sso.sign_out()
    signed_in.obtain()
    assert signed_in.made() == [
        *ROLE,
        *("CreateToken", "StartDeviceAuthorization", "CreateToken"),
        *ROLE,
    ]
    signed_in.aws.clock.advance(90 * 86400 - 100)
    signed_in.obtain()
    assert signed_in.made() == ["CreateToken", *SIGN_IN, *ROLE]


def test_a_registration_that_aws_forgot_is_made_again_once(signed_in: SsoWorld) -> None:
    signed_in.aws.sso.sign_out()
    signed_in.aws.sso.forget_clients()
    signed_in.obtain()
    assert signed_in.made()[-5:] == ["StartDeviceAuthorization", *SIGN_IN, *ROLE]
    signed_in.aws.sso.sign_out()
    unknown = Fault("error", code="invalid_client", status=401)
    signed_in.aws.arm(unknown, action="StartDeviceAuthorization", times=9)
    with pytest.raises(AwsError, match="AWS does not know this registration"):
        signed_in.obtain()
    assert signed_in.made().count("StartDeviceAuthorization") == 2


def test_the_clients_of_the_two_flows_are_different_records(signed_in: SsoWorld) -> None:
    names = [name for name in signed_in.memory.records if name.kind == SSO_CLIENT]
    assert [name.identity[-1] for name in names] == ["device"]
    registration = signed_in.memory.records[names[0]]
    assert "redirect" not in str(registration.values)


# Tokens


def test_a_kept_token_serves_every_role_of_the_session(signed_in: SsoWorld) -> None:
    assert signed_in.obtain("ReadOnly") != signed_in.obtain("Admin")
    assert signed_in.made() == ROLE * 2
    assert signed_in.memory.done == []


def test_a_token_with_less_than_15_minutes_left_is_refreshed(signed_in: SsoWorld) -> None:
    signed_in.aws.clock.advance(2698)
    signed_in.obtain()
    assert signed_in.made() == ROLE
    signed_in.aws.clock.advance(3)
    before = signed_in.record
    signed_in.obtain()
    assert signed_in.made() == REFRESHED
    assert signed_in.memory.done == ["prepare sso-token", "replace sso-token"]
    after = signed_in.record
    assert after.values["refreshToken"] != before.values["refreshToken"]
    assert after.values["accessToken"] != before.values["accessToken"]


def test_a_refresh_that_brings_no_new_refresh_token_keeps_the_old(signed_in: SsoWorld) -> None:
    old = signed_in.record.values["refreshToken"]

    def without(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "refreshToken": None}).encode()

    signed_in.aws.sso.rotates = False
    signed_in.aws.clock.advance(3000)
    signed_in.aws.arm(
        Fault("rewrite", when="after", change=without, status=200), action="CreateToken"
    )
    signed_in.obtain()
    assert signed_in.record.values["refreshToken"] == old


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("error", code="server_error", status=500)])
def test_a_refresh_that_fails_leaves_the_token_in_use_while_it_is_good(
    signed_in: SsoWorld, fault: Fault
) -> None:
    signed_in.aws.clock.advance(3000)
    signed_in.aws.arm(fault, action="CreateToken", times=9)
    signed_in.obtain()
    assert signed_in.made() == REFRESHED
    signed_in.aws.clock.advance(600)
    with pytest.raises(NetworkError):
        signed_in.obtain()
    signed_in.aws.faults.clear()
    signed_in.obtain()


def test_where_no_refresh_token_may_be_kept_none_is_stored_and_a_person_signs_in_again(
    world: SsoWorld,
) -> None:
    world.keeps_refresh = False
    world.aws.sso.confirm_after = 1
    world.obtain()
    assert "refreshToken" not in world.record.values
    assert not world.record.renewable
    world.made()
    world.aws.clock.advance(3500)  # the access token is used to its end
    world.obtain()
    assert world.made() == ROLE
    world.aws.clock.advance(100)
    world.obtain()
    assert world.made() == ["StartDeviceAuthorization", "CreateToken", *ROLE]
    assert "refreshToken" not in world.record.values


def test_a_kept_refresh_token_goes_as_soon_as_it_may_not_be_kept(signed_in: SsoWorld) -> None:
    signed_in.keeps_refresh = False
    before = signed_in.record
    signed_in.obtain()
    assert signed_in.made() == ROLE
    kept = {name: text for name, text in before.values.items() if name != "refreshToken"}
    assert signed_in.record == before._replace(values=kept, renewable=False)
    assert signed_in.memory.done == ["replace sso-token"]
    signed_in.obtain()
    assert signed_in.memory.done == ["replace sso-token"]


def test_tokens_are_stored_before_they_are_used(signed_in: SsoWorld) -> None:
    signed_in.aws.clock.advance(3000)
    signed_in.aws.watch = signed_in.memory.done.append
    signed_in.obtain()
    assert signed_in.memory.done == [
        *("prepare sso-token", "CreateToken", "replace sso-token"),
        "GetRoleCredentials",
    ]


def test_ctrl_c_during_a_refresh_waits_for_the_new_tokens(signed_in: SsoWorld) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(action: str) -> None:
        if action == "CreateToken":
            signal.pthread_kill(main, signal.SIGINT)

    before = signed_in.record
    signed_in.aws.clock.advance(3000)
    signed_in.aws.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        signed_in.obtain()
    assert signed_in.record.values["refreshToken"] != before.values["refreshToken"]
    signed_in.obtain()


def test_a_token_that_aws_revoked_is_refreshed_once_and_no_more(signed_in: SsoWorld) -> None:
    signed_in.aws.sso.access.clear()
    signed_in.obtain()
    assert signed_in.made() == [*ROLE, *REFRESHED]
    refused = Fault("error", code="UnauthorizedException", status=401)
    signed_in.aws.arm(refused, action="GetRoleCredentials", times=9)
    with pytest.raises(AwsError, match="the sign-in has ended"):
        signed_in.obtain()
    assert signed_in.made() == [*ROLE, *REFRESHED]


def test_after_the_end_of_the_session_a_person_signs_in_again(signed_in: SsoWorld) -> None:
    signed_in.aws.clock.advance(9 * 3600)
    signed_in.obtain()
    calls = ["CreateToken", "StartDeviceAuthorization", "CreateToken", *ROLE]
    assert signed_in.made() == calls


@pytest.mark.parametrize(
    ("code", "status", "signs_in", "says"),
    [
        ("invalid_grant", 400, True, False),
        ("expired_token", 400, True, False),
        ("invalid_client", 401, True, False),
        ("unauthorized_client", 400, True, True),
        ("invalid_request", 400, True, True),
        ("SomethingNewException", 400, True, True),
        ("slow_down", 400, False, False),
        ("TooManyRequestsException", 429, False, False),
    ],
)
def test_whatever_ends_a_session_a_person_signs_in_again(
    signed_in: SsoWorld, code: str, status: int, signs_in: bool, says: bool
) -> None:
    signed_in.aws.clock.advance(3590)
    signed_in.aws.arm(Fault("error", code=code, status=status), action="CreateToken")
    if signs_in:
        signed_in.obtain()
        assert "StartDeviceAuthorization" in signed_in.made()
    else:
        with pytest.raises(AwsError, match="AWS limits the requests|TooMany"):
            signed_in.obtain()
        assert signed_in.made() == ["CreateToken"]
    assert any("AWS refused CreateToken" in line for line in signed_in.said) == says


def test_without_a_terminal_nothing_is_asked_and_no_call_is_made(world: SsoWorld) -> None:
    world.attended = False
    with pytest.raises(ProviderError, match="there is none") as caught:
        world.obtain()
    assert caught.value.exit_status == 8
    assert caught.value.hint == "sign in with: filevault sso login work"
    assert world.made() == []


def test_the_end_of_a_session_without_a_terminal_says_so(signed_in: SsoWorld) -> None:
    signed_in.attended = False
    signed_in.aws.sso.sign_out()
    with pytest.raises(ProviderError, match="the sign-in has ended"):
        signed_in.obtain()
    assert signed_in.made() == [*ROLE, "CreateToken"]


# Errors of AWS's


@pytest.mark.parametrize(
    ("code", "status", "says", "hint"),
    [
        ("expired_token", 400, "the code was not confirmed in time", "again"),
        ("access_denied", 400, "the sign-in was refused in the browser", "again"),
        ("invalid_grant", 400, "the sign-in has ended, or the code was used before", "sign in"),
        ("invalid_client", 401, "AWS does not know this registration", "again"),
        ("invalid_request", 400, "AWS does not accept the request", "sso_start_url"),
        ("InvalidRequestRegionException", 400, "sso_region is not the region", "sso_region"),
        ("invalid_scope", 400, "AWS does not know one of the scopes", "sso_registration_scopes"),
        ("invalid_client_metadata", 400, "AWS does not accept the registration", "sso_region"),
        ("invalid_redirect_uri", 400, "AWS does not accept the redirection", "--device-code"),
        ("unauthorized_client", 400, "AWS does not let this client sign in", "--device-code"),
        ("unsupported_grant_type", 400, "AWS does not let this client", "--device-code"),
        ("SomethingNewException", 400, "SomethingNewException: refused", None),
        ("server_error", 500, "AWS answered 500", "wait a little"),
    ],
)
def test_each_error_of_the_oidc_service_has_its_message(
    world: SsoWorld, code: str, status: int, says: str, hint: str | None
) -> None:
    world.aws.arm(
        Fault("error", code=code, message="refused", status=status), action="CreateToken", times=9
    )
    world.on_sleep = world.aws.sso.confirm_all
    if status == 500:  # while polling, it is waited for
        world.aws.faults.clear()
        world.aws.arm(Fault("error", code=code, status=status), action="RegisterClient", times=9)
    with pytest.raises(FilevaultError) as caught:
        world.obtain()
    assert says in caught.value.message
    assert "SSO session 'work'" in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("code", "status", "says", "hint"),
    [
        ("ForbiddenException", 403, "has no access to this account and role", "sso list"),
        ("ResourceNotFoundException", 404, "there is no such account or role", "sso list"),
        ("InvalidRequestException", 400, "AWS does not accept the request", "sso_account_id"),
        ("TooManyRequestsException", 429, "AWS limits the requests", "wait a little"),
        ("UnauthorizedException", 401, "the sign-in has ended", "sign in again"),
    ],
)
def test_each_error_of_the_portal_has_its_message(
    signed_in: SsoWorld, code: str, status: int, says: str, hint: str
) -> None:
    fault = Fault("error", code=code, message="refused", status=status)
    signed_in.aws.arm(fault, action="GetRoleCredentials", times=99)
    with pytest.raises(AwsError) as caught:
        signed_in.obtain()
    assert says in caught.value.message
    assert f"({code}: refused)" in caught.value.message
    assert "profile 'dev'" in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_key_of_kms_that_does_not_work_is_named(world: SsoWorld) -> None:
    def with_reason(_body: bytes) -> bytes:
        return b'{"error":"invalid_request","reason":"KMS_DisabledException"}'

    fault = Fault("rewrite", when="after", change=with_reason, status=400)
    world.aws.arm(fault, action="RegisterClient")
    with pytest.raises(AwsError, match="cannot use the encryption key.*KMS_DisabledException"):
        world.obtain()


def test_an_answer_that_limits_requests_is_waited_for(signed_in: SsoWorld) -> None:
    fault = Fault("error", code="TooManyRequestsException", status=429)
    signed_in.aws.arm(fault, action="GetRoleCredentials", times=3)
    signed_in.obtain()
    assert signed_in.slept == [1.0, 2.0, 4.0]
    assert "AWS limits the requests: GetRoleCredentials again in 1 s" in signed_in.said


def test_no_message_contains_a_secret_that_a_server_sends_back(world: SsoWorld) -> None:
    world.on_sleep = world.aws.sso.confirm_all
    world.obtain()
    secret = world.record.values["accessToken"]
    fault = Fault("error", code="ForbiddenException", message=f"<{secret}>", status=403)
    world.aws.arm(fault, action="GetRoleCredentials")
    with pytest.raises(AwsError, match=r"<\*\*\*>"):
        world.obtain()
    world.aws.clock.advance(3000)
    for text in ("refreshToken", "clientSecret"):
        secret = world.record.values[text]
        world.aws.arm(
            Fault("error", code="invalid_grant", message=f"<{secret}>"), action="CreateToken"
        )
        world.obtain()
    assert not any(each in line for each in world.aws.issued_secrets() for line in world.said)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"<html>",
        b'{"roleCredentials":{}}',
        b"[" * 9999,
        b"\xff",
        KEYS % b'"C"',
        KEYS % b'"C","expiration":"x"',
        KEYS % b'"C\\n","expiration":99999999999999',
        KEYS % b'"C","expiration":253402300800000',
        KEYS % b'"C","expiration":-1',
        KEYS % b'"C","expiration":1e12',
        b"x" * (300 << 10),
    ],
)
def test_an_answer_without_usable_credentials_is_an_error(signed_in: SsoWorld, body: bytes) -> None:
    fault = Fault("rewrite", when="after", change=lambda _: body, status=200)
    signed_in.aws.arm(fault, action="GetRoleCredentials", times=9)
    with pytest.raises((AwsError, NetworkError)):
        signed_in.obtain()


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ("RegisterClient", "clientId"),
        ("RegisterClient", "clientSecret"),
        ("StartDeviceAuthorization", "deviceCode"),
        ("CreateToken", "refreshToken"),
        ("GetRoleCredentials", "\udcff"),
    ],
)
def test_a_text_that_no_file_or_request_can_have_is_not_from_aws(
    world: SsoWorld, action: str, key: str
) -> None:
    def change(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), key: "a\ud800"}).encode("ascii")

    world.aws.sso.confirm_after = 1
    fault = Fault("rewrite", when="after", change=change, status=200)
    world.aws.arm(fault, action=action, times=9)
    with pytest.raises(NotAwsError, match=f"the answer to {action} for .* is not one of AWS's"):
        world.obtain()


@pytest.mark.parametrize(
    "change",
    [
        {"verificationUri": "http://evil.example/"},
        {"verificationUri": "javascript:alert(1)"},
        {"verificationUriComplete": "https://evil.example/\x1b[2J"},
        {"verificationUriComplete": "file:///etc/passwd"},
        {"userCode": "x" * 99},
        {"deviceCode": 7},
    ],
)
def test_a_link_or_code_that_is_none_is_not_shown(
    world: SsoWorld, change: dict[str, object]
) -> None:
    fault = Fault(
        "rewrite",
        when="after",
        change=lambda body: json.dumps({**json.loads(body), **change}).encode(),
        status=200,
    )
    world.aws.arm(fault, action="StartDeviceAuthorization")
    with pytest.raises(NetworkError, match="not one of AWS's"):
        world.obtain()
    assert world.said == []


@pytest.mark.parametrize("bundle", ["/no/such/file", "/"])
def test_a_ca_bundle_that_cannot_be_read_is_named(signed_in: SsoWorld, bundle: str) -> None:
    signed_in.session = signed_in.session._replace(ca_bundle=bundle)
    with pytest.raises(ConfigError, match="the CA bundle"):
        signed_in.obtain()


def test_plain_http_is_refused_beyond_this_machine(world: SsoWorld) -> None:
    world.session = world.session._replace(oidc_url="http://oidc.example")
    with pytest.raises(ConfigError, match="plain http"):
        world.obtain()


# Accounts and roles


def test_lists_come_whole_whatever_the_size_of_their_pages(signed_in: SsoWorld) -> None:
    for number in range(5):
        signed_in.aws.sso.assign(f"{number:012}", f"account {number}", "A", "B", "C")
    signed_in.aws.sso.page_size = 2
    access = signed_in.tokens.access()
    portal = portal_service(signed_in.session, access.portal_url, signed_in.dependencies)
    accounts = sso_portal.list_accounts(portal, access.token, subject="x")
    assert [account.id for account in accounts] == [ACCOUNT, *(f"{n:012}" for n in range(5))]
    assert sso_portal.list_roles(portal, access.token, f"{3:012}", subject="x") == ["A", "B", "C"]
    signed_in.made()
    endless = Fault(
        "rewrite", when="after", change=lambda _: b'{"accountList":[],"nextToken":"1"}', status=200
    )
    signed_in.aws.arm(endless, action="ListAccounts", times=9999)
    sso_portal._MAX_PAGES, before = 5, sso_portal._MAX_PAGES
    try:
        with pytest.raises(NetworkError, match="does not end"):
            sso_portal.list_accounts(portal, access.token, subject="x")
    finally:
        sso_portal._MAX_PAGES = before


def test_signing_out_ends_the_session_at_aws(signed_in: SsoWorld) -> None:
    access = signed_in.tokens.access()
    portal = portal_service(signed_in.session, access.portal_url, signed_in.dependencies)
    sso_portal.logout(portal, access.token, subject="x")
    with pytest.raises(AwsError) as caught:
        sso_portal.list_accounts(portal, access.token, subject="x")
    assert sso_portal.is_signed_out(caught.value)


# Start URLs


def test_a_vanity_address_is_resolved_and_the_tokens_stay_under_it(aws: FakeAws) -> None:
    world = SsoWorld(aws, start_url=f"{aws.url}/vanity")
    aws.sso.confirm_after = 1
    world.obtain()
    assert world.made() == ["Vanity", *SIGN_IN, *ROLE]
    world.obtain("ReadOnly")
    assert world.made() == ROLE
    assert world.record.values["region"] == REGION


@pytest.mark.parametrize(
    ("location", "url", "region"),
    [
        ("https://d-1.awsapps.com/start", "https://d-1.awsapps.com/start", REGION),
        ("https://d-1.awsapps.com/start/#/x?y", "https://d-1.awsapps.com/start", REGION),
        ("https://d-1.awsapps.com:443/start?a=b", "https://d-1.awsapps.com/start", REGION),
        ("https://D-1.AWSAPPS.COM/start", "https://d-1.awsapps.com/start", REGION),
        (
            "https://ssoins-1.portal.us-east-2.app.aws/",
            "https://ssoins-1.portal.us-east-2.app.aws",
            "us-east-2",
        ),
        (
            "https://ssoins-1.cn-north-1.portal.amazonaws.com.cn/x",
            "https://ssoins-1.cn-north-1.portal.amazonaws.com.cn/x",
            "cn-north-1",
        ),
        ("https://identitycenter.amazonaws.com/ssoins-1", None, REGION),
        ("https://identitycenter.us-gov.amazonaws.com/ssoins-1", None, REGION),
        ("https://x.eusc-de-east-1.portal.amazonaws.eu/", None, "eusc-de-east-1"),
    ],
)
def test_where_a_vanity_address_may_lead(location: str, url: str | None, region: str) -> None:
    found = resolve(_vanity(), lambda *_: (302, location))
    assert found == StartUrl(url or location.rstrip("/"), region)


@pytest.mark.parametrize(
    "location",
    [
        "http://d-1.awsapps.com/start",
        "https://awsapps.com.evil.example/start",
        "https://evil.example/.awsapps.com",
        "https://evil-awsapps.com/start",
        "https://user@d-1.awsapps.com/start",
        "/elsewhere",
        "//evil.example/",
        "https://[::1",
        "javascript:alert(1)",
        "https://evil.example\\.awsapps.com/start",
        "https://evil.example%2f.awsapps.com/start",
        "https://.awsapps.com/start",
        "https://d 1.awsapps.com/start",
        "https://d-1.awsapps.com/st\x1bart",
        "https://d-1.awsapps.com/" + "a" * 3000,
    ],
    ids=lambda location: repr(location[:50]),
)
def test_where_a_vanity_address_may_not_lead(location: str) -> None:
    with pytest.raises(ConfigError, match="no address of AWS"):
        resolve(_vanity(), lambda *_: (302, location))


def test_a_vanity_address_that_knows_no_head_is_asked_with_get() -> None:
    asked = []

    def ask(method: str, *_: object) -> tuple[int, str | None]:
        asked.append(method)
        return (405, None) if method == "HEAD" else (301, "https://d-1.awsapps.com/start")

    assert resolve(_vanity(), ask).url == "https://d-1.awsapps.com/start"
    assert asked == ["HEAD", "GET"]
    for status in (200, 404, 304):
        with pytest.raises(NetworkError, match=f"answers {status}"):
            resolve(_vanity(), lambda *_, answer=status: (answer, "https://d-1.awsapps.com/start"))


def _vanity() -> SsoSession:
    return SsoSession("work", "https://sso.example.com/", REGION, ("a:b",))


def test_an_address_of_aws_is_not_asked_anything() -> None:
    def ask(*_: object) -> tuple[int, str | None]:
        raise AssertionError("asked")

    for url in (START_URL, "https://ssoins-1.portal.us-east-2.app.aws"):
        assert is_aws(url)
        assert resolve(_vanity()._replace(start_url=url), ask) == StartUrl(url, REGION)


# Endpoints


REGIONS = (
    *("eu-west-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1"),
    *("eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"),
)


@pytest.mark.parametrize(
    ("service", "mine"), [("sso", sso_endpoint.PORTAL), ("sso-oidc", sso_endpoint.OIDC)]
)
def test_the_endpoints_are_those_of_botocores_rules(service: str, mine: str) -> None:
    loader: Any = botocore.session.Session().get_component("data_loader")
    rules: Any = EndpointProvider(
        loader.load_service_model(service, "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    compared = 0
    for region, fips, dualstack in itertools.product(REGIONS, (False, True), (False, True)):
        try:
            found = rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dualstack)
        except EndpointProviderError:
            continue  # the partition has none
        url = sso_endpoint.sso_url(mine, region, use_fips=fips, use_dualstack=dualstack)
        assert url == found.url
        compared += 1
    assert compared >= 24
