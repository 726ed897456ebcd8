"""Every kind of file that a command writes: what it grants afterwards, and whose it is."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conditions.other_user import needs_root
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.launch import botocore_data
from tests.launch.preload import import_everything
from tests.samples import ANN, KEY_ID, OTHER_SECRET, SECOND_ID, SECRET
from tests.worlds import restricted
from tests.worlds.age_store import ssh_key
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine

pytestmark = needs_root

APP, TEAM = 12345, 12347
MODE, ACL = 0o640, f"u:{APP}:r"
NEW_PASSPHRASE = "another long passphrase"
KEY = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}

# Every file that filevault may replace, by its path below the home: the first that fits counts.
KEPT = (
    ".local/share/filevault/*.fv",
    ".local/share/filevault/*.age",
    ".local/share/filevault/.age-recipients",
    ".local/share/filevault/.filevault/vault.json",
    ".local/share/filevault/.filevault/slots/*.slot",
    ".local/share/filevault/.filevault/retired/*",
    ".password-store/*.gpg",
    ".password-store/.gpg-id*",
    ".password-store/aws/.gpg-id*",
    ".aws/config",
    ".env",  # a source of `import`
    ".config/filevault/config.toml",
)
PRIVATE = (
    ".local/state/filevault/*",
    ".config/filevault/identities",
    "*.key",
)


class Granted(NamedTuple):
    """What a file grants, and which file it is."""

    version: tuple[int, int]
    mode: int
    gid: int
    acl: bytes


def granted(home: Path) -> dict[str, Granted]:
    """Return that of every file of a home."""
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            info = path.lstat()
            try:
                acl = os.getxattr(path, "system.posix_acl_access")
            except OSError:
                acl = b""
            mode = stat.S_IMODE(info.st_mode)
            found[str(path.relative_to(home))] = Granted(
                (info.st_ino, info.st_mtime_ns), mode, info.st_gid, acl
            )
    return found


def open_to_a_service(home: Path) -> None:
    """Let a group and one more user read every file, as an administrator does for a service."""
    secret = (".config/filevault/identities", "stranger")
    names = [name for name in granted(home) if name not in secret]
    for name in names:
        os.chown(home / name, -1, TEAM)
        (home / name).chmod(MODE)
    subprocess.run([tool("setfacl"), "-m", ACL, *names], cwd=home, check=True)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


class WritingCommand(NamedTuple):
    """A command, and the files that it replaces or that take the place of others."""

    kind: str
    argv: tuple[str, ...]
    replaces: tuple[str, ...]
    env: Mapping[str, str] = {}


VAULT = ".local/share/filevault"
WRITERS = [
    WritingCommand(
        "file", ("add", "work", "--env", "--force", "--no-config"), (f"{VAULT}/work.fv",), KEY
    ),
    WritingCommand("file", ("add", "new", "--env", "--region", "eu-west-1"), (".aws/config",), KEY),
    WritingCommand(
        "file",
        ("import", "{home}/.env", "--name", "work", "--yes", "--remove-source", "--force"),
        (f"{VAULT}/work.fv", ".env"),
    ),
    WritingCommand("file", ("rename", "work", "new", "--config"), (".aws/config",)),
    WritingCommand(
        "file", ("migrate", "--to", "{home}/moved", "--yes"), (".config/filevault/config.toml",)
    ),
    WritingCommand(
        "file",
        ("passphrase",),
        (f"{VAULT}/.filevault/slots/*.slot",),
        {"FILEVAULT_NEW_PASSPHRASE": NEW_PASSPHRASE},
    ),
    WritingCommand(
        "file",
        ("rekey",),
        (
            f"{VAULT}/work.fv",
            f"{VAULT}/.filevault/vault.json",
            f"{VAULT}/.filevault/slots/*.slot",
        ),
    ),
    WritingCommand(
        "file", ("init", "--vault", "{home}/second"), (".config/filevault/config.toml",)
    ),
    WritingCommand(
        "age", ("add", "work", "--env", "--force", "--no-config"), (f"{VAULT}/work.age",), KEY
    ),
    WritingCommand(
        "age",
        ("recipients", "add", "{ann}"),
        (f"{VAULT}/work.age", f"{VAULT}/.age-recipients"),
    ),
    WritingCommand(
        "pass",
        ("add", "work", "--env", "--force", "--no-config"),
        (".password-store/aws/work.gpg",),
        KEY,
    ),
    WritingCommand(
        "pass",
        ("recipients", "add", ANN),
        (".password-store/aws/work.gpg", ".password-store/aws/.gpg-id"),
    ),
]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda each: f"{each.kind}-{each.argv[0]}")
def test_a_file_that_takes_the_place_of_another_grants_what_that_did(
    writer: WritingCommand, tmp_path: Path, keyrings: GpgHomes
) -> None:
    keeper = BackendMachine(writer.kind, tmp_path / "home", keyrings)
    keeper.add("work")
    home = keeper.machine.home
    if writer.argv[0] == "recipients" and writer.kind == "pass":
        (keeper.store / ".gpg-id").rename(keeper.root / ".gpg-id")
        keeper.inside("recipients", "accept")
    keeper.machine.write_config("[default]\nregion = eu-west-1\n[profile work]\n")
    other = f"AWS_ACCESS_KEY_ID={SECOND_ID}\nAWS_SECRET_ACCESS_KEY={OTHER_SECRET}\n"
    (home / ".env").write_text(f"{other}OTHER=x\n")
    config = home / ".config/filevault/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("cache_roles = true\n")
    if writer.argv[0] == "init":
        # `init` notes the vault that it makes only where no other one is.
        for path in (keeper.root, home / ".local/state"):
            path.rename(path.with_name("gone"))
    open_to_a_service(home)
    before = granted(home)
    words = {"home": str(home), "ann": ssh_key("ed25519")[1].rpartition(" ")[0]}
    argv = [word.format(**words) for word in writer.argv]
    ended = InProcess({**keeper.machine.env, **writer.env}).run(*argv)
    assert ended.status == 0, ended
    assert "readable for its owner alone" not in ended.err
    replaced = set()
    for name, now in granted(home).items():
        old = before.get(name)
        if old is not None and old.version == now.version:
            continue
        pattern = next((each for each in writer.replaces if fnmatch(name, each)), None)
        if pattern is not None:
            replaced.add(pattern)
            assert matches(name, KEPT), name
            assert (now.mode, now.gid) == (MODE, TEAM), name
            assert now.acl == before[".aws/config"].acl, name
        else:
            assert now.mode == 0o600, name
            assert now.acl == b"", name
            assert old is None or matches(name, PRIVATE), name
    assert replaced == set(writer.replaces)


@pytest.mark.parametrize("kind", ["pass", "age"])
def test_an_item_that_takes_the_place_of_two_entries_grants_what_those_did(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    keeper = BackendMachine(kind, tmp_path / "home", keyrings)
    for half, text in (("access_id", KEY_ID), ("access_token", SECRET)):
        keeper.put(f"team/work/{half}", text.encode())
    open_to_a_service(keeper.machine.home)
    halves = granted(keeper.root)
    env = {**keeper.machine.env, **KEY}
    ended = InProcess(env).run("add", "team/work", "--env", "--force", "--no-config")
    assert "are still there, but no longer used" in ended.err
    now = granted(keeper.root)
    secret = halves[f"team/work/access_token{keeper.suffix}"]
    assert now[f"team/work{keeper.suffix}"][1:] == secret[1:] == (MODE, TEAM, secret.acl)


def test_every_kind_of_file_that_is_replaced_has_a_rule(tmp_path: Path, keyrings: GpgHomes) -> None:
    """A new kind of file must choose: kept for those who read it, or private for good."""
    for kind in KINDS:
        home = tmp_path / kind
        keeper = BackendMachine(kind, home, keyrings)
        keeper.add("team/work")
        for name in granted(home):
            if name not in (".gitconfig", ".clock", "stranger"):
                assert matches(name, KEPT) != matches(name, PRIVATE), name


def test_a_service_that_reads_a_vault_of_roots_is_never_locked_out(aws: FakeAws) -> None:
    """The systemd page: group and mode are set once, and root goes on writing."""
    import_everything()
    botocore_data.keep()
    with tempfile.TemporaryDirectory(prefix="filevault-") as name:
        os.chmod(name, 0o755)
        vault, key = Path(name) / "vault", Path(name) / "key"
        config = Path(name) / "config"
        config.write_text(f"[profile work]\nregion = eu-west-1\nendpoint_url = {aws.url}\n")
        user = aws.add_user("work")
        env = {
            "HOME": "/nonexistent",
            "PATH": "/usr/bin:/bin",
            "XDG_STATE_HOME": f"{name}/state",
            "FILEVAULT_DIR": str(vault),
            "AWS_CONFIG_FILE": str(config),
            "AWS_ACCESS_KEY_ID": user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": user.secret_access_key,
        }
        assert InProcess(env).run("init", "--new-key-file", str(key), "--no-passphrase").status == 0
        env["FILEVAULT_KEY"] = key.read_text().strip()
        assert InProcess(env).run("add", "team/work", "--env", "--no-config").status == 0
        assert InProcess(env).run("add", "work", "--env", "--no-config").status == 0
        subprocess.run(["chgrp", "-R", str(APP), vault], check=True)
        subprocess.run(["chmod", "-R", "g+rX", vault], check=True)
        service = {**env, "XDG_STATE_HOME": "/nonexistent"}
        for argv in (
            ("list",),
            ("rotate", "work"),
            ("add", "team/work", "--env", "--force", "--no-config"),
            ("rekey",),
            ("rekey", "--finish"),
        ):
            ended = InProcess(env).run(*argv)
            assert ended.status == 0, (argv, ended)
            for profile in ("work", "team/work"):
                words = ("export", profile, "-n", "--region", "eu-west-1")
                read = restricted.run(words, service, restricted.Conditions(APP), {})
                assert (read.status, read.err) == (0, ""), (argv, profile, read)


@pytest.fixture
def theirs() -> Iterator[Machine]:
    """The home of another user, in which root works: `sudo -E`."""
    with tempfile.TemporaryDirectory(prefix="filevault-") as folder:
        machine = Machine(Path(folder) / "home")
        os.chown(machine.home, APP, TEAM)
        os.chown(machine.clock_file, APP, TEAM)
        yield machine


def assert_all_theirs(machine: Machine) -> None:
    for path in machine.home.rglob("*"):
        info = path.lstat()
        assert (info.st_uid, info.st_gid) == (APP, TEAM), path


def test_root_leaves_nothing_of_its_own_in_the_home_of_another(theirs: Machine) -> None:
    theirs.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    inside = InProcess({**theirs.env, **KEY})
    made = inside.run("init")
    assert made.status == 0, made
    assert_all_theirs(theirs)
    clear = theirs.home / ".env"
    clear.write_text("".join(f"{name}={value}\n" for name, value in KEY.items()))
    os.chown(clear, APP, TEAM)
    for argv in (
        ("add", "team/work", "--env", "--region", "eu-west-1"),
        ("add", "team/work", "--env", "--force", "--no-config"),
        ("slot", "add", "--label", "x"),
        ("passphrase",),
        ("rekey", "--drop-slots"),
        ("copy", "team/work", "copies/work"),
        ("rename", "copies/work", "other/work", "--config"),
        ("import", "{home}/.env", "--name", "new/work", "--yes", "--remove-source"),
        ("verify",),
        ("migrate", "--to", "{home}/moved", "--yes", "--keep"),
        ("remove", "team/work", "--force"),
        ("init", "--backend", "age", "--vault", "{home}/age", "--no-passphrase"),
    ):
        env = {**theirs.env, **KEY, "FILEVAULT_NEW_PASSPHRASE": PASSPHRASE}
        env["FILEVAULT_TRUST_WRITERS_OF"] = str(theirs.config)  # the user can redirect root
        ended = InProcess(env).run(*(word.format(home=theirs.home) for word in argv))
        assert ended.status == 0, (argv, ended)
        assert "warning" not in ended.err, (argv, ended.err)
        assert_all_theirs(theirs)
    assert (theirs.home / "age/.age-recipients").exists()
    assert (theirs.home / ".config/filevault/identities").exists()


def test_root_keeps_sessions_in_the_home_of_another_and_leaves_them_there(
    theirs: Machine, scene: AwsMachine
) -> None:
    scene.machine = theirs
    scene.configure(mfa=False)
    for path in (theirs.config.parent, theirs.config):
        os.chown(path, APP, TEAM)
    theirs.env["FILEVAULT_TRUST_WRITERS_OF"] = str(theirs.config)
    scene.store()
    settings = theirs.home / ".config/filevault/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("log = true\n")
    for path in (settings.parent.parent, settings.parent, settings):
        os.chown(path, APP, TEAM)
    trusted = (theirs.config, settings)
    theirs.env["FILEVAULT_TRUST_WRITERS_OF"] = ":".join(map(str, trusted))
    theirs.ok("export", "jonsmith")
    theirs.ok("export", "jonsmith")
    assert (theirs.state / "issued.log").stat().st_size
    assert len(scene.aws.calls) == 1
    assert_all_theirs(theirs)


def test_root_imports_nothing_that_another_user_chose_for_it(theirs: Machine) -> None:
    """A link to root's own keys would put them into a vault that the other user opens."""
    theirs.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    inside = InProcess(theirs.env)
    assert inside.run("init").status == 0
    own = theirs.home.parent / "credentials"
    section = f"[work]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    own.write_text(section)
    link = theirs.home / ".aws/credentials"
    link.parent.mkdir()
    link.symlink_to(own)
    os.chown(link.parent, APP, TEAM)
    os.chown(link, APP, TEAM, follow_symlinks=False)
    words = ("import", "--yes", "--remove-source", "--no-config")
    ended = inside.run(*words)
    assert ended.status == 3, ended
    assert "is a file of user 0" in ended.err
    assert own.read_text() == section
    assert not list(theirs.vault.glob("*.fv"))
    link.unlink()
    link.write_text(f"{section}region = eu-west-1\n")
    os.chown(link, APP, TEAM)
    ended = inside.run(*words)
    assert ended.status == 0, ended
    assert link.read_text() == "[work]\nregion = eu-west-1\n"
    assert_all_theirs(theirs)


def test_a_key_file_that_root_makes_is_roots(theirs: Machine) -> None:
    theirs.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    file = theirs.home / "machine.key"
    theirs.ok("init", "--new-key-file", str(file))
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (0, 0o600)
