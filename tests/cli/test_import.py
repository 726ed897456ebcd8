"""`import` stores what other tools and files have, in a vault of each backend."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from filevault.exchange import store_key
from filevault.vault.vault import Vault
from tests.conditions.tools import tool
from tests.samples import (
    EXAMPLE_SESSION_ID,
    JON,
    KEY_ID,
    OTHER_ID,
    OTHER_SECRET,
    SECOND_ID,
    SECRET,
)
from tests.worlds import aws_vault
from tests.worlds.backend_machine import BackendMachine, GpgHomes
from tests.worlds.in_process import InProcess, InProcessResult, picture
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.pass_store import GpgHome

ONE, TWO = (KEY_ID, SECRET), (SECOND_ID, OTHER_SECRET)
WORD = "the passphrase of aws vault"
SOURCE_WORD = "the passphrase of the source"
BOTH = {"one": ONE, "two": TWO}


def pair(key: tuple[str, str]) -> str:
    return f"aws_access_key_id = {key[0]}\naws_secret_access_key = {key[1]}\n"


SESSION = (
    f"aws_access_key_id = {EXAMPLE_SESSION_ID}\naws_secret_access_key = {'x' * 40}\n"
    "aws_session_token = t\n"
)
LONG_TERM = f"[two-long-term]\n{pair(TWO)}"
CREDENTIALS = f"# mine\n[one]\n{pair(ONE)}region = eu-west-1\n\n{LONG_TERM}[two]\n{SESSION}"


class Source(NamedTuple):
    """Where keys come from: the words of the command line, and variables."""

    words: tuple[str, ...]
    env: Mapping[str, str] = MappingProxyType({})
    keys: Mapping[str, tuple[str, str]] = MappingProxyType(BOTH)
    stdin: bytes | None = None


def _credentials(machine: Machine, _gpg: GpgHome) -> Source:
    machine.write_config("[default]\n")
    (machine.home / ".aws/credentials").write_text(CREDENTIALS)
    return Source(())


def _aws_mfa(machine: Machine, _gpg: GpgHome) -> Source:
    """The layout of aws-mfa: the long-term key stands in a section of its own."""
    machine.write_config("")
    (machine.home / ".aws/credentials").write_text(
        f"[one-long-term]\n{pair(ONE)}aws_mfa_device = arn:aws:iam::1:mfa/one\n[one]\n{SESSION}"
    )
    return Source((), keys={"one": ONE})


def _awsume(machine: Machine, _gpg: GpgHome) -> Source:
    """The layout of awsume: a section with a session beside the key's."""
    machine.write_config("")
    (machine.home / ".aws/credentials").write_text(
        f"[one]\n{pair(ONE)}[autoawsume-one]\n{SESSION}autoawsume = true\n"
    )
    return Source((), keys={"one": ONE})


def _config(machine: Machine, _gpg: GpgHome) -> Source:
    machine.write_config(f"[profile one]\n{pair(ONE)}[profile two]\n{pair(TWO)}")
    return Source(())


def _csv(machine: Machine, _gpg: GpgHome) -> Source:
    path = machine.home / "new_user_credentials.csv"
    text = "User name,Password,Access key ID,Secret access key,Console login link\r\n"
    text += "".join(f"{name},,{','.join(key)},https://x\r\n" for name, key in BOTH.items())
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return Source((str(path),))


def _short_csv(machine: Machine, _gpg: GpgHome) -> Source:
    path = machine.home / "one_accessKeys.csv"
    path.write_text(f"Access key ID,Secret access key\r\n{','.join(ONE)}")
    return Source((str(path),), keys={"one": ONE})


def _env(machine: Machine, _gpg: GpgHome) -> Source:
    path = machine.home / ".envrc"
    path.write_text(f"export AWS_ACCESS_KEY_ID={ONE[0]}\nexport AWS_SECRET_ACCESS_KEY='{ONE[1]}'\n")
    return Source((str(path), "--name", "one"), keys={"one": ONE})


def _stdin(_machine: Machine, _gpg: GpgHome) -> Source:
    key = {"UserName": "one", "AccessKeyId": ONE[0], "SecretAccessKey": ONE[1], "Status": "Active"}
    created = {"AccessKey": {**key, "CreateDate": "2026-01-02T03:04:05Z"}}
    return Source(("-",), keys={"one": ONE}, stdin=json.dumps(created).encode())


def _aws_vault(machine: Machine, _gpg: GpgHome) -> Source:
    folder = machine.home / ".awsvault/keys"
    for name, key in BOTH.items():
        aws_vault.add(folder, name, key, WORD)
    return Source(("--from", "aws-vault"), {"AWS_VAULT_FILE_PASSPHRASE": WORD})


def _aws_vault_pass(machine: Machine, gpg: GpgHome) -> Source:
    """A store that the real pass makes, with the entries as AWS Vault gives them to it."""
    store = machine.home / "aws-vault-store"
    env = {**machine.environment({"LAUNCH": None}), **gpg.env(), "PASSWORD_STORE_DIR": str(store)}
    program = tool("pass")
    subprocess.run([program, "init", JON], env=env, check=True, capture_output=True)
    for name, key in BOTH.items():
        subprocess.run(
            [program, "insert", "-m", "-f", f"aws-vault/{name}"],
            env=env,
            input=aws_vault.item(name, *key),
            check=True,
            capture_output=True,
        )
    subprocess.run(
        [program, "insert", "-m", "-f", "aws-vault/sts.GetSessionToken,b25l,,1795474404"],
        env=env,
        input=b"{}",
        check=True,
        capture_output=True,
    )
    return Source(
        ("--from", "aws-vault-pass", "--source-prefix", "aws-vault", str(store)), gpg.env()
    )


def _aws_vault_passage(machine: Machine, _gpg: GpgHome) -> Source:
    """A store of passage, encrypted with the real age."""
    store = machine.home / "passage"
    (store / "aws-vault").mkdir(parents=True)
    identities = machine.home / "passage-identities"
    age, keygen = tool("age"), tool("age-keygen")
    subprocess.run([keygen, "-o", str(identities)], check=True, capture_output=True)
    found = re.search(r"public key: (age1\w+)", identities.read_text())
    assert found is not None
    (store / ".age-recipients").write_text(f"{found[1]}\n")
    for name, key in BOTH.items():
        subprocess.run(
            [age, "-r", found[1], "-o", str(store / "aws-vault" / f"{name}.age")],
            input=aws_vault.item(name, *key),
            check=True,
            capture_output=True,
        )
    return Source(
        ("--from", "aws-vault-passage", "--source-prefix", "aws-vault", str(store)),
        {"FILEVAULT_SOURCE_AGE_IDENTITY_FILE": str(identities)},
    )


def _vault(machine: Machine, _gpg: GpgHome) -> Source:
    """Another `file` vault with another passphrase."""
    source = _filevault(machine, "file", (), {"FILEVAULT_PASSPHRASE": SOURCE_WORD})
    return Source(source.words, {"FILEVAULT_SOURCE_PASSPHRASE": SOURCE_WORD})


def _pass_vault(machine: Machine, gpg: GpgHome) -> Source:
    return _filevault(machine, "pass", ("--recipient", JON), gpg.env())


def _age_vault(machine: Machine, _gpg: GpgHome) -> Source:
    source = _filevault(machine, "age", ("--no-passphrase",), {})
    identities = machine.home / "usb/config/filevault/identities"
    return Source(source.words, {"FILEVAULT_SOURCE_AGE_IDENTITY_FILE": str(identities)})


def _filevault(
    machine: Machine, kind: str, words: tuple[str, ...], given: Mapping[str, str]
) -> Source:
    """Another vault of filevault."""
    path = machine.home / "usb/vault"
    own = {"FILEVAULT_BACKEND": kind, "XDG_CONFIG_HOME": str(machine.home / "usb/config")}
    env = {**machine.env, **own, **given}
    inside = InProcess(env)
    assert inside.run("--vault", str(path), "init", *words).status == 0
    for name, key in BOTH.items():
        ended = inside.run(
            "--vault", str(path), "add", name, "--stdin", "--no-config",
            stdin="\n".join(key).encode(),
        )  # fmt: skip
        assert ended.status == 0, ended
    return Source((str(path),), given)


SOURCES: dict[str, Callable[[Machine, GpgHome], Source]] = {
    "credentials": _credentials,
    "aws-mfa": _aws_mfa,
    "awsume": _awsume,
    "config": _config,
    "csv": _csv,
    "short csv": _short_csv,
    "env": _env,
    "stdin": _stdin,
    "aws-vault": _aws_vault,
    "aws-vault-pass": _aws_vault_pass,
    "aws-vault-passage": _aws_vault_passage,
    "vault": _vault,
    "pass vault": _pass_vault,
    "age vault": _age_vault,
}


def run(keeper: BackendMachine, *argv: str, source: Source | None = None) -> InProcessResult:
    env = {**keeper.machine.env, **(source.env if source else {})}
    return InProcess(env).run(*argv, stdin=source.stdin if source else None)


def stored(keeper: BackendMachine) -> dict[str, tuple[str, str]]:
    """Every key in the vault, read without filevault's commands."""
    found = {}
    for path in sorted(keeper.root.rglob(f"*{keeper.suffix}")):
        name = str(path.relative_to(keeper.root))[: -len(keeper.suffix)]
        if not name.startswith("."):
            lines = keeper.show(name).decode().splitlines()
            fields = dict(line.split(": ", 1) for line in lines[1:])
            assert fields["filevault"] == f"1 name={name}"
            found[name] = (fields["aws_access_key_id"], lines[0])
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_goes_into_every_backend(
    keeper: BackendMachine, keyrings: GpgHomes, name: str
) -> None:
    source = SOURCES[name](keeper.machine, keyrings.jon)
    argv = ("import", *source.words, "--yes", "--json")
    shown = run(keeper, *argv, "--dry-run", source=source)
    assert shown.status == 0, shown
    assert stored(keeper) == {}
    done = run(keeper, *argv, source=source)
    assert done.status == 0, done
    assert stored(keeper) == source.keys
    rows = [row for row in json.loads(done.out) if row["action"] == "import"]
    assert {row["profile"]: row["access_key_id"] for row in rows} == {
        profile: key[0] for profile, key in source.keys.items()
    }
    assert all(row["stored"] and not row["removed_from_source"] for row in rows)
    again = run(keeper, *argv, source=source)
    assert again.status == 0
    assert {row["action"] for row in json.loads(again.out)} <= {"present", "leave-out"}
    for ended in (shown, done, again):
        assert not any(secret in ended.out + ended.err for secret in (SECRET, OTHER_SECRET))


@pytest.mark.parametrize("name", ["credentials", "config", "csv", "short csv", "env", "aws-vault"])
def test_the_clear_copies_go_only_when_asked_for(
    file_keeper: BackendMachine, gpg: GpgHome, name: str
) -> None:
    keeper = file_keeper
    source = SOURCES[name](keeper.machine, gpg)
    home = keeper.machine.home
    before = _clear(home)
    assert run(keeper, "import", *source.words, "--yes", source=source).status == 0
    assert _clear(home).keys() == before.keys()
    done = run(keeper, "import", *source.words, "--yes", "--remove-source", source=source)
    assert done.status == 0, done
    assert _clear(home) == {}
    assert stored(keeper) == source.keys
    if name != "aws-vault":
        assert "rotate" in done.err
        assert "backups" in done.err
    gone = run(keeper, "import", *source.words, "--yes", source=source)
    assert gone.status == 4
    assert gone.out == "" or "leave out" in gone.out, "a table without a row"


def _clear(home: Path) -> dict[str, bytes]:
    """The files outside of vault and state that have a secret in the clear, or AWS Vault's."""
    found = {}
    for path in home.rglob("*"):
        if path.is_file() and ".local" not in path.parts:
            data = path.read_bytes()
            if any(s.encode() in data for s in (SECRET, OTHER_SECRET)) or data[:3] == b"eyJ":
                found[str(path)] = data
    return found


def test_every_other_byte_of_the_file_stays_and_a_link_stays_a_link(
    file_keeper: BackendMachine,
) -> None:
    machine = file_keeper.machine
    target = machine.home / "dotfiles/credentials"
    target.parent.mkdir()
    target.write_bytes(CREDENTIALS.replace("\n", "\r\n").encode())
    target.chmod(0o640)
    (machine.home / ".aws").mkdir()
    link = machine.home / ".aws/credentials"
    link.symlink_to(target)
    assert run(file_keeper, "import", "--yes", "--remove-source").status == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    expected = CREDENTIALS.replace(pair(ONE), "").replace(LONG_TERM, "").replace("\n", "\r\n")
    assert target.read_bytes() == expected.encode()
    assert [path.name for path in target.parent.iterdir()] == ["credentials"]


def test_the_file_of_a_link_is_deleted_with_the_link(file_keeper: BackendMachine) -> None:
    home = file_keeper.machine.home
    source = _short_csv(file_keeper.machine, None)  # type: ignore[arg-type] # not used
    (home / "elsewhere").mkdir()
    link = home / "elsewhere/link_accessKeys.csv"
    link.symlink_to(source.words[0])
    copy = home / "copy.csv"
    copy.write_bytes(Path(source.words[0]).read_bytes())
    done = run(file_keeper, "import", str(link), "--yes", "--remove-source")
    assert done.status == 0, done
    assert not os.path.lexists(link)
    assert not os.path.lexists(source.words[0])
    assert stored(file_keeper) == {"link": ONE}
    assert f"{copy} still has the secret" in done.err


def test_copies_and_histories_that_stay_are_named(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    source = _credentials(machine, None)  # type: ignore[arg-type] # not used
    folder = machine.home / ".aws"
    (folder / "credentials~").write_text(CREDENTIALS)
    (folder / "notes").write_text("[x]\n")
    for cache in ("cli/cache", "sso/cache"):
        (folder / cache).mkdir(parents=True)
    (folder / "cli/cache/0123.json").write_text("{}")
    (machine.home / ".git").mkdir()
    done = run(file_keeper, "import", *source.words, "--yes", "--remove-source")
    assert done.status == 0
    assert f"warning: {folder}/credentials~ still has the secret" in done.err
    assert f"git repository at {machine.home} " in done.err
    assert "notes" not in done.err
    assert f"sessions in the clear in {folder}/cli/cache: " in done.err


def test_what_a_killed_edit_left_goes_with_the_key(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    left = machine.home / ".aws/.fv-0123456789abcdef.tmp"
    left.write_text(CREDENTIALS)
    other = machine.home / ".aws/.fv-0123456789abcdee.tmp"
    other.write_text("[x]\n")
    done = run(file_keeper, "import", "--yes", "--remove-source")
    assert done.status == 0
    assert not left.exists()
    assert other.exists()
    assert "still has the secret" not in done.err


def test_what_is_typed_decides(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    before = (machine.home / ".aws/credentials").read_bytes()
    no = machine.on_terminal("import", answers=[TypedAnswer("Store 2 keys", "n")])
    assert no.status == 0
    assert "nothing was changed" in no.err
    assert stored(file_keeper) == {}
    answers = [TypedAnswer("Store 2 keys", "y"), TypedAnswer("Take 2 keys out of", "n")]
    kept = machine.on_terminal("import", answers=answers)
    assert kept.status == 0
    assert (machine.home / ".aws/credentials").read_bytes() == before
    assert stored(file_keeper) == BOTH
    gone = machine.on_terminal("import", answers=[TypedAnswer("Take 2 keys out of", "y")])
    assert gone.status == 0
    assert SECRET not in (machine.home / ".aws/credentials").read_text()
    assert SECRET not in no.everything + kept.everything + gone.everything


def test_the_first_command_of_a_newcomer_makes_the_vault(machine: Machine) -> None:
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    answers = [
        TypedAnswer("Make one?", "y"),
        TypedAnswer("New passphrase", f"{PASSPHRASE}"),
        TypedAnswer("same again", f"{PASSPHRASE}"),
        TypedAnswer("Store 2 keys", "y"),
        TypedAnswer("Take 2 keys out of", "y"),
    ]
    done = machine.on_terminal("import", answers=answers)
    assert done.status == 0, done
    shown = machine.ok("export", "one", "-n", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert KEY_ID in shown.out
    assert "[profile two]" in machine.config.read_text()


def test_the_passphrase_of_aws_vault_is_asked_for_until_all_is_open(
    file_keeper: BackendMachine,
) -> None:
    machine = file_keeper.machine
    folder = machine.home / "keys"
    aws_vault.add(folder, "one", ONE, WORD)
    aws_vault.add(folder, "two", TWO, "another one")
    answers = [
        TypedAnswer("Passphrase of 2 items", "wrong"),
        TypedAnswer("none of them.\r\nPassphrase of 2 items", f"{WORD}"),
        TypedAnswer("Passphrase of 1 other item", "another one"),
        TypedAnswer("Store 2 keys", "y"),
    ]
    done = machine.on_terminal("import", str(folder), "--keep-source", answers=answers)
    assert done.status == 0, done
    assert stored(file_keeper) == BOTH
    assert WORD not in done.everything


@pytest.mark.parametrize(
    ("word", "status"), [(WORD, 12), ("wrong", 5), (None, 5)], ids=["one of two", "wrong", "none"]
)
def test_without_a_terminal_the_variable_opens_what_it_opens(
    file_keeper: BackendMachine, word: str | None, status: int
) -> None:
    folder = file_keeper.machine.home / "keys"
    aws_vault.add(folder, "one", ONE, WORD)
    aws_vault.add(folder, "two", TWO, "another one")
    env = {} if word is None else {"AWS_VAULT_FILE_PASSPHRASE": word}
    done = run(file_keeper, "import", str(folder), "--yes", source=Source((), env))
    assert done.status == status, done
    assert stored(file_keeper) == ({"one": ONE} if word == WORD else {})
    assert (status == 5) == ("AWS_VAULT_FILE_PASSPHRASE" in done.err)


# Options, what is stored then beside `one` with another key, and the status.
CLASHES: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, str]], int]] = {
    "skip": ((), {"one": (OTHER_ID, SECRET), "two": TWO}, 12),
    "force": (("--force",), BOTH, 0),
    "rename": (("--rename", "one=mine"), {"one": (OTHER_ID, SECRET), "mine": ONE, "two": TWO}, 0),
    "only": (("--only", "two"), {"one": (OTHER_ID, SECRET), "two": TWO}, 0),
    "rename to a clash": (("--rename", "two=one", "--force"), {"one": ONE}, 12),
    "only, unknown": (("--only", "three"), {"one": (OTHER_ID, SECRET)}, 2),
    "rename, unknown": (("--rename", "three=four"), {"one": (OTHER_ID, SECRET)}, 2),
    "no rename": (("--rename", "one"), {"one": (OTHER_ID, SECRET)}, 2),
    "name for two": (("--name", "x"), {"one": (OTHER_ID, SECRET)}, 2),
    "bad name": (("--rename", "one=a//b"), {"one": (OTHER_ID, SECRET), "two": TWO}, 12),
    "reserved": (("--rename", "one=mfa/b"), {"one": (OTHER_ID, SECRET), "two": TWO}, 12),
}


@pytest.mark.parametrize("name", CLASHES)
def test_a_clash_of_names_is_settled_by_the_user(file_keeper: BackendMachine, name: str) -> None:
    options, expected, status = CLASHES[name]
    _credentials(file_keeper.machine, None)  # type: ignore[arg-type] # not used
    file_keeper.inside(
        "add", "one", "--env", "--no-config",
        AWS_ACCESS_KEY_ID=OTHER_ID, AWS_SECRET_ACCESS_KEY=SECRET,
    )  # fmt: skip
    done = run(file_keeper, "import", "--yes", *options)
    assert done.status == status, done
    assert stored(file_keeper) == expected


def test_of_a_whole_password_store_only_the_entries_of_aws_vault_are_imported(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    """The vault is a folder of the same store, and the rest of it are personal passwords."""
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    keeper.add("one")
    recipient = ("-r", JON)
    for name, text in (("two", aws_vault.item("two", *TWO)), ("mail", b"hunter2\nlogin: jon\n")):
        clear = keeper.machine.home / "clear"
        clear.write_bytes(text)
        target = keeper.store / f"{name}.gpg"
        keeper.tools.run(
            "gpg", "--batch", "--quiet", "-e", *recipient, "-o", str(target), str(clear)
        )
        clear.unlink()
    done = run(keeper, "import", "--from", "aws-vault-pass", "--yes", "--json")
    assert done.status == 0, done
    actions = {row["profile"]: row["action"] for row in json.loads(done.out)}
    assert actions == {"two": "import", "aws/one": "leave-out", "mail": "leave-out"}
    assert stored(keeper) == {"one": ONE, "two": TWO}


def test_a_skipped_key_stays_in_the_file(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    file_keeper.inside(
        "add", "one", "--env", "--no-config",
        AWS_ACCESS_KEY_ID=OTHER_ID, AWS_SECRET_ACCESS_KEY=SECRET,
    )  # fmt: skip
    assert run(file_keeper, "import", "--yes", "--remove-source").status == 12
    left = (machine.home / ".aws/credentials").read_text()
    assert left == CREDENTIALS.replace(LONG_TERM, "")


def test_the_same_key_under_another_name_stays_in_the_file(file_keeper: BackendMachine) -> None:
    clear = file_keeper.machine.home / ".aws/credentials"
    clear.parent.mkdir()
    clear.write_text(f"[a]\n{pair(ONE)}[b]\n{pair(ONE)}")
    done = run(file_keeper, "import", "--yes", "--only", "a", "--remove-source")
    assert done.status == 0
    assert clear.read_text() == f"[b]\n{pair(ONE)}"
    assert f"{clear} still has the secret" in done.err


@pytest.mark.parametrize("source", [(), (".aws/credentials",), (".aws/config",)])
def test_a_credentials_file_with_nothing_else_goes_and_the_config_keeps_its_profiles(
    file_keeper: BackendMachine, source: tuple[str, ...]
) -> None:
    machine = file_keeper.machine
    credentials, config = machine.home / ".aws/credentials", machine.home / ".aws/config"
    machine.write_config(f"[default]\n{pair(ONE)}[profile other]\nregion = eu-west-1\n")
    credentials.write_text(f"\n[two]\n{pair(TWO)}\n")
    words = [str(machine.home / each) for each in source]
    assert run(file_keeper, "import", *words, "--yes", "--remove-source").status == 0
    if source != (".aws/config",):
        assert not credentials.exists()
    if source != (".aws/credentials",):
        expected = "[default]\n[profile other]\nregion = eu-west-1\n"
        assert config.read_text().removesuffix("\n[profile two]\n") == expected


def test_a_replaced_item_keeps_its_other_lines(file_keeper: BackendMachine) -> None:
    text = f"{SECRET}\naws_access_key_id: {OTHER_ID}\nnote: mine\nfilevault: 1 name=one\n"
    file_keeper.put("one", text.encode())
    _credentials(file_keeper.machine, None)  # type: ignore[arg-type] # not used
    assert run(file_keeper, "import", "--yes", "--force").status == 0
    assert b"note: mine\n" in file_keeper.show("one")


def test_profiles_are_added_to_the_config_with_what_the_source_says(
    file_keeper: BackendMachine,
) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    assert run(file_keeper, "import", "--yes", "--only", "two", "--no-config").status == 0
    assert machine.config.read_text() == "[default]\n"
    assert run(file_keeper, "import", "--yes").status == 0
    assert machine.config.read_text() == (
        "[default]\n\n[profile one]\nregion = eu-west-1\n\n[profile two]\n"
    )


def test_a_profile_with_a_source_profile_is_skipped(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    machine.write_config("[profile one]\nsource_profile = two\n")
    done = run(file_keeper, "import", "--yes")
    assert done.status == 12
    assert "source_profile two" in done.out
    assert stored(file_keeper) == {"two": TWO}


def test_each_key_is_committed(keeper: BackendMachine, keyrings: GpgHomes) -> None:
    source = _credentials(keeper.machine, keyrings.jon)
    assert run(keeper, "git", "init", "--quiet").status == 0
    assert run(keeper, "import", "--yes", *source.words).status == 0
    git = ["git", "-C", str(keeper.store)]
    log = subprocess.run([*git, "log", "--format=%s"], capture_output=True, text=True, check=True)
    assert {f"Add given password for {keeper.entry(name)} to store." for name in BOTH} <= set(
        log.stdout.splitlines()
    )
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


# A source that is refused: words, what is written to `file` in the home, and the status.
REFUSED: dict[str, tuple[tuple[str, ...], bytes | None, int, str]] = {
    "missing": (("file",), None, 4, "there is no file"),
    "folder": ((".",), None, 2, "no vault and no folder of a known format"),
    "device": (("/dev/zero",), None, 2, "not a regular file"),
    "unknown": (("file",), b"hello\n", 2, "no format that is known"),
    "empty": (("file",), b"", 2, "no format that is known"),
    "no key": (("file",), b"[x]\nregion = y\n", 4, "no long-term key"),
    "only temporary": (("file",), b"[x]\naws_access_key_id = ASIAX\n", 4, "no long-term key"),
    "wide": (("file",), "[x]\n".encode("utf-16"), 3, "UTF-16"),
    "huge": (("file",), b"#" * (4 << 20) + b"\n[x]", 3, "longer than"),
    "deep": (("file",), b"{" * 100_000, 2, "too deeply"),
    "twice": (("file",), b"[x]\n[x]\n", 3, "a second time"),
    "item": (("file",), aws_vault.VECTOR, 2, "one item of AWS Vault"),
    "from a folder": (("file", "--from", "aws-vault"), b"", 7, "cannot open"),
    "file from folder": ((".", "--from", "csv"), None, 2, "needs a file"),
    "format without path": (("--from", "csv"), None, 2, "needs the path"),
    "stdin as a folder": (("-", "--from", "aws-vault"), None, 2, "not stdin"),
    "vault without path": (("--from", "filevault"), None, 2, "needs the folder"),
    "no aws files": ((), None, 4, "there is neither"),
    "no aws vault": (("--from", "aws-vault"), None, 4, "there is no folder"),
    "remove from stdin": (("-", "--remove-source"), b"", 2, "no format"),
    "itself": ((".local/share/filevault",), None, 2, "is the vault itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_source_that_cannot_be_read_is_one_line(
    file_keeper: BackendMachine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, content, status, message = REFUSED[name]
    home = file_keeper.machine.home
    monkeypatch.chdir(home)
    if content is not None:
        (home / "file").write_bytes(content)
    source = Source((), stdin=content or b"")
    done = run(file_keeper, "import", *words, "--yes", source=source)
    assert (done.status, message in done.err) == (status, True), done
    assert done.err.count("error:") == 1


HOSTILE = (
    f"[\x1b]0;owned\x07]\n{pair(ONE)}[../../x]\n{pair(ONE)}[a/b]\n{pair(TWO)}"
    f"[e\u0301]\n{pair(ONE)}[{'x' * 300}]\n{pair(ONE)}[.hidden]\n{pair(TWO)}[-f]\n{pair(TWO)}"
    f"[ ]\n{pair(ONE)}[\u202egpj]\n{pair(ONE)}"
)


def test_hostile_names_are_shown_escaped_and_lead_nowhere(keeper: BackendMachine) -> None:
    machine = keeper.machine
    (machine.home / ".aws").mkdir(exist_ok=True)
    (machine.home / ".aws/credentials").write_text(HOSTILE)
    done = run(keeper, "import", "--yes", "--no-config")
    assert done.status == 12
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    assert SECRET not in done.out + done.err
    listed = run(keeper, "list", "--credentials").out.split("\n")
    assert {"a/b", ".hidden", "-f"} <= set(listed)
    outside = [path for path in machine.home.rglob("*.fv") if keeper.root not in path.parents]
    assert outside == []


def test_the_variable_of_the_other_vaults_passphrase_is_named(file_keeper: BackendMachine) -> None:
    source = _vault(file_keeper.machine, None)  # type: ignore[arg-type] # not used
    done = run(file_keeper, "import", *source.words, "--yes")
    assert done.status == 5
    assert "FILEVAULT_SOURCE_PASSPHRASE gives the passphrase of" in done.err
    answers = [
        TypedAnswer("assphrase", SOURCE_WORD),
        TypedAnswer("assphrase", PASSPHRASE),
        TypedAnswer("Store 2 keys", "y"),
    ]
    env = {"FILEVAULT_PASSPHRASE": None}
    typed = file_keeper.machine.on_terminal("import", *source.words, answers=answers, env=env)
    assert typed.status == 0, typed
    assert stored(file_keeper) == BOTH


def test_an_item_that_aws_vault_wrote_meanwhile_stays(
    file_keeper: BackendMachine, monkeypatch: pytest.MonkeyPatch, gpg: GpgHome
) -> None:
    """After a rotation by AWS Vault its file may be the only place of the new key."""
    source = _aws_vault(file_keeper.machine, gpg)
    one, two = (file_keeper.machine.home / ".awsvault/keys" / name for name in BOTH)
    real = store_key.verify

    def verify(vault: Vault, name: str, text: bytes) -> None:
        one.write_bytes(aws_vault.VECTOR)
        real(vault, name, text)

    monkeypatch.setattr(store_key, "verify", verify)
    words = ("import", *source.words, "--yes", "--remove-source", "--json")
    done = run(file_keeper, *words, source=source)
    assert done.status == 12, done
    assert "still in" in done.err
    assert one.read_bytes() == aws_vault.VECTOR
    assert not two.exists()
    rows = {row["profile"]: row["removed_from_source"] for row in json.loads(done.out)}
    assert rows == {"one": False, "two": True}


def test_a_row_that_stays_is_not_said_to_be_removed(file_keeper: BackendMachine) -> None:
    path = file_keeper.machine.home / "users.csv"
    text = "User name,Password,Access key ID,Secret access key\r\n"
    row = f"one,hunter2,{','.join(ONE)}\r\n"
    path.write_text(f"{text}{row}two,,{','.join(TWO)}\r\n", newline="")
    done = run(file_keeper, "import", str(path), "--yes", "--remove-source", "--json")
    assert done.status == 12, done
    assert "1 key is stored, but still in" in done.err
    rows = {row["profile"]: row["removed_from_source"] for row in json.loads(done.out)}
    assert rows == {"one": False, "two": True}
    assert path.read_bytes() == f"{text}{row}".encode()
    again = run(file_keeper, "import", str(path), "--yes", "--remove-source")
    assert again.status == 12
    assert "Took" not in again.out
    assert stored(file_keeper) == BOTH


@pytest.mark.parametrize("state", ["new", "present"])
def test_a_dry_run_writes_nothing(file_keeper: BackendMachine, state: str) -> None:
    machine = file_keeper.machine
    _credentials(machine, None)  # type: ignore[arg-type] # not used
    assert run(file_keeper, "import", "--yes", "--keep-source").status == 0
    target = str(machine.home / "new")
    assert run(file_keeper, "--vault", target, "init").status == 0
    machine.state.rename(machine.home / "elsewhere")
    if state == "present":
        assert run(file_keeper, "verify").status == 0
    before = picture(machine.home)
    assert run(file_keeper, "import", "--dry-run").status == 0
    assert run(file_keeper, "migrate", "--to", f"{target}er", "--dry-run").status == 0
    env = {**machine.env, "FILEVAULT_SOURCE_PASSPHRASE": PASSPHRASE}
    words = ("--vault", target, "import", str(machine.vault), "--dry-run")
    assert InProcess(env).run(*words).status == 0
    assert picture(machine.home) == before


def test_the_source_is_not_touched_if_an_item_reads_back_differently(
    file_keeper: BackendMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Vault.plaintext
    monkeypatch.setattr(Vault, "plaintext", lambda self, name: real(self, name) + b"x")
    _credentials(file_keeper.machine, None)  # type: ignore[arg-type] # not used
    done = run(file_keeper, "import", "--yes", "--remove-source")
    assert done.status == 7
    assert "reads back differently" in done.err
    assert (file_keeper.machine.home / ".aws/credentials").read_text() == CREDENTIALS
