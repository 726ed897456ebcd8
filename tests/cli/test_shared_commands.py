"""Commands on `pass` and `age` vaults: which store they mean, and what they say where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import JON, KEY_ID, LINES, SECOND_ID, SECRET
from tests.worlds.age_store import (
    PLUGIN_IDENTITY,
    PLUGIN_RECIPIENT,
    install_plugin,
    new_identity,
    protect,
)
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine

PLAIN = ("--stdin", "--no-config")


@pytest.fixture
def pass_vault(tmp_path: Path, gpg: GpgHome) -> Machine:
    """A new pass store with one key."""
    machine = pass_machine(tmp_path / "home", gpg)
    machine.ok("init", "--recipient", JON)
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    return machine


def test_options_before_git_are_ours_and_words_after_it_are_gits(pass_vault: Machine) -> None:
    commit_identity(pass_vault)
    pass_vault.ok("git", "init")
    del pass_vault.env["FILEVAULT_BACKEND"]
    assert pass_vault.run("git", "log").status == 4
    shown = pass_vault.ok("--backend", "pass", "--debug", "git", "log", "--format=%s")
    assert shown.out == "Add current contents of password store.\n"
    assert pass_vault.run("--backend", "pass", "git", "--backend", "pass", "log").status == 129
    assert "git ARGS" in pass_vault.ok("--backend", "pass", "git", "--help").out


@pytest.mark.parametrize("words", [("--init",), ("--init", "--backend", "pass")])
def test_add_makes_no_vault_in_a_store_of_another_kind(
    tmp_path: Path, gpg: GpgHome, words: tuple[str, ...]
) -> None:
    machine = pass_machine(tmp_path / "home", gpg)
    env = {"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE}
    refused = machine.run("add", "work", *PLAIN, *words, stdin=LINES, env=env)
    assert refused.status == 2
    assert "filevault init --backend pass" in refused.err
    assert not (machine.home / ".password-store").exists()


def test_without_a_store_the_hint_is_the_init_of_its_kind(tmp_path: Path, gpg: GpgHome) -> None:
    machine = pass_machine(tmp_path / "home", gpg)
    env = {"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE}
    for more in ({}, env):
        refused = machine.run("add", "work", *PLAIN, stdin=LINES, env=more)
        assert refused.status == 4
        assert refused.err.splitlines()[1] == "filevault: hint: filevault init --backend pass"
    assert not (machine.home / ".password-store").exists()


def test_an_item_that_cannot_be_opened_is_replaced_with_discard_alone(pass_vault: Machine) -> None:
    path = pass_vault.home / ".password-store/aws/work.gpg"
    clear = pass_vault.home / "clear"
    clear.write_text("of Ann's\n")
    # Jon's machine has Ann's public key only: an item that she alone can read.
    ann = GpgHome()
    try:
        ann.make_key("away@example.com")
        tools = OtherPrograms(pass_vault)
        pass_vault.env["GNUPGHOME"], own = ann.path, pass_vault.env["GNUPGHOME"]
        tools.run("gpg", "--batch", "--yes", "-e", "-r", "away@example.com", "-o", str(path),
                  str(clear))  # fmt: skip
        pass_vault.env["GNUPGHOME"] = own
    finally:
        ann.close()
    before = path.read_bytes()
    lines = f"{SECOND_ID}\n{SECRET}\n"
    refused = pass_vault.run("add", "work", *PLAIN, "--force", stdin=lines)
    assert refused.status == 5
    assert "--force --discard" in refused.err
    assert path.read_bytes() == before
    pass_vault.ok("add", "work", *PLAIN, "--force", "--discard", stdin=lines)
    assert SECOND_ID in pass_vault.ok("export", "work", "-n").out


UNKNOWN = (
    '{"some": "JSON", "key": "' + SECRET + '"}\n',
    f"GOPASS-SECRET-1.0\nPassword: {SECRET}\n",
    "gopass://other/entry\n",
    f"{SECRET}\naws_access_key_id: {KEY_ID}\nsecret: {SECRET[::-1]}\n",
)


@pytest.mark.parametrize("text", UNKNOWN, ids=["json", "mime", "reference", "several"])
def test_an_item_of_no_known_form_is_replaced_with_discard_alone(
    pass_vault: Machine, text: str
) -> None:
    OtherPrograms(pass_vault).run(tool("pass"), "insert", "-m", "-f", "aws/work", stdin=text)
    lines = f"{SECOND_ID}\n{SECRET}\n"
    refused = pass_vault.run("add", "work", *PLAIN, "--force", stdin=lines)
    assert refused.status == 6
    assert "--force --discard" in refused.err
    assert OtherPrograms(pass_vault).run("pass", "show", "aws/work").out == text
    pass_vault.ok("add", "work", *PLAIN, "--force", "--discard", stdin=lines)
    shown = OtherPrograms(pass_vault).run("pass", "show", "aws/work").out
    assert shown.startswith(f"{SECRET}\naws_access_key_id: {SECOND_ID}\ncreated: ")
    assert len(shown.splitlines()) == 4


def test_an_item_of_no_known_form_is_discarded_on_a_second_yes_only(pass_vault: Machine) -> None:
    OtherPrograms(pass_vault).run(tool("pass"), "insert", "-m", "-f", "aws/work", stdin=UNKNOWN[0])
    replace = TypedAnswer("Replace the key that is stored for work? (y|N) ", "y")
    key = {"AWS_ACCESS_KEY_ID": SECOND_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    for answer, changed in (("n", False), ("y", True)):
        answers = [replace, TypedAnswer("Discard it? (y|N) ", answer)]
        words = ("add", "work", "--env", "--no-config")
        ended = pass_vault.on_terminal(*words, answers=answers, env=key)
        assert (ended.status, "nothing was changed" in ended.err) == (0, not changed)
        shown = OtherPrograms(pass_vault).run("pass", "show", "aws/work").out
        assert (shown == UNKNOWN[0]) is not changed
    assert (
        OtherPrograms(pass_vault)
        .run("pass", "show", "aws/work")
        .out.startswith(f"{SECRET}\naws_access_key")
    )


def test_a_file_vault_that_is_locked_is_no_item_to_discard(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home").with_vault()
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    env = {"FILEVAULT_PASSPHRASE": "not the passphrase"}
    refused = machine.run("add", "work", *PLAIN, "--force", "--discard", stdin=LINES, env=env)
    assert refused.status == 5
    assert "--discard" not in refused.err


def test_a_pass_store_is_not_taken_for_passages(tmp_path: Path, gpg: GpgHome) -> None:
    machine = pass_machine(tmp_path / "home", gpg)
    new_identity(machine.home / ".passage/identities")
    store = machine.home / "mine"
    option = ("--pass-dir", str(store))
    machine.ok("init", *option, "--recipient", JON)
    machine.ok("list", *option)
    machine.ok("list", env={"AWS_VAULT_PASS_PASSWORD_STORE_DIR": str(store)})
    # Without a kind that is asked for, --pass-dir is pass's.
    machine.ok("list", "--vault", str(store), *option, env={"FILEVAULT_BACKEND": None})


def test_aws_vaults_variable_for_pass_says_nothing_about_age(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    machine.env["AWS_VAULT_PASS_PASSWORD_STORE_DIR"] = str(machine.home / ".password-store")
    (machine.home / ".password-store").mkdir()
    machine.ok("init", "--backend", "age", "--no-passphrase")
    assert (machine.vault / ".age-recipients").exists()
    assert not list((machine.home / ".password-store").iterdir())


def test_an_entry_at_the_stores_top_is_pointed_to(pass_vault: Machine) -> None:
    store = pass_vault.home / ".password-store"
    (store / "aws/work.gpg").rename(store / "work.gpg")
    (store / "aws").rmdir()
    hint = "'work' is at the top of the store: --prefix '' uses that"
    for argv, status in (
        (("export", "work", "-n"), 3),
        (("exec", "work", "true"), 125),
        (("remove", "work", "--force"), 4),
    ):
        refused = pass_vault.run(*argv)
        assert (refused.status, hint in refused.err) == (status, True), refused
    pass_vault.write_config(
        "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
        "source_profile=work\nrole_arn=arn:aws:iam::029608264753:role/admin\n"
    )
    for name in ("work", "admin"):
        refused = pass_vault.run("export", name)
        assert (refused.status, hint in refused.err) == (4, True), refused
    assert hint not in pass_vault.run("export", "other").err
    assert KEY_ID in pass_vault.ok("export", "work", "-n", "--prefix", "").out


def test_a_link_in_the_place_of_our_folder_is_named_with_what_may_be_one(
    pass_vault: Machine,
) -> None:
    store = pass_vault.home / ".password-store"
    (store / "aws").rename(pass_vault.home / "dotfiles")
    (store / "aws").symlink_to(pass_vault.home / "dotfiles")
    for argv in (("list",), ("export", "work", "-n"), ("add", "two", *PLAIN)):
        refused = pass_vault.run(*argv, stdin=LINES)
        assert refused.status == 7, refused
        assert f"'{store}/aws' is a link" in refused.err
        assert "only the folder of the whole store may be a link" in refused.err
    (store / "aws").unlink()
    (pass_vault.home / "dotfiles").rename(store / "aws")
    store.rename(pass_vault.home / "store")
    store.symlink_to(pass_vault.home / "store")
    assert KEY_ID in pass_vault.ok("export", "work", "-n").out
    pass_vault.ok("add", "two", *PLAIN, stdin=LINES)


# age


def test_a_plugin_asks_on_the_terminal(tmp_path: Path) -> None:
    install_plugin(tmp_path / "bin", ask=True)
    machine = Machine(tmp_path / "home")
    path = machine.env["PATH"]
    machine.env |= {"FILEVAULT_BACKEND": "age", "PATH": f"{tmp_path}/bin:{path}"}
    machine.ok("init", "--recipient", PLUGIN_RECIPIENT)
    pin = [TypedAnswer("PIN?", "1234")]
    stored = machine.on_terminal("add", "work", *PLAIN, stdin=LINES.encode(), answers=pin)
    assert stored.status == 0, stored
    identity = machine.home / "identity"
    identity.write_text(PLUGIN_IDENTITY + "\n")
    identity.chmod(0o600)
    options = ("-n", "--no-cache", "--identity", str(identity))
    result = machine.on_terminal("export", "work", *options, answers=pin)
    assert KEY_ID in result.out, result
    refused = machine.run("export", "work", *options)
    assert refused.status == 5
    assert "there is no terminal" in refused.err


def test_the_identity_that_is_locked_is_the_one_that_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    machine.env["FILEVAULT_BACKEND"] = "age"
    identity = machine.home / "elsewhere"
    machine.ok("init", "--recipient", new_identity(identity))
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    identity.write_bytes(protect(identity.read_bytes(), PASSPHRASE.encode()))
    env = {"FILEVAULT_AGE_IDENTITY_FILE": str(identity)}
    options = ("export", "work", "-n")
    answers = [TypedAnswer(f"Passphrase for {identity}: ", PASSPHRASE)]
    shown = machine.on_terminal(*options, env=env, answers=answers)
    assert KEY_ID in shown.out, shown
    wrong = machine.run(*options, env={**env, "FILEVAULT_PASSPHRASE": "not the passphrase"})
    assert wrong.status == 5
    assert f"check that it is the passphrase for {identity}" in wrong.err
    asked = machine.run(*options, env=env)
    assert asked.status == 5
    assert "--passphrase-fd" in asked.err
    assert "key-file" not in asked.err
    assert "FILEVAULT_KEY" not in asked.err
