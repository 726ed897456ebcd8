"""A vault that is named and not there is reported as such, by every command, before all else."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.cli.command import COMMANDS
from tests.samples import LINES
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer

# Without a vault that they need: one line for each action. Nobody knows the profile either.
LINES_OF = {
    "add": ["add nowhere --stdin", "add has-source --stdin"],
    "import": ["import - --name nowhere --yes", "import - --name nowhere --dry-run --only x"],
    "list": ["list", "list --json", "list --credentials", "list --sessions"],
    "exec": ["exec nowhere -- true", "exec has-source -- true", "exec keyless -- true"],
    "export": ["export nowhere", "export has-source --explain", "export keyless"],
    "serve": ["serve nowhere", "serve has-source", "serve keyless"],
    "login": ["login nowhere --stdout", "login has-source --explain"],
    "sso": ["sso login x", "sso logout x", "sso list x", "sso profiles x --yes"],
    "signin": ["signin x"],
    "rotate": ["rotate nowhere", "rotate --all", "rotate nowhere --dry-run"],
    "remove": ["remove nowhere --force", "remove nowhere --sessions-only"],
    "rename": ["rename nowhere x", "rename has-source x"],
    "copy": ["copy nowhere x", "copy nowhere --to elsewhere"],
    "migrate": ["migrate --to elsewhere", "migrate --to age --dry-run"],
    "verify": ["verify", "verify nowhere --json", "verify --online"],
    "clear": ["clear", "clear nowhere"],
    "unlock": ["unlock", "unlock --vault-key"],
    "lock": ["lock"],
    "status": ["status"],
    "recipients": [
        "recipients list", "recipients accept", "recipients accept nowhere", "recipients add x",
        "recipients remove x --force",
    ],
    "slot": ["slot list", "slot add", "slot add --new-key-file f", "slot remove 0123"],
    "passphrase": ["passphrase", "passphrase --generate"],
    "rekey": ["rekey", "rekey --drop-slots", "rekey --finish"],
    "git": ["git status", "git init"],
}  # fmt: skip
NEEDS_NONE = {"init", "agent", "completion", "doctor", "help", "log", "version"}
CONFIG = "[profile has-source]\nsource_profile = nowhere\nrole_arn = x\n[profile keyless]\n"


class Naming:
    """One way to name the vault: words, variables and config.toml; `origin` is its name."""

    def __init__(self, home: Path, way: str) -> None:
        self.path = home / "misspelt"
        self.words: tuple[str, ...] = ()
        self.env = {"HOME": str(home), "FILEVAULT_PASSPHRASE": PASSPHRASE, "PATH": "/usr/bin"}
        self.origin = way
        (home / ".aws").mkdir(parents=True)
        (home / ".aws/config").write_text(CONFIG)
        if way.startswith("--"):
            self.words = (way, str(self.path))
        elif way == "config.toml":
            config = home / ".config/filevault/config.toml"
            config.parent.mkdir(parents=True)
            config.write_text(f"vault = '{self.path}'\n")
            self.origin = str(config)
        else:
            self.env[way] = str(self.path)
            kinds = {"PASSWORD_STORE_DIR": "pass", "PASSAGE_DIR": "age"}
            if way in kinds:
                self.env["FILEVAULT_BACKEND"] = kinds[way]

    def run(self, line: str) -> InProcessResult:
        return InProcess(self.env).run(*self.words, *line.split(), stdin=LINES.encode())


WAYS = (
    "--vault",
    "FILEVAULT_DIR",
    "--pass-dir",
    "config.toml",
    "PASSWORD_STORE_DIR",
    "PASSAGE_DIR",
)


def test_every_command_is_in_the_table() -> None:
    assert {*LINES_OF, *NEEDS_NONE} == set(COMMANDS)
    assert not LINES_OF.keys() & NEEDS_NONE


@pytest.mark.parametrize("way", WAYS)
def test_a_named_vault_that_is_missing_is_the_error(tmp_path: Path, way: str) -> None:
    naming = Naming(tmp_path / "home", way)
    for command, lines in LINES_OF.items():
        for line in lines:
            ended = naming.run(line)
            assert ended.status == (125 if command == "exec" else 4), (line, ended)
            first, hint = ended.err.splitlines()
            assert first == (
                f"filevault: error: there is no vault at '{naming.path}', which {naming.origin} "
                "names"
            ), line
            assert hint.startswith(f"filevault: hint: check {naming.origin}, or make a vault there")
            assert ended.out == ""
    assert not naming.path.exists()


def test_the_hint_makes_the_vault(tmp_path: Path) -> None:
    naming = Naming(tmp_path / "home", "--vault")
    hint = naming.run("list").err.splitlines()[-1]
    words = hint.partition("filevault: hint: ")[2].partition("there: filevault ")[2].split()
    assert InProcess(naming.env).run(*words).status == 0
    assert naming.run("list").status == 0


RECIPIENT = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"
# Folder in HOME, variable that names it, recipients file with its content, backend.
STORES = [
    (".password-store", None, ".gpg-id", "jon@example.com", "pass"),
    ("stores/mine", "PASSWORD_STORE_DIR", ".gpg-id", "jon@example.com", "pass"),
    (".passage/store", None, ".age-recipients", RECIPIENT, "age"),
    ("stores/mine", "PASSAGE_DIR", ".age-recipients", RECIPIENT, "age"),
]


@pytest.mark.parametrize(("folder", "variable", "marker", "recipient", "backend"), STORES)
def test_the_hint_names_the_store_of_another_tool_and_how_to_use_it(
    tmp_path: Path, folder: str, variable: str | None, marker: str, recipient: str, backend: str
) -> None:
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin"}
    store = tmp_path / folder
    store.mkdir(parents=True)
    if variable is not None:
        env[variable] = str(store)
    told = f"to use the store at '{store}': filevault init --backend {backend}"
    assert told not in InProcess(env).run("verify").err  # it has no recipients: no store of theirs
    (store / marker).write_text(f"{recipient}\n")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(CONFIG)
    for line in ("verify", "unlock", "rotate keyless", "add keyless --stdin"):
        ended = InProcess(env).run(*line.split(), stdin=LINES.encode())
        assert ended.status == 4, line
        assert f"\nfilevault: hint: filevault init; {told}" in ended.err, line
    for line in ("exec keyless -- true", "export keyless"):
        hint = InProcess(env).run(*line.split()).err.splitlines()[-1]
        assert hint.startswith(f"filevault: hint: {told}; filevault add keyless"), line
    # Not where something else was asked for, and not of a vault that is there.
    asked = InProcess(env).run("--backend", "file", "verify")
    assert told not in asked.err
    if backend == "age":
        assert InProcess(env).run("init", "--backend", "age").status == 0
        assert InProcess(env).run("list").err == ""


def test_a_person_learns_of_the_store_before_a_vault_is_made_beside_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    store = machine.home / ".passage/store"
    store.mkdir(parents=True)
    (store / ".age-recipients").write_text(f"{RECIPIENT}\n")
    env = {"FILEVAULT_DIR": None}
    ended = machine.on_terminal(
        *("add", "x", "--stdin"), stdin=LINES.encode(), env=env, answers=[TypedAnswer("Make", "n")]
    )
    assert f"to use the store at '{store}': filevault init --backend age\n" in ended.err


def test_what_needs_no_vault_does_not_look_for_one(tmp_path: Path) -> None:
    naming = Naming(tmp_path / "home", "FILEVAULT_DIR")
    for line in ("version", "help exec", "list --profiles", "lock --all"):
        assert naming.run(line).status == 0, line


def test_a_vault_is_made_where_a_name_says_so(tmp_path: Path) -> None:
    naming = Naming(tmp_path / "home", "FILEVAULT_DIR")
    assert naming.run("add work --stdin --init --no-config").status == 0
    assert (naming.path / "work.fv").exists()


def test_before_any_vault_list_says_how_to_make_one(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    nothing = InProcess(env).run("list")
    assert nothing.status == 0
    assert nothing.err.splitlines()[-1] == "filevault: hint: filevault init"
    assert InProcess(env).run("clear").out == "Cleared 0 sessions.\n"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_VAULT_FILE_DIR", "/keys", "FILEVAULT_DIR names the folder"),
        ("AWS_VAULT_KEYCHAIN_NAME", "x", "--backend file, pass or age"),
        ("AWS_VAULT_SECRET_SERVICE_COLLECTION_NAME", "x", "--backend file, pass or age"),
        ("AWS_VAULT_OP_VAULT_ID", "x", "--backend file, pass or age"),
        ("AWS_VAULT_PASS_CMD", "gopass", "runs gpg and age itself"),
    ],
)
def test_variables_of_aws_vault_that_are_not_read_are_named(
    tmp_path: Path, name: str, value: str, told: str
) -> None:
    ended = InProcess({"HOME": str(tmp_path), name: value}).run("list", "--debug")
    assert f"{name} is not read: " in ended.err
    assert told in ended.err
