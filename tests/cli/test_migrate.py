"""`migrate`, `rename` and `copy`: every key and every line of its item arrives, on each backend."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from filevault.cli.open_vault import OpenVault
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.vault.item import with_name
from filevault.vault.trust import Trust
from filevault.vault.vault import Vault
from tests.fakes import FakeAws
from tests.samples import JON, KEY_ID, OTHER_ID, OTHER_SECRET, SECOND_ID, SECRET
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.damage import flip
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer

NEW_WORD = "the passphrase of the new vault"
TEXTS = {
    "one": f"{SECRET}\naws_access_key_id: {KEY_ID}\nmfa_serial: arn:aws:iam::1:mfa/x\n"
    "created: 2026-11-23T21:45:13Z\nfilevault: 1 name=one\n# a comment\nurl: https://x",
    "team/two": f"{OTHER_SECRET}\r\naws_access_key_id: {SECOND_ID}\r\n"
    "filevault: 1 name=team/two\r\notpauth://totp/x?secret=AAAA\r\n",
    # A seed, no key: nothing in it is parsed, also not what looks like the name line of an item.
    "mfa/jon": "otpauth://totp/AWS:jon?secret=JBSWY3DPEHPK3PXP\r\nfilevault: 1 name=other\n\n",
}
KEYS = [name for name in TEXTS if not name.startswith("mfa/")]


@pytest.fixture
def keeper(keeper: BackendMachine) -> BackendMachine:
    """A machine with two items, their lines written by hand, in a vault of each backend."""
    for name, text in TEXTS.items():
        keeper.put(name, text.encode())
    return keeper


def run(keeper: BackendMachine, *argv: str, **env: str | None) -> InProcessResult:
    merged = {**keeper.machine.env, **env}
    return InProcess({k: v for k, v in merged.items() if v is not None}).run(*argv)


def as_default(keeper: BackendMachine) -> None:
    """Let config.toml alone name the vault, as after an `init` with options."""
    machine = keeper.machine
    machine.env.pop("FILEVAULT_BACKEND", None)
    config = machine.home / ".config/filevault/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f"# mine\nbackend = '{keeper.kind}'\ncache_ttl = '2h'\nvault = '{keeper.store}'\n"
    )


def target_words(kind: str) -> tuple[str, ...]:
    return {"file": (), "pass": ("--recipient", JON), "age": ("--no-passphrase",)}[kind]


def opened(keeper: BackendMachine, kind: str, folder: Path, keyrings: GpgHomes) -> BackendMachine:
    """The other vault, seen past filevault's commands."""
    other = object.__new__(BackendMachine)
    other.kind, other.suffix = kind, {"file": ".fv", "pass": ".gpg", "age": ".age"}[kind]
    other.machine, other.tools = keeper.machine, keeper.tools
    other.store = folder
    other.root = folder / "aws" if kind == "pass" else folder
    other.identities = keeper.machine.home / ".config/filevault/identities"
    keeper.machine.env |= keyrings.jon.env()
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_every_item_moves_from_each_backend_to_each(
    keeper: BackendMachine, keyrings: GpgHomes, kind: str
) -> None:
    as_default(keeper)
    keeper.machine.env |= {"FILEVAULT_PASSPHRASE": PASSPHRASE, **keyrings.jon.env()}
    folder = keeper.machine.home / "moved"
    words = ("migrate", "--to", f"{kind}:{folder}", *target_words(kind))
    before = keeper.snapshot()
    shown = run(keeper, *words, "--dry-run", "--json")
    assert [row["profile"] for row in json.loads(shown.out)] == list(TEXTS)
    refused = run(keeper, *words)
    assert refused.status == 5  # no one can be asked
    assert "2 keys and 1 TOTP seed would be moved" in refused.err
    assert keeper.snapshot() == before
    assert not folder.exists()

    kept = run(keeper, *words, "--yes", "--keep", "--json")
    assert kept.status == 0, kept
    assert {row["outcome"] for row in json.loads(kept.out)} == {"copied"}
    assert keeper.snapshot() == before
    other = opened(keeper, kind, folder, keyrings)
    for name, text in TEXTS.items():
        assert other.show(name) == text.encode()

    done = run(keeper, *words, "--yes", "--json")
    assert done.status == 0, done
    assert json.loads(done.out) == [
        {"profile": name, "outcome": "present", "reason": None, "removed": True} for name in TEXTS
    ]
    for name, text in TEXTS.items():
        assert other.show(name) == text.encode()
        assert not keeper.path(name).exists()
    config = (keeper.machine.home / ".config/filevault/config.toml").read_text()
    assert config.startswith("# mine\ncache_ttl = '2h'\n")
    assert f"vault = '{folder}'\n" in config
    listed = run(keeper, "list", "--credentials")
    assert listed.out.splitlines() == KEYS
    assert KEY_ID in run(keeper, "export", "one", "-n").out
    again = run(keeper, *words, "--yes")
    assert (again.status, again.out) == (0, "")
    assert SECRET not in shown.out + kept.out + done.out + done.err


def test_a_folder_without_a_backend_gets_the_present_one(
    keeper: BackendMachine, keyrings: GpgHomes
) -> None:
    folder = keeper.machine.home / "moved"
    words = target_words(keeper.kind) if keeper.kind == "pass" else ()
    done = run(keeper, "migrate", "--to", str(folder), "--yes", *words)
    assert done.status == 0, done
    other = opened(keeper, keeper.kind, folder, keyrings)
    assert {name: other.show(name) for name in TEXTS} == {
        name: text.encode() for name, text in TEXTS.items()
    }


@pytest.fixture
def file_keeper(file_keeper: BackendMachine) -> BackendMachine:
    """The same in a `file` vault alone."""
    for name, text in TEXTS.items():
        file_keeper.put(name, text.encode())
    return file_keeper


def test_the_new_vault_has_the_costs_that_are_given(file_keeper: BackendMachine) -> None:
    folder = file_keeper.machine.home / "moved"
    costs = ("--kdf-memory", "96", "--kdf-iterations", "2", "--kdf-lanes", "3")
    assert run(file_keeper, "migrate", "--to", str(folder), "--yes", *costs).status == 0
    (file,) = (folder / ".filevault/slots").iterdir()
    slot = json.loads(file.read_bytes().partition(b"\n")[0])
    assert (slot["memory_kib"], slot["iterations"], slot["lanes"]) == (96, 2, 3)
    back = ("migrate", "--to", str(file_keeper.machine.vault), "--yes", *costs)
    again = run(file_keeper, "--vault", str(folder), *back)
    assert again.status == 0, again
    assert "the vault exists: the options of a new one have no effect" in again.err


def test_the_new_vault_may_have_another_passphrase(file_keeper: BackendMachine) -> None:
    folder = file_keeper.machine.home / "moved"
    env = {"FILEVAULT_NEW_PASSPHRASE": NEW_WORD}
    assert run(file_keeper, "migrate", "--to", str(folder), "--yes", "--keep", **env).status == 0
    for word, status in ((NEW_WORD, 0), (PASSPHRASE, 5)):
        ended = run(
            file_keeper, "--vault", str(folder), "export", "one", "-n", FILEVAULT_PASSPHRASE=word
        )
        assert ended.status == status
    wrong = run(file_keeper, "migrate", "--to", str(folder), "--yes")
    assert wrong.status == 5
    assert "FILEVAULT_NEW_PASSPHRASE gives the passphrase of" in wrong.err
    # The vault is there now, and still has its own passphrase.
    assert run(file_keeper, "migrate", "--to", str(folder), "--yes", **env).status == 0


def test_what_is_typed_decides(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    words = ("migrate", "--to", "moved")
    no = machine.on_terminal(*words, answers=[TypedAnswer("Move 2 keys", "n")])
    assert no.status == 0
    assert "nothing was changed" in no.err
    assert not (machine.home / "moved").exists()
    yes = machine.on_terminal(*words, answers=[TypedAnswer("which is made first", "y")])
    assert yes.status == 0, yes
    assert file_keeper.snapshot().keys().isdisjoint({"one.fv", "team/two.fv"})


UNLOCK = TypedAnswer("Passphrase for", PASSPHRASE)


def test_a_secret_is_asked_for_once_in_a_run(file_keeper: BackendMachine) -> None:
    """Each run opens two vaults; what opens the second one may have been typed for the first."""
    machine, home = file_keeper.machine, file_keeper.machine.home
    del machine.env["FILEVAULT_PASSPHRASE"]
    new = [TypedAnswer("New passphrase", NEW_WORD), TypedAnswer("The same again", NEW_WORD)]
    wrong = UNLOCK._replace(text="mistyped")
    age = f"age:{home / 'one'}"
    runs: list[tuple[tuple[str, ...], list[TypedAnswer]]] = [
        # The passphrase of the new identity opens what was just written.
        (("migrate", "--to", age, "--keep", "--yes"), [*new, wrong, UNLOCK]),
        # The same identity opens both.
        (
            ("--vault", str(home / "one"), "migrate", "--to", f"age:{home / 'two'}", "--yes"),
            [UNLOCK._replace(text=NEW_WORD)],
        ),
        # Two vaults that one passphrase opens.
        (("migrate", "--to", f"file:{home / 'three'}", "--keep", "--yes"), [
            *[each._replace(text=PASSPHRASE) for each in new], UNLOCK]),
        (("copy", "one", "another", "--to", str(home / "three")), [UNLOCK]),
        (("import", str(home / "three"), "--from", "filevault", "--yes", "--no-config"), [UNLOCK]),
    ]  # fmt: skip
    for words, answers in runs:
        ended = machine.on_terminal(*words, answers=answers, timeout=60)
        assert ended.status == 0, (words, ended)
        asked = sum(each.question == UNLOCK.question for each in answers)
        assert ended.tty.count(UNLOCK.question) == asked, words
    # Another one is asked for.
    other = [UNLOCK, UNLOCK._replace(text=NEW_WORD)]
    copied = machine.on_terminal(
        "copy", "one", "--to", str(home / "two"), answers=other, timeout=60
    )
    assert copied.status == 0, copied


def test_a_source_of_a_secret_is_read_once_in_a_run(file_keeper: BackendMachine) -> None:
    """A descriptor is at its end then, and a command may be one that asks a person."""
    machine, home = file_keeper.machine, file_keeper.machine.home
    del machine.env["FILEVAULT_PASSPHRASE"]
    ran = home / "ran"
    command = home / "command"
    command.write_text(f"#!/bin/sh\necho >> {ran}\necho '{PASSPHRASE}'\n")
    command.chmod(0o700)
    words = ("migrate", "--keep", "--yes", "--to")
    fd = ("--passphrase-fd", "0")
    read = machine.run(*words, f"file:{home / 'one'}", *fd, stdin=PASSPHRASE)
    assert read.status == 0, read
    env = {"FILEVAULT_PASSPHRASE_COMMAND": str(command)}
    assert machine.run(*words, f"age:{home / 'two'}", env=env).status == 0
    assert ran.read_text() == "\n"


def test_a_generated_passphrase_opens_what_the_run_made(file_keeper: BackendMachine) -> None:
    """Beside the variable for the old vault, which would not."""
    folder = file_keeper.machine.home / "made"
    done = run(file_keeper, "migrate", "--to", f"age:{folder}", "--yes", "--generate")
    assert done.status == 0, done


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("option", None, False),
        ("FILEVAULT_DIR", "vault", False),
        ("default", None, True),
    ],
)
def test_config_toml_is_changed_only_where_nothing_else_names_the_old_vault(
    file_keeper: BackendMachine, name: str, value: str | None, written: bool
) -> None:
    machine = file_keeper.machine
    first = ("--vault", str(machine.vault)) if name == "option" else ()
    env = {name: str(machine.vault)} if value else {}
    done = run(file_keeper, *first, "migrate", "--to", str(machine.home / "new"), "--yes", **env)
    assert done.status == 0, done
    config = machine.home / ".config/filevault/config.toml"
    if name == "FILEVAULT_DIR":
        assert not config.exists()
        assert "to use it: filevault --vault" in done.err
    else:  # the option names what is the default anyway
        assert config.read_text() == f"vault = '{machine.home / 'new'}'\n"
    assert written or name != "default"


def test_a_key_that_cannot_be_moved_stops_every_deletion(file_keeper: BackendMachine) -> None:
    flip(file_keeper.path("one"))
    before = file_keeper.snapshot()
    words = ("migrate", "--to", str(file_keeper.machine.home / "new"), "--yes", "--json")
    done = run(file_keeper, *words)
    assert done.status == 12
    rows = {row["profile"]: row for row in json.loads(done.out)}
    assert (rows["one"]["outcome"], rows["team/two"]["outcome"]) == ("failed", "copied")
    assert file_keeper.snapshot() == before
    assert "nothing was removed" in done.err
    file_keeper.put("one", TEXTS["one"].encode())
    assert run(file_keeper, *words).status in (0, 12)


def test_another_key_in_the_new_vault_is_not_overwritten(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    folder = str(machine.home / "new")
    key = {"AWS_ACCESS_KEY_ID": OTHER_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    assert run(file_keeper, "--vault", folder, "init").status == 0
    assert run(file_keeper, "--vault", folder, "add", "one", "--env", **key).status == 0
    done = run(file_keeper, "migrate", "--to", folder, "--yes")
    assert done.status == 12
    assert "one: clash" in done.out
    assert OTHER_ID in run(file_keeper, "--vault", folder, "export", "one", "-n").out
    assert file_keeper.path("one").exists()
    done = run(file_keeper, "migrate", "--to", folder, "--yes", "--force")
    assert done.status == 0, done
    assert KEY_ID in run(file_keeper, "--vault", folder, "export", "one", "-n").out


def test_entries_of_others_stay_in_their_store(tmp_path: Path, keyrings: GpgHomes) -> None:
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    keeper.put("one", TEXTS["one"].encode())
    keeper.put("mail", b"hunter2\nlogin: jon\n")
    keeper.machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    folder = keeper.machine.home / "moved"
    done = run(keeper, "migrate", "--to", f"file:{folder}", "--yes", "--json")
    assert done.status == 0, done
    rows = {row["profile"]: row["outcome"] for row in json.loads(done.out)}
    assert rows == {"one": "copied", "mail": "left"}
    assert keeper.path("mail").exists()
    assert not keeper.path("one").exists()


def test_something_unknown_in_a_sealed_vault_is_not_left_behind_unseen(
    file_keeper: BackendMachine,
) -> None:
    """A key's file where a seed belongs, and an item that is neither."""
    (file_keeper.root / "mfa/one.fv").write_bytes(file_keeper.path("one").read_bytes())
    file_keeper.put("note", b"hunter2\n")
    done = run(file_keeper, "migrate", "--to", str(file_keeper.machine.home / "new"), "--yes")
    assert done.status == 12
    assert "mfa/one: failed" in done.out
    assert "note: failed: it is no AWS key" in done.out
    assert file_keeper.path("one").exists()


def test_the_words_on_paper_do_not_open_the_new_vault_and_that_is_said(
    file_keeper: BackendMachine,
) -> None:
    words = ("migrate", "--to", str(file_keeper.machine.home / "new"), "--yes", "--keep")
    assert "keyslots" not in run(file_keeper, *words).err
    new = {"FILEVAULT_NEW_PASSPHRASE": NEW_WORD}
    assert run(file_keeper, "slot", "add", "--label", "recovery", **new).status == 0
    done = run(file_keeper, *words)
    assert done.status == 0, done
    assert "the 2 keyslots of the old vault (recovery) do not open the new one" in done.err


def test_a_seed_in_the_new_vault_is_not_overwritten(
    keeper: BackendMachine, keyrings: GpgHomes
) -> None:
    folder = keeper.machine.home / "new"
    keeper.machine.env |= {"FILEVAULT_PASSPHRASE": PASSPHRASE, **keyrings.jon.env()}
    words = ("migrate", "--to", f"age:{folder}", "--no-passphrase", "--yes", "--keep")
    assert run(keeper, *words).status == 0
    keeper.put("mfa/jon", b"another\n")
    done = run(keeper, *words)
    assert done.status == 12
    assert "mfa/jon: clash: the new vault has another item of that name" in done.out
    other = opened(keeper, "age", folder, keyrings)
    assert other.show("mfa/jon") == TEXTS["mfa/jon"].encode()
    assert run(keeper, *words, "--force").status == 0
    assert other.show("mfa/jon") == b"another\n"


def test_sessions_are_dropped_and_obtained_again(plain: AwsMachine, tmp_path: Path) -> None:
    machine = plain.machine
    machine.ok("export", "jonsmith")
    assert list(machine.state.glob("*/sessions/*/*.fvs"))
    done = machine.ok("migrate", "--to", str(tmp_path / "new"), "--yes")
    assert "dropped 1 session" in done.err
    assert not list(machine.state.glob("*/sessions/*/*.fvs"))
    machine.ok("export", "jonsmith")
    assert len(list(machine.state.glob("*/sessions/*/*.fvs"))) == 1


def test_the_account_of_a_key_is_remembered_for_the_new_vault(
    tmp_path: Path, keyrings: GpgHomes, aws: FakeAws
) -> None:
    """A key id that does not contain its account: only the memory can notice another key."""
    keeper = BackendMachine("age", tmp_path / "home", keyrings)
    scene = AwsMachine(keeper.machine, aws).configure(mfa=False)
    key = {
        "AWS_ACCESS_KEY_ID": scene.user.access_key_id,
        "AWS_SECRET_ACCESS_KEY": scene.user.secret_access_key,
    }
    keeper.inside("add", "jonsmith", "--env", "--no-config", **key)
    keeper.machine.ok("export", "jonsmith")  # AWS reports the account
    folder = keeper.machine.home / "moved"
    assert run(keeper, "migrate", "--to", str(folder), "--yes").status == 0
    state = sha256_hex(os.fsencode(os.path.realpath(folder)))[:32]
    with Folder.open(str(keeper.machine.state / state)) as opened_state:
        seen = Trust(opened_state).seen("jonsmith")
    assert seen is not None
    assert seen.account == "123456789012"


# Words that are refused, with status and message.
REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no target": (("migrate",), 2, "--to is missing"),
    "inside": (("migrate", "--to", ".local/share/filevault/inner", "--yes"), 2, "one inside"),
    "around": (("migrate", "--to", ".local/share", "--yes"), 2, "one inside"),
    "same folder": (("migrate", "--to", "age", "--yes", "--no-passphrase"), 3, "is a file vault"),
    "generate as JSON": (("migrate", "--to", "new", "--generate", "--json"), 2, "is no JSON"),
    "recipient for file": (("migrate", "--to", "new", "--recipient", "x", "--yes"), 2, "keyslots"),
    "costs for age": (("migrate", "--to", "age:new", "--kdf-lanes", "1", "--yes"), 2, "file vault"),
    "no recipient": (("migrate", "--to", "pass:new", "--yes"), 2, "none is given"),
    "rename to itself": (("rename", "one", "one"), 2, "the old one"),
    "rename unknown": (("rename", "three", "four"), 4, "no key for 'three'"),
    "rename to mfa": (("rename", "one", "mfa/x"), 2, "reserved"),
    "rename to nothing": (("rename", "one", "a//b"), 2, "cannot be the name"),
    "rename to another": (("rename", "one", "team/two"), 5, "--force"),
    "copy to itself": (("copy", "one"), 2, "another name"),
    "copy unknown": (("copy", "three", "four"), 4, "no key for 'three'"),
    "copy to another": (("copy", "one", "team/two"), 5, "--force"),
    "copy to no vault": (("copy", "one", "--to", "new"), 4, "there is no vault"),
    "copy to nothing": (("copy", "one", "a//b"), 2, "cannot be the name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_changes_nothing(
    file_keeper: BackendMachine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, status, message = REFUSED[name]
    monkeypatch.chdir(file_keeper.machine.home)
    before = file_keeper.snapshot()
    done = run(file_keeper, *words)
    assert (done.status, message in done.err) == (status, True), done
    assert done.err.count("error:") == 1
    assert file_keeper.snapshot() == before
    assert not (file_keeper.machine.home / "new").exists()


def test_a_renamed_key_keeps_every_other_byte(keeper: BackendMachine) -> None:
    done = run(keeper, "rename", "team/two", "solo")
    assert done.status == 0, done
    assert not keeper.path("team/two").exists()
    expected = TEXTS["team/two"].replace("name=team/two\r\n", "name=solo\r\n")
    assert keeper.show("solo") == expected.encode()
    assert SECOND_ID in run(keeper, "export", "solo", "-n").out
    assert run(keeper, "copy", "solo", "team/three").status == 0
    assert keeper.show("team/three") == expected.replace("=solo", "=team/three").encode()
    assert keeper.show("solo") == expected.encode()
    strict = run(keeper, "export", "team/three", "-n", "--strict")
    assert strict.status == 0, strict


def test_a_rename_is_one_commit(keeper: BackendMachine) -> None:
    assert run(keeper, "git", "init", "--quiet").status == 0
    assert run(keeper, "rename", "one", "solo").status == 0
    git = ["git", "-C", str(keeper.store)]
    words = ("log", "-1", "--format=%s", "--name-status", "--no-renames")
    log = subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
    one, solo = keeper.entry("one"), keeper.entry("solo")
    assert log.splitlines() == [
        f"Rename {one} to {solo}.",
        "",
        f"D\t{one}{keeper.suffix}",
        f"A\t{solo}{keeper.suffix}",
    ]
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


CONFIG = """\
# mine
[default]
region = x

[profile one]  ; here
region=y
[profile "team/two"]
source_profile = one
[profile three]
source_profile   =   one
include_profile: one
credential_process = /usr/bin/filevault export one --format json
[profile ones]
source_profile = ones
# source_profile = one
[services one]
s3 =
  source_profile = one
"""
RENAMED = (
    CONFIG.replace("[profile one]", "[profile jon]")
    .replace("source_profile = one\n[profile three", "source_profile = jon\n[profile three")
    .replace("source_profile   =   one", "source_profile   =   jon")
    .replace("include_profile: one", "include_profile: jon")
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_profile_and_all_that_names_it_are_renamed_in_the_config(
    file_keeper: BackendMachine, end: str
) -> None:
    machine = file_keeper.machine
    target = machine.home / "dotfiles"
    target.write_bytes(CONFIG.replace("\n", end).encode())
    machine.config.parent.mkdir()
    machine.config.symlink_to(target)
    done = run(file_keeper, "rename", "one", "jon", "--config")
    assert done.status == 0, done
    assert machine.config.is_symlink()
    assert target.read_bytes() == RENAMED.replace("\n", end).encode()
    assert "changed 4 lines" in done.err
    assert "line 12 " in done.err


def test_without_the_option_the_lines_are_named(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    machine.write_config(CONFIG)
    done = run(file_keeper, "rename", "one", "jon")
    assert done.status == 0
    assert machine.config.read_text() == CONFIG
    assert "in lines 5, 8, 10, 11; with --config" in done.err


@pytest.mark.parametrize(
    ("config", "new", "message"),
    [
        ("[profile one]\n[profile jon]\n", "jon", "already"),
        ("[profile one]\n", "default", "renames no profile to or from"),
        ("[profile one]\n", "j\u202eon", "control or hidden"),
        ("[profile one]\n[x\n", "jon", "neither a section"),
    ],
)
def test_a_config_that_cannot_be_changed_stops_the_rename(
    file_keeper: BackendMachine, config: str, new: str, message: str
) -> None:
    file_keeper.machine.write_config(config)
    before = file_keeper.snapshot()
    done = run(file_keeper, "rename", "one", new, "--config")
    assert done.status == 3, done
    assert message in done.err
    assert file_keeper.snapshot() == before
    assert file_keeper.machine.config.read_text() == config


def test_the_sessions_of_a_renamed_key_go(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.ok("export", "jonsmith")
    done = machine.ok("rename", "jonsmith", "jon", "--config")
    assert "Deleted 1 session" in done.out
    assert not list(machine.state.glob("*/sessions/*/*.fvs"))
    machine.ok("export", "jon")
    machine.ok("export", "jon", "-n")


def test_a_key_in_rotation_is_not_copied(file_keeper: BackendMachine) -> None:
    text = TEXTS["one"] + "\nrotation_started: 2026-11-23T21:45:13Z\n"
    file_keeper.put("one", text.encode())
    done = run(file_keeper, "copy", "one", "three")
    assert done.status == 5
    assert "rotation of 'one' is not finished" in done.err


def test_a_key_in_rotation_is_not_in_two_vaults(file_keeper: BackendMachine) -> None:
    """Each of the two would delete what the other created at AWS."""
    text = TEXTS["one"] + "\nrotation_started: 2026-11-23T21:45:13Z\n"
    file_keeper.put("one", text.encode())
    words = ("migrate", "--to", str(file_keeper.machine.home / "new"), "--yes")
    done = run(file_keeper, *words, "--keep")
    assert done.status == 12
    assert "one: failed: the rotation of 'one' is not finished" in done.out
    assert run(file_keeper, *words).status == 0


def meanwhile(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], object]) -> None:
    """Let another process act before the first call of a method of `Vault`."""
    real = getattr(Vault, name)
    left = [action]

    def method(*args: object, **options: object) -> object:
        if left:
            left.pop()()
        return real(*args, **options)

    monkeypatch.setattr(Vault, name, method)


@pytest.mark.parametrize("word", ["rename", "copy"])
@pytest.mark.parametrize("new", ["solo", "team/two"])
def test_a_key_that_another_process_stores_meanwhile_is_not_replaced(
    keeper: BackendMachine, monkeypatch: pytest.MonkeyPatch, word: str, new: str
) -> None:
    text = f"{OTHER_SECRET}\naws_access_key_id: {OTHER_ID}\nfilevault: 1 name={new}\n".encode()
    meanwhile(monkeypatch, "transaction", lambda: keeper.put(new, text))
    done = run(keeper, word, "one", new, "--force")
    assert done.status == 7, done
    assert "changed by another process" in done.err
    assert keeper.show(new) == text
    assert keeper.show("one") == TEXTS["one"].encode()


def test_what_is_one_file_is_neither_renamed_nor_moved(keeper: BackendMachine) -> None:
    """As where a file system ignores case, or a folder is mounted twice."""
    os.link(keeper.path("one"), keeper.path("ONE"))
    done = run(keeper, "rename", "one", "ONE", "--force")
    assert done.status == 2, done
    assert "are one file" in done.err
    keeper.path("ONE").unlink()
    twin = keeper.machine.home / "twin"
    shutil.copytree(keeper.store, twin, copy_function=os.link)
    before = keeper.snapshot()
    done = run(keeper, "migrate", "--to", f"{keeper.kind}:{twin}", "--yes")
    assert done.status == 12, done
    assert done.out.count("the same file in both vaults") == len(TEXTS)
    assert keeper.snapshot() == before


def test_a_key_that_is_stored_during_a_migration_is_not_left_behind_unseen(
    file_keeper: BackendMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{OTHER_SECRET}\naws_access_key_id: {OTHER_ID}\nfilevault: 1 name=late\n".encode()
    meanwhile(monkeypatch, "remove", lambda: file_keeper.put("late", text))
    words = ("migrate", "--to", str(file_keeper.machine.home / "new"), "--yes")
    done = run(file_keeper, *words)
    assert done.status == 12, done
    assert "late: stored in the old vault meanwhile" in done.err
    assert file_keeper.path("late").exists()
    assert run(file_keeper, *words).status == 0
    assert not file_keeper.path("late").exists()


def test_a_key_that_was_rotated_in_the_new_vault_meanwhile_stays(
    file_keeper: BackendMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(file_keeper.machine.home / "new")
    key = {"AWS_ACCESS_KEY_ID": OTHER_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    add = ("--vault", folder, "add", "one", "--env", "--force", "--no-config")
    real = OpenVault.remember_slot

    def remember_slot(vault: OpenVault) -> None:
        monkeypatch.undo()
        file_keeper.inside(*add, **key)
        real(vault)

    monkeypatch.setattr(OpenVault, "remember_slot", remember_slot)
    done = run(file_keeper, "migrate", "--to", folder, "--yes")
    assert done.status == 7, done
    assert "changed by another process" in done.err
    assert OTHER_ID in run(file_keeper, "--vault", folder, "export", "one", "-n").out
    assert file_keeper.show("one") == TEXTS["one"].encode()


def test_a_copy_in_another_vault(keeper: BackendMachine, keyrings: GpgHomes) -> None:
    folder = keeper.machine.home / "other"
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_BACKEND": "file"}
    assert run(keeper, "--vault", str(folder), "init", **env).status == 0
    keeper.machine.env |= {"FILEVAULT_PASSPHRASE": PASSPHRASE}
    done = run(keeper, "copy", "one", "three", "--to", str(folder))
    assert done.status == 0, done
    other = opened(keeper, "file", folder, keyrings)
    assert other.show("three") == TEXTS["one"].replace("name=one", "name=three").encode()
    assert run(keeper, "copy", "one", "three", "--to", str(folder)).status == 0  # again


@pytest.mark.parametrize(
    "text",
    [
        b"s\nfilevault: 1 name=a\n",
        b"s\r\nfilevault: 1 name=a\r\nx\r\n",
        b"s\nx\nfilevault: 1 name=a",
    ],
)
def test_only_the_name_line_differs(text: bytes) -> None:
    assert with_name(text, "b/c") == text.replace(b"name=a", b"name=b/c")


def test_an_item_of_another_tool_moves_as_it_is(machine: Machine) -> None:
    assert with_name(b'{"Key": "x"}', "b") == b'{"Key": "x"}'
    assert machine.home.exists()
