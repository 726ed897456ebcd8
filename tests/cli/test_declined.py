"""A person who answers no ends a command with status 0, and the vault stays as it is."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.test_sso import SsoMachine
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.samples import EXAMPLE_KEY, OTHER_ID, OTHER_SECRET
from tests.worlds.damage import flip
from tests.worlds.login_machine import BROWSER, LoginMachine
from tests.worlds.machine import ROOT, Machine, TypedAnswer


def nothing(_machine: Machine) -> None:
    """Leave the machine without a vault."""


def a_key(machine: Machine) -> None:
    machine.with_vault().add("jon", *EXAMPLE_KEY, "--no-config")


def a_damaged_key(machine: Machine) -> None:
    a_key(machine)
    flip(machine.vault / "jon.fv")


def two_slots(machine: Machine) -> None:
    a_key(machine)
    machine.ok("slot", "add", "--new-key-file", str(machine.home / "ci.key"))


def two_passphrases(machine: Machine) -> None:
    a_key(machine)
    machine.ok("slot", "add", env={"FILEVAULT_NEW_PASSPHRASE": "another long passphrase"})


def an_item_of_the_former_key(machine: Machine) -> None:
    a_key(machine)
    item = machine.vault / "jon.fv"
    data = item.read_bytes()
    machine.ok("rekey")
    item.write_bytes(data)


def two_recipients(machine: Machine) -> None:
    tool("age")
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("init", "--no-passphrase")
    identity = machine.home / ".config/filevault/identities"
    own = identity.read_text().partition("public key: ")[2].split()[0]
    other = (
        subprocess.run([tool("age-keygen")], capture_output=True, text=True, check=True)
        .stdout.partition("public key: ")[2]
        .split()[0]
    )
    machine.add("jon", *EXAMPLE_KEY, "--no-config")
    machine.ok("recipients", "add", other)
    machine.env["OWN"] = own


def repository(folder: Path) -> None:
    config = {"core.fsmonitor": "true", "user.name": "Jon", "user.email": "jon@example.com"}
    for words in (["init", "-q"], *(["config", *pair] for pair in config.items())):
        subprocess.run([tool("git"), *words], cwd=folder, check=True)


def a_strange_repository(machine: Machine) -> None:
    a_key(machine)
    repository(machine.vault)


def a_repository_from_before(machine: Machine) -> None:
    a_strange_repository(machine)
    forget_repositories(machine)


def forget_repositories(machine: Machine) -> None:
    """Leave the state of a filevault that did not remember repositories yet."""
    (path,) = machine.state.glob("*/trust.json")
    content = json.loads(path.read_bytes())
    content.pop("repositories", None)
    path.write_text(json.dumps(content))


def two_keys(machine: Machine) -> None:
    a_key(machine)
    machine.add("ann", OTHER_ID, OTHER_SECRET, "--no-config")


def a_clear_key(machine: Machine) -> None:
    machine.with_vault().write_config("[profile jon]\n")
    key_id, secret = EXAMPLE_KEY
    (machine.home / ".aws/credentials").write_text(
        f"[jon]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
    )


def another_user(machine: Machine, aws: FakeAws) -> None:
    """Let another user than before sign in to the console."""
    LoginMachine(machine, aws).signed_in()
    aws.login.user = aws.add_user("ann")
    machine.env["BROWSER"] = BROWSER


def an_sso_session(machine: Machine, aws: FakeAws) -> None:
    SsoMachine(machine, aws).sign_in()


class Question(NamedTuple):
    """A command that asks; the answers to the questions before the last are `yes`.

    `outcome` is the last line for a no, and `at_aws` prepares what needs the stand-in. Where the
    earlier answers have changed the vault, `keeps_vault` is false: the rest stays as it is.
    """

    argv: tuple[str, ...]
    questions: tuple[str, ...]
    prepare: Callable[[Machine], None]
    outcome: str = "nothing was changed"
    at_aws: Callable[[Machine, FakeAws], None] | None = None
    keeps_vault: bool = True


DISCARD = ("Replace the key", "Discard it?")
TAKE_OUT = ("Store 1 key", "Take 1 key out")
QUESTIONS = (
    Question(("add", "jon"), ("Make one?",), nothing),
    Question(("add", "jon"), ("Replace the key",), a_key),
    Question(("add", "jon"), DISCARD, a_damaged_key),
    Question(("remove", "jon"), ("Delete the key",), a_key),
    Question(("rekey",), ("Go on without them?",), two_slots),
    Question(
        ("passphrase",),
        ("opens nothing any more?",),
        two_passphrases,
        "nothing was changed; filevault slot add keeps that passphrase, and makes a keyslot for a "
        "new one",
    ),
    Question(("rekey", "--finish"), ("Take them over?",), an_item_of_the_former_key),
    Question(("recipients", "remove", "$OWN"), ("all the same?",), two_recipients),
    Question(("git", "adopt"), ("Use it from now on?",), a_strange_repository),
    Question(("rekey",), ("Use it from now on?",), a_repository_from_before),
    Question(("rename", "jon", "ann"), ("Replace the key",), two_keys),
    Question(("copy", "jon", "ann"), ("Replace the key",), two_keys),
    Question(("import",), ("Store 1 key",), a_clear_key),
    Question(("import",), TAKE_OUT, a_clear_key, "~/.aws/credentials stays as it is", None, False),
    Question(("migrate", "--to", "moved"), ("which is made first?",), a_key),
    Question(
        ("signin", "console"),
        ("from now on?",),
        nothing,
        "nothing was kept of this sign-in",
        another_user,
    ),
    Question(
        ("sso", "profiles", "work"),
        ("Write 1 profile",),
        nothing,
        "nothing was written",
        an_sso_session,
    ),
)


def prepared(machine: Machine, aws: FakeAws, row: Question) -> dict[str, bytes]:
    """Prepare a row; return what a no must leave as it is."""
    row.prepare(machine)
    if row.at_aws is not None:
        row.at_aws(machine, aws)
    return kept(machine, row)


def kept(machine: Machine, row: Question) -> dict[str, bytes]:
    """Return the files of the vault, of the AWS config, of sign-ins and of a second vault."""
    vault = contents(machine.vault) if row.keeps_vault else {}
    sign_ins = {
        path: data
        for path, data in contents(machine.state).items()
        if re.search("/(login|sso)/.", path)
    }
    others = [contents(machine.home / folder) for folder in (".aws", ".config", "moved")]
    return {**vault, **sign_ins, **{path: data for each in others for path, data in each.items()}}


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: " ".join((*row.argv, row.questions[-1])))
@pytest.mark.parametrize("answer", ["n", "\x04"])
def test_a_no_is_no_error(machine: Machine, aws: FakeAws, row: Question, answer: str) -> None:
    before = prepared(machine, aws, row)
    argv = [machine.env.get(word.removeprefix("$"), word) for word in row.argv]
    answers = [*(TypedAnswer(each, "y") for each in row.questions[:-1])]
    ended = machine.on_terminal(*argv, answers=[*answers, TypedAnswer(row.questions[-1], answer)])
    assert ended.status == 0, ended
    outcome = row.outcome.replace("~", str(machine.home))
    assert ended.err.splitlines()[-1:] == [f"filevault: {outcome}"], ended
    assert "error:" not in ended.err
    assert "locked" not in ended.err
    assert kept(machine, row) == before
    if not row.keeps_vault:
        machine.ok("export", "jon", "-n")


@pytest.mark.parametrize("row", QUESTIONS, ids=lambda row: " ".join((*row.argv, row.questions[-1])))
def test_a_question_that_nobody_can_answer_has_a_status_of_its_own(
    machine: Machine, aws: FakeAws, row: Question
) -> None:
    """Making a vault and using a repository are only offered where there is a person."""
    before = prepared(machine, aws, row)
    argv = [machine.env.get(word.removeprefix("$"), word) for word in row.argv]
    ended = machine.run(*argv)
    expected: dict[Callable[[Machine], None], int]
    expected = {a_strange_repository: 0, a_repository_from_before: 10}
    status = 4 if row.argv == ("add", "jon") and row.prepare is nothing else 5
    assert ended.status == expected.get(row.prepare, status), ended
    if row.prepare is not a_strange_repository:
        assert kept(machine, row) == before


def test_a_no_about_a_later_key_of_a_rotation_hides_nothing(machine: Machine, aws: FakeAws) -> None:
    """The repository of the second key is asked about when the first one is rotated already."""
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    machine.with_vault()
    for name in ("first", "team/second"):
        user = aws.add_user(name.replace("/", "-"))
        machine.add(name, user.access_key_id, user.secret_access_key, "--region", "eu-west-1")
    item = machine.vault / "team/second.fv"
    before = item.read_bytes()
    repository(item.parent)
    forget_repositories(machine)
    ended = machine.on_terminal(
        *("rotate", "first", "team/second"), answers=[TypedAnswer("Use it from now on?", "n")]
    )
    assert ended.status not in (0, 2), ended
    assert aws.actions().count("CreateAccessKey") == 1, ended.everything
    assert aws.actions().count("DeleteAccessKey") == 1
    assert "the git repository of this key is not used" in ended.err
    assert "nothing was changed" not in ended.everything
    assert item.read_bytes() == before


def test_a_no_after_an_interrupted_change_says_that_it_is_unfinished(machine: Machine) -> None:
    two_recipients(machine)
    (path,) = machine.state.glob("*/trust.json")
    content = json.loads(path.read_bytes())
    content["unfinished"] = {".age-recipients": []}  # its items are still to be re-encrypted
    path.write_text(json.dumps(content))
    ended = machine.on_terminal(
        *("recipients", "remove", machine.env["OWN"]), answers=[TypedAnswer("all the same?", "n")]
    )
    assert ended.status == 0, ended
    said = "filevault: an interrupted change is still unfinished"
    assert ended.err.splitlines()[-1:] == [said], ended


def test_the_table_has_every_question() -> None:
    """Each call that asks, wherever it stands in the command line, has its row above."""
    texts = [path.read_text() for path in (ROOT / "filevault/cli").rglob("*.py")]
    asking = sum(
        len(re.findall(r"(?<![.\w])(?<!def )confirm(_or_decline)?\(", text)) for text in texts
    )
    # `questions.py` itself calls what it is made of.
    assert asking - 1 == len(QUESTIONS)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, git's own aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
