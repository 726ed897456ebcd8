"""Keys that other tools keep as two entries of a `pass` or age store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.samples import ANN, JON, KEY_ID, OTHER_ACCOUNT, SECOND_ID, SECRET
from tests.worlds.age_store import new_identity
from tests.worlds.machine import Machine, TypedAnswer
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine

OTHER_LINES = f"{SECOND_ID}\n{SECRET}\n"
PLAIN = ("--stdin", "--no-config")


class SplitStore:
    """A store in a git repository, and the tool that its user fills it with."""

    def __init__(self, kind: str, home: Path, gpg: GpgHome) -> None:
        self.kind = kind
        self.machine = pass_machine(home, gpg) if kind == "pass" else Machine(home)
        self.machine.env["FILEVAULT_BACKEND"] = kind
        self.tools = OtherPrograms(self.machine)
        commit_identity(self.machine)
        recipient = ("--recipient", JON) if kind == "pass" else ("--no-passphrase",)
        self.machine.ok("init", *recipient)
        self.machine.ok("git", "init")
        self.folder = self.machine.vault
        self.prefix = ""
        if kind == "pass":
            self.folder = self.machine.home / ".password-store/aws"
            self.prefix = "aws/"

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.{'gpg' if self.kind == 'pass' else 'age'}"

    def insert(self, name: str, text: str) -> None:
        """Store a text as the tool's user does; pass commits it, and so do they."""
        if self.kind == "pass":
            self.tools.run("pass", "insert", "-m", "-f", f"aws/{name}", stdin=text)
            return
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        recipients = str(self.folder / ".age-recipients")
        self.tools.run("age", "-R", recipients, "-o", str(path), stdin=text)
        self.machine.ok("git", "add", str(path))
        self.machine.ok("git", "commit", "--quiet", "-m", name)

    def show(self, name: str) -> str:
        if self.kind == "pass":
            return self.tools.run("pass", "show", f"aws/{name}").out
        identities = str(self.machine.home / ".config/filevault/identities")
        return self.tools.run("age", "-d", "-i", identities, str(self.path(name))).out

    def pair(self, name: str = "work", key_id: str = KEY_ID) -> None:
        self.insert(f"{name}/access_id", f"{key_id}\n")
        self.insert(f"{name}/access_token", f"{SECRET}\n")

    def given(self, name: str = "work") -> tuple[str, str]:
        given = json.loads(self.machine.ok("export", name, "-n", "--format", "json").out)
        return given["AccessKeyId"], given["SecretAccessKey"]

    def check_clean(self) -> None:
        assert self.machine.ok("git", "status", "--porcelain").out == ""


@pytest.fixture(params=["pass", "age"])
def split_store(request: pytest.FixtureRequest, tmp_path: Path, gpg: GpgHome) -> SplitStore:
    tool(request.param)
    return SplitStore(request.param, tmp_path / "home", gpg)


def test_a_pair_is_one_key_in_a_listing_that_opens_nothing(split_store: SplitStore) -> None:
    split_store.pair()
    split_store.insert("work/console", "hunter2\n")
    split_store.machine.env |= {"GNUPGHOME": "/nowhere", "FILEVAULT_AGE_IDENTITY": "none"}
    assert split_store.machine.ok("list", "--credentials").out == "work\nwork/console\n"
    rows = json.loads(split_store.machine.ok("list", "--json").out)
    assert [row["has_credentials"] for row in rows if row["profile"] == "work"] == [True]


def test_a_pair_is_handed_out_under_the_name_of_its_folder(split_store: SplitStore) -> None:
    split_store.pair()
    split_store.insert("team/prod/access-key-id", KEY_ID)
    split_store.insert("team/prod/secret-key", SECRET)
    assert split_store.given() == split_store.given("team/prod") == (KEY_ID, SECRET)
    shown = split_store.machine.ok("exec", "work", "-n", "--", "env").out
    assert f"AWS_SECRET_ACCESS_KEY={SECRET}\n" in shown


def test_a_session_is_kept_until_either_entry_changes(
    split_store: SplitStore, aws: FakeAws
) -> None:
    user = aws.add_user("jon")
    split_store.machine.env["AWS_ENDPOINT_URL"] = aws.url
    split_store.machine.write_config("[profile work]\nregion = eu-west-1\n")
    split_store.insert("work/access_id", user.access_key_id)
    split_store.insert("work/access_token", user.secret_access_key)
    for calls in (1, 1):
        split_store.machine.ok("export", "work")
        assert aws.actions() == ["GetSessionToken"] * calls
    for calls, half in ((2, "access_id"), (3, "access_token")):
        split_store.insert(f"work/{half}", split_store.show(f"work/{half}"))
        split_store.machine.ok("export", "work")
        assert aws.actions() == ["GetSessionToken"] * calls


def test_a_pair_of_another_account_waits_for_a_word(split_store: SplitStore) -> None:
    split_store.pair()
    split_store.given()
    split_store.insert("work/access_id", OTHER_ACCOUNT)
    refused = split_store.machine.run("export", "work", "-n")
    assert refused.status == 10
    assert "belongs to another AWS account" in refused.err
    assert "work" in split_store.machine.ok("recipients", "accept", "work").out
    assert split_store.given() == (OTHER_ACCOUNT, SECRET)


def test_a_new_key_makes_an_item_that_goes_before_the_pair(split_store: SplitStore) -> None:
    split_store.insert("work/access_id", f"{KEY_ID}\n")
    split_store.insert("work/access_token", f"{SECRET}\notpauth://totp/x?secret=AAAA\n")
    refused = split_store.machine.run("add", "work", *PLAIN, stdin=OTHER_LINES)
    assert refused.status == 5
    done = split_store.machine.ok("add", "work", *PLAIN, "--force", stdin=OTHER_LINES)
    work = f"{split_store.prefix}work"
    assert done.err == (
        f"filevault: warning: {work}/access_id and {work}/access_token are still there, but no "
        f"longer used: {work} has the key of 'work' from now on\n"
    )
    assert split_store.given() == (SECOND_ID, SECRET)
    text = split_store.show("work")
    assert f"aws_access_key_id: {SECOND_ID}\n" in text
    assert "otpauth://totp/x?secret=AAAA\n" in text
    assert split_store.machine.ok("list", "--credentials").out == "work\n"
    assert split_store.show("work/access_id") == f"{KEY_ID}\n"
    again = split_store.machine.ok("add", "work", *PLAIN, "--force", stdin=OTHER_LINES)
    assert "no longer used" not in again.err
    split_store.check_clean()


def test_removing_deletes_and_commits_every_entry_that_holds_the_key(
    split_store: SplitStore,
) -> None:
    split_store.pair()
    work = f"{split_store.prefix}work"
    both = f"({work}/access_id, {work}/access_token)"
    kept = split_store.machine.on_terminal(
        "remove", "work", answers=[TypedAnswer(f"Delete the key of profile work {both}?", "n")]
    )
    assert kept.status == 0
    assert split_store.given() == (KEY_ID, SECRET)
    done = split_store.machine.ok("remove", "work", "--force")
    assert f"Deleted the key of profile work {both}.\n" in done.out
    assert split_store.machine.ok("list", "--credentials").out == ""
    assert not (split_store.folder / "work").exists()
    subject, *_ = split_store.machine.ok("git", "log", "--format=%s").out.splitlines()
    assert subject == f"Remove {work} from store."
    split_store.check_clean()


def test_removing_an_item_brings_no_older_pair_back(split_store: SplitStore) -> None:
    split_store.pair()
    split_store.machine.ok("add", "work", *PLAIN, "--force", stdin=OTHER_LINES)
    split_store.machine.ok("remove", "work", "--force")
    assert split_store.machine.run("export", "work", "-n").status in (3, 4)
    split_store.check_clean()


def test_one_half_alone_and_two_of_a_kind_are_no_key(split_store: SplitStore) -> None:
    split_store.pair()
    split_store.insert("work/access-key-id", SECOND_ID)
    listed = split_store.machine.ok("list", "--credentials").out.split()
    assert listed == ["work/access-key-id", "work/access_id", "work/access_token"]
    assert split_store.machine.run("export", "work", "-n").status in (3, 4)


def test_a_half_that_holds_something_else_is_damage_that_names_it(split_store: SplitStore) -> None:
    split_store.pair(key_id="jon@example.com")
    refused = split_store.machine.run("export", "work", "-n")
    assert refused.status == 6
    assert "'work/access_id', by its name one half of the key of 'work'" in refused.err
    assert SECRET not in refused.everything


def test_a_new_recipient_gets_both_halves_and_nothing_waits_for_a_word(
    split_store: SplitStore, tmp_path: Path
) -> None:
    split_store.pair()
    split_store.given()
    ann = ANN if split_store.kind == "pass" else new_identity(tmp_path / "ann")
    done = split_store.machine.ok("recipients", "add", ann)
    assert done.out.count("Reencrypted work/access_") == 2
    assert "Accepted the key" not in split_store.machine.ok("recipients", "accept").out
    assert split_store.given() == (KEY_ID, SECRET)
    split_store.check_clean()
