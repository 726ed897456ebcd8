"""Proxies that cannot be used are a wrong configuration, and no part of a password is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from filevault.aws import sts
from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint, without_urls
from filevault.aws.http_request import HttpRequest
from filevault.aws.proxy import proxies_for
from filevault.aws.signin import get_signin_token
from filevault.credentials import Credentials
from filevault.errors import AwsError, ConfigError, NetworkError
from tests.fakes import FakeAws
from tests.samples import EXAMPLE_ID
from tests.worlds.sso import SsoWorld

PASSWORD = "pa/ssw0rd"
BAD = [
    f"http://user:{PASSWORD}@proxy.example:3128",
    f"user:{PASSWORD}@proxy.example:3128",
    "http://user:ssw0rd?@proxy.example:3128",
    "http://user:ssw0rd#x@proxy.example",
    "http://us er:ssw0rd@proxy.example",
    "socks5://user:ssw0rd@proxy.example:1080",
    "ssw0rd:port",
    "http://proxy.example:99999",
    "http://ssw0rd..@",
    "http://[::1",
    "\x1b[2Jssw0rd",
]
KEY = Credentials(EXAMPLE_ID, "s" * 40, "t" * 40)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.parametrize("proxy", BAD)
def test_a_bad_proxy_is_a_config_error_that_shows_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    endpoint = Endpoint("eu-west-1", "https://sts.invalid")
    with pytest.raises(ConfigError) as caught:
        sts.get_caller_identity(Caller(Clients(), endpoint, KEY, "profile 'work'"))
    with pytest.raises(ConfigError) as second:
        get_signin_token(
            Clients(), "https://signin.invalid", KEY, duration=None, subject="profile 'work'"
        )
    for error in (caught.value, second.value):
        assert error.exit_status == 3
        assert "HTTPS_PROXY" in error.message
        assert "ssw0rd" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:pa%2Fssw0rd@proxy.invalid:3128",
        "user:ssw0rd@proxy.invalid:3128",
        "https://user:'ssw0rd\"@proxy.invalid",
        "//proxy.invalid/",
        "proxy.invalid:3128",
    ],
)
def test_a_proxy_that_cannot_be_reached_is_a_network_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    endpoint = Endpoint("eu-west-1", "https://sts.invalid")
    with pytest.raises(NetworkError) as caught:
        sts.get_caller_identity(Caller(Clients(), endpoint, KEY, "profile 'work'"))
    assert "ssw0rd" not in f"{caught.value.message} {caught.value.hint}"


def _sts(aws: FakeAws) -> None:
    user = aws.add_user("jon")
    key = Credentials(user.access_key_id, user.secret_access_key, None)
    endpoint = Endpoint("eu-west-1", aws.url)
    sts.get_caller_identity(Caller(Clients(), endpoint, key, "profile 'work'"))


def _sign_in(aws: FakeAws) -> None:
    with pytest.raises(AwsError):  # of an unknown key: it has arrived
        get_signin_token(Clients(), aws.url, KEY, duration=None, subject="profile 'work'")


def _identity_center(aws: FakeAws) -> None:
    aws.sso.confirm_after = 1
    SsoWorld(aws).obtain()


def _ci(aws: FakeAws) -> None:
    HttpRequest("GET", f"{aws.url}/x", {}).send(operation="a request", subject="x", seconds=5)


@pytest.mark.parametrize("call", [_sts, _sign_in, _identity_center, _ci])
def test_what_is_for_this_machine_goes_through_no_proxy(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, call: Callable[[FakeAws], None]
) -> None:
    """It is plain http: a proxy elsewhere would get its secrets, and cannot know the service."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    call(aws)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080/a?b", True),
        ("http://LOCALHOST/", True),
        ("https://[::1]:1", True),
        ("http://127.9.9.9", True),
        ("http://localhost.example/", False),
        ("http://127.0.0.1.example/", False),
        ("https://sts.eu-west-1.amazonaws.com/#http://127.0.0.1/", False),
        ("http://127.0.0.1@example.com/", False),
    ],
)
def test_only_the_loopback_interface_is_this_machine(
    monkeypatch: pytest.MonkeyPatch, url: str, here: bool
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert (proxies_for(url) == {}) == here


@pytest.mark.parametrize("proxy", BAD)
def test_no_text_of_others_shows_a_password(proxy: str) -> None:
    if "@" in proxy and " " not in proxy:
        for text in (f"Failed to parse: {proxy}", f'proxy "{proxy}" is bad', f"({proxy})"):
            assert "ssw0rd" not in without_urls(text)
