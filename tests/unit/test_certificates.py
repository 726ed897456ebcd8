"""Certificates of one's own, as behind a proxy that opens TLS, for each way to sign in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.aws import sso_portal
from filevault.aws.clients import Clients
from filevault.aws.dpop import DpopKey
from filevault.aws.json_service import JsonService
from filevault.aws.login_link import CROSS_DEVICE
from filevault.aws.login_tokens import LoginRequester
from filevault.config.settings import Settings
from filevault.errors import AwsError, NetworkError
from filevault.identity_tokens.github import GithubToken
from filevault.identity_tokens.way import TokenRequest
from tests.fakes.wire import HttpAnswer, HttpRequest
from tests.worlds.tls_service import TlsService, tls_service

TOKEN = "header.claims.signature"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TlsService]:
    """A service that gives a web identity token, and refuses everything else."""

    def respond(request: HttpRequest) -> HttpAnswer:
        if request.method == "GET" and "audience" in request.target:
            return HttpAnswer(200, f'{{"value": "{TOKEN}"}}'.encode(), "application/json")
        return HttpAnswer(403, b'{"error": "SPOKEN_TO"}', "application/json")

    with tls_service(tmp_path, respond) as served:
        yield served


def identity_center(url: str, bundle: str | None) -> None:
    service = JsonService(url, allow_http=False, ca_bundle=bundle, sleep=lambda _: None)
    sso_portal.get_role_credentials(service, "t", account="1" * 12, role="r", subject="'x'")


def web_identity(url: str, bundle: str | None) -> None:
    variables = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    assert GithubToken("aud").token(TokenRequest(Settings(variables), "x", bundle)) == TOKEN
    raise AwsError("it came", operation="x", code="SPOKEN_TO")


def console_login(url: str, bundle: str | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if bundle is not None:
            patch.setenv("AWS_CA_BUNDLE", bundle)
        LoginRequester(
            Clients(), url, CROSS_DEVICE, DpopKey.generate(), "'x'", "again", time.time, _no_pause
        ).refresh("token")


def _no_pause(_seconds: float) -> None:
    pass


@pytest.mark.parametrize("ask", [identity_center, web_identity, console_login])
def test_a_certificate_is_checked_and_ca_bundle_names_the_ones_to_trust(
    service: TlsService, ask: Callable[[str, str | None], None]
) -> None:
    with pytest.raises(NetworkError, match="TLS certificate"):
        ask(service.url, None)
    with pytest.raises(AwsError) as caught:
        ask(service.url, service.certificate)
    assert str(caught.value.code).upper() == "SPOKEN_TO"
