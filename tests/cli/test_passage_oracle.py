"""Oracle pairs with a passage store: `age` and `git` as passage runs them, and filevault.

passage itself is a script that no distribution packages; what it does to a store is done here by
hand with the same programs.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import KEY_ID, LINES, SECOND_ID, SECRET
from tests.worlds.age_store import new_identity
from tests.worlds.machine import Machine, ProcessResult
from tests.worlds.other_programs import OtherPrograms, commit_identity

OTHER_SECRET = "secondUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OTHER_LINES = f"{SECOND_ID}\n{OTHER_SECRET}\n"
TEXT = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"


class Passage:
    """A store at passage's place, and passage's commands; each leaves nothing uncommitted."""

    def __init__(self, home: Path) -> None:
        tool("age")
        self.machine = Machine(home)
        self.machine.env["FILEVAULT_BACKEND"] = "age"
        commit_identity(self.machine)
        self.tools = OtherPrograms(self.machine)
        self.store = home / ".passage/store"
        self.identities = home / ".passage/identities"
        self.store.mkdir(parents=True)
        self.own = new_identity(self.identities)
        self.recipients = self.store / ".age-recipients"

    def git(self, *argv: str) -> str:
        return self.tools.run("git", "-C", str(self.store), *argv).out

    def git_init(self) -> None:
        self.git("init", "-q")
        (self.store / ".gitattributes").write_text("*.age diff=age\n")
        self.git("config", "--local", "diff.age.binary", "true")
        self.git("config", "--local", "diff.age.textconv", f"age -d -i {self.identities}")
        self.commit("Add current contents of password store.")

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("commit", "-qm", subject)

    def clean(self) -> None:
        assert self.git("status", "--porcelain") == ""

    def show(self, name: str, identity: Path | None = None) -> str:
        file = str(self.store / f"{name}.age")
        return self.tools.run("age", "-d", "-i", str(identity or self.identities), file).out

    def insert(self, name: str, text: str, *options: str) -> None:
        file = self.store / f"{name}.age"
        file.parent.mkdir(parents=True, exist_ok=True)
        whom = ("-R", str(self._nearest(file.parent)))
        if not self.recipients.exists():
            whom = ("-i", str(self.identities))
        self.tools.run("age", "-e", *options, *whom, "-o", str(file), stdin=text)
        self.commit(f"Add given password for {name} to store.")

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        self.insert(name, change(self.show(name)))

    def move(self, old: str, new: str, *, copy: bool = False) -> None:
        self.insert(new, self.show(old))
        if not copy:
            (self.store / f"{old}.age").unlink()
            self.commit(f"Rename {old} to {new}.")

    def remove(self, name: str) -> None:
        self.tools.run("rm", str(self.store / f"{name}.age"))
        self.tools.run("rmdir", "-p", str((self.store / name).parent), check=False)
        self.commit(f"Remove {name} from store.")

    def reencrypt(self) -> None:
        for file in self.store.rglob("*.age"):
            name = str(file.relative_to(self.store)).removesuffix(".age")
            self.insert(name, self.show(name))

    def _nearest(self, folder: Path) -> Path:
        while folder != self.store and not (folder / ".age-recipients").exists():
            folder = folder.parent
        return folder / ".age-recipients"

    def ok(self, *argv: str, stdin: str | None = None) -> ProcessResult:
        result = self.machine.ok(*argv, stdin=stdin)
        self.clean()
        return result

    def add(self, name: str, lines: str = LINES, *options: str) -> None:
        self.ok("add", name, "--stdin", "--no-config", *options, stdin=lines)

    def given(self, name: str) -> tuple[str, str]:
        given = json.loads(self.ok("export", name, "-n", "--format", "json").out)
        return given["AccessKeyId"], given["SecretAccessKey"]

    def stanzas(self, name: str) -> int:
        header = (self.store / f"{name}.age").read_bytes().partition(b"\n---")[0]
        return header.count(b"\n-> X25519 ")


@pytest.fixture
def passage(tmp_path: Path) -> Passage:
    """A store with a recipients file, a repository, and an entry of another kind."""
    passage = Passage(tmp_path / "home")
    passage.recipients.write_text(f"# Jon\n{passage.own}\n")
    passage.git_init()
    passage.insert("mail/jon", "hunter2\n")
    passage.ok("init")
    return passage


def test_what_filevault_wrote_age_decrypts(passage: Passage) -> None:
    passage.add("work")
    passage.add("team/a:b")
    assert passage.show("aws/work").startswith(f"{SECRET}\naws_access_key_id: {KEY_ID}\n")
    assert passage.show("aws/team/a%3Ab").endswith("\nfilevault: 1 name=team/a%3Ab\n")
    assert "Add given password for aws/work to store." in passage.git("log", "--format=%s")
    assert KEY_ID in passage.git("show", "--textconv")
    assert passage.recipients.read_text() == f"# Jon\n{passage.own}\n"


def test_moves_copies_edits_and_removals_are_followed(passage: Passage) -> None:
    passage.add("work")
    passage.move("aws/work", "aws/team/prod")
    assert passage.ok("list", "--credentials").out == "team/prod\n"
    moved = passage.ok("export", "team/prod", "-n")
    assert (KEY_ID in moved.out, "was it renamed" in moved.err) == (True, True)
    passage.move("aws/team/prod", "aws/copy", copy=True)
    passage.edit("aws/copy", lambda text: text + "region: eu-west-1\nno newline here")
    assert passage.given("copy") == (KEY_ID, SECRET)
    passage.add("copy", OTHER_LINES, "--force")
    assert passage.show("aws/copy").endswith("\nregion: eu-west-1\nno newline here")
    passage.remove("aws/team/prod")
    assert passage.ok("list", "--credentials").out == "copy\n"
    passage.ok("remove", "copy", "--force")
    assert not (passage.store / "aws").exists()
    assert passage.show("mail/jon") == "hunter2\n"


@pytest.mark.parametrize("options", [(), ("-a",)], ids=["binary", "armored"])
def test_what_age_stored_is_handed_out_and_replaced(
    passage: Passage, options: tuple[str, ...]
) -> None:
    passage.insert("aws/work", TEXT + "note: mine\r\n", *options)
    assert passage.given("work") == (KEY_ID, SECRET)
    passage.add("work", OTHER_LINES, "--force")
    assert passage.show("aws/work").startswith(OTHER_SECRET)
    shown = (passage.store / "aws/work.age").read_bytes()
    assert shown.startswith(b"age-encryption.org/v1\n")
    assert "note: mine" in passage.show("aws/work")


def test_a_reencryption_on_either_side_is_followed(passage: Passage) -> None:
    ann = passage.machine.home / "ann"
    recipient = new_identity(ann)
    passage.add("work")
    passage.recipients.write_text(f"{passage.own}\n{recipient}\n")
    passage.reencrypt()
    assert passage.show("aws/work", ann).startswith(SECRET)
    assert passage.given("work") == (KEY_ID, SECRET)
    refused = passage.machine.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert (refused.status, recipient in refused.err) == (10, True)
    passage.ok("recipients", "accept")
    passage.add("two")
    assert passage.show("aws/two", ann).startswith(SECRET)
    passage.ok("recipients", "remove", recipient)
    assert {passage.stanzas(f"aws/{name}") for name in ("work", "two")} == {1}
    assert passage.stanzas("mail/jon") == 2  # outside the prefix: not ours to touch
    assert (passage.store / "aws/.age-recipients").read_text() == f"{passage.own}\n"
    passage.insert("aws/three", TEXT)
    assert passage.stanzas("aws/three") == 1
    passage.ok("recipients", "add", recipient)
    for name in ("work", "two", "three"):
        assert passage.show(f"aws/{name}", ann).startswith(SECRET)


@pytest.mark.parametrize("variable", ["PASSAGE_RECIPIENTS", "PASSAGE_RECIPIENTS_FILE"])
def test_passages_overrides_decide_and_are_pinned(passage: Passage, variable: str) -> None:
    ann = passage.machine.home / "ann"
    recipient = new_identity(ann)
    value = f"{passage.own} {recipient}"
    if variable.endswith("_FILE"):
        file = passage.machine.home / "team"
        file.write_text(value.replace(" ", "\n"))
        value = str(file)
    passage.machine.env[variable] = value
    refused = passage.machine.run("add", "work", "--stdin", "--no-config", stdin=LINES)
    assert (refused.status, f"env:{variable} is new" in refused.err) == (10, True)
    passage.ok("recipients", "accept")
    passage.add("work")
    assert passage.show("aws/work", ann).startswith(SECRET)
    changed = passage.machine.run("recipients", "add", recipient)
    assert (changed.status, variable in changed.err) == (2, True)


def test_a_store_without_recipients_is_encrypted_to_the_own_identities(tmp_path: Path) -> None:
    passage = Passage(tmp_path / "home")
    new_identity(tmp_path / "second")
    with passage.identities.open("a") as file:
        file.write((tmp_path / "second").read_text())
    passage.git_init()
    passage.insert("mail/jon", "hunter2\n")
    adopted = passage.ok("init").out
    assert f"recipient: {passage.own} (identities)\n" in adopted
    assert adopted.count("recipient: ") == 2
    passage.add("work")
    assert passage.show("aws/work").startswith(SECRET)
    assert passage.show("aws/work", tmp_path / "second").startswith(SECRET)
    assert not list(passage.store.rglob(".age-recipients"))
    passage.insert("aws/two", TEXT)
    assert passage.given("two") == (KEY_ID, SECRET)
    third = new_identity(tmp_path / "third")
    passage.ok("recipients", "add", third)
    assert passage.show("aws/work", tmp_path / "third").startswith(SECRET)
    assert len((passage.store / "aws/.age-recipients").read_text().split()) == 3
    assert passage.stanzas("mail/jon") == 2


def test_at_the_top_of_such_a_store_a_recipients_file_is_made(tmp_path: Path) -> None:
    passage = Passage(tmp_path / "home")
    passage.machine.env["FILEVAULT_PREFIX"] = ""
    passage.machine.ok("init")
    passage.machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    third = new_identity(tmp_path / "third")
    passage.machine.ok("recipients", "add", third)
    assert sorted(path.name for path in passage.store.iterdir()) == [".age-recipients", "work.age"]
    assert passage.show("work", tmp_path / "third").startswith(SECRET)


def test_the_store_lies_where_passages_variables_say(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    recipient = new_identity(tmp_path / "keys/me")
    store = tmp_path / "elsewhere"
    (store / "aws").mkdir(parents=True)
    (store / ".age-recipients").write_text(recipient)  # no newline: age reads it, so do we
    machine.env |= {
        "FILEVAULT_BACKEND": "passage",
        "PASSAGE_DIR": str(store),
        "PASSAGE_IDENTITIES_FILE": str(tmp_path / "keys/me"),
    }
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    argv = ["age", "-d", "-i", str(tmp_path / "keys/me"), str(store / "aws/work.age")]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(SECRET)
    assert KEY_ID in machine.ok("export", "work", "-n").out
