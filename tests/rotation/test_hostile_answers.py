"""Answers that AWS never gives, before whole commands: no key is lost or taken for another."""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from collections.abc import Callable

import pytest

from filevault.aws import clients
from filevault.cli.commands import rotate  # noqa: F401 - loaded once
from filevault.credentials import AccessKey
from filevault.rotation import stored_item
from filevault.system.digest import sha256_hex
from filevault.vault import item
from filevault.vault.item import LongTermItem, compose
from filevault.vault.lookup import ItemFiles
from filevault.vault.rotation_fields import RotationFields, with_rotation
from filevault.vault.vault import Vault
from tests.fakes import Fault, User, hostile
from tests.fakes.faults import error, rewrite
from tests.fakes.identities import new_key_id, new_secret
from tests.samples import EXAMPLE_ID, PLAIN_SECRET
from tests.worlds.machine import PASSPHRASE
from tests.worlds.providers import role_arn
from tests.worlds.rotation import RotationMachine

DAY = 86400
Answer = Callable[["Two"], tuple[str | None, str | None, str | None]]


class Two:
    """Two users with stored keys, and a third key that another item waits to retire."""

    def __init__(self, scene: RotationMachine) -> None:
        self.scene = scene
        self.jon: User = scene.user()
        self.bob: User = scene.user("bob")
        self.ann: User = scene.user("ann")
        key = scene.aws.add_access_key(self.ann)
        self.previous = AccessKey(key.access_key_id, key.secret_access_key)
        waiting = RotationFields(previous=self.previous, deactivated=scene.now(), grace=DAY)
        scene.store("ann", with_rotation(scene.text("ann"), waiting))
        self.names = ("jon", "bob", "ann")
        self.before = {name: scene.item(name).key for name in self.names}

    def fault(self, key_id: str | None, secret: str | None, user_name: str | None) -> Fault:
        """Let AWS make a key, and answer with other values where they are given."""
        wanted = {"AccessKeyId": key_id, "SecretAccessKey": secret, "UserName": user_name}

        def change(body: bytes) -> bytes:
            text = body.decode()
            for name, value in wanted.items():
                if value is not None:
                    old = re.search(f"<{name}>[^<]*<", text)
                    assert old is not None
                    text = text.replace(old[0], f"<{name}>{value}<")
            return text.encode()

        return rewrite(change)

    def check_nothing_lost(self) -> None:
        """Require that every item hands out the key it had, and that AWS takes it."""
        for name, key in self.before.items():
            assert self.scene.item(name).key == key
            assert self.scene.works(name), name
        assert self.scene.rotation("ann").previous == self.previous
        assert self.previous.access_key_id in self.scene.aws.directory.keys


ANSWERS: dict[str, Answer] = {
    "the old id": lambda two: (two.jon.access_key_id, None, None),
    "the old key": lambda two: (two.jon.access_key_id, two.jon.secret_access_key, None),
    "the old id in lower case": lambda two: (two.jon.access_key_id.lower(), None, None),
    "another item's id": lambda two: (two.bob.access_key_id, None, None),
    "another item's key": lambda two: (
        two.bob.access_key_id,
        two.bob.secret_access_key,
        "jon",
    ),
    "an id that waits to be retired": lambda two: (two.previous.access_key_id, None, None),
    "no id": lambda _: ("", None, None),
    "an id with a line end": lambda two: (f"{two.jon.access_key_id}&#10;x: y", None, None),
    "a session's id": lambda _: (new_key_id("123456789012").replace("AKIA", "ASIA"), None, None),
    "another account's id": lambda _: (new_key_id("999988887777"), None, None),
    "an id that looks like a secret": lambda _: (PLAIN_SECRET, None, None),
    "an id that nobody has": lambda _: (new_key_id("123456789012"), new_secret(), None),
    "the old secret": lambda two: (None, two.jon.secret_access_key, None),
    "another item's secret": lambda two: (None, two.bob.secret_access_key, None),
    "no secret": lambda _: (None, "", None),
    "a secret that looks like an id": lambda _: (None, EXAMPLE_ID, None),
    "a secret with a line end": lambda _: (None, f"{new_secret()}&#10;x: y", None),
    "a secret that is wrong": lambda _: (None, new_secret(), None),
    "another user's name": lambda _: (None, None, "bob"),
}


def _check_answer(two: Two, name: str) -> None:
    """Put an answer before CreateAccessKey, and the user's keys back to what they were."""
    scene = two.scene
    key_id, secret, user_name = ANSWERS[name](two)
    scene.aws.arm(two.fault(key_id, secret, user_name), action="CreateAccessKey")
    ended = scene.rotate("jon", status=None)
    assert ended.status in (8, 9), ended
    assert ended.err.count("filevault: error: ") == 1
    assert "takes the place" not in ended.out + ended.err
    two.check_nothing_lost()
    for shown in (secret, PLAIN_SECRET):
        assert not shown or shown not in ended.err
    deletions = [call for call in scene.aws.calls if call.action == "DeleteAccessKey"]
    held = {two.jon.access_key_id, two.bob.access_key_id, two.previous.access_key_id}
    assert not held & {call.parameters["AccessKeyId"].upper() for call in deletions}
    for each in set(scene.keys(two.jon)) - {two.jon.access_key_id}:
        # What AWS made, and nobody has the secret of.
        assert each in ended.err
        assert f"filevault rotate jon --delete-orphan {each}" in ended.err
        scene.aws.directory.delete_access_key(two.jon.keys[each])


@pytest.mark.parametrize("first", range(3))
def test_no_answer_to_create_access_key_costs_a_key(rotating: RotationMachine, first: int) -> None:
    two = Two(rotating)
    for name in [*ANSWERS][first::3]:
        _check_answer(two, name)
    rotating.rotate("jon")
    rotating.check_rotated(two.jon, "jon")


@pytest.mark.parametrize("denied", [[], ["iam:ListAccessKeys"]])
def test_an_answer_that_cannot_be_read_names_the_key(
    rotating: RotationMachine, denied: list[str]
) -> None:
    user = rotating.user(denied=denied)
    rotating.aws.arm(hostile.STRUCTURES["5,000 levels"], action="CreateAccessKey")
    ended = rotating.rotate("jon", status=9)
    (orphan,) = set(rotating.keys(user)) - {user.access_key_id}
    assert f"--delete-orphan {orphan}" in ended.err
    assert rotating.works("jon")
    rotating.rotate("jon", "--delete-orphan", orphan)
    rotating.check_rotated(user, "jon")


def test_a_known_id_is_reported_as_failed(rotating: RotationMachine) -> None:
    two = Two(rotating)
    rotating.aws.arm(two.fault(two.jon.access_key_id, None, None), action="CreateAccessKey")
    (row,) = rotating.report("jon", status=9)
    (made,) = set(rotating.keys(two.jon)) - {two.jon.access_key_id}
    assert (row["result"], row["new_key"], row["orphan"]) == ("failed", None, made)


def test_a_new_key_that_was_there_before_is_not_gone_on_with(rotating: RotationMachine) -> None:
    """What an earlier version may have left in an item."""
    user = rotating.user()
    other = rotating.aws.add_access_key(user)
    known = (user.access_key_id, other.access_key_id)
    next_key = AccessKey(other.access_key_id, other.secret_access_key)
    text = with_rotation(rotating.text("jon"), RotationFields(rotating.now(), known, next_key))
    rotating.store("jon", text)
    ended = rotating.rotate("jon", status=8)
    assert "was there before it" in ended.err
    assert set(rotating.keys(user)) == set(known)


# Every hostile answer before every call of a rotation

CALLS = (
    ("GetCallerIdentity", 1),
    ("ListAccessKeys", 1),
    ("CreateAccessKey", 1),
    ("GetCallerIdentity", 2),
    ("UpdateAccessKey", 1),
    ("DeleteAccessKey", 1),
)
TABLE: dict[str, Fault] = {
    **{f"date: {name}": hostile.dated(value) for name, value in hostile.DATES.items()},
    **hostile.STRUCTURES,
    **hostile.ERRORS,
}
EVERY = [(name, *call) for name in TABLE for call in CALLS]


def _check(scene: RotationMachine, name: str, action: str, nth: int) -> None:
    user = scene.user()
    scene.aws.arm(TABLE[name], action=action, nth=nth)
    ended = scene.rotate("jon", status=None)
    assert ended.status in (0, 8, 9, 12), ended
    assert ended.err.count("filevault: error: ") == (1 if ended.status else 0)
    assert scene.works("jon") or ended.status == 12, ended
    made = [call.returned_access_key_id for call in scene.aws.calls]
    for orphan in set(scene.keys(user)) - {user.access_key_id, scene.item("jon").key.access_key_id}:
        held = scene.rotation("jon").next
        assert orphan in made
        assert (held is not None and held.access_key_id == orphan) or orphan in ended.err, ended
    if ended.status:
        scene.aws.faults.clear()
        again = scene.rotate("jon", status=None)
        for orphan in re.findall(r"--delete-orphan (AKIA\w+)", again.err):
            scene.rotate("jon", "--delete-orphan", orphan)
    if scene.item("jon").key.access_key_id == user.access_key_id:
        scene.rotate("jon")
    scene.check_rotated(user, "jon")


@pytest.mark.parametrize(("name", "action", "nth"), EVERY[::41])
def test_a_hostile_answer_to_a_call_of_a_rotation(
    rotating: RotationMachine, name: str, action: str, nth: int
) -> None:
    _check(rotating, name, action, nth)


@pytest.mark.torture
@pytest.mark.parametrize(("name", "action", "nth"), EVERY)
def test_every_hostile_answer_to_every_call_of_a_rotation(
    rotating: RotationMachine, name: str, action: str, nth: int
) -> None:
    _check(rotating, name, action, nth)


def test_a_dripping_answer_ends_a_rotation(
    rotating: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = rotating.user()
    monkeypatch.setattr(clients, "_SHORT_DEADLINE", 0.3)
    drip = hostile.dripping(rotating.aws.faults.wait)
    rotating.aws.arm(drip, action="DeleteAccessKey")
    rotating.rotate("jon")  # asked again, and then it is gone
    assert rotating.aws.actions().count("DeleteAccessKey") == 2
    rotating.check_rotated(user, "jon")


# No lock of the vault is held while AWS is asked


def test_the_vault_is_free_during_every_call(rotating: RotationMachine) -> None:
    user = rotating.user(mfa_serial="arn:aws:iam::123456789012:mfa/jon")
    rotating.aws.add_role("admin")
    rotating.config(
        f"[profile jon]\n[profile admin]\nsource_profile = jon\nrole_arn = {role_arn('admin')}\n"
    )
    held: list[str] = []

    def watch(action: str) -> None:
        fd = os.open(rotating.machine.vault, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(action)
        finally:
            os.close(fd)

    rotating.aws.watch = watch
    seen: set[str] = set()
    other = rotating.aws.add_access_key(user)
    for command in (
        ("export", "jon"),
        ("export", "admin"),
        ("login", "admin", "--stdout"),
        ("rotate", "jon", "--delete-orphan", other.access_key_id),
        ("rotate", "jon", "--grace", "1h"),
    ):
        rotating.aws.reset_calls()
        rotating.run(*command, status=None)
        seen |= set(rotating.aws.actions())
    rotating.aws.delay_new_keys(seconds=10**6)
    rotating.rotate("jon", "--grace", "0", status=None)
    assert held == []
    assert {"GetSessionToken", "AssumeRole", "CreateAccessKey", "DeleteAccessKey"} <= seen


def test_a_key_that_is_stored_while_it_is_deactivated_is_made_active_again(
    rotating: RotationMachine,
) -> None:
    """Another writer need not wait for AWS, so the vault is looked at once more."""
    user = rotating.user()
    key = f"{user.access_key_id}\n{user.secret_access_key}\n".encode()

    def watch(action: str) -> None:
        if action == "UpdateAccessKey":
            rotating.aws.watch = lambda _: None
            rotating.run("add", "again", "--stdin", "--no-config", stdin=key)

    rotating.aws.watch = watch
    ended = rotating.rotate("jon", status=12)
    assert "uses; it was made active again" in ended.err
    assert rotating.keys(user)[user.access_key_id] == "Active"
    assert rotating.works("again")


# How long a session says that it lives


@pytest.mark.parametrize("operation", ["GetSessionToken", "AssumeRole"])
def test_a_session_is_held_against_what_was_asked_for(
    rotating: RotationMachine, operation: str
) -> None:
    rotating.aws.clock.freeze()
    rotating.user()
    rotating.aws.add_role("admin")
    rotating.config(
        f"[profile jon]\n[profile admin]\nsource_profile = jon\nrole_arn = {role_arn('admin')}\n"
    )
    profile = "jon" if operation == "GetSessionToken" else "admin"
    command = ("export", profile, "--format", "json", "--duration", "1h", "--no-cache")
    rotating.aws.arm(hostile.dated("9999-12-31T23:59:59Z"), action=operation)
    end = re.search(r'"Expiration": ?"([^"]+)"', rotating.run(*command).out)
    rotating.aws.clock.advance(3600)
    assert end is not None
    assert end[1] == rotating.now()
    rotating.aws.arm(hostile.dated("1970-01-01T00:00:00Z"), action=operation)
    ended = rotating.run(*command, status=8)
    assert "a session that ended at 1970-01-01T00:00:00Z" in ended.err


# A rotation between reading a key and calling with it


@pytest.mark.parametrize("profile", ["jon", "admin", "device"])
def test_a_key_that_was_replaced_meanwhile_is_read_once_more(
    rotating: RotationMachine, profile: str
) -> None:
    serial = "arn:aws:iam::123456789012:mfa/jon"
    user = rotating.user(mfa_serial=serial)
    rotating.aws.add_role("admin")
    rotating.config(
        f"[profile jon]\n[profile device]\nsource_profile = jon\nmfa_serial = {serial}\n"
        f"[profile admin]\nsource_profile = jon\nrole_arn = {role_arn('admin')}\n"
    )

    def watch(_action: str) -> None:
        rotating.aws.watch = lambda _: None
        rotating.run("rotate", "jon")

    rotating.aws.watch = watch
    code = ("-t", user.totp(serial)) if profile == "device" else ()
    first = "--no-session" if profile == "admin" else "--no-cache"
    rotating.run("export", profile, first, *code)
    rotating.check_rotated(user, "jon")


def test_a_key_that_was_not_replaced_is_not_tried_again(rotating: RotationMachine) -> None:
    rotating.user()
    unknown = error("InvalidClientTokenId", "The security token included is invalid.", 403)
    rotating.aws.arm(unknown, action="GetSessionToken", times=5)
    ended = rotating.run("export", "jon", status=8)
    assert "does not know the access key" in ended.err
    assert rotating.aws.faults.pending == 1
    assert rotating.aws.actions().count("GetSessionToken") == 1


# Very many items


def _work(scene: RotationMachine, count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how often a dry run of so many keys opens an item, and how often it parses one."""
    opened = Vault.decrypt
    done = [0, 0]

    def decrypt(self: Vault, files: ItemFiles) -> bytes:
        done[0] += 1
        return opened(self, files)

    def parse(text: bytes, what: str) -> LongTermItem:
        done[1] += 1
        return item.parse(text, what)

    for number in range(count):
        key = AccessKey(new_key_id("123456789012"), new_secret())
        text = compose(f"p{number}", key, created=scene.now(), created_from="add")
        scene.store(f"p{number}", text)
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "decrypt", decrypt)
        patch.setattr(stored_item, "parse", parse)
        report = scene.report("--all", "--dry-run")
    assert [row["result"] for row in report] == ["planned"] * count
    return done[0], done[1]


def test_a_dry_run_does_work_in_proportion_to_the_items(
    rotating: RotationMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 90  # more than are kept parsed
    assert _work(rotating, count, monkeypatch) == (count, 2 * count)


# A process counts the memory of the one that started it, so a small one does.
_MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print("KiB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.torture
@pytest.mark.parametrize("section", ["", "[profile p{}]\n"], ids=["no sections", "sections"])
def test_a_dry_run_of_very_many_items_takes_little_memory(
    rotating: RotationMachine, section: str
) -> None:
    rotating.aws.clock.freeze()  # so that what was seen is what is there
    _fill(rotating, 100_000)
    rotating.config("".join(map(section.format, range(100_000))))
    machine = rotating.machine
    machine.launcher = (sys.executable, "-c", _MEASURE, *machine.launcher)
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE}
    result = machine.run("rotate", "--all", "--dry-run", env=env, timeout=300)
    assert result.status == 0, result.err[:500]
    assert result.out.count("would be replaced") == 100_000
    assert int(result.err.split()[-1]) < 175 << 10


def _fill(scene: RotationMachine, count: int) -> None:
    """Store keys that this machine has seen before."""
    seen = {}
    for number in range(count):
        name = f"p{number}"
        key = AccessKey(f"AKIA{number:016}", f"{number:040}")
        text = compose(name, key, created=scene.now(), created_from="add")
        scene.store(name, text)
        data = (scene.machine.vault / f"{name}.fv").read_bytes()
        seen[name] = {
            "generation": int(scene.aws.clock()) + 1000,
            "sha256": sha256_hex(data),
            "created": scene.now(),
            "created_from": "add",
        }
    (path,) = scene.machine.state.glob("*/trust.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "items": seen}))
