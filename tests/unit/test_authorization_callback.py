"""A browser's answer to an authorization request is taken once, and nothing else is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlencode, urlsplit

import pytest

from filevault.aws.pkce import challenge, new_verifier
from filevault.server.authorization_callback import Authorization, AuthorizationCallback

STATE = "0b1f7c52-6b8e-4c2f-9a53-6d8d0f0f8a11"


class Waiting:
    """A callback that is being waited for, and how that ended."""

    def __init__(self, timeout: float = 30.0) -> None:
        self.callback = AuthorizationCallback(STATE)
        parts = urlsplit(self.callback.redirect_uri)
        self.host, self.path, self.port = parts.netloc, parts.path, parts.port
        self.answer: Authorization | None = None
        self.doubts: list[str] = []
        self._timeout = timeout
        self._thread = threading.Thread(target=self._wait)

    def _wait(self) -> None:
        with self.callback:
            self.answer = self.callback.wait(timeout=self._timeout, doubt=self.doubts.append)

    def start(self) -> None:
        self._thread.start()

    def ended(self) -> Authorization | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.answer

    def ask(self, request: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            try:
                connection.sendall(request.encode("utf-8"))
                found = b""
                while part := connection.recv(4096):
                    found += part
            except ConnectionError:
                return b""
            return found

    def get(self, query: str, path: str | None = None, host: str | None = None) -> bytes:
        target = f"{path or self.path}?{query}"
        return self.ask(f"GET {target} HTTP/1.1\r\nHost: {host or self.host}\r\n\r\n")


@contextmanager
def waiting(timeout: float = 30.0) -> Iterator[Waiting]:
    found = Waiting(timeout)
    found.start()
    try:
        yield found
    finally:
        if found.answer is None:
            with suppress(ConnectionError):  # it has ended by itself
                found.get(urlencode({"state": STATE, "error": "the test is over"}))
        found.ended()


def good(code: str = "a/code+with=signs") -> str:
    return urlencode({"code": code, "state": STATE})


def test_the_answer_with_the_state_ends_the_wait_and_the_browser_gets_a_page() -> None:
    with waiting() as found:
        page = found.get(good())
        assert page.startswith(b"HTTP/1.1 200 ")
        assert b"You can close this window" in page
        assert found.ended() == Authorization("a/code+with=signs")


def test_the_listener_is_on_the_literal_loopback_address_with_a_new_port() -> None:
    with AuthorizationCallback(STATE) as one, AuthorizationCallback(STATE) as other:
        assert one.redirect_uri.startswith("http://127.0.0.1:")
        assert one.redirect_uri.endswith("/oauth/callback")
        assert one.redirect_uri != other.redirect_uri


def test_the_page_has_no_script_is_not_kept_and_repeats_nothing_of_the_request() -> None:
    with waiting() as found:
        page = found.get(good("kept-out-of-the-page"))
        assert b"script" not in page
        assert b"Content-Security-Policy: default-src 'none'" in page
        assert b"no-store" in page
        assert b"no-referrer" in page
        assert b"kept-out" not in page


def test_an_error_with_the_state_ends_the_wait_too() -> None:
    with waiting() as found:
        assert b"close this window" in found.get(
            urlencode({"error": "access_denied", "state": STATE})
        )
        assert found.ended() == Authorization(None, "access_denied")


def test_anything_else_is_refused_and_the_right_answer_still_comes() -> None:
    with waiting() as found:
        other = STATE.replace("0", "1")
        wrong = [
            found.get(urlencode({"code": "forged", "state": other})),
            found.get(urlencode({"code": "forged"})),
            found.get(urlencode({"code": "forged", "state": ""})),
            found.get(urlencode({"code": "forged", "state": STATE[:-1]})),
            found.get(urlencode({"code": "forged", "state": STATE + "0"})),
            found.get(urlencode({"code": "forged", "state": "ü"})),
            found.get(urlencode({"state": STATE})),
            found.get(urlencode({"code": "", "state": STATE})),
            found.get(f"{good()}&state={STATE}"),
            found.get(f"{good()}&code=forged"),
            found.get("&".join(f"p{number}=1" for number in range(40)) + "&" + good()),
            found.get(good() + "&%"),
            found.get(good().replace("code", "code%ff")),
            found.get(good(), path="/"),
            found.get(good(), path="/oauth/callback/"),
            found.get(good(), host="evil.example"),
            found.get(good(), host=f"localhost:{found.port}"),
            found.ask(f"POST {found.path}?{good()} HTTP/1.1\r\nHost: {found.host}\r\n\r\n"),
            found.ask(f"HEAD {found.path}?{good()} HTTP/1.1\r\nHost: {found.host}\r\n\r\n"),
            found.ask(f"GET {found.path}?{good()} HTTP/1.1\r\n\r\n"),
            found.ask("\r\n\r\n"),
            found.ask("x" * 40_000),
            found.get("code=" + "x" * 40_000),
        ]
        assert {answer[:13] for answer in wrong} <= {b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b""}
        assert found.answer is None
        assert found.get(good()).startswith(b"HTTP/1.1 200 ")
        assert found.ended() == Authorization("a/code+with=signs")
        assert found.doubts == []


def test_an_error_without_the_state_is_reported_and_does_not_end_the_wait() -> None:
    with waiting() as found:
        assert found.get("error=access_denied").startswith(b"HTTP/1.1 400 ")
        found.get(good())
        assert found.ended() is not None
        assert found.doubts in ([], ["access_denied"])  # both may come in one turn
    with waiting(0.3) as found:
        found.get("error=access_denied")
        assert found.ended() is None
        assert found.doubts == ["access_denied"]


def test_a_page_that_repeats_a_forged_error_is_reported_once() -> None:
    with waiting() as found:
        for _ in range(5):
            assert found.get("error=forged").startswith(b"HTTP/1.1 400 ")
        found.get(good())
        assert found.ended() is not None
        assert found.doubts == ["forged"]


def test_connections_without_a_request_keep_no_answer_out() -> None:
    """A page in the browser can open as many as it likes."""
    with waiting() as found, ExitStack() as idle:
        for _ in range(50):
            one = idle.enter_context(socket.create_connection(("127.0.0.1", found.port)))
            one.send(b"G")
        assert found.get(good()).startswith(b"HTTP/1.1 200 ")
        assert found.ended() == Authorization("a/code+with=signs")


def test_the_wait_ends_with_its_time_and_counts_down() -> None:
    left: list[float] = []
    with AuthorizationCallback(STATE) as callback:
        assert callback.wait(timeout=0.05, tick=left.append) is None
    assert left
    assert 0 < left[-1] <= left[0] <= 0.05


def test_the_code_is_not_in_the_text_of_the_answer() -> None:
    assert "sesame" not in repr(Authorization("sesame"))


def test_the_verifier_and_its_challenge_are_those_of_rfc_7636() -> None:
    # Appendix B of the RFC.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    made = {new_verifier() for _ in range(20)}
    assert len(made) == 20
    assert {len(each) for each in made} == {64}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (600, "10 min"),
        (541, "10 min"),
        (540, "9 min"),
        (61, "2 min"),
        (60, "60 s"),
        (9.6, "10 s"),
        (0.2, "0 s"),
    ],
)
def test_the_time_left_is_shown_in_minutes_and_at_last_in_seconds(
    seconds: float, text: str
) -> None:
    from filevault.cli.countdown import _time_left

    assert _time_left(seconds) == text
