"""The AWS account of the key in a shared store, where its id tells it and where it does not."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from filevault.credentials import account_of
from filevault.vault.vault import Vault
from tests.fakes import FakeAws, User
from tests.samples import EXAMPLE_ID
from tests.worlds.machine import Machine
from tests.worlds.rotation import RotationMachine

FOREIGN = "999999999999"
OLD_IDS = {
    "jon": EXAMPLE_ID,
    "own": "AKIAJOSFODNN7EXAMPLE",
    "eve": "AKIAIEVEEVEEVEEVEEVE",
}
CALL = ("export", "jon", "--no-cache")
NO_CALL = ("export", "jon", "-n")


class AccountCase(NamedTuple):
    """What is known of a key, what replaces it, and how a run with and without a call ends."""

    before: str
    learned: bool
    after: str
    with_call: int
    without: int


CASES = [
    # The id tells the account: nothing needs to be asked.
    AccountCase("new", False, "own new", 0, 0),
    AccountCase("new", False, "foreign new", 10, 10),
    # It does not any more: only AWS can tell.
    AccountCase("new", False, "own old", 0, 10),
    AccountCase("new", False, "foreign old", 10, 10),
    # It never did, and AWS told it while the id was trusted.
    AccountCase("old", True, "own new", 0, 0),
    AccountCase("old", True, "foreign new", 10, 10),
    AccountCase("old", True, "own old", 0, 10),
    AccountCase("old", True, "foreign old", 10, 10),
    # It never did, and nothing was learned.
    AccountCase("old", False, "own new", 10, 10),
    AccountCase("old", False, "foreign new", 10, 10),
    AccountCase("old", False, "own old", 10, 10),
    AccountCase("old", False, "foreign old", 10, 10),
]


class SharedAgeVault:
    """An age vault with Jon's key, which others can write past filevault."""

    def __init__(self, machine: Machine, aws: FakeAws, before: str) -> None:
        machine.env["FILEVAULT_BACKEND"] = "age"
        self.aws = aws
        self.scene = RotationMachine(machine, aws, ("--no-passphrase",))
        self.scene.config("[profile jon]\n")
        old = OLD_IDS["jon"] if before == "old" else None
        self.jon = aws.add_user("jon", access_key_id=old)
        self.scene.add("jon", self.jon.access_key_id, self.jon.secret_access_key)
        assert (account_of(self.jon.access_key_id) is None) == (before == "old")

    def key(self, kind: str) -> tuple[str, str]:
        """Make a key of Jon's or of another account's user; return id and secret."""
        whose, form = kind.split()
        if whose == "foreign":
            old = OLD_IDS["eve"] if form == "old" else None
            eve: User = self.aws.add_user("eve", account=FOREIGN, access_key_id=old)
            return eve.access_key_id, eve.secret_access_key
        key = self.aws.directory.add_access_key(self.jon, OLD_IDS["own"] if form == "old" else None)
        return key.access_key_id, key.secret_access_key

    def plant(self, key_id: str, secret: str) -> None:
        """Replace the item, as anybody can who can write the store and read its recipients."""
        from filevault.backends.age.library import library

        pyrage = library()

        recipients = (self.scene.machine.vault / ".age-recipients").read_text().split()
        to = [pyrage.x25519.Recipient.from_str(each) for each in recipients]
        text = f"{secret}\naws_access_key_id: {key_id}\nfilevault: 1 name=jon\n"
        (self.scene.machine.vault / "jon.age").write_bytes(pyrage.encrypt(text.encode(), to))

    def remembered(self) -> dict[str, str]:
        """Return what is remembered of the item."""
        (trust,) = self.scene.machine.state.glob("*/trust.json")
        item: dict[str, str] = json.loads(trust.read_bytes())["items"]["jon"]
        return item


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)).replace(" ", "-"))
def test_another_key_in_the_place_of_one(machine: Machine, aws: FakeAws, case: AccountCase) -> None:
    store = SharedAgeVault(machine, aws, case.before)
    run = store.scene.run
    if case.learned:
        run(*CALL)
        assert store.remembered()["account"] == store.jon.account
    planted = store.key(case.after)
    store.plant(*planted)
    aws.reset_calls()
    without = run(*NO_CALL, "--strict", status=case.without)
    assert aws.actions() == []
    call = run(*CALL, "--strict", status=case.with_call)
    for ended in (without, call):
        if ended.status:
            assert "filevault recipients accept jon" in ended.err
            assert (ended.out, planted[1] in ended.err) == ("", False)
    if case.with_call == 10:
        assert "GetSessionToken" not in aws.actions(), "a key that is not trusted made a session"
        run("recipients", "accept", "jon")
    else:
        assert store.remembered()["account"] == store.jon.account
    run(*NO_CALL, "--strict")
    run(*CALL, "--strict")


@pytest.mark.parametrize(
    ("learned", "words", "when"),
    [
        *(
            (learned, words, when)
            for learned in (True, False)
            for words in (NO_CALL, ("verify",), ("verify", "--online"), CALL)
            for when in ("read_files", "decrypt")
        ),
        (False, CALL, "record_account"),
    ],
)
def test_a_rotation_meanwhile_is_no_alarm_and_what_it_recorded_stays(
    machine: Machine,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    learned: bool,
    words: tuple[str, ...],
    when: str,
) -> None:
    """Another process rotates the key of an item while a slow one is about to do `when`."""
    store = SharedAgeVault(machine, aws, "old")
    if learned:
        store.scene.run(*CALL)
    rotated: list[str] = []
    slow = getattr(Vault, when)

    def rotate() -> None:
        if not rotated:
            rotated.append(store.jon.access_key_id)
            machine.ok("rotate", "jon")

    def called(*args: Any) -> Any:
        if when != "decrypt":
            rotate()
        result = slow(*args)
        rotate()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Vault, when, called)
        ended = store.scene.run(*words, "--strict")
    assert rotated
    assert "warning" not in ended.err
    (key,) = store.jon.keys.values()
    assert store.remembered()["key_id"] == key.access_key_id
    assert store.scene.run("verify", "--strict").err == ""
    store.scene.run(*NO_CALL, "--strict")


def test_an_account_is_asked_for_once(machine: Machine, aws: FakeAws) -> None:
    store = SharedAgeVault(machine, aws, "old")
    for asked in (["GetSessionToken", "GetCallerIdentity"], ["GetSessionToken"]):
        aws.reset_calls()
        store.scene.run(*CALL)
        assert aws.actions() == asked
    store.plant(*store.key("own old"))
    for asked in (["GetCallerIdentity", "GetSessionToken"], ["GetSessionToken"]):
        aws.reset_calls()
        store.scene.run(*CALL)
        assert aws.actions() == asked


def test_an_id_that_tells_its_account_needs_no_question(machine: Machine, aws: FakeAws) -> None:
    store = SharedAgeVault(machine, aws, "new")
    store.scene.run(*CALL)
    assert aws.actions() == ["GetSessionToken"]


def test_the_account_of_a_federated_user_is_told_by_the_answer(
    machine: Machine, aws: FakeAws
) -> None:
    store = SharedAgeVault(machine, aws, "old")
    aws.reset_calls()
    store.scene.run("login", "jon", "--stdout", status=None)
    assert "GetFederationToken" in aws.actions()
    assert aws.actions().count("GetCallerIdentity") == 1, "the one that names the session"
    assert store.remembered()["account"] == store.jon.account


def test_where_aws_is_not_reached_nothing_is_taken_for_granted(
    machine: Machine, aws: FakeAws
) -> None:
    store = SharedAgeVault(machine, aws, "old")
    store.scene.run(*CALL)
    store.plant(*store.key("own old"))
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    ended = store.scene.run(*CALL, status=10, env=env)
    assert "does not contain its AWS account" in ended.err


def test_rotation_asks_too_and_learns(machine: Machine, aws: FakeAws) -> None:
    store = SharedAgeVault(machine, aws, "old")
    store.scene.rotate("jon")
    assert store.remembered()["account"] == store.jon.account
    (key,) = store.jon.keys.values()
    assert store.remembered()["key_id"] == key.access_key_id
    store.plant(*store.key("foreign old"))
    assert store.scene.rotate("jon", "--dry-run", status=None).status != 0
    assert aws.actions() == []
    ended = store.scene.rotate("jon", status=None)
    assert ended.status in (10, 12), ended
    assert "another AWS account" in ended.err
    assert aws.actions() == ["GetCallerIdentity"]


def test_the_account_of_a_key_that_is_added_here_is_learned_again(
    machine: Machine, aws: FakeAws
) -> None:
    store = SharedAgeVault(machine, aws, "old")
    store.scene.run(*CALL)
    key_id, secret = store.key("foreign old")
    made = json.dumps({"AccessKeyId": key_id, "SecretAccessKey": secret}).encode()
    store.scene.run("add", "jon", "--stdin", "--no-config", "--force", stdin=made)
    assert "account" not in store.remembered()
    store.scene.run(*CALL)
    assert store.remembered()["account"] == FOREIGN


def test_a_memory_of_before_key_ids_were_kept(machine: Machine, aws: FakeAws) -> None:
    """The same file is the same key; another file may hold any."""
    store = SharedAgeVault(machine, aws, "old")
    (trust,) = machine.state.glob("*/trust.json")
    content = json.loads(trust.read_bytes())
    del content["items"]["jon"]["key_id"]
    former = json.dumps(content, separators=(",", ":"))
    trust.write_text(former)
    store.scene.run(*NO_CALL)
    assert store.remembered()["key_id"] == store.jon.access_key_id
    trust.write_text(former)
    store.plant(*store.key("foreign old"))
    store.scene.run(*NO_CALL, status=10)
