"""`add`: where the key comes from, what is refused, and a first vault on the way."""

from __future__ import annotations

import json

import pytest

from tests.conditions.mounts import read_only
from tests.samples import EXAMPLE_ID, EXAMPLE_SESSION_ID, SECRET
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, Machine

LINES = f"{EXAMPLE_ID}\n{SECRET}\n"
CREATED = {
    "AccessKey": {
        "UserName": "jon",
        "AccessKeyId": EXAMPLE_ID,
        "Status": "Active",
        "SecretAccessKey": SECRET,
        "CreateDate": "2026-08-15T10:11:12+00:00",
    }
}
PROCESS = {"Version": 1, "AccessKeyId": EXAMPLE_ID, "SecretAccessKey": SECRET}


OLDER = "User name,Password,Access key ID,Secret access key,Console login link"


@pytest.mark.parametrize(
    "stdin",
    [
        LINES,
        f"\r\n  {EXAMPLE_ID}  \r\n\r\n{SECRET}",
        json.dumps(CREATED),
        json.dumps(CREATED["AccessKey"]),
        json.dumps(PROCESS, indent=4),
        f"\ufeffAccess key ID,Secret access key\r\n{EXAMPLE_ID},{SECRET}\r\n",
        f"\ufeff{OLDER}\r\njon,,{EXAMPLE_ID},{SECRET},https://signin.aws.amazon.com/console\r\n",
        f'"User Name","Access Key Id","Secret Access Key"\n"jon","{EXAMPLE_ID}","{SECRET}"\n\n',
        "\ufeff" + LINES,
    ],
    ids=[
        *("lines", "loose-lines", "create-access-key", "inner", "credential-process"),
        *("console", "older-console", "quoted", "lines-with-bom"),
    ],
)
def test_stdin_takes_what_other_tools_print(vault: Machine, stdin: str) -> None:
    vault.ok("add", "jon", "--stdin", stdin=stdin)
    shown = json.loads(vault.ok("export", "jon", "-n", "--format", "json").out)
    assert (shown["AccessKeyId"], shown["SecretAccessKey"]) == (EXAMPLE_ID, SECRET)


def test_iams_own_date_is_kept(vault: Machine) -> None:
    vault.ok("add", "jon", "--stdin", stdin=json.dumps(CREATED))
    (row,) = json.loads(vault.ok("list", "--json").out)
    assert (row["created"], row["created_from"]) == ("2026-08-15T10:11:12Z", "iam")


@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        ("", "0 lines"),
        (f"{EXAMPLE_ID}\n", "1 lines"),
        (LINES + "third\n", "3 lines"),
        ("{" + SECRET, "begins like JSON"),
        ("{" * 30, "begins like JSON"),
        ("{" * 60000, "nested too deeply"),
        ('{"AccessKey":' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        (json.dumps({"AccessKeyId": EXAMPLE_ID}), "no AccessKeyId and SecretAccessKey"),
        (json.dumps({"AccessKeyId": [SECRET], "SecretAccessKey": 1}), "no AccessKeyId"),
        (json.dumps({**PROCESS, "SessionToken": "x"}), "temporary credentials"),
        (json.dumps({**PROCESS, "AccessKeyId": EXAMPLE_SESSION_ID}), "temporary session"),
        (json.dumps({**CREATED["AccessKey"], "Status": "Inactive"}), "inactive"),
        (b"\xff\xfe" + SECRET.encode(), "not UTF-8"),
        ("x" * 70000, "more than a key"),
        (f"{EXAMPLE_ID}\n{SECRET}\x1b\n", "no secret access key"),
        ("Access key ID,Secret access key\n", "0 keys instead of one"),
        (f"Access key ID,Secret access key\n{EXAMPLE_ID},{SECRET}\nx,y\n", "2 keys instead of one"),
        (f"Access key ID,Secret access key\n{EXAMPLE_ID}\n", "is damaged"),
        (f'Access key ID,Secret access key\n"{EXAMPLE_ID}"x,{SECRET}\n', "is damaged"),
        (f"Access key ID,Secret access key,Access key ID\n{EXAMPLE_ID},{SECRET},x\n", "is damaged"),
        ("User name,Access key ID,Secret access key\njon,,\n", "has no access key"),
        (f"Access key ID,Secret access key\n{SECRET},{EXAMPLE_ID}\n", "looks like a secret"),
        (f"{SECRET}\n{EXAMPLE_ID}\n", "looks like a secret"),
        (f"{EXAMPLE_ID}\n{EXAMPLE_ID}\n", "looks like an access key id"),
        (json.dumps({"AccessKeyId": SECRET, "SecretAccessKey": EXAMPLE_ID}), "looks like a secret"),
    ],
)  # fmt: skip
def test_anything_else_on_stdin_is_refused_unshown(
    vault: Machine, stdin: str | bytes, why: str
) -> None:
    result = vault.run("add", "jon", "--stdin", "--debug", stdin=stdin)
    assert (result.status, result.out) == (2, "")
    assert why in result.err
    assert SECRET not in result.err
    assert vault.ok("list", "--credentials").out == ""


def test_the_environment_is_a_source(vault: Machine) -> None:
    env = {"AWS_ACCESS_KEY_ID": EXAMPLE_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    vault.ok("add", "jon", "--env", env=env)
    assert SECRET in vault.ok("export", "jon", "-n").out


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "AWS_ACCESS_KEY_ID, which is not set"),
        ({"AWS_ACCESS_KEY_ID": EXAMPLE_ID}, "AWS_SECRET_ACCESS_KEY, which is not set"),
        (
            {
                "AWS_ACCESS_KEY_ID": EXAMPLE_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_SESSION_TOKEN": "x",
            },
            "temporary credentials",
        ),
        ({"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": EXAMPLE_ID}, "looks like a secret"),
    ],
)
def test_an_environment_without_a_key_is_refused(
    vault: Machine, env: dict[str, str], why: str
) -> None:
    result = vault.run("add", "jon", "--env", env=env)
    assert result.status == 2
    assert why in result.err
    assert SECRET not in result.err


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("add", "mfa/jon", "--stdin"), "reserved for TOTP seeds"),
        (("add", "a//b", "--stdin"), "empty part"),
        (("add", "jon", "--stdin", "--discard"), "--discard goes with --force"),
        (("add", "jon", "--stdin", "--env"), "not allowed with"),
        (("add", "--stdin"), "PROFILE"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    vault: Machine, argv: tuple[str, ...], why: str
) -> None:
    result = vault.run(*argv, stdin=LINES)
    assert result.status == 2
    assert why in result.err


def test_without_a_vault_nothing_is_made_unasked(machine: Machine) -> None:
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    result = machine.run("add", "jon", "--stdin", stdin=LINES)
    assert result.status == 4
    assert "filevault init" in result.err
    assert not machine.vault.exists()


@pytest.mark.parametrize("argv", [("--init",), ()])
def test_the_first_vault_is_made_on_the_way(machine: Machine, argv: tuple[str, ...]) -> None:
    name = "FILEVAULT_PASSPHRASE" if argv else "FILEVAULT_NEW_PASSPHRASE"
    result = machine.ok("add", "jon", "--stdin", *argv, stdin=LINES, env={name: PASSPHRASE})
    assert f"made a vault at {machine.vault}" in result.err
    shown = machine.ok("export", "jon", "-n", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert SECRET in shown.out


def test_a_descriptor_serves_the_new_vault_and_its_first_key(machine: Machine) -> None:
    file = machine.home / "p"
    file.write_text(PASSPHRASE)
    with file.open() as source:
        machine.ok(
            "add", "jon", "--stdin", "--init", "--passphrase-fd", str(source.fileno()),
            stdin=LINES, pass_fds=(source.fileno(),),
        )  # fmt: skip
    shown = machine.ok("export", "jon", "-n", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert SECRET in shown.out


def test_a_weak_passphrase_is_refused_on_the_way_too(machine: Machine) -> None:
    env = {"FILEVAULT_PASSPHRASE": "short"}
    result = machine.run("add", "jon", "--stdin", "--init", stdin=LINES, env=env)
    assert result.status == 2
    assert not machine.vault.exists()
    machine.ok("add", "jon", "--stdin", "--init", "--allow-weak", stdin=LINES, env=env)


def test_a_folder_that_holds_other_things_is_no_place_for_a_vault_unasked(
    machine: Machine,
) -> None:
    machine.vault.mkdir(parents=True)
    (machine.vault / "thesis.tex").touch()
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE}
    result = machine.run("add", "jon", "--stdin", "--init", stdin=LINES, env=env)
    assert result.status == 4
    assert "filevault init" in result.err
    assert [path.name for path in machine.vault.iterdir()] == ["thesis.tex"]


def test_a_vault_that_cannot_be_written_is_noticed_before_a_secret_is_read(
    vault: Machine,
) -> None:
    read_only(vault, vault.vault)
    shown = vault.on_terminal("add", "jon")
    assert shown.status == 7
    assert "read-only" in shown.err
    assert shown.tty == ""


def test_replacing_a_key_drops_the_sessions_made_from_the_old_one(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.ok("export", "jonsmith")
    new = plain.aws.add_access_key(plain.user)
    added = machine.ok(
        "add", "jonsmith", "--stdin", "--force",
        stdin=f"{new.access_key_id}\n{new.secret_access_key}\n",
    )  # fmt: skip
    assert "Deleted 1 session made from the old key." in added.out
    assert "sts" not in machine.ok("list").out
    machine.ok("export", "jonsmith")
    assert plain.aws.calls[-1].access_key_id == new.access_key_id


def test_removing_a_key_removes_its_sessions_and_nothing_elses(plain: AwsMachine) -> None:
    machine = plain.machine
    other = plain.aws.add_user("other")
    machine.add("other", other.access_key_id, other.secret_access_key, "--no-config")
    machine.write_config(
        machine.config.read_text() + f"[profile other]\nendpoint_url = {plain.aws.url}\n"
    )
    for profile in ("jonsmith", "other"):
        machine.ok("export", profile)
    assert machine.ok("remove", "-s", "jonsmith").out == "Deleted 1 session.\n"
    assert machine.ok("list", "--credentials").out == "jonsmith\nother\n"
    machine.ok("export", "jonsmith")
    gone = machine.ok("remove", "-f", "jonsmith")
    assert gone.out == "Deleted the key of profile jonsmith.\nDeleted 1 session.\n"
    assert machine.ok("list", "--sessions").out.startswith("other\t")
    assert machine.run("remove", "-f", "jonsmith").status == 4
    assert machine.ok("clear", "other").out == "Cleared 1 session.\n"
    assert machine.ok("clear").out == "Cleared 0 sessions.\n"
