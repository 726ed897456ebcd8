"""Recipients that are usable one by one and not together: found before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filevault.backends.age.library import library
from tests.samples import LINES
from tests.worlds.age_store import PLUGIN_RECIPIENT, bech32
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import Machine

# P-256's base point and a key of ML-KEM-768 that is all zero: both are valid public keys.
X = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
Y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
QUANTUM = bech32("age1tagpq", bytes(1184) + bytes.fromhex(f"04{X}{Y}"))
TAG = bech32("age1tag", bytes.fromhex(f"03{X}"))
PLAIN = str(library().x25519.Identity.generate().to_public())
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"

MIXED = {"X25519": PLAIN, "p256tag": TAG, "ssh": SSH}


@pytest.fixture
def age_machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    return machine


def run(machine: Machine, *argv: str, status: int) -> InProcessResult:
    ended = InProcess(machine.env).run(*argv, stdin=LINES.encode())
    assert ended.status == status, ended
    return ended


def files(machine: Machine) -> dict[str, bytes]:
    places = [machine.vault, machine.state]
    found = [path for place in places if place.exists() for path in place.rglob("*")]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def refused(ended: InProcessResult) -> None:
    assert "post-quantum" in ended.err
    assert len(ended.err.splitlines()) <= 2, ended
    assert ended.err.splitlines()[1].startswith("filevault: hint: ")


@pytest.mark.parametrize("other", MIXED)
def test_init_tries_the_whole_set(age_machine: Machine, other: str) -> None:
    refused(run(age_machine, "init", "--recipient", QUANTUM, "--recipient", MIXED[other], status=7))
    assert not age_machine.vault.exists()
    run(age_machine, "init", "--recipient", QUANTUM, status=0)


@pytest.mark.parametrize("other", MIXED)
def test_add_tries_the_whole_set(age_machine: Machine, other: str) -> None:
    run(age_machine, "init", "--recipient", MIXED[other], status=0)
    before = files(age_machine)
    refused(run(age_machine, "recipients", "add", QUANTUM, status=7))
    assert files(age_machine) == before
    run(age_machine, "add", "work", "--stdin", "--no-config", status=0)


def test_a_set_that_others_mixed_is_not_accepted(age_machine: Machine) -> None:
    run(age_machine, "init", "--recipient", PLAIN, status=0)
    recipients = age_machine.vault / ".age-recipients"
    recipients.write_text(f"{PLAIN}\n{QUANTUM}\n")
    before = files(age_machine)
    ended = run(age_machine, "recipients", "accept", status=7)
    refused(ended)
    assert ".age-recipients" in ended.err
    assert files(age_machine) == before
    recipients.write_text(f"{QUANTUM}\n")
    run(age_machine, "recipients", "accept", status=0)
    run(age_machine, "add", "work", "--stdin", "--no-config", status=0)


def test_a_mixed_store_is_not_adopted(age_machine: Machine) -> None:
    age_machine.vault.mkdir(parents=True)
    (age_machine.vault / ".age-recipients").write_text(f"{PLAIN}\n{QUANTUM}\n")
    refused(run(age_machine, "init", status=7))


def test_a_mixed_set_that_was_trusted_before_says_so_and_can_be_mended(
    age_machine: Machine,
) -> None:
    """Trust on first use pins what is there: reading must not depend on it."""
    age_machine.vault.mkdir(parents=True)
    recipients = age_machine.vault / ".age-recipients"
    recipients.write_text(f"{PLAIN}\n{QUANTUM}\n")
    stored = run(age_machine, "add", "work", "--stdin", "--no-config", status=7)
    assert "post-quantum" in stored.err
    assert "filevault recipients remove" in stored.err
    run(age_machine, "recipients", "remove", QUANTUM, "-f", status=0)
    run(age_machine, "add", "work", "--stdin", "--no-config", status=0)


def test_a_plugin_is_not_started_by_accepting(age_machine: Machine, tmp_path: Path) -> None:
    run(age_machine, "init", "--recipient", PLAIN, status=0)
    started = tmp_path / "started"
    plugin = tmp_path / "bin/age-plugin-toy"
    plugin.parent.mkdir()
    plugin.write_text(f"#!/bin/sh\n: > {started}\n")
    plugin.chmod(0o755)
    age_machine.env["PATH"] = f"{plugin.parent}:{os.environ['PATH']}"
    (age_machine.vault / ".age-recipients").write_text(f"{PLAIN}\n{PLUGIN_RECIPIENT}\n")
    run(age_machine, "recipients", "accept", status=0)
    assert not started.exists()
