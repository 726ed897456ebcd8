"""Names that complete a word, from a vault of each kind that stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.cli.completion.regions import REGIONS
from tests.conditions.tools import tool
from tests.faults.harness import Snapshot
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.in_process import InProcess


def offered(keeper: BackendMachine, *words: str) -> list[str]:
    """Return the words that zsh would get; nothing else may be printed."""
    missing = {name: value or "" for name, value in keeper.missing.items()}
    done = InProcess({**keeper.machine.env, **missing}).run("__complete", "zsh", *words)
    assert (done.status, done.err) == (0, "")
    kind, *lines = done.out.splitlines()
    assert kind == ("folders" if "--to=" in words else "words")
    return [line.partition("\t")[0] for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_completion_reads_names_and_changes_nothing(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    """Without anything that opens the vault, and with the pin of another one."""
    if kind == "age":
        tool("age")
    keeper = BackendMachine(kind, tmp_path / "home", keyrings)
    for name in ("jon", "team/ann", "b\x1b"):
        keeper.add(name)
    keeper.machine.write_config(
        "[profile role]\nrole_arn = x\nmfa_serial=arn:aws:iam::123456789012:mfa/jon \n"
        "region = moon-1\n[sso-session corp]\nsso_region = eu-west-3\n"
        "[profile -d]\nrole_arn = x\nregion = not one\nsso_account_id: 123456789012\n"
        "[profile a\x1b]\n# sso_role_name = off\nsso_role_name = Admin\n"
    )
    before = Snapshot.take(keeper.machine.home)
    assert offered(keeper, "exec", "") == ["role", "jon", "team/ann"]
    assert offered(keeper, "remove", "") == ["jon", "team/ann"]
    assert offered(keeper, "rotate", "jon", "") == ["team/ann"]
    assert offered(keeper, "sso", "login", "") == ["corp"]
    assert offered(keeper, "add", "") == ["role"]
    assert offered(keeper, "--backend", "") == ["file", "pass", "age"]
    assert offered(keeper, "migrate", "--to=") == ["file", "pass", "age"]
    assert offered(keeper, "add", "--mfa-serial", "") == ["arn:aws:iam::123456789012:mfa/jon"]
    assert offered(keeper, "serve", "--allow-role", "") == ["x"]
    assert offered(keeper, "sso", "list", "--account", "") == ["123456789012"]
    assert offered(keeper, "sso", "list", "--role", "") == ["Admin"]
    assert offered(keeper, "exec", "--region", "") == ["moon-1", *REGIONS]
    prefixes = {"file": [], "pass": ["aws", "aws/team"], "age": ["team"]}
    assert offered(keeper, "list", "--prefix", "") == prefixes[kind]
    assert offered(keeper, "--pin", "0" * 64, "exec", "") == ["role", "jon", "team/ann"]
    assert offered(keeper, "--vault", "/nowhere", "exec", "") == ["role"]
    slots = offered(keeper, "slot", "remove", "")
    recipients = offered(keeper, "recipients", "remove", "")
    assert (len(slots), len(recipients)) == ((1, 0) if kind == "file" else (0, 1))
    assert Snapshot.take(keeper.machine.home) == before


CONFIG = """
[sso-session corp]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
[profile staff]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Staff
[profile admin]
source_profile = staff
role_arn = arn:aws:iam::123456789012:role/admin
[profile own-url]
sso_start_url = https://other.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = Staff
[profile console]
login_session = arn:aws:iam::123456789012:user/jon
[profile of-console]
source_profile = console
role_arn = arn:aws:iam::123456789012:role/admin
[profile ci]
credential_process = /bin/true
[profile plain]
region = eu-west-1
[profile jon]
[profile broken]
source_profile = nowhere
role_arn = arn:aws:iam::123456789012:role/admin
"""


@pytest.fixture
def various(tmp_path: Path) -> BackendMachine:
    """A machine with the key `jon` and profiles of several kinds."""
    keeper = BackendMachine("file", tmp_path / "home")
    keeper.add("jon")
    keeper.machine.write_config(CONFIG)
    return keeper


def test_each_command_is_offered_what_it_can_use(various: BackendMachine) -> None:
    for action in ("login", "logout", "list", "profiles"):
        assert offered(various, "sso", action, "") == ["corp", "staff", "admin", "own-url"]
    assert offered(various, "signin", "") == ["console", "plain"]
    everything = [
        "staff", "admin", "own-url", "console", "of-console", "ci", "plain", "jon", "broken",
    ]  # fmt: skip
    unused = [name for name in everything if name != "jon"]
    assert offered(various, "add", "") == unused
    assert offered(various, "copy", "jon", "") == unused
    assert offered(various, "rename", "jon", "") == unused
    assert offered(various, "import", "--name", "") == unused
    for words in (
        ("add", "--force", ""),
        ("rename", "-f", "jon", ""),
        ("import", "--force", "--name", ""),
        ("import", "--force", "--name="),
        ("copy", "--to=/elsewhere", "jon", ""),
        ("exec", ""),
        ("list", ""),
    ):
        assert offered(various, *words) == everything, words
    for command in ("remove", "rotate", "verify", "rename", "copy"):
        assert offered(various, command, "") == ["jon"], command
    for command in ("remove", "rotate", "verify"):
        assert offered(various, command, "jon", "") == [], command


def test_clear_is_offered_what_has_something_to_clear(various: BackendMachine) -> None:
    assert offered(various, "clear", "") == []
    (state,) = various.machine.state.iterdir()
    for name in ("sessions/jon/1.fv", "sessions/gone/2.fv", "sso/3.fv"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).touch()
    (state / "sessions/emptied").mkdir()
    (state / "login").mkdir()
    before = Snapshot.take(various.machine.home)
    assert offered(various, "clear", "") == ["gone", "jon", "staff", "own-url"]
    (state / "login/4.fv").touch()
    assert offered(various, "clear", "") == ["gone", "jon", "console", "staff", "own-url"]
    assert offered(various, "clear", "gone", "") == ["jon", "console", "staff", "own-url"]
    (state / "login/4.fv").unlink()
    assert Snapshot.take(various.machine.home) == before
