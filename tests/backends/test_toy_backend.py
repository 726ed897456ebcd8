"""What a fourth backend takes: one record in the registry, and nothing else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from filevault.backends import BACKENDS
from filevault.system.files import Folder
from tests.backends.contract import *  # noqa: F403 - the contract's tests run here
from tests.backends.toy import TOY, ToyBackend, create
from tests.samples import KEY_ID, LINES, SECRET
from tests.worlds.machine import LAUNCHER, PASSPHRASE, ROOT, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTERED = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from filevault.backends import BACKENDS
from tests.backends.toy import TOY
BACKENDS[TOY.name] = TOY
runpy.run_path({LAUNCHER!r}, run_name="__main__")
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, TOY.name, TOY)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ToyBackend]:
    with Folder.make(str(tmp_path / "vault")) as root:
        yield create(root)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[ToyBackend]:
    with Folder.make(str(tmp_path / "other")) as root:
        yield create(root)


@pytest.fixture
def toy_machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "home")
    machine.launcher = (sys.executable, "-c", REGISTERED)
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    return machine


def test_the_command_line_works_with_a_fourth_backend(toy_machine: Machine) -> None:
    made = toy_machine.ok("--backend", "toy", "init")
    assert str(toy_machine.vault) in made.out
    # From here on the marker says which backend it is.
    toy_machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    toy_machine.ok("add", "team/prod", "--stdin", "--no-config", stdin=LINES)
    assert sorted(path.name for path in toy_machine.vault.rglob("*.toy")) == [
        "prod.toy",
        "work.toy",
    ]
    assert "team/prod" in toy_machine.ok("list").out
    given = toy_machine.ok("exec", "work", "-n", "--", "sh", "-c", "echo $AWS_SECRET_ACCESS_KEY")
    assert given.out == f"{SECRET}\n"
    shown = json.loads(toy_machine.ok("export", "team/prod", "-n", "--format", "json").out)
    assert shown["AccessKeyId"] == KEY_ID
    toy_machine.ok("remove", "work", "--force")
    assert "work" not in toy_machine.ok("list").out
    assert "backend: toy" in toy_machine.ok("recipients", "list").out
    assert "(toy)" in toy_machine.run("status").out


def test_what_a_fourth_backend_lacks_is_refused_by_its_name(toy_machine: Machine) -> None:
    toy_machine.ok("--backend", "toy", "init")
    for command in (("passphrase",), ("slot", "add", "--generate"), ("rekey",)):
        refused = toy_machine.run(*command)
        assert refused.status == 2, refused
        assert "a toy vault has no " in refused.err
        assert TOY.keys_hint in refused.err
    refused = toy_machine.run("recipients", "add", "age1abc")
    assert (refused.status, "a toy vault" in refused.err) == (2, True)


def test_a_changed_item_of_a_fourth_backend_is_noticed(toy_machine: Machine) -> None:
    toy_machine.ok("--backend", "toy", "init")
    toy_machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    item = toy_machine.vault / "work.toy"
    old = item.read_bytes()
    toy_machine.advance(100)
    toy_machine.ok("add", "work", "--stdin", "--no-config", "--force", stdin=LINES)
    item.write_bytes(old)
    assert toy_machine.run("--strict", "export", "work", "-n").status == 6


def test_a_name_that_is_in_no_registry_lists_them_all(toy_machine: Machine) -> None:
    refused = toy_machine.run("--backend", "keychain", "list")
    assert "the backends are file, pass, age and toy" in refused.err
