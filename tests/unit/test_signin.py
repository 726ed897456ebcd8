"""The exchange for a sign-in token: what is sent, by which way, and what a failure may say."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from filevault.aws import sts
from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint
from filevault.aws.signin import SigninToken, get_signin_token
from filevault.calls.get_federation_token import federated_name
from filevault.credentials import Credentials
from filevault.errors import AwsError, NetworkError
from tests.fakes import FakeAws, User, stall
from tests.fakes.wire import HttpAnswer, HttpRequest
from tests.worlds.tls_service import TlsService, tls_service


def caller_for(aws: FakeAws, user: User) -> Caller:
    key = Credentials(user.access_key_id, user.secret_access_key)
    return Caller(Clients(), Endpoint("eu-west-1", aws.url), key, "x")


@pytest.fixture
def credentials(aws: FakeAws) -> Credentials:
    """A session of a role."""
    user = aws.add_user("someone")
    made = aws.add_role("admin")
    request = sts.RoleRequest(made.arn, "me", 3600)
    return sts.assume_role(caller_for(aws, user), request, mfa=None)


def token_of(
    aws_url: str, credentials: Credentials, clients: Clients | None = None, **more: int
) -> SigninToken:
    return get_signin_token(
        clients or Clients(),
        f"{aws_url}/federation",
        credentials,
        duration=more.get("duration"),
        subject="profile 'work'",
    )


def test_a_token_is_for_whoever_the_credentials_stand_for(
    aws: FakeAws, credentials: Credentials
) -> None:
    got = token_of(aws.url, credentials, duration=1800)
    assert got.duration == 1800
    issued = aws.signin.issued[got.token]
    assert issued.arn == "arn:aws:sts::123456789012:assumed-role/admin/me"
    assert issued.duration == 1800
    assert got.token not in repr(got)


def test_a_users_own_session_is_refused(aws: FakeAws) -> None:
    user = aws.add_user("other")
    session = sts.get_session_token(caller_for(aws, user), duration=900, mfa=None)
    with pytest.raises(AwsError, match="answered 400") as caught:
        token_of(aws.url, session)
    assert (caught.value.operation, caught.value.code) == ("getSigninToken", "400")


def test_expired_credentials_are_refused(aws: FakeAws, credentials: Credentials) -> None:
    aws.clock.advance(4000)
    with pytest.raises(AwsError, match="did not take the credentials"):
        token_of(aws.url, credentials, duration=1800)
    assert len([call for call in aws.calls if call.action == "getSigninToken"]) == 2


def test_silence_ends_after_the_time_limit(aws: FakeAws, credentials: Credentials) -> None:
    aws.arm(stall(30), action="getSigninToken")
    with pytest.raises(NetworkError, match="did not answer in time") as caught:
        token_of(aws.url, credentials, Clients(read_timeout=0.2))
    for secret in (credentials.secret_access_key, credentials.session_token or ""):
        assert secret not in str(caught.value)
        assert quote_plus(secret) not in str(caught.value)


@contextlib.contextmanager
def dripping(text: Iterator[bytes]) -> Iterator[str]:
    """A service that answers as slowly as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                for part in text:
                    connection.sendall(part)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_in_ends_at_the_deadline(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    """No byte is late, so that no time limit of the socket would ever end it."""
    post = functools.partialmethod(Clients.post, deadline=0.5)
    monkeypatch.setattr(Clients, "post", post)
    ended = threading.Event()

    def drip() -> Iterator[bytes]:
        yield start
        while not ended.wait(0.05):
            yield b" " if start else b"H"

    with dripping(drip()) as url:
        with pytest.raises(NetworkError, match="did not answer in time"):
            token_of(url, credentials)
        ended.set()


def test_an_answer_without_an_end_is_not_read_for_ever(credentials: Credentials) -> None:
    sent = [0]

    def flood() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while sent[0] < 1 << 28:
            sent[0] += 1 << 16
            yield b" " * (1 << 16)

    with (
        dripping(flood()) as url,
        pytest.raises(NetworkError, match="not one of AWS's"),
    ):
        token_of(url, credentials)
    assert sent[0] < 1 << 28


def test_a_proxy_is_used_and_told_where_it_cannot_be_reached(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(NetworkError, match="the proxy cannot be reached"):
        token_of("https://signin.invalid", credentials)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsService]:
    """A sign-in service with a certificate of its own."""

    def respond(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, b'{"SigninToken": "over-tls"}')

    with tls_service(tmp_path, respond) as served:
        yield served


def test_certificates_are_checked_and_botocores_bundle_is_used(
    tls: TlsService, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls
    with pytest.raises(NetworkError, match="TLS certificate"):
        token_of(url, credentials)
    monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
    assert token_of(url, credentials).token == "over-tls"


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::123456789012:user/jonsmith", "jonsmith"),
        ("arn:aws-cn:iam::123456789012:user/team/ops/jon.smith@x", "jon.smith@x"),
        ("arn:aws:iam::123456789012:root", "root"),
        ("arn:aws:iam::123456789012:user/x", "user-x"),
        (f"arn:aws:iam::123456789012:user/{'n' * 64}", "n" * 32),
    ],
)
def test_a_federated_user_is_called_after_the_user(arn: str, name: str) -> None:
    assert federated_name(arn) == name


@pytest.mark.parametrize(
    "arn", ["", "arn:aws:sts::123456789012:assumed-role/admin/me", "arn:aws:iam::1:user/x", "root"]
)
def test_no_federated_user_is_made_of_anything_else(arn: str) -> None:
    with pytest.raises(AwsError, match="made from an IAM user's key"):
        federated_name(arn)
