"""Sign-ins to Identity Center in a browser: Chromium for each flow once, plain HTTP elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_sso import SsoMachine
from tests.fakes import FakeAws
from tests.worlds.chromium import Chromium
from tests.worlds.machine import TIMEOUT, Machine, ProcessResult

REGISTERED = ["RegisterClient"]
BROWSER = ["Authorize", "Authorize", "CreateToken"]

# It plays a browser: opens the page, presses the button, and follows the redirection.
PLAYED = """#!{python}
import os, sys, urllib.error, urllib.parse, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
def get(address, data=None):
    return opener.open(urllib.request.Request(address, data), timeout=20)
def allow(address):
    page = get(address)
    return get(page.geturl(), b"").read().decode()
"""


class Desktop:
    """A machine with a display, a terminal and an xdg-open that a test writes."""

    def __init__(self, scene: SsoMachine) -> None:
        self.scene = scene
        machine = scene.machine
        self.folder = machine.home / "bin"
        self.folder.mkdir()
        machine.env["PATH"] = f"{self.folder}:{machine.env['PATH']}"
        machine.env["DISPLAY"] = ":0"
        machine.launcher = ("sh", "-c", 'exec "$@" >/dev/tty 2>&1', "sh", *machine.launcher)

    def opens_with(self, script: str) -> None:
        """Say what the browser does with its address, `sys.argv[1]`."""
        text = PLAYED.format(python=sys.executable) + script
        self._write("xdg-open", text)

    def opens_chromium(self, chromium: Chromium) -> None:
        """Let Chromium open addresses."""
        self._write("xdg-open", chromium.opener())

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def login(self, *options: str, env: dict[str, str | None] | None = None) -> ProcessResult:
        """Sign in at the terminal, which shows everything."""
        # A browser takes its time to start on a machine whose processors are busy.
        result = self.scene.machine.on_terminal(
            "sso", "login", "dev", *options, env=env, timeout=2 * TIMEOUT
        )
        return self.scene.check(result)


@pytest.fixture
def desktop(quick_machine: Machine, aws: FakeAws) -> Desktop:
    return Desktop(SsoMachine(quick_machine, aws))


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    """A browser, which is ended afterwards."""
    made = Chromium(tmp_path)
    yield made
    made.close()


def test_chromium_signs_in_with_a_code_and_pkce(desktop: Desktop, chromium: Chromium) -> None:
    desktop.opens_chromium(chromium)
    result = desktop.login()
    assert result.status == 0, result
    assert "Signed in to SSO session 'work'" in result.tty
    assert desktop.scene.aws.actions() == [*REGISTERED, *BROWSER]
    (client,) = desktop.scene.aws.sso.clients.values()
    assert client.redirect == "http://127.0.0.1/oauth/callback"


def test_chromium_confirms_the_code_of_a_device(desktop: Desktop, chromium: Chromium) -> None:
    scene = desktop.scene
    started: list[subprocess.Popen[bytes]] = []

    def watch(action: str) -> None:
        if action == "CreateToken" and not started:
            (device,) = scene.aws.sso.devices.values()
            link = f"{scene.aws.url}/device?user_code={device.user_code}&click=confirm"
            started.append(
                subprocess.Popen(
                    [*chromium.words, link], start_new_session=True, stderr=subprocess.DEVNULL
                )
            )

    scene.aws.watch = watch
    try:
        result = desktop.login("--device-code")
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert result.status == 0, result
    actions = scene.aws.actions()
    assert actions.count("StartDeviceAuthorization") == 1
    assert "Device" in actions
    assert "Authorize" not in actions


def test_the_answer_comes_from_the_browser_and_the_token_is_kept(desktop: Desktop) -> None:
    desktop.opens_with("allow(sys.argv[1])\n")
    result = desktop.login()
    assert result.status == 0, result
    assert "sign in to SSO session 'work' in the browser; if none appears, open there" in result.tty
    assert "\nfilevault:   http://127.0.0.1:" in result.tty
    assert "code_challenge_method=S256" in result.tty
    desktop.scene.aws.clock.advance(3000)
    desktop.scene.machine.advance(3000)
    desktop.scene.aws.reset_calls()
    assert desktop.scene.machine.on_terminal("export", "dev").status == 0
    assert desktop.scene.aws.actions() == ["CreateToken", "GetRoleCredentials"]


def test_the_next_sign_in_uses_the_registration_of_its_own_flow(desktop: Desktop) -> None:
    desktop.opens_with("allow(sys.argv[1])\n")
    for options, calls in (
        ((), [*REGISTERED, *BROWSER]),
        (("--force",), BROWSER),
        (("--force", "--device-code"), [*REGISTERED, "StartDeviceAuthorization", "CreateToken"]),
        (("--force",), BROWSER),
        (("--force", "--device-code"), ["StartDeviceAuthorization", "CreateToken"]),
    ):
        desktop.scene.aws.reset_calls()
        desktop.scene.aws.sso.confirm_after = 1
        assert desktop.login(*options).status == 0
        assert desktop.scene.aws.actions() == calls


def test_over_ssh_a_code_is_shown(desktop: Desktop) -> None:
    desktop.scene.aws.sso.confirm_after = 2
    result = desktop.login(env={"SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"})
    assert result.status == 0
    assert "confirm only if it shows the code" in result.tty
    assert "Authorize" not in desktop.scene.aws.actions()


def test_login_to_the_console_with_stdout_opens_no_browser_for_the_sign_in_either(
    desktop: Desktop,
) -> None:
    aws = desktop.scene.aws
    desktop.opens_with("open('opened', 'w').close()\n")
    aws.sso.confirm_after = 2
    result = desktop.scene.machine.on_terminal(
        "login", "dev", "--stdout", env={"AWS_ENDPOINT_URL_SIGNIN": aws.url}
    )
    assert result.status == 0, result
    assert "confirm only if it shows the code" in result.tty
    assert f"{aws.url}/federation?Action=login" in result.tty
    assert not (desktop.scene.machine.home / "opened").exists()


def test_where_no_browser_starts_the_sign_in_goes_on_with_a_code(desktop: Desktop) -> None:
    desktop.opens_with("sys.exit(3)\n")
    desktop.scene.aws.sso.confirm_after = 2
    result = desktop.login()
    assert result.status == 0
    assert "xdg-open failed with status 3" in result.tty
    assert "no browser was opened, so the sign-in goes on with a code" in result.tty
    assert "confirm only if it shows the code" in result.tty


def test_a_no_in_the_browser_is_told(desktop: Desktop) -> None:
    desktop.opens_with(
        "page = get(sys.argv[1])\n"
        "asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.geturl()).query))\n"
        "back = urllib.parse.urlencode({'error': 'access_denied', 'state': asked['state']})\n"
        "get(f\"{asked['redirect_uri']}?{back}\")\n"
    )
    result = desktop.login()
    assert result.status == 8
    assert "the sign-in to SSO session 'work' was refused in the browser" in result.tty


def test_a_code_with_another_state_is_refused(desktop: Desktop) -> None:
    """A page that knows the port cannot make filevault take its own code."""
    desktop.opens_with(
        "page = get(sys.argv[1])\n"
        "asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.geturl()).query))\n"
        "for query in ('code=evil&state=guess', 'code=evil', 'error=access_denied'):\n"
        "    try:\n        get(f\"{asked['redirect_uri']}?{query}\")\n"
        "    except urllib.error.HTTPError as error:\n        assert error.code == 400\n"
        "allow(page.geturl())\n"
    )
    result = desktop.login()
    assert result.status == 0, result
    assert "a request without proof says that the sign-in failed: access_denied" in result.tty
    assert len(desktop.scene.aws.sso.access) == 1


def test_ctrl_c_ends_the_wait(desktop: Desktop) -> None:
    machine = desktop.scene.machine
    desktop.opens_with("get(sys.argv[1])\nos.kill(int(open('pid').read()), 2)\n")
    machine.launcher = ("sh", "-c", 'echo $$ >pid; exec "$@" >/dev/tty 2>&1', "sh",
                        *machine.launcher[4:])  # fmt: skip
    result = desktop.login()
    assert result.status == 130
