"""Unlocking `pass` and `age` vaults: what is held serves where gpg and age cannot be asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import User
from tests.samples import JON
from tests.worlds.age_store import new_identity, protect, protect_file
from tests.worlds.aws_machine import REGION
from tests.worlds.key_cache import CODE, PASSPHRASE_TYPED, KeyCacheMachine
from tests.worlds.machine import PASSPHRASE, TypedAnswer
from tests.worlds.pass_store import GpgHome

HOUR = 3600


@pytest.fixture(scope="module")
def passphrase_gpg() -> Iterator[GpgHome]:
    """A gpg home whose key has the passphrase that a `desk` types."""
    tool("gpg")
    home = GpgHome()
    home.make_key(JON, PASSPHRASE)
    yield home
    home.close()


@pytest.fixture
def desk(empty_desk: KeyCacheMachine) -> KeyCacheMachine:
    """A machine without a vault; `jon` has an MFA device."""
    aws = empty_desk.aws
    jon = aws.add_user("jon", mfa=True)
    empty_desk.machine.write_config(
        f"[profile jon]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
        f"mfa_serial = {jon.mfa_serial}\n"
    )
    return empty_desk


def store(desk: KeyCacheMachine, jon: User, name: str = "jon") -> None:
    key = f"{jon.access_key_id}\n{jon.secret_access_key}\n"
    desk.machine.ok("add", name, "--stdin", "--no-config", stdin=key)


def age_vault(desk: KeyCacheMachine, jon: User) -> None:
    """Make an age vault that a protected identity opens."""
    desk.machine.env["FILEVAULT_BACKEND"] = "age"
    desk.machine.ok("init", "--no-passphrase")
    protect_file(desk.machine.home / ".config/filevault/identities", PASSPHRASE)
    store(desk, jon)


def pass_vault(desk: KeyCacheMachine, jon: User, gpg: GpgHome) -> None:
    """Make a pass vault whose key has a passphrase, which no pinentry asks for here."""
    desk.machine.env |= {**gpg.env(), "FILEVAULT_BACKEND": "pass"}
    desk.machine.ok("init", "--recipient", JON)
    store(desk, jon)
    gpg.forget_passphrases()


def status(desk: KeyCacheMachine) -> list[str]:
    lines = desk.machine.ok("status").out.splitlines()
    return [line.partition(" until ")[0] for line in lines[1:]]


def test_an_age_vault_is_unlocked_and_locked(desk: KeyCacheMachine, jon: User) -> None:
    age_vault(desk, jon)
    assert status(desk) == ["locked"]
    desk.prepare("export", "jon", "-t", jon.totp())
    assert desk.quietly("exec", "jon", "--", "true").status == 125
    desk.unlock()
    assert status(desk) == ["sessions: unlocked"]
    assert desk.quietly("exec", "jon", "--", "true").status == 0
    assert desk.quietly("export", "jon", "-n").status == 5
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    assert status(desk) == ["locked"]
    assert desk.quietly("exec", "jon", "--", "true").status == 125


def test_the_identities_of_an_age_vault_are_held_if_asked_for(
    desk: KeyCacheMachine, jon: User
) -> None:
    age_vault(desk, jon)
    desk.unlock("--vault-key")
    assert status(desk) == ["sessions: unlocked", "long-term keys: unlocked"]
    assert jon.secret_access_key in desk.quietly("export", "jon", "-n").out
    desk.wait(8 * HOUR + 60)
    assert status(desk) == ["locked"]
    assert desk.quietly("export", "jon", "-n").status == 5


def test_held_identities_tell_the_recipients_of_a_passage_store_without_any(
    desk: KeyCacheMachine, jon: User
) -> None:
    """Whom to encrypt to follows from the identities, so all that are protected have to be open."""
    passage = desk.machine.home / ".passage"
    (passage / "store").mkdir(parents=True)
    new_identity(desk.machine.home / "plain")
    plain = (desk.machine.home / "plain").read_bytes()
    identities = passage / "identities"
    identities.write_bytes(protect(plain, PASSPHRASE.encode()))
    identities.chmod(0o600)
    desk.machine.env["FILEVAULT_BACKEND"] = "age"
    desk.prepare("init")
    key = f"{jon.access_key_id}\n{jon.secret_access_key}\n"
    desk.prepare("add", "jon", "--stdin", "--no-config", stdin=key)
    desk.unlock("--vault-key")
    assert jon.secret_access_key in desk.quietly("export", "jon", "-n").out
    store(desk, jon, "three")
    assert jon.secret_access_key in desk.quietly("export", "three", "-n").out
    # Another file may hold other identities: what is held does not speak for it.
    identities.write_bytes(protect(plain + plain, PASSPHRASE.encode()))
    refused = desk.machine.run("add", "four", "--stdin", "--no-config", stdin=key)
    assert refused.status == 5


def test_a_passphrase_typed_for_an_age_identity_is_typed_once(
    desk: KeyCacheMachine, jon: User
) -> None:
    age_vault(desk, jon)
    if desk.place == "agent":
        desk.machine.ok("agent")
    answers = [PASSPHRASE_TYPED, TypedAnswer(CODE, jon.totp())]
    desk.typed("exec", "jon", "--", "true", answers=answers)
    assert status(desk) == ["sessions: unlocked"]
    assert desk.quietly("exec", "jon", "--", "true").status == 0


def test_a_change_of_recipients_takes_the_held_key_along(desk: KeyCacheMachine, jon: User) -> None:
    """The session key's file is another one then, and the key in it the same."""
    age_vault(desk, jon)
    desk.unlock("--ttl", "2h")
    (before,) = desk.found()
    ann = new_identity(desk.machine.home / "ann")
    desk.prepare("recipients", "add", ann)
    assert desk.found() == [before]
    assert status(desk) == ["sessions: unlocked"]
    desk.prepare("export", "jon", "-t", jon.totp())
    desk.prepare("recipients", "remove", ann)
    assert desk.found() == [before]
    assert status(desk) == ["sessions: unlocked"]
    desk.wait(2 * HOUR + 60)  # not for longer than it was to be
    assert status(desk) == ["locked"]


def test_a_pass_vault_is_unlocked_and_locked(
    desk: KeyCacheMachine, jon: User, passphrase_gpg: GpgHome
) -> None:
    pass_vault(desk, jon, passphrase_gpg)
    desk.prepare("export", "jon", "-t", jon.totp())
    desk.prepare("unlock")
    passphrase_gpg.forget_passphrases()
    assert status(desk) == ["sessions: unlocked"]
    with tempfile.TemporaryDirectory(prefix="fvg", dir="/tmp") as empty:
        Path(empty).chmod(0o700)
        nothing = {"GNUPGHOME": empty}  # nothing of gpg's can help
        assert desk.machine.run("exec", "jon", "--", "true", env=nothing).status == 0
        assert desk.machine.run("export", "jon", "-n", env=nothing).status == 5
        locked = desk.machine.ok("lock")
        root = desk.machine.home / ".password-store/aws"
        assert locked.out == f"Locked {root}; 1 key forgotten.\n"
        assert "gpg-agent keeps its own keys" in locked.err
        assert desk.machine.run("exec", "jon", "--", "true", env=nothing).status == 125
    assert status(desk) == ["locked"]


def test_the_keys_of_a_pass_vault_are_left_to_gpg_agent(
    desk: KeyCacheMachine, jon: User, passphrase_gpg: GpgHome
) -> None:
    pass_vault(desk, jon, passphrase_gpg)
    refused = desk.machine.run("unlock", "--vault-key", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert (refused.status, refused.out) == (2, "")
    assert "cached by gpg-agent" in refused.err
    assert desk.held() == []
