"""`verify` finds each kind of damage, and nothing in a vault that is well; it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import FakeAws
from tests.samples import JON, OTHER_ACCOUNT, SECRET, ZOE
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.damage import flip
from tests.worlds.in_process import InProcess, InProcessResult

FINE = f"{SECRET}\naws_access_key_id: AKIAQNZGKIQY56JQ7WML\nfilevault: 1 name=two\n"


@pytest.fixture
def keeper(keeper: BackendMachine) -> BackendMachine:
    """A machine with two keys, in a vault of each backend."""
    keeper.add("one")
    keeper.add("two")
    return keeper


@pytest.fixture
def file_keeper(file_keeper: BackendMachine) -> BackendMachine:
    """The same in a `file` vault alone."""
    file_keeper.add("one")
    file_keeper.add("two")
    return file_keeper


def run(keeper: BackendMachine, *argv: str, **env: str | None) -> InProcessResult:
    merged = {**keeper.machine.env, **env}
    # A thread of this process serves where AWS is asked.
    tidy = "--online" not in argv
    return InProcess({k: v for k, v in merged.items() if v is not None}, tidy=tidy).run(*argv)


def everything(keeper: BackendMachine) -> dict[str, bytes]:
    home = keeper.machine.home
    return {
        str(path): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and ".gnupg" not in str(path)
    }


def test_nothing_is_found_in_a_vault_that_is_well_and_nothing_is_changed(
    keeper: BackendMachine,
) -> None:
    before = everything(keeper)
    done = run(keeper, "verify", "--json")
    assert done.status == 0, done
    found = json.loads(done.out)
    assert (found["items"], found["errors"], found["warnings"]) == (2, 0, 0)
    assert found["findings"] == []
    assert everything(keeper) == before
    text = run(keeper, "verify")
    assert text.out.startswith(str(keeper.root))
    assert "2 keys" in text.out


class Damage(NamedTuple):
    """What is done to item `one` or the vault, and what is found."""

    do: Callable[[BackendMachine], None]
    check: str
    severity: str
    status: int
    kinds: tuple[str, ...] = KINDS


def _cut(keeper: BackendMachine) -> None:
    path = keeper.path("one")
    path.write_bytes(path.read_bytes()[:-20])


def _flipped(keeper: BackendMachine) -> None:
    flip(keeper.path("one"))


def _emptied(keeper: BackendMachine) -> None:
    keeper.path("one").write_bytes(b"")


def _conflict(keeper: BackendMachine) -> None:
    data = keeper.path("one").read_bytes()
    keeper.path("one").write_bytes(b"<<<<<<< HEAD\n" + data + b"=======\n>>>>>>> theirs\n")


def _seed(keeper: BackendMachine) -> None:
    keeper.put("mfa/jon", b"JBSWY3DPEHPK3PXP\n")
    flip(keeper.path("mfa/jon"))


def _key_for_seed(keeper: BackendMachine) -> None:
    keeper.put("mfa/jon", b"JBSWY3DPEHPK3PXP\n")
    keeper.path("mfa/jon").write_bytes(keeper.path("one").read_bytes())


def _swapped(keeper: BackendMachine) -> None:
    keeper.path("one").write_bytes(keeper.path("two").read_bytes())


def _older(keeper: BackendMachine) -> None:
    old = keeper.path("one").read_bytes()
    key = {"AWS_ACCESS_KEY_ID": "AKIAQNZGKIQY56JQ7WMM", "AWS_SECRET_ACCESS_KEY": SECRET}
    keeper.inside("add", "one", "--env", "--force", "--no-config", **key)
    keeper.path("one").write_bytes(old)


def _put_back(keeper: BackendMachine) -> None:
    old = keeper.path("one").read_bytes()
    keeper.inside("remove", "one", "--force")
    keeper.path("one").write_bytes(old)


def _no_key(keeper: BackendMachine) -> None:
    keeper.put("one", f"{SECRET}\naws_access_key_id:\nfilevault: 1 name=one\n".encode())


def _other_name_inside(keeper: BackendMachine) -> None:
    keeper.put("one", FINE.encode())


def _other_account(keeper: BackendMachine) -> None:
    text = FINE.replace("AKIAQNZGKIQY56JQ7WML", OTHER_ACCOUNT).replace("=two", "=one")
    keeper.put("one", text.encode())


def _in_rotation(keeper: BackendMachine) -> None:
    keeper.put("one", keeper.show("one") + b"rotation_started: 2026-11-23T21:45:13Z\n")


def _more_recipients(keeper: BackendMachine) -> None:
    file = keeper.store / (".gpg-id" if keeper.kind == "pass" else ".age-recipients")
    more = ZOE if keeper.kind == "pass" else _stranger(keeper)
    file.write_text(f"{file.read_text()}{more}\n")


def _stranger(keeper: BackendMachine) -> str:
    from tests.worlds.age_store import new_identity

    return new_identity(keeper.machine.home / "other-identity")


def _damaged_slot(keeper: BackendMachine) -> None:
    folder = keeper.root / ".filevault/slots"
    (folder / "0123456789abcdef.slot").write_bytes(b"hello")


DAMAGES = {
    "cut": Damage(_cut, "opens", "error", 6),
    "flipped": Damage(_flipped, "opens", "error", 6),
    "emptied": Damage(_emptied, "opens", "error", 6),
    "conflict": Damage(_conflict, "opens", "error", 6),
    "seed": Damage(_seed, "opens", "error", 6),
    "key in the place of a seed": Damage(_key_for_seed, "opens", "error", 6, ("file",)),
    "swapped": Damage(_swapped, "opens", "error", 6, ("file",)),
    "swapped where nothing is authenticated": Damage(
        _swapped, "name", "warning", 0, ("pass", "age")
    ),
    "older": Damage(_older, "generation", "error", 6, ("file",)),
    "put back": Damage(_put_back, "generation", "error", 6),
    "no key": Damage(_no_key, "opens", "error", 6),
    "other name inside": Damage(_other_name_inside, "name", "error", 6, ("file",)),
    "other account": Damage(_other_account, "account", "error", 10, ("pass", "age")),
    "in rotation": Damage(_in_rotation, "rotation", "warning", 0, ("pass", "age")),
    "more recipients": Damage(_more_recipients, "recipients", "warning", 10, ("pass", "age")),
    "damaged slot": Damage(_damaged_slot, "opens", "warning", 0, ("file",)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_kind_of_damage_is_found_and_hides_nothing(keeper: BackendMachine, name: str) -> None:
    damage = DAMAGES[name]
    if keeper.kind not in damage.kinds:
        return
    damage.do(keeper)
    before = everything(keeper)
    done = run(keeper, "verify", "--json")
    assert done.status == damage.status, done
    found = json.loads(done.out)
    assert found["items"] == 2
    assert (damage.check, damage.severity) in {
        (each["check"], each["severity"]) for each in found["findings"]
    }, found["findings"]
    assert not any("'two'" in each["subject"] for each in found["findings"] if "more" not in name)
    assert everything(keeper) == before
    assert SECRET not in done.out + done.err
    assert (done.err.count("error:") == 1) == (damage.status != 0)


def test_only_the_named_items_are_looked_at(file_keeper: BackendMachine) -> None:
    _cut(file_keeper)
    assert run(file_keeper, "verify", "two").status == 0
    assert run(file_keeper, "verify", "one", "two").status == 6
    assert run(file_keeper, "verify", "three").status == 4
    locked = file_keeper.machine.run("verify", "three", env={"FILEVAULT_PASSPHRASE": None})
    assert locked.status == 4, "known without the passphrase"
    assert run(file_keeper, "verify", "--region", "eu-west-1").status == 2


@pytest.mark.parametrize("how", ["missing", "wrong"])
def test_a_vault_that_cannot_be_opened_is_status_five(keeper: BackendMachine, how: str) -> None:
    env = keeper.missing if how == "missing" else keeper.wrong
    done = run(keeper, "verify", **env)
    assert done.status == 5, done


def test_entries_of_others_are_no_damage(tmp_path: Path, keyrings: GpgHomes) -> None:
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    keeper.add("one")
    keeper.put("mail", b"hunter2\nlogin: jon\n")
    found = json.loads(run(keeper, "verify", "--json").out)
    assert (found["items"], found["other_items"], found["findings"]) == (1, 1, [])


def test_recipients_that_are_not_signed_as_they_must_be_are_an_error(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    keeper.add("one")
    done = run(keeper, "verify", "--json", PASSWORD_STORE_SIGNING_KEY=keyrings.fingerprints[JON])
    assert done.status == 6, done
    found = json.loads(done.out)["findings"]
    assert {each["check"] for each in found} == {"recipients"}
    assert "the recipients" in {each["subject"] for each in found}


def test_sessions_are_opened_and_a_damaged_one_is_a_warning(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.ok("export", "jonsmith")
    (session,) = machine.state.glob("*/sessions/*/*.fvs")
    assert json.loads(machine.ok("verify", "--json").out)["sessions"] == 1
    session.write_bytes(session.read_bytes()[:-1] + b"x")
    done = json.loads(machine.ok("verify", "--json").out)
    (found,) = done["findings"]
    assert (done["sessions"], found["severity"]) == (1, "warning")
    assert "session" in found["subject"]


def test_aws_is_asked_about_each_key(plain: AwsMachine) -> None:
    machine = plain.machine
    done = machine.ok("verify", "--online", "--json", "--region", "eu-west-1")
    (key,) = json.loads(done.out)["keys"]
    assert key["accepted"] is True
    assert key["account"] == "123456789012"
    assert key["arn"].endswith(":user/jonsmith")
    shown = machine.ok("verify", "--online").out
    assert "accepted" in shown
    assert plain.user.secret_access_key not in shown + done.out
    plain.user.keys[plain.user.access_key_id].status = "Inactive"
    done = machine.run("verify", "--online", "--json")
    assert done.status == 8
    (key,) = json.loads(done.out)["keys"]
    assert key["accepted"] is False
    assert machine.ok("verify").status == 0


def test_where_aws_cannot_be_reached_it_is_asked_three_times(
    plain: AwsMachine, aws: FakeAws
) -> None:
    machine = plain.machine
    for number in range(5):
        name = f"more{number}"
        machine.add(name, plain.user.access_key_id, plain.user.secret_access_key, "--no-config")
    machine.write_config("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:1\n")
    done = machine.run("verify", "--online", "--json")
    assert done.status == 9
    found = json.loads(done.out)
    assert found["errors"] == 6
    assert sum("was not asked" in each["message"] for each in found["findings"]) == 3
    assert aws.url
