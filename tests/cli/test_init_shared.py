"""`init` for `pass` and `age`: what it refuses, what it leaves behind, what it notes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, LINES
from tests.worlds.age_store import PLUGIN_IDENTITY, new_identity, protect, protect_file
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine

PLAIN = ("--stdin", "--no-config")
AGE = ("--backend", "age")


@pytest.fixture
def pass_user(tmp_path: Path, gpg: GpgHome) -> Machine:
    """Jon, who has no store yet."""
    return pass_machine(tmp_path / "home", gpg)


@pytest.fixture
def age_user(tmp_path: Path) -> Machine:
    """A machine without any vault."""
    tool("age")
    return Machine(tmp_path / "home")


def store(machine: Machine) -> Path:
    return machine.home / ".password-store"


def identities(machine: Machine) -> Path:
    return machine.home / ".config/filevault/identities"


def config(machine: Machine) -> Path:
    return machine.home / ".config/filevault/config.toml"


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    assert (result.status, result.out) == (status, ""), result
    for text in texts:
        assert text in result.err


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder, links as where they lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


# What is there is not built over


def test_a_recipients_file_that_is_a_link_is_named_and_stays(pass_user: Machine) -> None:
    (pass_user.home / "dot").mkdir()
    (pass_user.home / "dot/.gpg-id").write_text(f"{JON}\n")
    store(pass_user).mkdir()
    (store(pass_user) / ".gpg-id").symlink_to("../dot/.gpg-id")
    before = snapshot(store(pass_user))
    for argv, status, text in (
        (("init",), 7, f"'{store(pass_user)}/.gpg-id' is a link"),
        (("init", "--recipient", ANN), 2, "has recipients of its own"),
        (("add", "work", *PLAIN), 7, f"'{store(pass_user)}/.gpg-id' is a link"),
    ):
        refused(pass_user.run(*argv, stdin=LINES), status, text)
    assert pass_user.ok("list").status == 0
    assert snapshot(store(pass_user)) == before


def test_a_link_to_a_recipients_file_that_is_gone_stays_too(pass_user: Machine) -> None:
    store(pass_user).mkdir()
    (store(pass_user) / ".gpg-id").symlink_to("../dot/.gpg-id")
    assert pass_user.run("init", "--recipient", ANN).status == 2
    assert (store(pass_user) / ".gpg-id").is_symlink()


@pytest.mark.parametrize("pinned", [True, False])
def test_items_without_recipients_are_not_built_over(pass_user: Machine, *, pinned: bool) -> None:
    pass_user.ok("init", "--recipient", JON)
    pass_user.ok("add", "work", *PLAIN, stdin=LINES)
    (store(pass_user) / ".gpg-id").unlink()
    if not pinned:
        shutil.rmtree(pass_user.state)
    before = snapshot(store(pass_user))
    lost = pass_user.run("init", "--recipient", ANN)
    refused(lost, 10, "has lost its marker .gpg-id", "restore .gpg-id")
    assert snapshot(store(pass_user)) == before
    (store(pass_user) / ".gpg-id").write_text(f"{JON}\n")
    assert KEY_ID in pass_user.ok("export", "work", "-n").out


def test_a_pin_of_a_store_that_still_holds_something_stops_init(pass_user: Machine) -> None:
    pass_user.ok("init", "--recipient", JON)
    (store(pass_user) / "aws").mkdir()
    (store(pass_user) / "aws/notes").write_text("mine")
    (store(pass_user) / ".gpg-id").unlink()
    refused(pass_user.run("init", "--recipient", ANN), 10, "has lost its marker")
    assert not (store(pass_user) / ".gpg-id").exists()


def test_after_a_store_that_is_gone_as_a_whole_memory_is_moved_aside(pass_user: Machine) -> None:
    pass_user.ok("init", "--recipient", JON)
    pass_user.ok("add", "work", *PLAIN, stdin=LINES)
    shutil.rmtree(store(pass_user))
    refused(pass_user.run("list"), 10, "has lost its marker .gpg-id")
    again = pass_user.ok("init", "--recipient", ANN)
    assert "its state directory is now at" in again.err
    assert len(list(pass_user.state.iterdir())) == 2
    assert "(known here)" in pass_user.ok("recipients", "list").out
    pass_user.ok("add", "work", *PLAIN, stdin=LINES)


def waits_for_the_lock(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait until a process has had a folder open for a while, as who waits for its lock has."""
    steady, deadline = 0, time.monotonic() + 60
    while steady < 40 and time.monotonic() < deadline and process.poll() is None:
        links = []
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                links.append(os.readlink(fd))
            except OSError:
                continue  # closed meanwhile
        steady = steady + 1 if str(folder) in links else 0
        time.sleep(0.01)
    return steady == 40


@pytest.mark.parametrize("own", [True, False], ids=["identity", "recipient"])
def test_who_was_slower_overwrites_nothing(age_user: Machine, tmp_path: Path, *, own: bool) -> None:
    import fcntl

    recipient = new_identity(tmp_path / "ann")
    age_user.vault.mkdir(parents=True)
    fd = os.open(age_user.vault, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        words = ("--no-passphrase",) if own else ("--recipient", recipient)
        process = age_user.popen(*AGE, "init", *words)
        assert waits_for_the_lock(process, age_user.vault)
        (age_user.vault / ".age-recipients").write_text("# another's\n")
    finally:
        os.close(fd)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 3, complaint
    assert b"there is a vault at" in complaint
    assert (age_user.vault / ".age-recipients").read_text() == "# another's\n"
    assert not identities(age_user).exists()


def test_a_store_that_is_a_link_to_nowhere_is_named(pass_user: Machine) -> None:
    store(pass_user).symlink_to(pass_user.home / "nowhere")
    refused(pass_user.run("init", "--recipient", JON), 7, f"cannot create '{store(pass_user)}'")
    refused(
        pass_user.run("init", "--vault", str(store(pass_user)), *AGE, "--no-passphrase"),
        7,
        "create",
    )
    assert not identities(pass_user).exists()


# What fails leaves nothing


def test_a_key_that_is_not_there_leaves_no_store(pass_user: Machine) -> None:
    result = pass_user.run("init", "--recipient", "nobody@example.com")
    refused(result, 7, "nobody@example.com", "or name another one")
    assert ".gpg-id" not in result.err
    assert not store(pass_user).exists()


@needs_root
@pytest.mark.parametrize("there", [True, False], ids=["there", "absent"])
def test_a_vault_that_cannot_be_written_leaves_no_identity(age_user: Machine, there: bool) -> None:
    place = age_user.home / "media"
    (place / "vault" if there else place).mkdir(parents=True)
    launcher = age_user.launcher
    read_only(age_user, place)
    argv = (*AGE, "--vault", str(place / "vault"), "init", "--generate")
    refused(age_user.run(*argv), 7, "read-only")  # before a passphrase is shown
    assert not identities(age_user).exists()
    age_user.launcher = launcher
    age_user.ok(*argv)


def test_a_disk_that_fills_up_leaves_no_identity(age_user: Machine) -> None:
    # A folder in the place of the file stands for every write that fails.
    (age_user.vault / ".age-recipients").mkdir(parents=True)
    assert age_user.run(*AGE, "init", "--no-passphrase").status == 7
    assert not identities(age_user).exists()
    (age_user.vault / ".age-recipients").rmdir()
    age_user.ok(*AGE, "init", "--no-passphrase")


def test_an_identity_that_is_there_can_be_gone_on_with(age_user: Machine) -> None:
    first = age_user.home / "first"
    env = {"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE}
    age_user.ok(*AGE, "--vault", str(first), "init", "--no-passphrase")
    protect_file(identities(age_user), PASSPHRASE)
    second = ("--vault", str(age_user.home / "second"))
    refused(age_user.run(*AGE, *second, "init", env=env), 5, "FILEVAULT_PASSPHRASE")
    refused(
        age_user.run(*AGE, *second, "init", "--generate"),
        2,
        "has an identity already",
        f"filevault init --backend age --identity {identities(age_user)}",
    )
    assert not (age_user.home / "second").exists()
    age_user.ok(*AGE, *second, "init", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    files = [age_user.home / name / ".age-recipients" for name in ("first", "second")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", ["pass", "age"])
def test_a_refused_commit_comes_after_everything_else(pass_user: Machine, kind: str) -> None:
    tool("age")
    folder = store(pass_user) if kind == "pass" else pass_user.vault
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (pass_user.home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    words = ("--recipient", JON) if kind == "pass" else ("--no-passphrase",)
    made = pass_user.run("init", "--backend", kind, *words, env={"FILEVAULT_BACKEND": None})
    assert made.status == 11, made
    assert "pin: " in made.out
    assert ("identity: " in made.out) == (kind == "age")
    assert "commands use this vault from now on" in made.err
    pass_user.env["FILEVAULT_BACKEND"] = None  # type: ignore[assignment]
    assert "(known here)" in pass_user.ok("recipients", "list").out
    commit_identity(pass_user)
    pass_user.ok("add", "work", *PLAIN, stdin=LINES)


# Whose identity


@pytest.mark.parametrize("way", ["option", "file", "value", "passage"])
def test_an_identity_that_is_named_is_the_one_that_opens_the_vault(
    age_user: Machine, way: str
) -> None:
    mine = age_user.home / "mine"
    recipient = new_identity(mine)
    option = ("--identity", str(mine)) if way == "option" else ()
    if way == "value":
        age_user.env["FILEVAULT_AGE_IDENTITY"] = mine.read_text().splitlines()[-1]
    elif way != "option":
        name = "FILEVAULT_AGE_IDENTITY_FILE" if way == "file" else "PASSAGE_IDENTITIES_FILE"
        age_user.env[name] = str(mine)
    made = age_user.ok(*AGE, "init", *option)
    assert "identity:" not in made.out
    assert (age_user.vault / ".age-recipients").read_text() == f"{recipient}\n"
    assert not identities(age_user).exists()
    age_user.ok("add", "work", *PLAIN, stdin=LINES)
    assert KEY_ID in age_user.ok("export", "work", "-n", *option).out


def test_an_identity_that_is_protected_is_opened_for_its_recipient(age_user: Machine) -> None:
    mine = age_user.home / "mine"
    recipient = new_identity(mine)
    mine.write_bytes(protect(mine.read_bytes(), PASSPHRASE.encode()))
    argv = (*AGE, "init", "--identity", str(mine))
    refused(age_user.run(*argv), 5, "passphrase")
    assert not age_user.vault.exists()
    age_user.ok(*argv, env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert (age_user.vault / ".age-recipients").read_text() == f"{recipient}\n"


def test_an_identity_of_a_plugin_does_not_tell_its_recipient(age_user: Machine) -> None:
    mine = age_user.home / "mine"
    mine.write_text(PLUGIN_IDENTITY + "\n")
    mine.chmod(0o600)
    refused(age_user.run(*AGE, "init", "--identity", str(mine)), 2, "--recipient")
    assert not age_user.vault.exists()


# Options that mean nothing


def test_options_about_a_passphrase_are_refused_where_there_is_none(
    pass_user: Machine, tmp_path: Path
) -> None:
    for option in ("--generate", "--no-passphrase", "--allow-weak"):
        refused(pass_user.run("init", "--recipient", JON, option), 2, option)
        recipient = new_identity(tmp_path / "identity")
        for words in (("--recipient", recipient), ("--identity", str(tmp_path / "identity"))):
            refused(pass_user.run("init", *AGE, *words, option), 2, option)
    refused(pass_user.run("init", *AGE, "--generate", "--no-passphrase"), 2, "contradict")
    refused(pass_user.run("init", *AGE, "--kdf-memory", "0"), 2, "--kdf-memory")
    assert not store(pass_user).exists()
    assert not pass_user.vault.exists()
    assert not identities(pass_user).exists()


def test_what_was_made_without_a_passphrase_is_adopted_by_the_same_words(age_user: Machine) -> None:
    argv = (*AGE, "init", "--no-passphrase")
    age_user.ok(*argv)
    before = identities(age_user).read_bytes()
    assert "no identity is made" in age_user.ok(*argv).err
    assert identities(age_user).read_bytes() == before


# What is noted


@pytest.mark.parametrize("prefix", ["aws", "keys/of/mine", ""])
def test_what_is_noted_leads_back_to_a_pass_store(pass_user: Machine, prefix: str) -> None:
    del pass_user.env["FILEVAULT_BACKEND"]
    mine = pass_user.home / "mystore"
    more = () if prefix == "aws" else ("--prefix", prefix)
    made = pass_user.ok(
        "--backend", "pass", "--pass-dir", str(mine), *more, "init", "--recipient", JON
    )
    assert "commands use this vault from now on" in made.err
    noted = tomllib.loads(config(pass_user).read_text())
    assert noted == {"backend": "pass", "vault": str(mine), "prefix": prefix}
    pass_user.ok("add", "work", *PLAIN, stdin=LINES)
    assert (mine / prefix / "work.gpg").exists()
    before = config(pass_user).read_bytes()
    again = pass_user.ok("--backend", "pass", "--pass-dir", str(mine), *more, "init")
    assert "to use it" not in again.err
    assert config(pass_user).read_bytes() == before


def test_a_passage_store_that_comes_later_does_not_take_its_place(age_user: Machine) -> None:
    age_user.ok(*AGE, "init", "--no-passphrase")
    age_user.ok("add", "work", *PLAIN, stdin=LINES)
    passage = age_user.home / ".passage/store"
    passage.mkdir(parents=True)
    (passage / ".age-recipients").write_text("age1\n")
    for more in ((), AGE):
        assert age_user.ok("list", "--credentials", *more).out == "work\n"


def test_a_second_prefix_breaks_no_configuration(pass_user: Machine) -> None:
    config(pass_user).parent.mkdir(parents=True)
    config(pass_user).write_text("prefix = 'mine'\n")
    made = pass_user.ok("--prefix", "", "init", "--recipient", JON)
    assert config(pass_user).read_text() == "prefix = 'mine'\n"
    line = (
        f"to use it: filevault --vault {store(pass_user)} --backend pass --prefix '' ..., "
        f"or export FILEVAULT_DIR={store(pass_user)} FILEVAULT_BACKEND=pass FILEVAULT_PREFIX=''\n"
    )
    assert line in made.err
    options = ("--vault", str(store(pass_user)), "--backend", "pass", "--prefix", "")
    pass_user.ok("add", "work", *options, *PLAIN, stdin=LINES)
    assert (store(pass_user) / "work.gpg").exists()
    export = {
        "FILEVAULT_DIR": str(store(pass_user)), "FILEVAULT_BACKEND": "pass", "FILEVAULT_PREFIX": "",
    }  # fmt: skip
    assert pass_user.ok("list", "--credentials", env=export).out == "work\n"


def test_a_prefix_that_is_noted_belongs_to_the_store_it_is_noted_with(
    pass_user: Machine, tmp_path: Path
) -> None:
    del pass_user.env["FILEVAULT_BACKEND"]
    pass_user.ok("--backend", "pass", "--prefix", "mine", "init", "--recipient", JON)
    team = ("--vault", str(tmp_path / "team"))
    made = pass_user.ok(*AGE, *team, "init", "--recipient", new_identity(tmp_path / "identity"))
    assert f"to use it: filevault {' '.join(team)} --backend age --prefix ''" in made.err
    pass_user.ok("add", "work", *team, *PLAIN, stdin=LINES)
    assert (tmp_path / "team/work.age").exists()


def test_what_a_variable_contradicts_is_not_promised(pass_user: Machine, tmp_path: Path) -> None:
    env = {"FILEVAULT_DIR": str(tmp_path / "elsewhere"), "FILEVAULT_BACKEND": None}
    option = ("--vault", str(tmp_path / "here"), "--backend", "pass")
    made = pass_user.ok(*option, "init", "--recipient", JON, env=env)
    assert "to use it" in made.err
    assert "from now on" not in made.err


def test_a_vault_at_the_usual_place_stays_the_one_in_use(age_user: Machine, gpg: GpgHome) -> None:
    age_user.ok("init", "--no-passphrase", env={"FILEVAULT_BACKEND": "age"})
    age_user.env |= gpg.env()
    made = age_user.ok("--backend", "pass", "init", "--recipient", JON)
    assert "to use it" in made.err
    assert not config(age_user).exists()
    assert OtherPrograms(age_user).run("cat", str(age_user.vault / ".age-recipients")).out


# What opens a store lies elsewhere


@pytest.mark.parametrize("words", [("--no-passphrase",), ("--generate",), ()])
@pytest.mark.parametrize("place", [".config/filevault", ".config", "link"])
def test_a_new_identity_is_never_made_inside_the_store(
    age_user: Machine, place: str, words: tuple[str, ...]
) -> None:
    (age_user.home / ".config/filevault").mkdir(parents=True)
    (age_user.home / "link").symlink_to(".config")
    vault = age_user.home / place
    refused(age_user.run(*AGE, "--vault", str(vault), "init", *words), 2, "inside the store")
    assert not [path for path in (age_user.home / ".config").rglob("*") if path.is_file()]


def test_an_identity_inside_a_store_that_is_adopted_is_told_of(age_user: Machine) -> None:
    vault = age_user.home / ".config"
    recipient = new_identity(identities(age_user))
    (vault / ".age-recipients").write_text(f"{recipient}\n")
    told = age_user.ok(*AGE, "--vault", str(vault), "init")
    assert f"the identities in '{identities(age_user)}' lie inside the store" in told.err
    identities(age_user).rename(age_user.home / "elsewhere")
    words = (*AGE, "--vault", str(vault), "--identity", str(age_user.home / "elsewhere"))
    assert "inside the store" not in age_user.ok(*words, "init").err


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("age", "--passphrase-file, --generate, or --no-passphrase"),
        ("file", "--passphrase-file, --generate, or --new-key-file with --no-passphrase"),
    ],
)
def test_without_a_terminal_the_hint_names_options_that_go_together(
    age_user: Machine, backend: str, options: str
) -> None:
    result = age_user.run("--backend", backend, "init")
    assert result.status == 5
    assert result.err.endswith(f", or give {options}\n")
