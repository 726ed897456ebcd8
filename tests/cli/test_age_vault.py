"""An `age` vault beside the real `age`: each reads what the other wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import KEY_ID, LINES, SECRET
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.other_programs import OtherPrograms


@pytest.fixture
def age_vault(tmp_path: Path) -> Machine:
    """Jon, with an age vault of his own that a plain identity opens."""
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    return machine


def identities(machine: Machine) -> Path:
    return machine.home / ".config/filevault/identities"


def test_init_makes_an_identity_outside_the_vault(age_vault: Machine) -> None:
    assert identities(age_vault).stat().st_mode & 0o777 == 0o600
    recipient = (age_vault.vault / ".age-recipients").read_text().strip()
    shown = OtherPrograms(age_vault).run("age-keygen", "-y", str(identities(age_vault))).out.strip()
    assert shown == recipient.splitlines()[-1]


def test_what_filevault_stores_age_decrypts(age_vault: Machine) -> None:
    age_vault.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    shown = OtherPrograms(age_vault).run(
        "age", "-d", "-i", str(identities(age_vault)), str(age_vault.vault / "work.age")
    )
    assert shown.out.splitlines()[0] == SECRET
    assert f"aws_access_key_id: {KEY_ID}" in shown.out


def test_what_age_encrypts_filevault_hands_out(age_vault: Machine) -> None:
    text = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"
    for name, options in (("work", ()), ("armored", ("-a",))):
        target = str(age_vault.vault / f"{name}.age")
        argv = ["age", *options, "-R", str(age_vault.vault / ".age-recipients"), "-o", target]
        OtherPrograms(age_vault).run(*argv, stdin=text)
        given = json.loads(age_vault.ok("export", name, "-n", "--format", "json").out)
        assert (given["AccessKeyId"], given["SecretAccessKey"]) == (KEY_ID, SECRET)


def test_an_identity_comes_from_a_variable_as_a_ci_job_has_it(age_vault: Machine) -> None:
    age_vault.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    secret = next(
        line for line in identities(age_vault).read_text().splitlines() if not line.startswith("#")
    )
    identities(age_vault).unlink()
    locked = age_vault.run("export", "work", "-n")
    assert locked.status == 5
    assert "--identity" in locked.err
    result = age_vault.ok("exec", "work", "-n", "--", "env", env={"FILEVAULT_AGE_IDENTITY": secret})
    assert KEY_ID in result.out
    assert secret not in result.everything


def test_writing_needs_no_identity(age_vault: Machine) -> None:
    identities(age_vault).rename(age_vault.home / "elsewhere")
    age_vault.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    env = {"FILEVAULT_AGE_IDENTITY_FILE": str(age_vault.home / "elsewhere")}
    assert age_vault.ok("export", "work", "-n", env=env).status == 0


def test_a_protected_identity_is_unlocked_by_its_passphrase(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    assert b"AGE-SECRET-KEY" not in identities(machine).read_bytes()
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    wrong = machine.run("export", "work", "-n", env={"FILEVAULT_PASSPHRASE": "not the right one"})
    assert wrong.status == 5
    answers = [TypedAnswer("Passphrase for", PASSPHRASE)]
    shown = machine.on_terminal("export", "work", "-n", answers=answers, timeout=60)
    assert KEY_ID in shown.out


def test_recipients_are_added_and_pinned(age_vault: Machine) -> None:
    age_vault.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True)
    (age_vault.home / "ann").write_text(made.stdout)
    (age_vault.home / "ann").chmod(0o600)
    ann = made.stderr.split()[-1]
    age_vault.ok("recipients", "add", ann)
    env = {"FILEVAULT_AGE_IDENTITY_FILE": str(age_vault.home / "ann")}
    assert age_vault.ok("export", "work", "-n", env=env).status == 0
    planted = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True)
    with (age_vault.vault / ".age-recipients").open("a") as file:
        file.write(planted.stderr.split()[-1] + "\n")
    refused = age_vault.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 10
    assert not (age_vault.vault / "two.age").exists()


def test_a_passage_store_is_adopted(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    store = machine.home / ".passage/store"
    store.mkdir(parents=True)
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True)
    (machine.home / ".passage/identities").write_text(made.stdout)
    (machine.home / ".passage/identities").chmod(0o600)
    (store / ".age-recipients").write_text(made.stderr.split()[-1] + "\n")
    machine.env["FILEVAULT_BACKEND"] = "age"
    assert made.stderr.split()[-1] in machine.ok("init").out
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    assert (store / "aws/work.age").exists()
    assert machine.ok("export", "work", "-n").status == 0
