"""The AWS CLI 2 beside filevault: both sign in at the same stand-in, with the same requests.

Debian's package `awscli` is enough for Identity Center's codes; browsers need 2.22, and console
logins 2.32.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import Any, NamedTuple

import pytest

from tests.cli.test_sso import SsoMachine
from tests.cli.test_sso_browser import Desktop
from tests.conditions.tools import aws_cli_2
from tests.fakes import FakeAws
from tests.fakes.wire import HttpRequest
from tests.worlds.login_machine import BROWSER, LoginMachine, link_in
from tests.worlds.machine import TIMEOUT, Machine

# A start of the AWS CLI 2 takes seconds; in every run botocore is what filevault is compared with.
pytestmark = pytest.mark.torture

HEADERS = ("Content-Type", "Accept-Encoding", "Authorization")
# What is another text in each sign-in, or the name of the program.
NONCES = ("clientName", "clientSecret", "deviceCode", "refreshToken", "code", "codeVerifier")
QUERY_NONCES = ("state", "code_challenge")
PARAMETER = {"required": False, "documentation": "", "type": "String"}


class Sent(NamedTuple):
    """A request without its nonces, times and the name of the program."""

    method: str
    target: str
    headers: dict[str, str]
    has_token: bool
    proof: tuple[Any, ...] | None
    body: str

    @classmethod
    def of(cls, request: HttpRequest) -> Sent:
        body, target = request.body.decode(), request.target
        if "devtools" not in body + target:  # there the client is a constant
            body = _without(r'("clientId": )"[^"]*"', body)
            target = _without(r"([?&]client_id=)[^&]*", target)
        for name in NONCES:
            body = _without(rf'("{name}": )"[^"]*"', body)
        for name in QUERY_NONCES:
            target = _without(rf"([?&]{name}=)[^&]*", target)
        body, target = (
            _without(r"(http(?:://|%3A%2F%2F)127\.0\.0\.1(?::|%3A))\d+(?=/oauth|%2Foauth)", text)
            for text in (body, target)
        )
        return cls(
            request.method,
            target,
            {name: request.header(name) for name in HEADERS},
            bool(request.header("x-amz-sso_bearer_token")),
            _proof(request.header("DPoP")),
            body,
        )


def _without(pattern: str, text: str) -> str:
    return re.sub(pattern, r"\1...", text)


def _proof(text: str) -> tuple[Any, ...] | None:
    """Return what does not change of a proof: header but for the key, names and URL."""
    if not text:
        return None
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in text.split(".")[:2]
    )
    jwk = {**header["jwk"], "x": "...", "y": "..."}
    return list(header.items())[:2], list(jwk.items()), list(claims), claims["htm"], claims["htu"]


class WatchedService:
    """What one service of the stand-in is sent, and the AWS CLI 2."""

    def __init__(self, service: Any, machine: Machine, aws: FakeAws, program: str) -> None:
        self._sent: list[Sent] = []
        self._real = service.identify
        service.identify = self._identify
        self._machine = machine
        self._aws = aws
        self._program = program

    def _identify(self, request: HttpRequest) -> Any:
        if request.path != "/favicon.ico":
            self._sent.append(Sent.of(request))
        return self._real(request)

    def taken(self) -> list[Sent]:
        """Return what was sent since the last time."""
        sent, self._sent = self._sent, []
        return sent

    def start(self, *argv: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the AWS CLI 2 with the machine's home and config."""
        services = ("SSO", "SSO_OIDC", "STS")
        urls = {f"AWS_ENDPOINT_URL_{name}": self._aws.url for name in services}
        return subprocess.Popen(
            [self._program, *argv],
            env=self._machine.environment({**urls, "AWS_DATA_PATH": self._rules(), **(env or {})}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._machine.home,
        )

    def run(self, *argv: str, env: dict[str, str] | None = None) -> str:
        """Run it to its end, with success."""
        with self.start(*argv, env=env) as process:
            try:
                out, err = process.communicate(timeout=TIMEOUT)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == 0, (argv, out, err)
        return out

    def _rules(self) -> str:
        """Return a folder with endpoint rules: before 2.13 no variable names an endpoint."""
        folder = self._machine.home / "botocore"
        names = {"Region": "AWS::Region", "UseDualStack": "AWS::UseDualStack"}
        names |= {"UseFIPS": "AWS::UseFIPS", "Endpoint": "SDK::Endpoint"}
        parameters: dict[str, dict[str, object]] = {
            name: {**PARAMETER, "builtIn": builtin} for name, builtin in names.items()
        }
        for name in ("UseDualStack", "UseFIPS"):
            parameters[name] |= {"type": "Boolean", "required": True, "default": False}
        endpoint = {"url": self._aws.url, "properties": {}, "headers": {}}
        rules = {
            "version": "1.0",
            "parameters": parameters,
            "rules": [{"conditions": [], "endpoint": endpoint, "type": "endpoint"}],
        }
        for service in ("sso-oidc/2019-06-10", "sso/2019-06-10", "sts/2011-06-15"):
            path = folder / service
            path.mkdir(parents=True, exist_ok=True)
            (path / "endpoint-rule-set-1.json").write_text(json.dumps(rules))
        return str(folder)

    def ended(self, folder: str, *names: str) -> None:
        """Let what the AWS CLI keeps have ended, so that it refreshes its token."""
        home = self._machine.home
        for path in home.glob(".aws/cli/cache/*.json"):
            path.unlink()
        (path,) = (
            each for each in home.glob(f"{folder}/*.json") if "refreshToken" in each.read_text()
        )
        values = json.loads(path.read_text())
        inner = values
        for name in names:
            inner = inner[name]
        inner["expiresAt"] = "2020-01-01T00:00:00Z"
        path.write_text(json.dumps(values))


def test_identity_center_gets_the_same_requests_for_a_code(
    quick_machine: Machine, aws: FakeAws
) -> None:
    cli = aws_cli_2()
    machine = SsoMachine(quick_machine, aws).machine
    watched = WatchedService(aws.sso, machine, aws, cli.program)
    aws.sso.confirm_after = 2
    flow = ["--use-device-code"] if cli.version >= (2, 22) else []
    watched.run("sso", "login", "--sso-session", "work", "--no-browser", *flow)
    watched.run("sts", "get-caller-identity", "--profile", "dev")
    watched.ended(".aws/sso/cache")
    watched.run("sts", "get-caller-identity", "--profile", "dev")
    watched.run("sso", "logout")
    theirs = watched.taken()
    assert len(theirs) == 8
    machine.ok("sso", "login", "work", "--device-code")
    machine.ok("export", "dev", "--no-cache")
    machine.advance(3000)
    machine.ok("export", "dev", "--no-cache")
    machine.ok("sso", "logout", "work")
    assert watched.taken() == theirs


def test_identity_center_gets_the_same_requests_by_a_browser(
    quick_machine: Machine, aws: FakeAws
) -> None:
    cli = aws_cli_2((2, 22))
    desktop = Desktop(SsoMachine(quick_machine, aws))
    desktop.opens_with("allow(sys.argv[1])\n")
    watched = WatchedService(aws.sso, quick_machine, aws, cli.program)
    browser = {"BROWSER": f"{desktop.folder / 'xdg-open'} %s &"}
    watched.run("sso", "login", "--sso-session", "work", env=browser)
    theirs = watched.taken()
    assert len(theirs) == 4
    assert desktop.login().status == 0
    assert watched.taken() == theirs


@pytest.mark.parametrize("remote", [False, True])
def test_the_sign_in_service_gets_the_same_requests(
    quick_machine: Machine, aws: FakeAws, remote: bool
) -> None:
    cli = aws_cli_2((2, 32))
    logins = LoginMachine(quick_machine, aws)
    machine = logins.machine
    # The AWS CLI leaves out the path of the address in its links.
    machine.env["AWS_ENDPOINT_URL_SIGNIN"] = aws.url
    before = machine.config.read_text()
    watched = WatchedService(aws.login, machine, aws, cli.program)
    if remote:
        _paste(watched, logins)
    else:
        watched.run("login", "--profile", "console", env={"BROWSER": f"{BROWSER} %s &"})
    watched.ended(".aws/login/cache", "accessToken")
    watched.run("configure", "export-credentials", "--profile", "console")
    theirs = watched.taken()
    links = aws.login.pages[:]
    machine.config.write_text(before)
    assert (logins.by_code if remote else logins.by_browser)().status == 0
    logins.advance(890)
    machine.ok("export", "console")
    assert watched.taken() == theirs
    assert len(theirs) == 2 + (not remote)
    ours = aws.login.pages[len(links) :]
    assert [_shape(link) for link in ours] == [_shape(link) for link in links]


def _paste(watched: WatchedService, logins: LoginMachine) -> None:
    """Sign in with a browser elsewhere."""
    with watched.start("login", "--profile", "console", "--remote") as process:
        assert process.stdout is not None
        seen = ""
        while (link := link_in(seen)) is None:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        out, err = process.communicate(logins.aws.login.browse(link) + "\n", timeout=TIMEOUT)
        assert process.returncode == 0, (out, err)


def _shape(link: str) -> str:
    """Return a link to the page of the sign-in without its nonces."""
    for name in QUERY_NONCES:
        link = _without(rf"([?&]{name}=)[^&]*", link)
    return _without(r"(127\.0\.0\.1%3A)\d+(?=%2Foauth)", link)
