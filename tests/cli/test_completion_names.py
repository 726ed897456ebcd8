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
    assert offered(keeper, "sso", "login", "") == ["corp", "role"]
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
