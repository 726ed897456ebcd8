"""Names that complete a word, from a vault of each kind that stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert kind == "words"
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
        "[profile role]\nrole_arn = x\n[sso-session corp]\n[profile -d]\n[profile a\x1b]\n"
    )
    before = Snapshot.take(keeper.machine.home)
    assert offered(keeper, "exec", "") == ["role", "jon", "team/ann"]
    assert offered(keeper, "remove", "") == ["jon", "team/ann"]
    assert offered(keeper, "rotate", "jon", "") == ["team/ann"]
    assert offered(keeper, "sso", "login", "") == ["corp", "role"]
    assert offered(keeper, "--backend", "") == ["file", "pass", "age"]
    assert offered(keeper, "--pin", "0" * 64, "exec", "") == ["role", "jon", "team/ann"]
    assert offered(keeper, "--vault", "/nowhere", "exec", "") == ["role"]
    slots = offered(keeper, "slot", "remove", "")
    recipients = offered(keeper, "recipients", "remove", "")
    assert (len(slots), len(recipients)) == ((1, 0) if kind == "file" else (0, 1))
    assert Snapshot.take(keeper.machine.home) == before
