"""A store that came from an attacker, under every command: it is looked at and runs nothing."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.backends.test_gpg_hostile import bomb, literal
from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, LINES, OTHER_ACCOUNT, SECRET
from tests.unit.test_git_hostile import ATTRIBUTES, CONFIG, HOOKS, bare_looking
from tests.worlds.age_store import PLUGIN_RECIPIENT, pair, protect
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.leak_check import RAW
from tests.worlds.machine import ProcessResult
from tests.worlds.other_programs import OtherPrograms
from tests.worlds.trap import Trap

AT_ONCE = 10.0
ADD = ("--stdin", "--no-config")
EVIL_NAMES = (
    "\x1b]0;owned\x07\x1b[2Jname",
    "evil\u202egnp",
    "new\nline",
    "-rf",
    "..fv-x.tmp",
    "'; x",
)
PLAN = (
    "[profile work]\nregion=eu-west-1\n"
    "[profile sso-dev]\nregion=eu-west-1\nsso_start_url=https://example.awsapps.com/start\n"
    "sso_region=eu-west-1\nsso_account_id=029608264753\nsso_role_name=dev\n"
)


class Clone:
    """A vault with a key for `work`, then its repository as an attacker left it."""

    def __init__(self, kind: str, tmp_path: Path, keyrings: GpgHomes) -> None:
        self.keeper = keeper = BackendMachine(kind, tmp_path / "home", keyrings)
        self.machine = keeper.machine
        self.trap = Trap(tmp_path)
        self.outside = tmp_path / "outside"
        self.outside.mkdir()
        (self.outside / "file").write_text("not the store's")
        keeper.add("work")
        self.machine.ok("git", "init", "--quiet")
        self.machine.write_config(PLAN)
        self.eve = pair()[1]
        self.hostile_files: list[str] = []
        self._attack(tmp_path / "attacker")
        # What a person may have in a configuration of their own.
        with (self.machine.home / ".gitconfig").open("a") as file:
            file.write("[core]\nhooksPath = .githooks\nautocrlf = true\n")
        self.machine.env["PATH"] = f".::bin:{self.machine.env['PATH']}"
        assert self.trap.sprung() == ""

    def git(self, at: Path, *argv: str) -> None:
        OtherPrograms(self.machine).run(
            "git", "-C", str(at), "-c", "core.hooksPath=/dev/null", *argv
        )

    def _attack(self, author: Path) -> None:
        store, kind, suffix = self.keeper.store, self.keeper.kind, self.keeper.suffix
        self.git(store, "clone", "--quiet", str(store), str(author))
        items = author / self.keeper.root.relative_to(store)
        for folder in (author, items):
            bare_looking(folder, self.trap)
            (folder / ".gitattributes").write_text(ATTRIBUTES)
        (author / ".githooks").mkdir()
        (author / ".extensions").mkdir()
        for name in HOOKS:
            self._script(author / ".githooks" / name)
        for name in ("git", "gpg", "age", "age-plugin-toy", "git-lfs", "less", "pinentry"):
            self._script(author / name)
            self._script(author / "bin" / name)
        self._script(author / ".extensions/show.bash")
        (author / ".gitconfig").write_text(CONFIG.format(run=self.trap.run))
        good = (items / f"work{suffix}").read_bytes()
        for name in EVIL_NAMES:
            (items / f"{name}{suffix}").write_bytes(good)
        (items / f"sso-dev{suffix}").write_bytes(good)
        (items / f"linked{suffix}").symlink_to(self.outside / "file")
        (items / "linkdir").symlink_to(self.outside)
        (items / "sub").mkdir()
        if kind == "pass":
            (author / ".gpg-id").write_text(f"{JON}\n--output={self.outside}/x\n-r {ANN}\n")
            (items / "sub/.gpg-id").write_text(f"{ANN}\n")
            self.hostile_files = [".gpg-id", "aws/sub/.gpg-id"]
        elif kind == "age":
            with (author / ".age-recipients").open("a") as file:
                file.write(f"{self.eve}\n{PLUGIN_RECIPIENT}\n")
            (items / "sub/.age-recipients").write_text(f"{self.eve}\n")
            self.hostile_files = [".age-recipients", "sub/.age-recipients"]
        else:
            slots = author / ".filevault/slots"
            (slots / "0123456789abcdef.slot").symlink_to(self.outside / "file")
            (slots / "fedcba9876543210.slot").write_text('{"format":"filevault/1","memory_kib":9}')
        own = "* -text -filter -working-tree-encoding -ident\n"
        (author / ".git/info/attributes").write_text(own)
        self.git(author, "add", "--all", "--force")
        self.git(author, "-c", "user.name=E", "-c", "user.email=e@e", "commit", "-qm", "\x1b[2Jhi")
        shutil.rmtree(store)
        # The attributes would spoil the files at the clone already; then there is nothing to lose.
        self.git(author, "clone", "--quiet", "--no-checkout", str(author), str(store))
        (store / ".git/info/attributes").write_text(own)
        self.git(store, "checkout", "--quiet")
        (store / ".git/info/attributes").unlink()

    def _script(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nexec {self.trap.run} {path.name}\n")
        path.chmod(0o755)

    def install_filters(self) -> None:
        """Let the names in the attacker's attributes mean programs, as git-lfs does."""
        with (self.machine.home / ".gitconfig").open("a") as file:
            file.write(f'[filter "evil"]\nclean = {self.trap.run} evil\nrequired = true\n')
            file.write(f'[filter "lfs"]\nprocess = {self.trap.run} lfs\nrequired = true\n')
            file.write(f'[diff "evil"]\ntextconv = {self.trap.run} textconv\n')

    def run(self, *argv: str, stdin: str | None = None) -> ProcessResult:
        """Run filevault with the store as working directory, as a careless person might."""
        result = self.machine.run(*argv, stdin=stdin, cwd=self.keeper.store)
        assert "unexpected" not in result.err, result
        assert self.trap.sprung() == "", argv
        if argv[0] != "git":  # which says what it wants
            assert not RAW & set(result.out + result.err), (argv, result)
        return result

    def restore_recipients(self) -> None:
        """Take the hostile recipients out, as whoever sees them should."""
        for name in self.hostile_files:
            kept = [f for f in (self.keeper.store / name).read_text().splitlines() if f]
            if "/" in name.removeprefix("aws/.gpg-id"):
                (self.keeper.store / name).unlink()
            else:
                (self.keeper.store / name).write_text(kept[0] + "\n")


@pytest.fixture(params=KINDS)
def clone(request: pytest.FixtureRequest, tmp_path: Path, keyrings: GpgHomes) -> Clone:
    tool("age")
    return Clone(request.param, tmp_path, keyrings)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts
    }


def test_no_command_runs_code_or_writes_to_a_newcomer(clone: Clone) -> None:
    keeper, shared = clone.keeper, clone.keeper.kind != "file"
    before = everything(keeper.store)
    for argv in (("list",), ("list", "--json"), ("list", "--credentials"), ("ls", "--sessions")):
        assert clone.run(*argv).status == 0
    # Reading goes on; what was planted for a profile with another source is not used.
    assert KEY_ID in clone.run("export", "work", "-n").out
    assert clone.run("exec", "work", "-n", "--", "true").status == 0
    assert clone.run("export", "sso-dev", "-n").status == (10 if shared else 6)
    assert clone.run("export", "sso-dev", "--explain").status == (10 if shared else 0)
    for name in ("linked", "linkdir/x"):
        refused = clone.run("export", name, "-n")
        assert (refused.status, "link" in refused.err) == (7, True), refused
    # The clone is not the repository that this machine was told to use.
    assert clone.run("git", "log").status == 10
    assert clone.run("git", "adopt").status == 0
    for verb in ("log", "status", "show"):
        assert clone.run("git", verb, *(("--stat",) if verb == "show" else ())).status == 0
    assert clone.run("recipients", "list").status in (0, 6, 7)
    assert clone.run("clear").status == 0
    if shared:
        for name in ("new", "sub/new", "work"):
            refused = clone.run("add", name, *ADD, "--force", stdin=LINES)
            assert refused.status == (7 if keeper.kind == "pass" else 10), refused
        for words in (("remove", "work", "--force"), ("recipients", "add", clone.eve), ("init",)):
            refused = clone.run(*words)
            assert refused.status == (7 if keeper.kind == "pass" else 10), (words, refused)
    assert everything(keeper.store) == before
    assert everything(clone.outside) == {"file": b"not the store's"}


def test_writing_and_committing_in_such_a_clone_runs_nothing(clone: Clone) -> None:
    keeper = clone.keeper
    clone.install_filters()
    clone.restore_recipients()
    if keeper.kind == "file":
        for slot in (keeper.store / ".filevault/slots").iterdir():
            if slot.stem in ("0123456789abcdef", "fedcba9876543210"):
                slot.unlink()
    assert clone.run("add", "new", *ADD, stdin=LINES).status == 11
    assert clone.run("git", "adopt").status == 0
    assert clone.run("remove", "new", "--force").status == 0
    for name in ("new", "deep/er/new"):
        assert clone.run("add", name, *ADD, stdin=LINES).status == 0
    assert clone.run("add", "new", *ADD, "--force", stdin=LINES).status == 0
    assert clone.run("remove", "work", "--force").status == 0
    subjects = clone.run("git", "log", "--format=%s").out.splitlines()[:4]
    assert subjects[0] == f"Remove {keeper.entry('work')} from store."
    assert all(line.startswith("Add given password for ") for line in subjects[1:])
    assert KEY_ID in clone.run("export", "new", "-n").out
    assert everything(clone.outside) == {"file": b"not the store's"}
    # Through a link nothing is written.
    refused = clone.run("add", "linkdir/x", *ADD, stdin=LINES)
    assert (refused.status, "link" in refused.err) == (7, True)
    refused = clone.run("add", "linked", *ADD, "--force", stdin=LINES)
    assert (refused.status, "link" in refused.err) == (7, True)
    assert everything(clone.outside) == {"file": b"not the store's"}
    for item in (keeper.path("new"), keeper.path("deep/er/new")):
        if keeper.kind == "pass":
            argv = ("gpg", "--batch", "--list-only", "--list-packets", str(item))
            listing = OtherPrograms(keeper.machine).run("/usr/bin/env", *argv, check=True)
            assert (listing.out + listing.err).count("pubkey enc packet") == 1
        elif keeper.kind == "age":
            assert item.read_bytes().partition(b"\n---")[0].count(b"\n-> X25519 ") == 1


def test_the_trap_is_a_trap(clone: Clone) -> None:
    """What the user's own git would do here, to know that the tests above could fail."""
    OtherPrograms(clone.machine).run("git", "-C", str(clone.keeper.store), "commit", "-qm", "x",
                             "--allow-empty", check=False)  # fmt: skip
    assert clone.trap.sprung()


# Hostile ciphertext


def hostile_messages(keeper: BackendMachine) -> dict[str, bytes]:
    text = f"{SECRET}\naws_access_key_id: {OTHER_ACCOUNT}\n".encode()
    if keeper.kind == "age":
        stanza = b"-> X25519 " + base64.b64encode(bytes(32))[:-1] + b"\n" + b"A" * 43 + b"\n"
        end = b"--- " + b"A" * 43 + b"\n" + bytes(48)
        start = b"age-encryption.org/v1\n"
        return {
            "clear text": text,
            "a passphrase": protect(text, b"guess"),
            "2000 stanzas": start + stanza * 2000 + end,
            "a long stanza": start + b"-> X25519 " + b"A" * 300_000 + b"\n\n" + end,
            "no stanza": start + end,
            "a huge work factor": start + b"-> scrypt " + b"A" * 22 + b" 30\n" + b"A" * 43 + b"\n"
            + end,
        }  # fmt: skip

    def gpg(*argv: str, data: bytes) -> bytes:
        env = keeper.machine.environment({"LAUNCH": None})
        words = ("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", *argv)
        return subprocess.run(words, env=env, input=data, capture_output=True, check=True).stdout

    inside = ("--no-literal", "-z", "0", "-e", "-r", JON)
    return {
        "clear text": text,
        "an unencrypted packet": literal(text),
        "an unencrypted bomb": bomb(1),
        "an encrypted bomb": gpg(*inside, data=bomb(1)),
        "two texts": gpg(*inside, data=literal(text) + literal(text)),
        "a passphrase": gpg("--passphrase", "guess", "-c", data=text),
        "a signature": gpg("--clearsign", data=text),
        "more behind": gpg("-e", "-r", JON, data=text) + literal(text),
    }


@pytest.mark.parametrize("kind", ["pass", "age"])
def test_hostile_ciphertext_is_damage_told_in_a_line(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    tool("age")
    keeper = BackendMachine(kind, tmp_path / "home", keyrings)
    keeper.add("work")
    for what, data in hostile_messages(keeper).items():
        keeper.path("work").write_bytes(data)
        start = time.monotonic()
        result = keeper.machine.run("export", "work", "-n", timeout=AT_ONCE)
        print(f"{kind}, {what}: {time.monotonic() - start:.2f} s {result.err}", end="")
        assert (result.status, result.out) == (6, ""), (what, result)
        assert len(result.err.splitlines()) <= 2, (what, result)
        assert result.err.startswith("filevault: error: item 'work' "), (what, result)
        executed = keeper.machine.run("exec", "work", "-n", "--", "true", timeout=AT_ONCE)
        assert executed.status == 125
    assert keeper.machine.ok("list", "--credentials").out == "work\n"


def test_a_pipe_in_a_store_blocks_nobody(tmp_path: Path, keyrings: GpgHomes) -> None:
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    keeper.add("work")
    os.mkfifo(keeper.path("pipe"))
    (keeper.root / "sub").mkdir()
    os.mkfifo(keeper.root / "sub/.gpg-id")
    assert keeper.machine.run("list", "--credentials", timeout=AT_ONCE).out == "work\n"
    assert keeper.machine.run("export", "pipe", "-n", timeout=AT_ONCE).status in (3, 7)
    assert KEY_ID in keeper.machine.run("export", "work", "-n", timeout=AT_ONCE).out
    refused = keeper.machine.run("add", "two", *ADD, stdin=LINES, timeout=AT_ONCE)
    assert refused.status in (7, 10)
