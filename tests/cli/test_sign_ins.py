"""Sign-ins and credential sources in `list` and `status`: what is signed in, until when."""

from __future__ import annotations

import json
import time

import pytest

from filevault.sessions.lock_wait import LockWait
from filevault.sessions.token_store import TokenStore
from filevault.sources.token_records import LOGIN, SSO_CLIENT, SSO_TOKEN, TokenName, TokenRecord
from filevault.system.files import Folder
from filevault.system.times import format_time
from tests.samples import EXAMPLE_ID, PLAIN_SECRET
from tests.worlds.machine import Machine

CONFIG = """
[profile a]
sso_session = work
sso_account_id = 123456789012
sso_role_name = Admin
[profile b]
sso_session = work
sso_account_id = 123456789012
sso_role_name = ReadOnly
[profile other]
sso_session = other
sso_account_id = 123456789012
sso_role_name = ReadOnly
[profile top]
source_profile = a
role_arn = arn:aws:iam::123456789012:role/top
[profile web]
role_arn = arn:aws:iam::123456789012:role/top
web_identity_token_env = X
[profile program]
credential_process = cat x
[profile machine]
credential_source = Environment
[profile stray]
region = eu-west-1
[profile broken]
source_profile = broken-too
[sso-session work]
sso_start_url = https://work.example/start
sso_region = eu-west-1
[sso-session other]
sso_start_url = https://other.example/start
sso_region = eu-west-1
"""
SOURCES = {
    "a": "sso",
    "b": "sso",
    "other": "sso",
    "top": "profile",
    "web": "web-identity",
    "program": "process",
    "machine": "credential-source",
    "stray": None,
    "broken": None,
    "kept": "stored",
}
HOUR = 3600


@pytest.fixture
def signed_in(quick_machine: Machine) -> Machine:
    machine = quick_machine.with_vault()
    machine.write_config(CONFIG)
    machine.add("kept", EXAMPLE_ID, PLAIN_SECRET, "--no-config")
    machine.freeze(int(time.time()))
    return machine


def now_of(machine: Machine) -> float:
    """Return the time at which the machine's clock stands."""
    return float(machine.clock_file.read_text()[1:])


def keep(
    machine: Machine, kind: str, source: str, left: int | None, *, renewable: bool = False
) -> None:
    """Keep a record; what seals it does not matter for a listing."""
    now = now_of(machine)
    (path,) = (each for each in machine.state.iterdir() if len(each.name) == 32)
    with Folder.open(str(path)) as state:
        store = TokenStore(
            state,
            path.name,
            lambda: bytes(32),
            clock=lambda: now,
            wait=lambda _: LockWait(print, lambda: False, time.sleep),
            warn=print,
        )
        name = TokenName(kind, (source, kind), source)
        expires = None if left is None else int(now) + left
        store.replace(name, TokenRecord({"token": "t"}, expires, renewable))


def rows(machine: Machine) -> dict[str, list[str]]:
    """Return the sessions of each profile as the table has them."""
    found: dict[str, list[str]] = {}
    for line in machine.ok("list", "--sessions").out.splitlines():
        profile, label = line.split("\t")
        found.setdefault(profile, []).append(label)
    return found


def test_list_shows_a_sign_in_at_each_profile_that_it_is_for(signed_in: Machine) -> None:
    assert rows(signed_in) == {}
    keep(signed_in, SSO_TOKEN, "sso:work", HOUR)
    keep(signed_in, SSO_CLIENT, "sso:work", 90 * 24 * HOUR)
    keep(signed_in, SSO_TOKEN, "sso:other", -1)
    assert rows(signed_in) == {"a": ["sso:work:1h0m0s"], "b": ["sso:work:1h0m0s"]}
    keep(signed_in, SSO_TOKEN, "sso:other", -1, renewable=True)
    assert rows(signed_in)["other"] == ["sso:other:renewable"]
    table = signed_in.ok("list").out
    (line,) = (line for line in table.splitlines() if line.startswith("a "))
    assert line.split() == ["a", "-", "-", "sso:work:1h0m0s"]
    found = {each["profile"]: each for each in json.loads(signed_in.ok("list", "--json").out)}
    now = now_of(signed_in)
    assert found["a"]["signed_in"] == {
        "session": "sso:work",
        "until": format_time(now + HOUR),
        "renewable": False,
    }
    assert found["other"]["signed_in"]["renewable"] is True
    assert {name for name, each in found.items() if each["signed_in"]} == {"a", "b", "other"}


def test_the_json_says_where_credentials_come_from(signed_in: Machine) -> None:
    found = {
        each["profile"]: each["source"] for each in json.loads(signed_in.ok("list", "--json").out)
    }
    assert found == SOURCES


def test_status_says_who_is_signed_in_until_when(signed_in: Machine) -> None:
    before = signed_in.ok("status").out
    keep(signed_in, SSO_TOKEN, "sso:work", HOUR)
    keep(signed_in, LOGIN, "login:root", 2 * HOUR, renewable=True)
    keep(signed_in, SSO_TOKEN, "sso:other", -1)
    now = now_of(signed_in)
    assert signed_in.ok("status").out == before + (
        f"signed in: login:root until {format_time(now + 2 * HOUR)}, then renewed without a "
        f"question\nsigned in: sso:work until {format_time(now + HOUR)}\n"
    )


def test_nothing_is_unlocked_or_asked_for_that(signed_in: Machine) -> None:
    keep(signed_in, SSO_TOKEN, "sso:work", HOUR)
    del signed_in.env["FILEVAULT_PASSPHRASE"]
    for command in (("list",), ("list", "--json"), ("list", "--sessions"), ("status",)):
        found = signed_in.on_terminal(*command)
        assert (found.status, found.tty) == (0, "")
        assert "sso:work" in found.out
