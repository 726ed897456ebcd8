"""`login` hands its link to a browser: a real process that plays xdg-open and what it starts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_login import HOME, leaks
from tests.conditions.other_user import NOBODY, needs_root
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import ProcessResult

# It notes every argument list and environment of the machine that it may see, then does its part:
# whatever login's end depends on comes after the record is written.
BROWSER = """#!{python}
import glob, os, sys, urllib.request
record = open({record!r}, "ab")
record.write(repr(sys.argv).encode() + b"\\n")
for name in glob.glob("/proc/[0-9]*/cmdline") + [f"/proc/{{os.getpid()}}/environ"]:
    try:
        record.write(open(name, "rb").read() + b"\\n")
    except OSError:
        pass
record.close()
def get(address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    with opener.open(address, timeout=20) as answer:
        return answer.read()
"""


class RecordingBrowser:
    """An xdg-open on the machine's PATH, and what it saw."""

    def __init__(self, scene: AwsMachine) -> None:
        self.scene = scene
        self.folder = scene.machine.home / "bin"
        self.folder.mkdir()
        self.record = scene.machine.home / "seen-by-xdg-open"
        env = scene.machine.env
        env["PATH"] = f"{self.folder}:{env['PATH']}"
        env["DISPLAY"] = ":0"
        env["AWS_ENDPOINT_URL_SIGNIN"] = scene.aws.url

    def does(self, script: str) -> None:
        """Say what it does."""
        path = self.folder / "xdg-open"
        head = BROWSER.format(python=sys.executable, record=str(self.record))
        path.write_text(head + script, encoding="utf-8")
        path.chmod(0o755)

    def seen(self) -> str:
        """Return what it recorded."""
        return self.record.read_bytes().decode("utf-8", "replace")

    def signed_in(self) -> list[tuple[str, str]]:
        """Return the sign-ins at the console; the browser may follow the link after login ends."""
        found = self.scene.aws.signin.signed_in
        deadline = time.monotonic() + 10
        while not found and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def login(self, *options: str) -> ProcessResult:
        """Log in, with everything secret looked for everywhere."""
        stolen = "a-token-of-the-environment"
        result = self.scene.machine.run(
            "login", "admin", *options, env={"AWS_SESSION_TOKEN": stolen, "FILEVAULT_DEBUG": "1"}
        )
        assert not leaks(self.scene, result.everything)
        if self.record.exists():
            assert not leaks(self.scene, self.record.read_text(errors="replace"))
            assert stolen not in self.seen()
            assert "SigninToken" not in self.seen()
        return result


def written(path: Path) -> str:
    """What the browser writes into a file; the login ends with the redirection, it goes on."""
    for _ in range(2000):
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.01)
    raise AssertionError(f"nothing was written to {path.name}")


@pytest.fixture
def browser(ready: AwsMachine) -> RecordingBrowser:
    """A ready scene with a display."""
    return RecordingBrowser(ready)


def test_a_browser_is_signed_in_without_any_process_showing_the_link(
    browser: RecordingBrowser,
) -> None:
    browser.does("get(sys.argv[1])\n")
    result = browser.login()
    assert (result.status, result.out) == (0, "")
    ((who, where),) = browser.signed_in()
    assert "assumed-role/admin" in who
    assert where == HOME
    assert "['" in browser.seen()
    assert "http://127.0.0.1:" in browser.seen()


def test_a_browser_that_stays_open_is_left_to_itself(browser: RecordingBrowser) -> None:
    browser.does(
        "get(sys.argv[1])\nimport time\n"
        f"open({str(browser.folder / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(40)\n"
    )
    assert browser.login().status == 0
    pid = int(written(browser.folder / "pid"))
    assert os.getsid(pid) == pid
    os.kill(pid, 15)


def test_an_opener_that_hands_the_address_on_and_ends_is_the_usual_case(
    browser: RecordingBrowser,
) -> None:
    browser.does(
        "opener = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    import time\n"
        "    while os.getppid() == opener:\n        time.sleep(0.01)\n"
        "    time.sleep(0.1)\n"  # login looks whether the opener failed
        "    get(sys.argv[1])\n"
    )
    assert browser.login().status == 0
    assert len(browser.signed_in()) == 1


def test_where_the_opener_fails_the_link_is_printed(browser: RecordingBrowser) -> None:
    browser.does("print('cannot open ' + sys.argv[1], file=sys.stderr)\nsys.exit(3)\n")
    result = browser.scene.machine.run("login", "admin")
    assert result.status == 0
    assert result.out.startswith(f"{browser.scene.aws.url}/federation?Action=login&")
    assert result.err == "filevault: warning: xdg-open failed with status 3\n"
    assert "SigninToken" not in browser.seen()


@needs_root
def test_root_lets_no_other_user_choose_the_browser(browser: RecordingBrowser) -> None:
    """xdg-open runs what desktop files in the home directory name."""
    browser.does("get(sys.argv[1])\n")
    os.chown(browser.scene.machine.home, NOBODY, NOBODY)
    result = browser.scene.machine.run("login", "admin")
    assert result.status == 0
    assert result.out.startswith(f"{browser.scene.aws.url}/federation?Action=login&")
    assert f"xdg-open is not run: {str(browser.scene.machine.home)!r} belongs to" in result.err
    assert not browser.record.exists()


def test_browser_names_the_browsers_display_or_not(browser: RecordingBrowser) -> None:
    machine = browser.scene.machine
    del machine.env["DISPLAY"]
    browser.does("sys.exit(3)\n")
    mine = browser.folder / "mine"
    head = BROWSER.format(python=sys.executable, record=str(browser.record))
    mine.write_text(f"{head}get(sys.argv[2].removeprefix('to='))\n", encoding="utf-8")
    mine.chmod(0o755)
    for named in (f"{mine} -n", f"no-such-browser:xdg-open:'{mine}' -n to=%s &"):
        browser.scene.aws.signin.signed_in.clear()
        machine.env["BROWSER"] = named
        result = browser.login()
        assert (result.status, result.out) == (0, ""), result
        assert len(browser.signed_in()) == 1
    machine.env["BROWSER"] = "no-such-browser:'"
    result = machine.run("login", "admin")
    assert result.status == 0
    assert result.out.startswith(f"{browser.scene.aws.url}/federation?Action=login&")
    assert "BROWSER cannot be split" in result.err


def test_the_link_can_be_fetched_once(browser: RecordingBrowser) -> None:
    """The second time nobody listens, or hangs up: the login may be about to end."""
    browser.does(
        "import http.client\nget(sys.argv[1])\n"
        "try:\n    got = repr(get(sys.argv[1]))\n"
        "except (OSError, http.client.HTTPException) as error:\n    got = 'nothing'\n"
        f"open({str(browser.folder / 'second')!r}, 'w').write(got)\n"
    )
    assert browser.login().status == 0
    assert written(browser.folder / "second") == "nothing"
    assert len(browser.signed_in()) == 1


@needs_root
def test_another_user_who_saw_the_address_is_refused(browser: RecordingBrowser) -> None:
    stolen = browser.folder / "stolen"
    browser.does(
        "import socket, urllib.parse\n"
        "place = urllib.parse.urlsplit(sys.argv[1])\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setgid(65534)\n    os.setuid(65534)\n"
        "    thief = socket.socket()\n    thief.connect(('127.0.0.1', place.port))\n"
        "    try:\n"
        "        thief.sendall(f'GET {place.path} HTTP/1.1\\r\\nHost: {place.netloc}\\r\\n\\r\\n'"
        ".encode())\n"
        "        got = thief.recv(4096)\n"
        "    except ConnectionError:\n        got = b''\n"
        "    os.write(write, b'as %d: ' % os.getuid() + got)\n    os._exit(0)\n"
        "os.close(write)\nos.wait()\n"
        f"open({str(stolen)!r}, 'wb').write(os.read(read, 4096))\n"
        "get(sys.argv[1])\n"
    )
    assert browser.login().status == 0
    assert stolen.read_bytes() == b"as 65534: "
    assert len(browser.signed_in()) == 1


def test_without_an_opener_the_link_is_printed(browser: RecordingBrowser) -> None:
    machine = browser.scene.machine
    machine.env["PATH"] = "/nowhere"
    result = machine.run("login", "admin")
    assert result.status == 0
    assert result.out.startswith(f"{browser.scene.aws.url}/federation?Action=login&")


def test_an_opener_of_the_working_directory_is_never_started(browser: RecordingBrowser) -> None:
    browser.does("get(sys.argv[1])\n")
    machine = browser.scene.machine
    machine.env["PATH"] = "bin::."
    result = machine.run("login", "admin", cwd=machine.home)
    assert result.status == 0
    assert not browser.record.exists()
