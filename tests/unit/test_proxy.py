"""Proxies that cannot be used are a wrong configuration, and no part of a password is shown."""

from __future__ import annotations

import pytest

from filevault.aws import sts
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint, without_urls
from filevault.aws.signin import get_signin_token
from filevault.credentials import Credentials
from filevault.errors import ConfigError, NetworkError
from tests.samples import EXAMPLE_ID

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
        sts.get_caller_identity(Clients(), endpoint, KEY, subject="profile 'work'")
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
        sts.get_caller_identity(Clients(), endpoint, KEY, subject="profile 'work'")
    assert "ssw0rd" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("proxy", BAD)
def test_no_text_of_others_shows_a_password(proxy: str) -> None:
    if "@" in proxy and " " not in proxy:
        for text in (f"Failed to parse: {proxy}", f'proxy "{proxy}" is bad', f"({proxy})"):
            assert "ssw0rd" not in without_urls(text)
