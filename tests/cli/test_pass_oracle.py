"""Oracle pairs: whatever filevault and `pass` do to one store, the other goes on from there.

The store is a git repository all along, and has no uncommitted file after any step.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, LINES, SECOND_ID, SECRET
from tests.worlds.backend_machine import GpgHomes
from tests.worlds.machine import Machine, ProcessResult
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import pass_machine

OTHER_SECRET = "secondUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OTHER_LINES = f"{SECOND_ID}\n{OTHER_SECRET}\n"
TEXT = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"


class PassStorePair:
    """One store, seen by both programs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tools = OtherPrograms(machine)
        self.store = machine.home / ".password-store"

    def pass_(
        self, *argv: str, stdin: str | None = None, editor: str | None = None
    ) -> ProcessResult:
        """Run pass; `editor` is a sed script that it edits with. The store is clean after it."""
        if editor is not None:
            script = self.machine.home / "editor"
            script.write_text(f"#!/bin/sh\nexec sed -i '{editor}' \"$1\"\n")
            script.chmod(0o700)
            self.machine.env["EDITOR"] = str(script)
        result = self.tools.run("pass", *argv, stdin=stdin)
        self.clean()
        return result

    def ok(self, *argv: str, stdin: str | None = None) -> ProcessResult:
        """Run filevault. The store is clean after it."""
        result = self.machine.ok(*argv, stdin=stdin)
        self.clean()
        return result

    def add(self, name: str, lines: str = LINES, *options: str) -> None:
        self.ok("add", name, "--stdin", "--no-config", *options, stdin=lines)

    def given(self, name: str) -> tuple[str, str]:
        """Return the key that filevault hands out."""
        given = json.loads(self.ok("export", name, "-n", "--format", "json").out)
        return given["AccessKeyId"], given["SecretAccessKey"]

    def clean(self) -> None:
        """Require that nothing is uncommitted."""
        assert self.tools.run("pass", "git", "status", "--porcelain").out == ""

    def last(self) -> str:
        """Return the subject of the last commit."""
        return self.tools.run("pass", "git", "log", "-1", "--format=%s").out.strip()

    def keys(self, name: str) -> int:
        """Count the keys that an entry is encrypted to."""
        file = str(self.store / f"{name}.gpg")
        listing = self.tools.run("gpg", "--batch", "--list-only", "--list-packets", file)
        return (listing.out + listing.err).count("pubkey enc packet")

    def key_ids(self, address: str) -> list[str]:
        """Return the ids of a person's key and its subkeys."""
        listing = self.tools.run("gpg", "--batch", "--with-colons", "--list-keys", address).out
        rows = [line.split(":") for line in listing.splitlines()]
        return [row[4] for row in rows if row[0] in ("pub", "sub")]


@pytest.fixture
def pair(tmp_path: Path, keyrings: GpgHomes) -> PassStorePair:
    """A store that pass made, with a repository and an entry of another kind."""
    tool("pass")
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    commit_identity(machine)
    pair = PassStorePair(machine)
    pair.tools.run("pass", "init", JON)
    pair.tools.run("pass", "git", "init")
    pair.pass_("insert", "-m", "mail/jon", stdin="hunter2\nuser: jon\n")
    pair.ok("init")
    return pair


def test_what_filevault_wrote_pass_shows_lists_and_greps(pair: PassStorePair) -> None:
    pair.add("work")
    pair.add("team/a:b")
    assert pair.last() == "Add given password for aws/team/a%3Ab to store."
    shown = pair.pass_("show", "aws/work").out
    assert shown.startswith(f"{SECRET}\naws_access_key_id: {KEY_ID}\ncreated: ")
    assert shown.endswith("\nfilevault: 1 name=work\n")
    tree = pair.pass_("ls").out
    for name in ("aws", "team", "a%3Ab", "work", "mail", "jon"):
        assert tree.count(name) == 1
    assert len(tree.splitlines()) == 7
    found = pair.pass_("grep", KEY_ID).out
    assert found.count(KEY_ID) == 2
    # With pass's own text conversion, which it set up at `git init`.
    assert KEY_ID in pair.pass_("git", "show", "--textconv").out


def test_pass_moves_and_copies_and_filevault_follows(pair: PassStorePair) -> None:
    pair.add("work")
    pair.pass_("mv", "aws/work", "aws/team/prod")
    assert pair.ok("list", "--credentials").out == "team/prod\n"
    moved = pair.ok("export", "team/prod", "-n")
    assert KEY_ID in moved.out
    assert "was it renamed with another tool?" in moved.err
    pair.pass_("cp", "aws/team/prod", "aws/copy")
    assert pair.ok("list", "--credentials").out == "copy\nteam/prod\n"
    assert pair.given("copy") == (KEY_ID, SECRET)
    pair.add("copy", OTHER_LINES, "--force")
    assert pair.machine.ok("export", "copy", "-n").err == ""
    assert pair.pass_("show", "aws/copy").out.startswith(OTHER_SECRET)
    assert pair.pass_("show", "aws/team/prod").out.startswith(SECRET)


def test_pass_edits_and_filevault_keeps_the_edit(pair: PassStorePair) -> None:
    pair.add("work")
    pair.pass_("edit", "aws/work", editor="$a region: eu-west-1\\notpauth://totp/x?secret=A")
    assert pair.given("work") == (KEY_ID, SECRET)
    pair.add("work", OTHER_LINES, "--force")
    shown = pair.pass_("show", "aws/work").out
    assert shown.startswith(f"{OTHER_SECRET}\naws_access_key_id: {SECOND_ID}\n")
    assert shown.endswith("\nregion: eu-west-1\notpauth://totp/x?secret=A\n")
    pair.pass_("edit", "aws/work", editor=f"1c {SECRET}")
    assert pair.given("work") == (SECOND_ID, SECRET)


def test_pass_generates_in_place_and_filevault_reads_it(pair: PassStorePair) -> None:
    pair.add("work")
    pair.pass_("generate", "-i", "-n", "aws/work", "40")
    secret = pair.pass_("show", "aws/work").out.splitlines()[0]
    assert secret != SECRET
    assert pair.given("work") == (KEY_ID, secret)
    pair.add("work", OTHER_LINES, "--force")
    assert pair.pass_("show", "aws/work").out.splitlines()[0] == OTHER_SECRET


def test_pass_removes_and_inserts_and_filevault_sees_it(pair: PassStorePair) -> None:
    pair.add("team/prod")
    pair.pass_("rm", "-f", "aws/team/prod")
    assert pair.ok("list", "--credentials").out == ""
    assert pair.machine.run("export", "team/prod", "-n").status == 3
    pair.pass_("insert", "-m", "aws/team/prod", stdin=TEXT)
    assert pair.given("team/prod") == (KEY_ID, SECRET)
    pair.ok("remove", "team/prod", "--force")
    assert pair.tools.run("pass", "show", "aws/team/prod", check=False).status == 1
    assert not (pair.store / "aws").exists()
    assert "hunter2" in pair.pass_("show", "mail/jon").out


def test_pass_reencrypts_and_filevault_reads_on_and_writes_once_told(pair: PassStorePair) -> None:
    pair.add("work")
    pair.pass_("init", JON, ANN)
    assert pair.keys("aws/work") == 2
    assert pair.given("work") == (KEY_ID, SECRET)
    refused = pair.machine.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert (refused.status, "added" in refused.err) == (10, True)
    pair.ok("recipients", "accept")
    pair.add("two")
    assert pair.keys("aws/two") == 2
    before = (pair.store / "aws/two.gpg").read_bytes()
    pair.pass_("init", JON, ANN)  # finds nothing to do with what filevault wrote
    assert (pair.store / "aws/two.gpg").read_bytes() == before


def test_filevault_reencrypts_and_pass_finds_nothing_left_to_do(pair: PassStorePair) -> None:
    pair.add("work")
    pair.add("team/prod")
    result = pair.ok("recipients", "add", ANN)
    assert "aws/.gpg-id is made" in result.err
    assert "Reencrypted work." in result.out
    assert (pair.keys("aws/work"), pair.keys("mail/jon")) == (2, 1)
    ids = (pair.store / "aws/.gpg-id").read_text()
    assert ids.endswith("\n")
    before = {path: path.read_bytes() for path in pair.store.rglob("*.gpg")}
    pair.tools.run("pass", "init", "-p", "aws", *ids.split())
    assert {path: path.read_bytes() for path in pair.store.rglob("*.gpg")} == before
    pair.pass_("insert", "-m", "aws/new", stdin=TEXT)
    assert pair.keys("aws/new") == 2
    assert pair.given("new") == (KEY_ID, SECRET)
    pair.ok("recipients", "remove", ANN)
    assert {pair.keys(f"aws/{name}") for name in ("work", "new", "team/prod")} == {1}


def test_pass_gives_a_folder_keys_of_its_own(pair: PassStorePair) -> None:
    pair.add("team/prod")
    pair.pass_("init", "-p", "aws/team", ANN)
    refused = pair.machine.run("add", "team/two", "--stdin", "--no-config", stdin=LINES)
    assert (refused.status, "aws/team/.gpg-id is new" in refused.err) == (10, True)
    pair.ok("recipients", "accept")
    pair.add("team/two")
    pair.add("own")
    kind = pair.tools.run("gpg", "--batch", "--list-only", "-v", "-d",
                          str(pair.store / "aws/team/two.gpg"))  # fmt: skip
    # Of both, gpg 2.4 names the key alone, not its owner.
    assert any(key_id in kind.err for key_id in pair.key_ids(ANN))
    assert not any(key_id in kind.err for key_id in pair.key_ids(JON))
    pair.pass_("mv", "aws/own", "aws/team/own")
    assert pair.given("team/own") == (KEY_ID, SECRET)


@pytest.mark.parametrize("how", ["insert -m", "insert -e", "by hand", "armored by hand"])
def test_what_others_stored_is_handed_out_and_replaced(pair: PassStorePair, how: str) -> None:
    if how == "insert -m":
        pair.pass_("insert", "-m", "aws/work", stdin=TEXT + "note: mine")
    elif how == "insert -e":
        pair.pass_("insert", "-e", "aws/work", stdin=SECRET + "\n")
        pair.pass_("edit", "aws/work", editor=f"$a aws_access_key_id: {KEY_ID}\\nnote: mine")
    else:
        (pair.store / "aws").mkdir()
        file = str(pair.store / "aws/work.gpg")
        armor = ("--armor",) if how.startswith("armored") else ()
        argv = ("gpg", "--batch", "-e", "-r", JON, *armor, "-o", file)
        pair.tools.run(*argv, stdin=TEXT + "note: mine\n")
        pair.tools.run("pass", "git", "add", "--all")
        pair.pass_("git", "commit", "-qm", "by hand")
    assert pair.given("work") == (KEY_ID, SECRET)
    pair.add("work", OTHER_LINES, "--force")
    assert pair.pass_("show", "aws/work").out.rstrip().endswith("note: mine")
    assert pair.given("work") == (SECOND_ID, OTHER_SECRET)


def test_entries_of_aws_vault_are_used_in_place(pair: PassStorePair) -> None:
    data = json.dumps({"AccessKeyID": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": ""})
    wrapper = {
        "Key": "work",
        "Data": base64.b64encode(data.encode()).decode(),
        "Label": "aws-vault (work)",
        "Description": "",
        "KeychainNotTrustApplication": True,
        "KeychainNotSynchronizable": False,
    }
    env = {"AWS_VAULT_BACKEND": "pass", "AWS_VAULT_PASS_PREFIX": "aws-vault"}
    pair.machine.env.pop("FILEVAULT_BACKEND")
    pair.machine.env |= env
    pair.pass_("insert", "-m", "aws-vault/work", stdin=json.dumps(wrapper))
    session = "sts.GetSessionToken,d29yaw,,1795470313"
    pair.pass_("insert", "-m", f"aws-vault/{session}", stdin=json.dumps(wrapper))
    assert pair.ok("list", "--credentials").out == "work\n"
    assert pair.given("work") == (KEY_ID, SECRET)
    pair.add("work", OTHER_LINES, "--force")
    shown = pair.pass_("show", "aws-vault/work").out
    assert shown.startswith(f"{OTHER_SECRET}\naws_access_key_id: {SECOND_ID}\n")
    assert "Data" not in shown
    assert (pair.store / f"aws-vault/{session}.gpg").exists()


def test_the_whole_history_is_one_and_sound(pair: PassStorePair) -> None:
    pair.add("one")
    pair.pass_("insert", "-m", "aws/two", stdin=TEXT)
    pair.add("two", OTHER_LINES, "--force")
    pair.pass_("mv", "aws/two", "aws/three")
    pair.ok("remove", "three", "--force")
    pair.ok("recipients", "add", ANN)
    log = pair.ok("git", "log", "--format=%s")
    assert log.out == pair.pass_("git", "log", "--format=%s").out
    assert log.out.splitlines()[2:7] == [
        "Remove aws/three from store.",
        "Rename aws/two to aws/three.",
        "Add given password for aws/two to store.",
        "Add given password for aws/two to store.",
        "Add given password for aws/one to store.",
    ]
    pair.pass_("git", "fsck", "--strict")
    assert {path.suffix for path in pair.store.rglob("*") if ".git" not in str(path)} <= {
        "", ".gpg",
    }  # fmt: skip


def test_pass_configures_git_and_filevault_goes_on(pair: PassStorePair) -> None:
    pair.add("work")
    for number, words in enumerate(
        (
            ("remote", "add", "origin", "https://git.example.com/jon/store.git"),
            ("remote", "set-url", "origin", "git@git.example.com:jon/store.git"),
            ("config", "user.email", "jon@example.org"),
            ("config", "user.name", 'Jon "J" O\'Neil'),
            ("update-ref", "refs/remotes/origin/main", "HEAD"),
            ("branch", "-u", "origin/main"),
            ("remote", "rename", "origin", "home"),
            ("config", "pull.rebase", "false"),
            ("config", "color.ui", "never"),
        )
    ):
        pair.pass_("git", *words)
        pair.add(f"key{number}")
    pair.pass_("git", "remote", "add", "usb", str(pair.machine.home / "usb.git"))
    adding = ("add", "usb", "--stdin", "--no-config")
    refused = pair.machine.run(*adding, stdin=LINES)
    assert refused.status == 11
    assert "has changed: remote.usb.url\n" in refused.err
    assert "a push to a local path runs the hooks there; filevault git adopt" in refused.err
    pair.machine.ok("git", "adopt")
    pair.machine.ok(*adding, "--force", stdin=OTHER_LINES)
    pair.pass_("git", "remote", "remove", "usb")
    pair.add("last")
    for setting in ("core.sshCommand", "remote.home.receivepack", "url.ext::sh.insteadOf"):
        pair.pass_("git", "config", setting, "sh -c evil")
        assert pair.machine.run("rotate", "work").status == 10
        pair.pass_("git", "config", "--unset", setting)
