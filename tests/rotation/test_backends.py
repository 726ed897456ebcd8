"""`rotate` on `pass` and `age` vaults, with the real tools beside it, and in git."""

from __future__ import annotations

import abc
import json
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws, User
from tests.fakes.faults import stall
from tests.worlds.gpg_store import CopiedGpgHome
from tests.worlds.machine import TIMEOUT, Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import pass_machine

EVE = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"


class Place(abc.ABC):
    """A store that other tools share, in a git repository, with the key of a user in it."""

    def __init__(self, machine: Machine, aws: FakeAws, read: tuple[str, ...], item: str) -> None:
        self.machine = machine
        self.tools = OtherPrograms(machine)
        self.item = item
        self._read = read
        self.user: User = aws.add_user("jon")
        machine.env["AWS_ENDPOINT_URL"] = aws.url
        machine.write_config("[default]\nregion = eu-west-1\n")
        self.machine.ok("git", "init")

    @abc.abstractmethod
    def insert(self, name: str, text: str) -> None:
        """Let the other tool write an item."""

    def text(self, name: str = "jon") -> str:
        """Let the other tool show an item."""
        return self.tools.run(*(word.format(name) for word in self._read)).out

    @property
    def top(self) -> Path:
        """The store's top."""
        return Path(self.machine.ok("git", "rev-parse", "--show-toplevel").out.strip())

    @abc.abstractmethod
    def insert_for_others(self, name: str) -> None:
        """Put in an item that is encrypted to somebody else."""

    def subjects(self) -> list[str]:
        """Return the subjects of the history, the last one first."""
        return self.machine.ok("git", "log", "--format=%s").out.splitlines()

    def check_rotated(self) -> None:
        """Require that the user has one key, another than at first, and the item has it."""
        text = self.text()
        (key,) = self.user.keys.values()
        assert key.access_key_id != self.user.access_key_id
        assert text.splitlines()[0] == key.secret_access_key
        assert f"aws_access_key_id: {key.access_key_id}" in text
        assert "rotation" not in text
        assert "previous_" not in text
        assert self.user.secret_access_key not in text


class Pass(Place):
    def insert(self, name: str, text: str) -> None:
        self.tools.run("pass", "insert", "-m", "-f", f"aws/{name}", stdin=text)

    def insert_for_others(self, name: str) -> None:
        home = CopiedGpgHome(Path(tempfile.mkdtemp(prefix="fvg", dir="/tmp")))
        home.make_key("eve@example.com")
        path = self.machine.home / f".password-store/aws/{name}.gpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(home.encrypt(b"hers", "eve@example.com"))
        home.kill_agent()
        shutil.rmtree(home.path, ignore_errors=True)


class Age(Place):
    def insert(self, name: str, text: str) -> None:
        vault = self.machine.vault
        path = str(vault / f"{name}.age")
        self.tools.run("age", "-R", str(vault / ".age-recipients"), "-o", path, stdin=text)
        self.machine.ok("git", "add", path)
        self.machine.ok("git", "commit", "--quiet", "-m", f"insert {name}")

    def insert_for_others(self, name: str) -> None:
        path = self.machine.vault / f"{name}.age"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.tools.run("age", "-r", EVE, "-o", str(path), stdin="hers")


@pytest.fixture(params=["pass", "age"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path, aws: FakeAws) -> Place:
    if request.param == "pass":
        tool("pass")
        machine = pass_machine(tmp_path / "home", request.getfixturevalue("gpg"))
        commit_identity(machine)
        OtherPrograms(machine).run("pass", "init", "jon@example.com")
        machine.ok("init")
        return Pass(machine, aws, ("pass", "show", "aws/{}"), "aws/jon")
    tool("age")
    machine = Machine(tmp_path / "home")
    commit_identity(machine)
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    identities = str(machine.home / ".config/filevault/identities")
    return Age(machine, aws, ("age", "-d", "-i", identities, f"{machine.vault}/{{}}.age"), "jon")


def test_a_key_is_replaced_and_notes_stay(shared_place: Place) -> None:
    user = shared_place.user
    notes = "# mine\r\nurl: https://example.com\notpauth://totp/x?secret=AAAA\nno end"
    shared_place.insert(
        "jon", f"{user.secret_access_key}\naws_access_key_id: {user.access_key_id}\n{notes}"
    )
    shared_place.machine.ok("rotate", "jon")
    shared_place.check_rotated()
    assert shared_place.text().endswith(notes)
    shared_place.machine.ok("export", "jon", "--no-session")


def test_one_commit_says_so_without_any_key(shared_place: Place) -> None:
    user = shared_place.user
    for name in ("jon", "same"):
        shared_place.machine.add(name, user.access_key_id, user.secret_access_key, "--no-config")
    before = shared_place.subjects()
    shared_place.machine.ok("rotate", "jon")
    shared_place.check_rotated()
    assert shared_place.text("same").splitlines()[0] == shared_place.text().splitlines()[0]
    after = shared_place.subjects()
    assert after[1:] == before
    assert after[0] == f"Replace generated password for {shared_place.item}."
    assert "AKIA" not in "".join(after)
    changed = shared_place.machine.ok("git", "show", "--format=", "--name-only", "HEAD").out.split()
    assert [Path(path).stem for path in changed] == ["jon", "same"]
    assert shared_place.machine.ok("git", "status", "--porcelain").out == ""


def test_a_rotation_that_is_taken_back_leaves_nothing_uncommitted(shared_place: Place) -> None:
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    user.denied.add("iam:CreateAccessKey")
    assert shared_place.machine.run("rotate", "jon").status == 8
    assert shared_place.machine.ok("git", "status", "--porcelain").out == ""
    assert shared_place.subjects()[0] == f"Edit password for {shared_place.item} using filevault."
    assert shared_place.text().splitlines()[0] == user.secret_access_key


def test_a_commit_that_git_refuses_is_told_and_the_rotation_is_done(shared_place: Place) -> None:
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    shared_place.machine.ok("git", "config", "user.useConfigOnly", "true")
    (shared_place.machine.home / ".gitconfig").unlink()
    result = shared_place.machine.run("rotate", "jon", "--json")
    assert result.status == 11, result
    assert json.loads(result.out)[0]["result"] == "rotated"
    shared_place.check_rotated()


def test_a_kill_while_aws_answers_any_call_loses_nothing(shared_place: Place, aws: FakeAws) -> None:
    """The matrix of a `file` vault has the kills between the calls, too."""
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    calls = (
        *(("GetCallerIdentity", 1), ("ListAccessKeys", 1), ("CreateAccessKey", 1)),
        *(("GetCallerIdentity", 2), ("UpdateAccessKey", 1), ("DeleteAccessKey", 1)),
    )
    for action, nth in calls:
        before = shared_place.text().splitlines()[0]
        aws.reset_calls()
        aws.arm(stall(TIMEOUT, "after"), action=action, nth=nth)
        process = shared_place.machine.popen("rotate", "jon")
        deadline = time.monotonic() + TIMEOUT
        while not (aws.in_flight and aws.actions().count(action) >= nth):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        aws.faults.clear()
        secret = shared_place.text().splitlines()[0]
        active = {key.secret_access_key for key in user.keys.values() if key.status == "Active"}
        assert secret in active, f"killed in {action}: no working key"
        again = shared_place.machine.run("rotate", "jon")
        if action == "CreateAccessKey":
            assert again.status == 8, again
            (orphan,) = {key for key in user.keys if key not in shared_place.text()}
            assert f"--delete-orphan {orphan}" in again.err
            again = shared_place.machine.run("rotate", "jon", "--delete-orphan", orphan)
        assert again.status == 0, (action, again)
        shared_place.check_rotated()
        assert shared_place.text().splitlines()[0] != before
        assert shared_place.machine.ok("git", "status", "--porcelain").out == ""


def test_recipients_that_changed_stop_it_before_anything_is_made(shared_place: Place) -> None:
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    if isinstance(shared_place, Pass):
        file = shared_place.machine.home / ".password-store/.gpg-id"
        file.write_text(file.read_text() + "eve@example.com\n")
    else:
        file = shared_place.machine.vault / ".age-recipients"
        file.write_text(file.read_text() + EVE + "\n")
    result = shared_place.machine.run("rotate", "jon")
    assert result.status in (7, 10), result
    assert list(user.keys) == [user.access_key_id]


def test_an_item_put_in_by_somebody_else_moves_no_other_to_their_key(
    shared_place: Place, aws: FakeAws
) -> None:
    """They can write the id of any key, and that it was replaced by theirs, but not its secret."""
    user = shared_place.user
    eve = aws.add_user("eve", account="999988887777")
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    key = f"{eve.secret_access_key}\naws_access_key_id: {eve.access_key_id}\n"
    for number, kind in enumerate(("previous", "next")):
        shared_place.insert(
            f"x{number}",
            f"{key}{kind}_aws_access_key_id: {user.access_key_id}\n"
            f"{kind}_aws_secret_access_key: {'A' * 40}\n",
        )
    shared_place.machine.run("rotate", "--all")
    shared_place.check_rotated()
    assert eve.secret_access_key not in shared_place.text()


def test_a_new_key_put_in_beside_a_broken_one_is_not_taken(
    shared_place: Place, aws: FakeAws
) -> None:
    user = shared_place.user
    eve = aws.add_user("eve", account="999988887777")
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    shared_place.insert(
        "jon2",
        f"{'A' * 40}\naws_access_key_id: {user.access_key_id}\n"
        f"next_aws_access_key_id: {eve.access_key_id}\n"
        f"next_aws_secret_access_key: {eve.secret_access_key}\n",
    )
    assert shared_place.machine.run("rotate", "jon2").status == 8
    assert shared_place.text("jon2").startswith("A" * 40)
    assert list(eve.keys) == [eve.access_key_id]


@pytest.mark.parametrize("kind", ["previous", "next"])
def test_a_note_put_in_beside_the_id_of_a_key_in_two_entries_takes_no_other_key_away(
    shared_place: Place, aws: FakeAws, kind: str
) -> None:
    """They can encrypt an entry with the id, which is no secret, and leave that of the secret."""
    user = shared_place.user
    other = aws.add_access_key(user)
    if isinstance(shared_place, Age):
        (shared_place.machine.vault / "jon").mkdir()
    shared_place.insert(
        "jon/access_id",
        f"{user.access_key_id}\n{kind}_aws_access_key_id: {other.access_key_id}\n"
        f"{kind}_aws_secret_access_key: {'A' * 40}\nrotation_started: 2026-01-01T00:00:00Z\n",
    )
    shared_place.insert("jon/access_token", f"{user.secret_access_key}\n")
    ended = shared_place.machine.run("rotate", "jon")
    assert [key.status for key in user.keys.values()] == ["Active", "Active"]
    assert ended.status == 6


def test_a_key_in_two_entries_becomes_one_item_before_anything_is_made(shared_place: Place) -> None:
    user = shared_place.user
    if isinstance(shared_place, Age):
        (shared_place.machine.vault / "jon").mkdir()
    shared_place.insert("jon/access_id", f"{user.access_key_id}\n")
    shared_place.insert("jon/access_token", f"{user.secret_access_key}\nurl: https://example.com\n")
    user.denied.add("iam:CreateAccessKey")
    refused = shared_place.machine.run("rotate", "jon")
    assert refused.status == 8
    assert (
        f"{shared_place.item}/access_id and {shared_place.item}/access_token are still there"
        in refused.err
    )
    assert shared_place.text().splitlines()[0] == user.secret_access_key
    user.denied.clear()
    done = shared_place.machine.ok("rotate", "--all")
    assert "are still there" not in done.err
    shared_place.check_rotated()
    assert "url: https://example.com\n" in shared_place.text()
    assert shared_place.text("jon/access_token").splitlines()[0] == user.secret_access_key
    assert shared_place.machine.ok("git", "status", "--porcelain").out == ""


def test_what_others_keep_in_the_store_is_passed_over_and_deletes_no_key(
    shared_place: Place, aws: FakeAws
) -> None:
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    shared_place.insert_for_others("eve/hers")
    shared_place.insert("console-password", "correct horse\nurl: https://console.example\n")
    result = shared_place.machine.run("rotate", "--all")
    assert result[:3] == (0, "", ""), result
    shared_place.check_rotated()
    other = aws.add_access_key(user)
    result = shared_place.machine.run("rotate", "jon", "--delete-orphan", other.access_key_id)
    assert result[:3] == (0, "", ""), result
    assert other.access_key_id not in user.keys
    told = shared_place.machine.run(
        "rotate", "--all", "--dry-run", env={"FILEVAULT_DEBUG": "1"}
    ).err
    assert told.count("passed over") == 1
    assert "no AWS key: 'console-password', 'eve/hers'" in told


def test_a_damaged_item_of_a_shared_store_is_an_error_still(
    shared_place: Place, aws: FakeAws
) -> None:
    user = shared_place.user
    shared_place.machine.add("jon", user.access_key_id, user.secret_access_key, "--no-config")
    other = aws.add_access_key(user)
    shared_place.insert("torn", f"\naws_access_key_id: {other.access_key_id}\n")
    result = shared_place.machine.run("rotate", "jon", "--delete-orphan", other.access_key_id)
    assert result.status == 8
    assert "'torn', which may contain its secret, cannot be opened" in result.err
    assert "remove that item" not in result.err
    assert shared_place.machine.run("rotate", "torn").status == 6
    assert "torn: item 'torn' is damaged" in shared_place.machine.run("rotate", "--all").err


@pytest.mark.parametrize(
    "words", [("--all", "--older-than", "90d"), ("jon", "--older-than", "90d")]
)
def test_what_an_earlier_run_could_not_commit_is_committed_once_git_can(
    shared_place: Place, words: tuple[str, ...]
) -> None:
    user = shared_place.user
    for name in ("jon", "same"):
        shared_place.machine.add(name, user.access_key_id, user.secret_access_key, "--no-config")
    before = shared_place.subjects()
    shared_place.machine.ok("git", "config", "user.useConfigOnly", "true")
    (shared_place.machine.home / ".gitconfig").unlink()
    assert shared_place.machine.run("rotate", "jon").status == 11
    assert shared_place.machine.run("rotate", *words).status == 11
    commit_identity(shared_place.machine)
    (shared_place.top / "notes").write_text("theirs")
    shared_place.machine.ok("rotate", *words)
    assert shared_place.subjects() == [
        f"Replace generated password for {shared_place.item}.",
        *before,
    ]
    assert shared_place.machine.ok("git", "status", "--porcelain").out == "?? notes\n"
    shared_place.machine.ok("rotate", *words)
    assert len(shared_place.subjects()) == len(before) + 1


def test_a_rotation_of_a_file_vault_is_one_commit(machine: Machine, aws: FakeAws) -> None:
    tool("git")
    commit_identity(machine)
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    machine.write_config("[default]\nregion = eu-west-1\n")
    machine.with_vault().ok("git", "init")
    user = aws.add_user("jon")
    for name in ("jon", "same"):
        machine.add(name, user.access_key_id, user.secret_access_key, "--no-config")
    before = machine.ok("git", "log", "--format=%s").out.splitlines()
    machine.ok("rotate", "--all")
    after = machine.ok("git", "log", "--format=%s").out.splitlines()
    assert after == ["Replace generated password for jon.", *before]
    changed = machine.ok("git", "show", "--format=", "--name-only", "HEAD").out.split()
    assert changed == ["jon.fv", "same.fv"]
    assert machine.ok("git", "status", "--porcelain").out == ""
