"""A `pass` vault beside the real `pass`: each reads what the other wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.samples import KEY_ID, LINES, OTHER_ACCOUNT, SECOND_ID, SECRET
from tests.worlds.machine import Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine


@pytest.fixture
def pass_store(tmp_path: Path, gpg: GpgHome) -> Machine:
    """Jon, who has a pass store with one entry of another kind in it."""
    tool("pass")
    machine = pass_machine(tmp_path / "home", gpg)
    commit_identity(machine)
    tools = OtherPrograms(machine)
    tools.run("pass", "init", "jon@example.com")
    tools.run("pass", "insert", "-m", "mail/jon", stdin="hunter2\nuser: jon\n")
    return machine


def test_a_store_that_exists_is_adopted_and_nothing_is_written_into_it(pass_store: Machine) -> None:
    store = pass_store.home / ".password-store"
    before = sorted(path.read_bytes() for path in store.rglob("*") if path.is_file())
    result = pass_store.ok("init")
    assert "recipient: " in result.out
    assert "pin: " in result.out
    assert sorted(path.read_bytes() for path in store.rglob("*") if path.is_file()) == before
    assert pass_store.ok("init").status == 0
    assert pass_store.run("init", "--recipient", "ann@example.com").status == 2


def test_what_filevault_stores_pass_shows(pass_store: Machine) -> None:
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    shown = OtherPrograms(pass_store).run("pass", "show", "aws/work").out
    assert shown.splitlines()[0] == SECRET
    assert f"aws_access_key_id: {KEY_ID}" in shown
    assert "work" in OtherPrograms(pass_store).run("pass", "ls", "aws").out


def test_what_pass_stores_filevault_hands_out(pass_store: Machine) -> None:
    text = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"
    OtherPrograms(pass_store).run("pass", "insert", "-m", "aws/work", stdin=text)
    given = json.loads(pass_store.ok("export", "work", "-n", "--format", "json").out)
    assert (given["AccessKeyId"], given["SecretAccessKey"]) == (KEY_ID, SECRET)


def test_only_the_prefix_is_listed_and_nothing_is_decrypted(pass_store: Machine) -> None:
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    pass_store.env["GNUPGHOME"] = str(pass_store.home / "no-keys-at-all")
    assert pass_store.ok("list", "--credentials").out == "work\n"


def test_notes_survive_a_replacement(pass_store: Machine) -> None:
    text = f"{SECRET}\r\naws_access_key_id: {KEY_ID}\r\n# mine\r\notpauth://totp/x?secret=A\r\nend"
    OtherPrograms(pass_store).run("pass", "insert", "-m", "aws/work", stdin=text)
    other = f"{SECOND_ID}\n" + SECRET + "\n"
    pass_store.ok("add", "work", "--stdin", "--no-config", "--force", stdin=other)
    shown = OtherPrograms(pass_store).run("pass", "show", "aws/work").out
    assert SECOND_ID in shown
    assert "# mine\r\notpauth://totp/x?secret=A\r\nend" in shown


def test_a_role_session_is_cached_outside_the_store(pass_store: Machine, aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    role = aws.add_role("admin", trusts=[user])
    pass_store.env["AWS_ENDPOINT_URL"] = aws.url
    pass_store.add("work", user.access_key_id, user.secret_access_key, "--no-config")
    pass_store.write_config(
        "[profile work]\nregion=eu-west-1\n"
        f"[profile admin]\nregion=eu-west-1\nsource_profile=work\nrole_arn={role.arn}\n"
    )
    first = pass_store.ok("export", "admin").out
    assert pass_store.ok("export", "admin").out == first
    assert aws.actions() == ["AssumeRole"]
    names = {
        path.name for path in (pass_store.home / ".password-store").rglob("*") if path.is_file()
    }
    assert names == {".gpg-id", "jon.gpg", "work.gpg"}


def test_each_change_is_a_commit_as_pass_makes_them(pass_store: Machine) -> None:
    tools = OtherPrograms(pass_store)
    tools.run("pass", "git", "init")
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    pass_store.ok("remove", "work", "--force")
    subjects = tools.run("pass", "git", "log", "--format=%s").out.splitlines()
    assert subjects[:2] == [
        "Remove aws/work from store.",
        "Add given password for aws/work to store.",
    ]
    assert tools.run("pass", "git", "status", "--porcelain").out == ""


def test_recipients_that_changed_behind_our_back_stop_writing_not_reading(
    pass_store: Machine,
) -> None:
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    gpg_id = pass_store.home / ".password-store/.gpg-id"
    gpg_id.write_text(gpg_id.read_text() + "ann@example.com\n")
    assert pass_store.ok("export", "work", "-n").status == 0
    before = (pass_store.home / ".password-store/aws/work.gpg").read_bytes()
    refused = pass_store.run("add", "work", "--stdin", "--force", "--no-config", stdin=LINES)
    assert refused.status == 10
    assert "added" in refused.err
    assert (pass_store.home / ".password-store/aws/work.gpg").read_bytes() == before
    assert "added" in pass_store.ok("recipients", "accept").out
    pass_store.ok("add", "work", "--stdin", "--force", "--no-config", stdin=LINES)


def test_a_recipient_is_added_and_removed_and_items_reencrypted(
    pass_store: Machine, gpg: GpgHome
) -> None:
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    outside = (pass_store.home / ".password-store/mail/jon.gpg").read_bytes()
    result = pass_store.ok("recipients", "add", "ann@example.com")
    assert "Reencrypted work." in result.out
    packets = OtherPrograms(pass_store).run(
        "gpg", "--batch", "--list-only", "--list-packets",
        str(pass_store.home / ".password-store/aws/work.gpg"),
    )  # fmt: skip
    assert (packets.out + packets.err).count("pubkey enc packet") == 2
    assert (pass_store.home / ".password-store/mail/jon.gpg").read_bytes() == outside
    pass_store.ok("recipients", "remove", "ann@example.com")
    assert pass_store.ok("export", "work", "-n").status == 0
    assert "Reencrypted" not in pass_store.ok("recipients", "add", "jon@example.com").out


def test_a_key_of_another_account_is_refused_until_accepted(pass_store: Machine) -> None:
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    text = f"{SECRET}\naws_access_key_id: {OTHER_ACCOUNT}\n"
    OtherPrograms(pass_store).run("pass", "insert", "-m", "-f", "aws/work", stdin=text)
    refused = pass_store.run("export", "work", "-n")
    assert refused.status == 10
    assert "another AWS account" in refused.err
    pass_store.ok("recipients", "accept", "work")
    assert pass_store.ok("export", "work", "-n").status == 0


def test_an_entry_that_was_renamed_is_refused_under_strict(pass_store: Machine) -> None:
    """Whoever can write the store could swap two keys that way."""
    pass_store.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    folder = next(pass_store.home.rglob("work.gpg")).parent
    (folder / "work.gpg").rename(folder / "prod.gpg")
    export = ("export", "prod", "-n", "--region", "eu-west-1")
    assert "was it renamed with another tool?" in pass_store.ok(*export).err
    refused = pass_store.run(*export, "--strict")
    assert (refused.status, refused.out) == (6, "")


def test_a_new_store_is_made_for_a_key(tmp_path: Path, gpg: GpgHome) -> None:
    machine = pass_machine(tmp_path / "new", gpg)
    assert machine.run("init").status == 2
    machine.ok("init", "--recipient", "jon@example.com")
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    assert OtherPrograms(machine).run("pass", "show", "aws/work").out.startswith(SECRET)


def test_files_are_private_whatever_passes_own_umask_variable_says(pass_store: Machine) -> None:
    pass_store.env["PASSWORD_STORE_UMASK"] = "027"
    pass_store.ok("git", "init")
    pass_store.ok("add", "team/work", "--stdin", "--no-config", stdin=LINES)
    folder = pass_store.home / ".password-store/aws/team"
    assert (folder / "work.gpg").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
