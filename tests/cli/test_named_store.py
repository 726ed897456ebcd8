"""A key goes to the store that is named, or the command says to which other one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import KEY_ID, LINES
from tests.worlds.age_store import new_identity, protect_file
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import Machine, TypedAnswer

ADD = ("--stdin", "--no-config")


class Stores:
    """Age stores `noted`, which config.toml names, and `other`, which other things name."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.identity = home / "identity"
        recipient = new_identity(self.identity)
        self.noted, self.other = home / "noted", home / "other"
        for store in (self.noted, self.other):
            store.mkdir()
            (store / ".age-recipients").write_text(f"{recipient}\n")
        config = home / ".config/filevault/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f"vault = '{self.noted}'\nbackend = 'age'\nprefix = 'aws'\n")
        self.env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        self.env["FILEVAULT_AGE_IDENTITY_FILE"] = str(self.identity)

    def run(self, *argv: str, **env: str) -> InProcessResult:
        return InProcess({**self.env, **env}).run(*argv, stdin=LINES.encode())

    def stored(self) -> list[str]:
        found = [*self.noted.rglob("*.age"), *self.other.rglob("*.age")]
        return sorted(str(path.relative_to(self.home)) for path in found)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    tool("age-keygen")
    return Stores(tmp_path / "home")


def test_an_option_beats_config_toml(stores: Stores) -> None:
    for option in ("--pass-dir", "--vault"):
        name = option.removeprefix("--")
        words = (option, str(stores.other), "--prefix", "aws")
        assert stores.run("add", name, *words, *ADD).status == 0
        assert f"other/aws/{name}.age" in stores.stored()
    assert not list(stores.noted.rglob("*.age"))


def warnings(ended: InProcessResult) -> list[str]:
    return re.findall(r"warning: (\w+) names ", ended.err)


def test_every_write_says_which_store_a_variable_does_not_name(stores: Stores) -> None:
    env = {"PASSAGE_DIR": str(stores.other), "PASSWORD_STORE_DIR": "/nowhere"}
    recipient = new_identity(stores.home / "second")
    writes: tuple[tuple[str, ...], ...] = (
        ("add", "work", *ADD),
        ("recipients", "add", recipient),
        ("recipients", "remove", recipient, "--force"),
        ("init",),
        ("remove", "work", "--force"),
    )
    for argv in writes:
        ended = stores.run(*argv, **env)
        assert ended.status == 0, ended
        said = (
            f"filevault: warning: PASSAGE_DIR names '{stores.other}', but this is written to "
            f"'{stores.noted}/aws', by {stores.home}/.config/filevault/config.toml\n"
        )
        assert ended.err.count(said) == 1, ended.err
        assert warnings(ended) == ["PASSAGE_DIR"]
        if argv[0] == "add":
            assert stores.stored() == ["noted/aws/work.age"]
    for argv in (("list",), ("status",), ("recipients", "list")):
        assert warnings(stores.run(*argv, **env)) == []


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"PASSAGE_DIR": "~/noted"}, []),
        ({"PASSAGE_DIR": "~/link"}, []),
        ({"PASSWORD_STORE_DIR": "~/other"}, []),
        ({"AWS_VAULT_PASS_PASSWORD_STORE_DIR": "~/other"}, []),
        (
            {"AWS_VAULT_PASS_PASSWORD_STORE_DIR": "~/other", "AWS_VAULT_BACKEND": "passage"},
            ["AWS_VAULT_PASS_PASSWORD_STORE_DIR"],
        ),
        ({"AWS_VAULT_PASS_PREFIX": "x", "AWS_VAULT_BACKEND": "passage"}, ["AWS_VAULT_PASS_PREFIX"]),
        ({"AWS_VAULT_PASS_PREFIX": "aws/", "AWS_VAULT_BACKEND": "passage"}, []),
        ({"AWS_VAULT_PASS_PREFIX": "x"}, []),
    ],
)
def test_only_what_names_another_store_of_this_kind_is_told(
    stores: Stores, env: dict[str, str], named: list[str]
) -> None:
    (stores.home / "link").symlink_to("noted")
    ended = stores.run("add", "work", *ADD, **env)
    assert (ended.status, warnings(ended)) == (0, named)
    assert stores.stored() == ["noted/aws/work.age"]


def test_aws_vaults_variable_leads_to_its_passage_store(stores: Stores) -> None:
    (stores.home / ".config/filevault/config.toml").unlink()
    env = {"AWS_VAULT_BACKEND": "passage", "AWS_VAULT_PASS_PASSWORD_STORE_DIR": "~/other"}
    assert stores.run("add", "work", *ADD, **env).status == 0
    assert stores.stored() == ["other/aws/work.age"]


@pytest.mark.parametrize(
    ("words", "env", "status", "why"),
    [
        (("--vault", "~/noted", "--pass-dir", "~/other"), {}, 2, "name different stores"),
        (("--pass-dir", "~/other", "--backend", "file"), {}, 2, "--backend asks for file"),
        (("--pass-dir", "~/other"), {"FILEVAULT_BACKEND": "file"}, 3, "FILEVAULT_BACKEND asks"),
        (("--pass-dir", "~/other", "--backend", "pass"), {}, 3, "--backend asks for pass"),
        (("--vault", "~/other", "--backend", "file"), {}, 3, "--backend asks for file"),
        (("--vault", "~/other", "--vault", "~/noted"), {}, 2, "given twice"),
        (("--vault", ""), {}, 2, "--vault is empty"),
        (("--pass-dir", ""), {}, 2, "--pass-dir is empty"),
        (("--backend", "file", "--prefix", "x"), {}, 2, "--prefix is for pass and passage"),
    ],
)
def test_options_that_contradict_are_refused_and_nothing_is_stored(
    stores: Stores, words: tuple[str, ...], env: dict[str, str], status: int, why: str
) -> None:
    for argv in (("add", "work", *ADD, "--init"), ("init",), ("list",)):
        ended = stores.run(*words, *argv, **env)
        assert (ended.status, ended.out) == (status, ""), ended
        assert why in ended.err
        assert "hint: " in ended.err
    assert stores.stored() == []


# More than one identity


def test_each_identity_that_is_named_is_used(stores: Stores) -> None:
    second = stores.home / "second"
    (stores.other / ".age-recipients").write_text(f"{new_identity(second)}\n")
    one, two = ("--identity", str(stores.identity)), ("--identity", str(second))
    for store in (stores.noted, stores.other):
        assert stores.run("--vault", str(store), "add", "work", *ADD).status == 0
    for words in ((*one, *two), (*two, *one), (*one, *two, *one)):
        for store in (stores.noted, stores.other):
            shown = stores.run("export", "work", "-n", "--vault", str(store), *words)
            assert KEY_ID in shown.out, shown
    assert stores.run("export", "work", "-n", "--vault", str(stores.other), *one).status == 5
    missing = stores.run("export", "work", "-n", *one, "--identity", str(stores.home / "gone"))
    assert (missing.status, "gone" in missing.err) == (5, True)


def test_init_encrypts_to_every_identity_that_is_named(stores: Stores) -> None:
    second = stores.home / "second"
    recipient = new_identity(second)
    words = ("--identity", str(stores.identity), "--identity", str(second))
    made = stores.run("init", "--backend", "age", "--vault", str(stores.home / "new"), *words)
    assert made.status == 0, made
    assert f"recipient: {recipient}" in made.out
    assert made.out.count("recipient: ") == 2


def test_a_protected_identity_among_several_is_asked_for(stores: Stores, tmp_path: Path) -> None:
    machine = Machine(stores.home)
    words = ("--backend", "age", "--vault", str(stores.home / "new"))
    machine.ok(*words, "init", "--no-passphrase")
    machine.ok(*words, "add", "work", *ADD, stdin=LINES)
    protected = stores.home / ".config/filevault/identities"
    protect_file(protected, "correct horse battery")
    question = f"Passphrase for {stores.identity} or {protected}: "
    shown = machine.on_terminal(
        *(*words, "export", "work", "-n", "--identity", str(stores.identity)),
        *("--identity", str(protected)),
        answers=[TypedAnswer(question, "correct horse battery")],
    )
    assert KEY_ID in shown.out, shown


# Other words that had no effect


def test_plain_http_beyond_this_machine_is_accepted_by_a_variable(stores: Stores) -> None:
    stores.run("add", "work", *ADD)
    url = {"AWS_ENDPOINT_URL_STS": "http://192.0.2.1:1", "AWS_REGION": "eu-west-1"}
    url["FILEVAULT_AGE_IDENTITY_FILE"] = "/gone"  # stops it where the address is accepted
    for value, status in (("1", 5), ("0", 3), (None, 3)):
        env = url if value is None else {**url, "FILEVAULT_ALLOW_HTTP": value}
        ended = stores.run("export", "work", **env)
        assert (ended.status, "--allow-http" in ended.err) == (status, status == 3), ended
        assert stores.run("export", "work", "--allow-http", **env).status == 5
    assert stores.run("export", "work", **url, FILEVAULT_ALLOW_HTTP="yes").status == 2


def test_clearing_an_unknown_profile_is_an_error(stores: Stores) -> None:
    stores.run("add", "jonsmith", *ADD)
    (stores.home / ".aws").mkdir()
    (stores.home / ".aws/config").write_text("[profile admin]\n")
    for name in ("jonsmith", "admin"):
        assert stores.run("clear", name).out == "Cleared 0 sessions.\n"
    for name, guess in (("jonsmiht", "did you mean jonsmith?"), ("x", "filevault list shows")):
        ended = stores.run("clear", name)
        assert (ended.status, ended.out) == (3, "")
        assert f"there is no profile '{name}'" in ended.err
        assert "nothing was cleared" in ended.err
        assert guess in ended.err


def test_the_config_may_be_asked_for(stores: Stores) -> None:
    assert stores.run("add", "one", "--stdin", "--add-config").status == 0
    assert "[profile one]" in (stores.home / ".aws/config").read_text()
    assert stores.run("add", "two", "--stdin", "--add-config", "--no-config").status == 2
