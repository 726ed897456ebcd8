"""Identity Center beside botocore: the same requests, the same profile, and a chain for boto3."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import botocore
import botocore.session
import pytest
from botocore.config import Config

from filevault.aws import sso_oidc, sso_portal
from filevault.aws.json_service import JsonService
from filevault.system.times import format_time
from tests.cli.test_sso import SsoMachine
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.fakes.wire import HttpAnswer, HttpRequest
from tests.launch import launcher
from tests.worlds.machine import Machine
from tests.worlds.sso import ACCOUNT, REGION

BOTOCORE = """
import botocore.session
for profile in ("dev", "inline"):
    session = botocore.session.Session(profile=profile)
    assert session.get_credentials().get_frozen_credentials().access_key.startswith("ASIA")
"""
HEADERS = ("content-type", "x-amz-sso_bearer_token")
CLIENT = sso_oidc.SsoClient("client", "secret", 0)
DEVICE = sso_oidc.DeviceAuthorization("device", "CODE", "https://x", None, 600, 1)
PAIR = {"clientId": "client", "clientSecret": "secret"}


class SentRequest(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Recorder:
    """Records what the stand-in is sent, and refuses all of it."""

    def __init__(self, aws: FakeAws) -> None:
        self.url = aws.url
        self.sent: list[SentRequest] = []
        aws._server.respond = self._respond

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        headers = {name: request.header(name) for name in HEADERS if request.header(name)}
        self.sent.append(SentRequest(request.method, request.target, headers, request.body))
        return HttpAnswer(400, b'{"error":"invalid_request"}', "application/json")

    def of(self, call: Callable[[], object]) -> SentRequest:
        """Return the one request that a call makes."""
        self.sent.clear()
        with pytest.raises(Exception):  # noqa: B017, PT011 - the refusal, of either program
            call()
        (sent,) = self.sent
        return sent


def clients(url: str) -> tuple[Any, Any, JsonService]:
    """Return botocore's clients of the two services, and filevault's."""
    session: Any = botocore.session.Session()
    new_config: Any = Config
    config = new_config(signature_version=botocore.UNSIGNED)
    oidc, portal = (
        session.create_client(name, region_name=REGION, endpoint_url=url, config=config)
        for name in ("sso-oidc", "sso")
    )
    return oidc, portal, JsonService(url, allow_http=False, ca_bundle=None)


def test_every_request_is_what_botocore_sends_for_the_same_values(aws: FakeAws) -> None:
    recorder = Recorder(aws)
    oidc, portal, mine = clients(aws.url)
    registration = {"clientName": "filevault", "clientType": "public"}
    scopes = ["sso:account:access"]
    browser = {
        "grantTypes": ["authorization_code", "refresh_token"],
        "redirectUris": ["http://127.0.0.1/oauth/callback"],
        "issuerUrl": START_URL,
    }
    grant = {"redirectUri": "http://127.0.0.1:1/oauth/callback", "codeVerifier": "v", "code": "c"}
    s = "x"
    pairs: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (
            lambda: sso_oidc.register(mine, scopes, subject=s, now=0),
            lambda: oidc.register_client(**registration, scopes=scopes),
        ),
        (
            lambda: sso_oidc.register(mine, scopes, subject=s, now=0, issuer=START_URL),
            lambda: oidc.register_client(**registration, **browser, scopes=scopes),
        ),
        (
            lambda: sso_oidc.authorize_device(mine, CLIENT, START_URL, subject=s),
            lambda: oidc.start_device_authorization(**PAIR, startUrl=START_URL),
        ),
        (
            lambda: sso_oidc.poll(mine, CLIENT, DEVICE, subject=s),
            lambda: oidc.create_token(grantType=sso_oidc.DEVICE_GRANT, **PAIR, deviceCode="device"),
        ),
        (
            lambda: sso_oidc.redeem(
                mine, CLIENT, code="c", verifier="v", redirect_uri=grant["redirectUri"], subject=s
            ),
            lambda: oidc.create_token(grantType="authorization_code", **PAIR, **grant),
        ),
        (
            lambda: sso_oidc.refresh(mine, CLIENT, "r", subject=s),
            lambda: oidc.create_token(grantType="refresh_token", **PAIR, refreshToken="r"),
        ),
        (
            lambda: sso_portal.get_role_credentials(
                mine, "t", account=ACCOUNT, role="A B+&=", subject=s
            ),
            lambda: portal.get_role_credentials(
                roleName="A B+&=", accountId=ACCOUNT, accessToken="t"
            ),
        ),
        (lambda: sso_portal.logout(mine, "t", subject=s), lambda: portal.logout(accessToken="t")),
    ]
    for ours, theirs in pairs:
        assert recorder.of(ours) == recorder.of(theirs)


def test_botocore_reads_the_profile_as_filevault_does(quick_machine: Machine, aws: FakeAws) -> None:
    scene = SsoMachine(quick_machine, aws).sign_in()
    machine = scene.machine
    (token,) = aws.sso.access
    for name in ("work", START_URL):  # botocore reads a file in the clear, which filevault has not
        path = machine.home / ".aws/sso/cache" / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"accessToken": token, "expiresAt": format_time(aws.clock() + 3000)}
        path.write_text(json.dumps({**values, "startUrl": START_URL, "region": REGION}))
    subprocess.run(
        [sys.executable, "-c", BOTOCORE], env=machine.environment(), check=True, timeout=60
    )
    for profile in ("dev", "inline"):
        machine.ok("export", profile)
    calls = [(call.action, dict(call.parameters)) for call in aws.calls]
    assert [action for action, _ in calls] == ["GetRoleCredentials"] * 4
    assert calls[:2] == calls[2:]


def test_boto3_opens_a_chain_of_identity_center_and_a_role(
    quick_machine: Machine, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SsoMachine(quick_machine, aws).sign_in()
    machine = scene.machine
    process = f"{sys.executable} {launcher.__file__} export chained --format json"
    path = machine.home / "sdk-config"
    path.write_text(
        f"[profile sdk]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
        f"credential_process = {process}\n"
    )
    for name, value in machine.environment({"AWS_CONFIG_FILE": None}).items():
        monkeypatch.setenv(name, value)
    import boto3

    core = botocore.session.Session(profile="sdk")
    core.set_config_variable("config_file", str(path))
    session: Any = boto3.session.Session(botocore_session=core)
    identity = session.client("sts").get_caller_identity()
    assert identity["Arn"].startswith("arn:aws:sts::123456789012:assumed-role/deploy/")
    assert aws.actions() == ["GetRoleCredentials", "AssumeRole", "GetCallerIdentity"]
