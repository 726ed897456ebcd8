"""`signin` with a real browser: Chromium on this machine, and Chromium on another device."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeAws
from tests.worlds.chromium import Chromium
from tests.worlds.login_machine import LoginMachine
from tests.worlds.machine import TIMEOUT, Machine


@pytest.fixture
def logins(quick_machine: Machine, aws: FakeAws) -> LoginMachine:
    return LoginMachine(quick_machine, aws)


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    """A browser, which is ended afterwards."""
    made = Chromium(tmp_path)
    yield made
    made.close()


def test_chromium_signs_in_on_this_machine(logins: LoginMachine, chromium: Chromium) -> None:
    machine = logins.machine
    opener = machine.home / "bin/xdg-open"
    opener.parent.mkdir()
    opener.write_text(chromium.opener())
    opener.chmod(0o700)
    machine.env |= {"DISPLAY": ":0", "PATH": f"{opener.parent}:{machine.env['PATH']}"}
    result = machine.run("signin", "console", timeout=2 * TIMEOUT)
    assert result.status == 0, result
    assert result.out == f"Signed in for profile console as {logins.user.arn}.\n"
    assert logins.aws.actions() == ["Authorize", "ExchangeCode"]
    machine.ok("export", "console")


def test_the_code_that_chromium_shows_elsewhere_is_pasted(
    logins: LoginMachine, chromium: Chromium
) -> None:
    def browse(link: str) -> str:
        found = re.search("<code>(.*?)</code>", chromium.page(link), re.DOTALL)
        assert found is not None
        return html.unescape(found[1])

    result = logins.on_terminal("signin", "console", "--remote", browse=browse)
    assert result.status == 0, result
    assert result.out == f"Signed in for profile console as {logins.user.arn}.\n"
    assert logins.aws.actions() == ["Authorize", "ExchangeCode"]
    logins.machine.ok("export", "console")
