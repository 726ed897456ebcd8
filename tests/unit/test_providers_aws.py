"""Calls to AWS: what is sent, what a refusal says, and what never reaches botocore."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.awsrequest import AWSHTTPConnection
from urllib3.exceptions import NewConnectionError

from filevault.aws import sts
from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint, check_url
from filevault.credentials import Credentials
from filevault.errors import (
    AwsError,
    ConfigError,
    FilevaultError,
    MfaError,
    NetworkError,
    ProviderError,
    WrongCodeError,
)
from filevault.mfa.flag import FlagCode
from filevault.mfa.request import MfaRequest
from filevault.mfa.token_code import TokenCode
from filevault.mfa.way import TokenCodeSource
from tests.fakes import FakeAws, User, drop, error, server_error, stall, throttle
from tests.fakes.server import FakeServer
from tests.fakes.wire import HttpAnswer, HttpRequest

ARN = "arn:aws:iam::123456789012:role/admin"
REQUEST = sts.RoleRequest(ARN, "me", 3600)


def key_of(user: User) -> Credentials:
    return Credentials(user.access_key_id, user.secret_access_key)


def at(aws: FakeAws) -> Endpoint:
    return Endpoint("eu-west-1", aws.url)


def session(aws: FakeAws, user: User, code: str | None = None, **more: Any) -> Credentials:
    mfa = None if code is None else sts.TokenCodeFor(more.pop("serial", user.mfa_serial), code)
    caller = Caller(
        more.pop("clients", Clients()),
        more.pop("endpoint", at(aws)),
        more.pop("key", key_of(user)),
        "profile 'work'",
    )
    return sts.get_session_token(caller, duration=more.pop("duration", 3600), mfa=mfa)


def assumed(aws: FakeAws, credentials: Credentials, request: sts.RoleRequest) -> Credentials:
    caller = Caller(Clients(), at(aws), credentials, "profile 'work'")
    return sts.assume_role(caller, request, mfa=None)


def refusal(kind: type[FilevaultError], aws: FakeAws, user: User, *args: Any, **more: Any) -> Any:
    with pytest.raises(kind) as caught:
        session(aws, user, *args, **more)
    message = caught.value.message
    assert "GetSessionToken" in message
    assert "profile 'work'" in message
    for secret in aws.issued_secrets():
        assert secret not in message
    return caught.value


@pytest.fixture
def someone(aws: FakeAws) -> User:
    return aws.add_user("someone", mfa=True)


# What is sent and what comes back


def test_a_session_carries_key_token_and_expiry(aws: FakeAws, someone: User) -> None:
    aws.clock.freeze()
    got = session(aws, someone, someone.totp(), duration=900)
    made = aws.session(got.access_key_id)
    assert (got.secret_access_key, got.session_token) == (
        made.secret_access_key,
        made.session_token,
    )
    assert got.expiration == int(aws.clock()) + 900
    assert (got.account_id, got.arn) == (None, None)
    (call,) = aws.calls
    assert call.region == "eu-west-1"
    assert call.access_key_id == someone.access_key_id
    assert call.parameters["SerialNumber"] == someone.mfa_serial


def test_every_parameter_of_a_role_is_sent_and_its_identity_comes_back(
    aws: FakeAws, someone: User
) -> None:
    aws.add_role("admin", external_id="outside")
    request = sts.RoleRequest(
        ARN, "me", 1800, "outside", (("team", "blue"), ("cost", "42")), ("team",), "someone"
    )
    got = assumed(aws, key_of(someone), request)
    assert got.account_id == "123456789012"
    assert got.arn == "arn:aws:sts::123456789012:assumed-role/admin/me"
    (call,) = aws.calls
    assert {key: value for key, value in call.parameters.items() if key != "Version"} == {
        "RoleArn": ARN,
        "RoleSessionName": "me",
        "DurationSeconds": "1800",
        "ExternalId": "outside",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "blue",
        "Tags.member.2.Key": "cost",
        "Tags.member.2.Value": "42",
        "TransitiveTagKeys.member.1": "team",
        "SourceIdentity": "someone",
    }


def test_what_a_role_request_leaves_out_is_not_sent(aws: FakeAws, someone: User) -> None:
    aws.add_role("admin")
    assumed(aws, key_of(someone), REQUEST)
    assert set(aws.calls[0].parameters) - {"Version"} == {
        "RoleArn",
        "RoleSessionName",
        "DurationSeconds",
    }


# Refusals


def test_a_wrong_code_a_used_code_and_a_foreign_device_are_told_apart(
    aws: FakeAws, someone: User
) -> None:
    aws.clock.freeze()
    code = someone.totp()
    session(aws, someone, code)
    used = refusal(AwsError, aws, someone, code)
    assert "was used before" in used.message
    assert used.code == "AccessDenied"
    assert code not in used.message.replace(aws.calls[0].host, "")
    assert "each code works once" in used.hint
    foreign = refusal(
        AwsError, aws, someone, "123456", serial="arn:aws:iam::123456789012:mfa/other"
    )
    assert "not one of this user's" in foreign.message
    assert "mfa_serial" in foreign.hint


def test_an_unknown_an_inactive_key_and_a_wrong_secret_are_told(
    aws: FakeAws, someone: User
) -> None:
    wrong = Credentials(someone.access_key_id, "x" * 40)
    mismatch = refusal(AwsError, aws, someone, key=wrong)
    assert mismatch.code == "SignatureDoesNotMatch"
    assert "secret access key does not belong" in mismatch.message
    unknown = refusal(AwsError, aws, someone, key=Credentials("AKIAUNKNOWN", "x" * 40))
    assert unknown.code == "InvalidClientTokenId"
    assert "does not know the access key" in unknown.message
    assert "if it was rotated on another machine" in str(unknown.hint)
    someone.keys[someone.access_key_id].status = "Inactive"
    assert refusal(AwsError, aws, someone).code == "InvalidClientTokenId"


def test_a_session_cannot_be_made_of_a_session(aws: FakeAws, someone: User) -> None:
    temporary = session(aws, someone)
    assert (
        "the stored key is a temporary one"
        in refusal(AwsError, aws, someone, key=temporary).message
    )


def test_an_expired_session_is_told(aws: FakeAws, someone: User) -> None:
    temporary = session(aws, someone)
    aws.clock.advance(4000)
    with pytest.raises(AwsError, match="the session has expired") as caught:
        assumed(aws, temporary, REQUEST)
    assert caught.value.hint is not None
    assert "--refresh" in caught.value.hint


def test_a_role_that_does_not_trust_says_what_to_check(aws: FakeAws, someone: User) -> None:
    with pytest.raises(AwsError, match="trust policy") as caught:
        assumed(aws, key_of(someone), REQUEST)
    assert "is not authorized to perform: sts:AssumeRole" in caught.value.message
    assert caught.value.hint is not None
    assert "external_id" in caught.value.hint


def test_durations_over_the_roles_maximum_and_the_hour_of_chains_are_told(
    aws: FakeAws, someone: User
) -> None:
    aws.add_role("admin")
    with pytest.raises(AwsError, match="does not allow sessions that long") as caught:
        assumed(aws, key_of(someone), REQUEST._replace(duration=7200))
    assert "maximum" in str(caught.value.hint)
    first = assumed(aws, key_of(someone), REQUEST)
    with pytest.raises(AwsError, match="lives an hour at most"):
        assumed(aws, first, REQUEST._replace(duration=7200))


def test_a_clock_that_is_wrong_is_told(aws: FakeAws, someone: User) -> None:
    aws.query_api.check_skew = True
    aws.clock.advance(3600)
    found = refusal(AwsError, aws, someone)
    assert re.search(r"the clock of this machine is (1h0m0s|59m\d+s) behind AWS's", found.message)
    assert "set the clock" in found.hint
    aws.clock.advance(-7200)
    found = refusal(AwsError, aws, someone)
    assert re.search(r"the clock of this machine is (1h0m\d+s|59m\d+s) ahead of", found.message)


@pytest.mark.parametrize(
    "text",
    [
        "Signature expired: 20269999T999999Z is later than 20260101T000000Z (20261301T001500Z - 1",
        "Signature expired: 20269999T999999Z is earlier than 20260101T000000Z (20260101T000000Z -",
        "Signature not yet current",
    ],
)
def test_a_clock_is_told_without_times_that_are_none(
    aws: FakeAws, someone: User, text: str
) -> None:
    aws.arm(error("SignatureDoesNotMatch", text, 403))
    assert "the clock of this machine differs" in refusal(AwsError, aws, someone).message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("RegionDisabledException", "switched off for this region"),
        ("PackedPolicyTooLarge", "longer than a session can carry"),
        ("ExpiredToken", "expired"),
        ("SomethingNew", "SomethingNew: because"),
    ],
)
def test_other_refusals_keep_awss_words(aws: FakeAws, someone: User, code: str, words: str) -> None:
    aws.arm(error(code, "because."), times=5)
    found = refusal(AwsError, aws, someone)
    assert words in found.message
    assert not found.message.endswith(".")
    assert (found.operation, found.code) == ("GetSessionToken", code)


def test_throttling_and_failures_are_retried_then_told(aws: FakeAws, someone: User) -> None:
    aws.arm(throttle(), times=2)
    assert session(aws, someone).session_token
    assert len(aws.calls) == 3
    aws.arm(throttle(), times=9)
    assert "too many requests" in refusal(AwsError, aws, someone).message
    aws.faults.clear()
    aws.arm(server_error(), times=9)
    assert "an internal failure" in refusal(AwsError, aws, someone).message


LOST = "the token code may be used up: wait for the next one"


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_to_a_call_with_a_code_is_not_asked_for_again(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch, mode: str, when: Literal["before"]
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    aws.arm(drop(when))
    found = refusal(NetworkError, aws, someone, someone.totp())
    assert "closed the connection" in found.message
    assert LOST in found.hint
    assert len(aws.calls) == 1


def test_a_lost_answer_to_assume_role_with_a_code_is_not_asked_for_again(
    aws: FakeAws, someone: User
) -> None:
    aws.add_role("admin", require_mfa=True)
    aws.arm(drop("after"))
    mfa = sts.TokenCodeFor(str(someone.mfa_serial), someone.totp())
    with pytest.raises(NetworkError) as caught:
        sts.assume_role(Caller(Clients(), at(aws), key_of(someone), "x"), REQUEST, mfa=mfa)
    assert LOST in str(caught.value.hint)
    assert len(aws.calls) == 1


def test_silence_after_a_code_ends_with_the_first_attempt(aws: FakeAws, someone: User) -> None:
    aws.arm(stall(30))
    found = refusal(NetworkError, aws, someone, someone.totp(), clients=Clients(read_timeout=0.2))
    assert "did not answer in time" in found.message
    assert LOST in found.hint
    assert aws.in_flight == ["GetSessionToken"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_of_awss_after_a_code_is_told_at_once(
    aws: FakeAws, someone: User, when: Literal["before"]
) -> None:
    aws.arm(server_error(when))
    found = refusal(AwsError, aws, someone, someone.totp())
    assert "an internal failure" in found.message
    assert found.hint == LOST
    assert len(aws.calls) == 1


def test_throttling_takes_no_code_and_is_retried(aws: FakeAws, someone: User) -> None:
    aws.arm(throttle(), times=2)
    assert session(aws, someone, someone.totp()).session_token
    assert len(aws.calls) == 3


def test_a_connection_that_is_not_made_takes_no_code_and_is_tried_again(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[object] = []
    original = AWSHTTPConnection.connect

    def connect(self: AWSHTTPConnection) -> None:
        attempts.append(self)
        if len(attempts) == 1:
            raise NewConnectionError(self, "nobody there")
        original(self)

    monkeypatch.setattr(AWSHTTPConnection, "connect", connect)
    assert session(aws, someone, someone.totp()).session_token
    assert (len(attempts), len(aws.calls)) == (2, 1)


def test_a_lost_answer_without_a_code_is_asked_for_again(aws: FakeAws, someone: User) -> None:
    aws.arm(drop("after"))
    assert session(aws, someone).session_token
    assert len(aws.calls) == 2


def test_the_usual_variables_of_botocore_set_the_retries(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.arm(throttle())
    refusal(AwsError, aws, someone)
    assert len(aws.calls) == 1


def test_what_a_server_says_is_escaped_shortened_and_rid_of_secrets(
    aws: FakeAws, someone: User
) -> None:
    secret = someone.secret_access_key
    text = f"look: {secret}, code 654321, \u202eevil\u0085 " + "x" * 2000
    aws.arm(error("Hostile\u202e", text), times=5)
    found = refusal(AwsError, aws, someone, "654321")
    assert "654321" not in found.message
    assert "***" in found.message
    assert "\u202e" not in found.message + found.code
    assert "\u0085" not in found.message
    assert len(found.message) < 700


def test_a_secret_is_redacted_even_where_it_is_part_of_a_word(aws: FakeAws, someone: User) -> None:
    secret = someone.secret_access_key
    aws.arm(error("Odd", f"sent x{secret}9 and 1654321 and 654321"))
    found = refusal(AwsError, aws, someone, "654321")
    assert found.message.endswith("Odd: sent x***9 and 1654321 and ***")


# The network


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Serve one answer to everything, as a captive portal does."""

    def respond(request: HttpRequest) -> HttpAnswer:
        agents.append(request.header("User-Agent"))
        return HttpAnswer(status, body)

    agents.clear()
    with FakeServer(respond) as server:
        yield server.url


agents: list[str] = []


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not repeat what cannot get better."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.usefixtures("once")
def test_nobody_listening_is_a_network_error(aws: FakeAws, someone: User) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = refusal(NetworkError, aws, someone, endpoint=Endpoint("eu-west-1", url))
    assert f"cannot connect to {url}" in found.message
    assert "HTTPS_PROXY" in found.hint


@pytest.mark.usefixtures("once")
def test_a_name_that_does_not_exist_is_a_network_error(aws: FakeAws, someone: User) -> None:
    endpoint = Endpoint("eu-west-1", "https://sts.invalid")
    assert "https://sts.invalid" in refusal(NetworkError, aws, someone, endpoint=endpoint).message


@pytest.mark.usefixtures("once")
def test_a_dropped_connection_is_a_network_error(aws: FakeAws, someone: User) -> None:
    aws.arm(drop())
    found = refusal(NetworkError, aws, someone)
    assert "closed the connection" in found.message


@pytest.mark.usefixtures("once")
def test_silence_ends_after_the_time_limit(aws: FakeAws, someone: User) -> None:
    aws.arm(stall(30))
    found = refusal(NetworkError, aws, someone, clients=Clients(read_timeout=0.2))
    assert "did not answer in time" in found.message


@pytest.mark.usefixtures("once")
def test_a_certificate_that_is_not_accepted_is_told(aws: FakeAws, someone: User) -> None:
    url = aws.url.replace("http:", "https:")  # speaks no TLS at all
    found = refusal(NetworkError, aws, someone, endpoint=Endpoint("eu-west-1", url))
    assert "TLS" in found.message
    assert "AWS_CA_BUNDLE" in found.hint


@pytest.mark.usefixtures("once")
def test_a_proxy_that_cannot_be_reached_is_told(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    endpoint = Endpoint("eu-west-1", "https://sts.invalid")
    assert "proxy" in refusal(NetworkError, aws, someone, endpoint=endpoint).message


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html><body>Please sign in</body></html>"),
        (200, b"\x1b[2J not XML"),
        (200, b""),
        (200, b"<a><b/></a>"),
        (302, b"elsewhere"),
        (404, b"not here"),
    ],
)
def test_an_answer_that_is_not_awss_is_an_error_of_ours(
    aws: FakeAws, someone: User, status: int, body: bytes
) -> None:
    with answering(status, body) as url:
        found = refusal(FilevaultError, aws, someone, endpoint=Endpoint("eu-west-1", url))
    assert isinstance(found, NetworkError | AwsError)
    assert "\x1b" not in found.message


def test_filevault_names_itself_to_aws(aws: FakeAws, someone: User) -> None:
    with answering(200, b"<x/>") as url, pytest.raises(FilevaultError):
        session(aws, someone, endpoint=Endpoint("eu-west-1", url))
    assert "filevault/" in agents[0]


# What botocore must not do


def test_no_file_variable_or_profile_disturbs_or_gives_credentials(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("this is [no INI")
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = xx-bad-1\nendpoint_url = http://127.0.0.1:1\n"
        "[profile work]\nrole_arn = arn:x\nsource_profile = nobody\nservices = s\n"
        "[services s]\nsts =\n  endpoint_url = http://127.0.0.1:1\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_DEFAULT_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    for profile in (None, "work", "unknown"):
        session(aws, someone, clients=Clients(profile=profile))
    assert [call.access_key_id for call in aws.calls] == [someone.access_key_id] * 3
    assert {call.region for call in aws.calls} == {"eu-west-1"}


def test_botocores_own_settings_come_from_the_profiles_section(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile work]\nmax_attempts = 1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    aws.arm(throttle())
    refusal(AwsError, aws, someone, clients=Clients(profile="work"))
    assert len(aws.calls) == 1


def test_a_setting_that_botocore_cannot_use_is_a_config_error(
    aws: FakeAws, someone: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", "often")
    assert "often" in refusal(ConfigError, aws, someone).message
    monkeypatch.delenv("AWS_RETRY_MODE")
    bad = Endpoint("not a region", aws.url)
    assert "region" in refusal(ConfigError, aws, someone, endpoint=bad).message
    bad = Endpoint("eu-west-1", "https://-.example")
    assert "cannot be called" in refusal(ConfigError, aws, someone, endpoint=bad).message
    bad = Endpoint("eu-west-1", None, "sometimes")
    assert "sometimes" in refusal(ConfigError, aws, someone, endpoint=bad).message


@pytest.mark.parametrize(
    ("region", "mode", "kinds", "host"),
    [
        ("eu-west-1", "regional", {}, "https://sts.eu-west-1.amazonaws.com"),
        ("us-east-1", "regional", {}, "https://sts.us-east-1.amazonaws.com"),
        ("eu-west-1", "legacy", {}, "https://sts.amazonaws.com"),
        ("eu-south-1", "legacy", {}, "https://sts.eu-south-1.amazonaws.com"),
        ("cn-north-1", "regional", {}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ("moon-north-1", "regional", {}, "https://sts.moon-north-1.amazonaws.com"),
        ("us-east-2", "regional", {"use_fips": True}, "https://sts-fips.us-east-2.amazonaws.com"),
        ("us-east-2", "regional", {"use_dualstack": True}, "https://sts.us-east-2.api.aws"),
    ],
)
def test_a_region_becomes_the_endpoint_that_botocore_knows(
    region: str,
    mode: str,
    kinds: dict[str, bool],
    host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The plan has read these; what it decided counts.
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "false" if kinds else "true")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "false" if kinds else "true")
    seen: list[str] = []

    def stop(request: Any, **_: object) -> None:
        seen.append(request.url.rstrip("/"))
        raise _Stopped

    clients = Clients()
    for each in ("legacy", mode):  # an earlier client's mode does not stick
        client = clients.open(
            "sts", Endpoint(region, None, each, **kinds), Credentials("AKIA", "x"), once=False
        )
        client.meta.events.register("before-send.sts", stop)
        with pytest.raises(_Stopped):
            client.get_caller_identity()
        client.close()
    assert seen[-1] == host


class _Stopped(Exception):  # noqa: N818  nothing went wrong
    pass


@pytest.mark.parametrize(
    "url",
    [
        "https://sts.eu-west-1.amazonaws.com",
        "https://proxy.example:8443/sts",
        "http://localhost:4566",
        "http://127.0.0.1",
        "http://127.255.0.1:65535/x",
        "http://[::1]:4566",
        "HTTP://LOCALHOST:4566",
    ],
)
def test_https_and_loopback_are_safe(url: str) -> None:
    check_url(url, allow_http=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://sts.amazonaws.com",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.256",
        "http://10.0.0.1",
        "http://[::2]",
        "http://0.0.0.0:4566",
    ],
)
def test_plain_http_elsewhere_must_be_allowed(url: str) -> None:
    with pytest.raises(ConfigError, match="plain http") as caught:
        check_url(url, allow_http=False)
    assert "--allow-http" in str(caught.value.hint)
    check_url(url, allow_http=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sts.amazonaws.com",
        "ftp://localhost",
        "http://localhost@evil.example",
        "http://localhost:80@evil.example",
        "http://localhost\\@evil.example",
        "http://evil.example#@localhost",
        "http://evil.example?@localhost",
        "https://a b",
        "https://x\n",
        "http://localhost:x",
        "https://sts.example:65536",
        "https://a..b",
        "https://.b",
    ],
)
def test_what_is_no_plain_url_is_refused_even_where_http_is_allowed(url: str) -> None:
    with pytest.raises(ConfigError, match="not of the form"):
        check_url(url, allow_http=True)


# Token codes

S = MfaRequest("arn:aws:iam::123456789012:mfa/u")
P = MfaRequest("arn:aws:iam::123456789012:mfa/u", "oathtool x")


class Way(TokenCodeSource):
    """A way to a code, and a record of how often it was taken."""

    def __init__(self, sources: CodeWays, answer: str, *, program: bool) -> None:
        self._sources = sources
        self._answer = answer
        self._program = program

    def serves(self, request: MfaRequest) -> bool:
        return (request.process is not None) == self._program

    def code(self, request: MfaRequest, profile: str) -> str:
        self._sources.taken.append(request.process or f"{profile} {request.serial}")
        return self._answer

    def origin(self, profile: str) -> str:
        return f"the code for {profile}"

    def retry(self, reason: str) -> bool:
        if self._program:
            return super().retry(reason)
        self._sources.said.append(reason)
        return self._sources.patient


class CodeWays:
    """Ways to a code, and a record of which were taken."""

    def __init__(
        self, printed: str = "111111", answer: str = "222222", *, patient: bool = False
    ) -> None:
        self.taken: list[str] = []
        self.said: list[str] = []
        self.patient = patient
        self._ways = (Way(self, printed, program=True), Way(self, answer, program=False))

    def token_code(self, given: str | None = None) -> TokenCode:
        return TokenCode(None if given is None else FlagCode(given), lambda: self._ways)


def same(mfa: sts.TokenCodeFor | None) -> sts.TokenCodeFor | None:
    return mfa


def code_of(found: sts.TokenCodeFor | None) -> str:
    assert found is not None
    return found.code


def test_the_option_beats_the_program_and_the_program_beats_the_person() -> None:
    sources = CodeWays()
    assert code_of(sources.token_code("000000").present(P, "u", same)) == "000000"
    assert sources.taken == []
    assert code_of(sources.token_code().present(P, "u", same)) == "111111"
    assert sources.taken == ["oathtool x"]
    assert code_of(sources.token_code().present(S, "u", same)) == "222222"
    assert sources.taken[1:] == [f"u {S.serial}"]


def test_no_request_asks_nobody() -> None:
    sources = CodeWays()
    assert sources.token_code("000000").present(None, "u", same) is None
    assert sources.taken == []


def test_each_request_gets_a_code_of_its_own() -> None:
    sources = CodeWays()
    token_code = sources.token_code()
    token_code.present(P, "u", same)
    token_code.present(P, "u", same)
    assert sources.taken == ["oathtool x"] * 2


def test_a_given_code_serves_once_and_never_falls_back() -> None:
    sources = CodeWays()
    token_code = sources.token_code("000000")
    token_code.present(P, "u", same)
    with pytest.raises(MfaError, match="second token code") as caught:
        token_code.present(P, "u", same)
    assert "000000" not in caught.value.message
    assert sources.taken == []


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "123 456", "٣٣٣٣٣٣", "-12345"])
def test_what_is_no_code_is_refused_and_not_shown(code: str) -> None:
    with pytest.raises(MfaError) as by_option:
        CodeWays().token_code(code).present(S, "u", same)
    with pytest.raises(MfaError) as by_program:
        CodeWays(printed=code).token_code().present(P, "u", same)
    with pytest.raises(MfaError) as by_person:
        CodeWays(answer=code).token_code().present(S, "u", same)
    for caught in (by_option, by_program, by_person):
        assert not code or code not in caught.value.message
        assert "six digits" in caught.value.message


def refused(mfa: sts.TokenCodeFor | None) -> None:
    raise WrongCodeError(f"refused, {type(mfa).__name__}")


@pytest.mark.parametrize(("answer", "words"), [("12345", "six digits"), ("123456", "AWS refused")])
def test_a_person_is_told_what_was_wrong_and_asked_three_times(answer: str, words: str) -> None:
    sources = CodeWays(answer=answer, patient=True)
    with pytest.raises(MfaError if len(answer) < 6 else WrongCodeError):
        sources.token_code().present(S, "u", refused)
    assert len(sources.taken) == 3
    assert len(sources.said) == 2
    assert all(words in each for each in sources.said)


def test_where_nobody_can_be_asked_again_the_first_refusal_stands() -> None:
    sources = CodeWays()
    with pytest.raises(WrongCodeError):
        sources.token_code().present(S, "u", refused)
    assert len(sources.taken) == 1


@pytest.mark.parametrize(("given", "request_"), [("123456", S), ("12345", S), (None, P)])
def test_a_code_of_the_option_or_the_program_is_not_asked_for_again(
    given: str | None, request_: MfaRequest
) -> None:
    sources = CodeWays(patient=True)
    with pytest.raises(ProviderError):
        sources.token_code(given).present(request_, "u", refused)
    assert sources.said == []
    assert len(sources.taken) == (0 if given else 1)


def test_another_refusal_is_not_the_codes() -> None:
    def denied(_: sts.TokenCodeFor | None) -> None:
        raise AwsError("denied")

    sources = CodeWays(patient=True)
    with pytest.raises(AwsError, match="denied"):
        sources.token_code().present(S, "u", denied)
    assert (len(sources.taken), sources.said) == (1, [])


def test_white_space_around_a_code_is_forgiven() -> None:
    assert code_of(CodeWays(printed=" 123456\n").token_code().present(P, "u", same)) == "123456"


def test_a_code_is_not_shown_by_repr() -> None:
    assert "000000" not in repr(CodeWays().token_code("000000").present(S, "u", same))
