"""A vault, config, bundle or home that is not there or not ours: named, with the way out."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conditions.other_user import NOBODY, as_user, needs_root
from tests.samples import KEY_ID, SECRET
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE, Machine

KEY = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
TYPO = "/nowhere/typo"
UNLISTED = 61234  # no entry in the password database
AGE = (
    "--backend",
    "age",
    "--recipient",
    "age1p0cqph4rca6yaa37n5nqa0rg92sjg9j5rq3ck8y3ve8ykdnkupqsqcs6h7",
)


class Missing(NamedTuple):
    """A place that is not there, and what is said of it."""

    argv: tuple[str, ...]
    env: Mapping[str, str | None]
    status: int
    error: str
    hint: str = ""


NO_VAULT = f"there is no vault at '{TYPO}', which FILEVAULT_DIR names"
MAKE_ONE = "hint: check FILEVAULT_DIR, or make a vault there: filevault init"
DIR = {"FILEVAULT_DIR": TYPO}
EXPORT = ("export", "jonsmith", "-n")
CASES = [
    *(
        Missing(argv, DIR, 4, NO_VAULT, MAKE_ONE)
        for argv in (
            EXPORT,
            ("export", "admin"),
            ("export", "stranger"),
            ("export", "jonsmith", "--explain"),
            ("login", "jonsmith", "--stdout"),
            ("rotate", "jonsmith"),
            ("remove", "jonsmith", "--force"),
            ("rename", "jonsmith", "x"),
            ("copy", "jonsmith", "x"),
            ("migrate", "--to", "elsewhere"),
            ("verify",),
            ("signin", "jonsmith"),
            ("serve", "jonsmith"),
            ("import", "-", "--name", "x", "--yes"),
            ("unlock",),
            ("slot", "list"),
            ("rekey",),
            ("recipients", "list"),
        )
    ),
    Missing(("exec", "stranger", "--", "true"), DIR, 125, NO_VAULT, MAKE_ONE),
    Missing(
        ("--vault", TYPO, *EXPORT), {}, 4, f"no vault at '{TYPO}', which --vault names", "--vault"
    ),
    Missing(
        ("export", "stranger"),
        {"AWS_CONFIG_FILE": TYPO},
        3,
        f"nor a stored key; AWS_CONFIG_FILE names '{TYPO}', which is not there",
        "check AWS_CONFIG_FILE",
    ),
    Missing(
        ("export", "jonsmith"),
        {"AWS_CA_BUNDLE": TYPO},
        3,
        f"the CA bundle '{TYPO}' is not there",
        "AWS_CA_BUNDLE names it, or ca_bundle in the AWS config",
    ),
    Missing(
        ("rotate", "jonsmith"),
        {"AWS_CA_BUNDLE": "/etc"},
        3,
        "the CA bundle '/etc' cannot be read as a file",
        "AWS_CA_BUNDLE names it, or ca_bundle in the AWS config",
    ),
    Missing(
        EXPORT,
        {"FILEVAULT_KEY_FILE": TYPO, "FILEVAULT_PASSPHRASE": None},
        5,
        f"there is no file '{TYPO}' to read the key from",
        "FILEVAULT_KEY_FILE names it",
    ),
]


def assert_told(ended: InProcessResult, status: int, error: str, hint: str) -> None:
    """One line says what is wrong, one what to do, and there is nothing else."""
    assert (ended.status, ended.out) == (status, ""), ended
    lines = ended.err.splitlines()
    assert len(lines) == (2 if hint else 1), ended.err
    assert lines[0].startswith("filevault: error: "), ended.err
    assert error in lines[0], ended.err
    assert hint in lines[-1], ended.err


@pytest.fixture(scope="module")
def inside_ready(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    """A machine with a key and a config; nothing of AWS is ever reached."""
    machine = Machine(tmp_path_factory.mktemp("machine") / "home")
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    inside = InProcess({**machine.env, **KEY})
    assert inside.run("init").status == 0
    assert inside.run("add", "jonsmith", "--env", "--region", "eu-west-1").status == 0
    with machine.config.open("a") as file:
        file.write("\n[profile admin]\nsource_profile = jonsmith\n")
        file.write("role_arn = arn:aws:iam::123456789012:role/admin\n")
    return InProcess(machine.env)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.argv[0]}-{len(case.error)}")
def test_what_is_not_there_is_named_with_what_named_it(
    case: Missing, inside_ready: InProcess
) -> None:
    env = {**inside_ready.env, **case.env}
    ended = InProcess({name: value for name, value in env.items() if value}).run(*case.argv)
    assert_told(ended, case.status, case.error, case.hint)


def test_a_list_without_its_config_and_a_key_that_is_used_without_it_are_told(
    inside_ready: InProcess,
) -> None:
    inside = InProcess({**inside_ready.env, "AWS_CONFIG_FILE": TYPO})
    told = f"filevault: warning: AWS_CONFIG_FILE names '{TYPO}', which is not there\n"
    listed = inside.run("list")
    assert (listed.status, listed.err) == (0, told)
    assert "jonsmith" in listed.out
    words = (*EXPORT, "--region", "eu-west-1")
    assert inside.run(*words).err == ""  # jobs set it to switch the config off
    assert inside.run(*words, "--debug").err.count(told) == 1


def test_a_vault_that_config_toml_names_is_named_with_it(scene: AwsMachine) -> None:
    machine = scene.configure().machine
    path = machine.home / ".config/filevault/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'vault = "{TYPO}"\n')
    ended = InProcess(machine.env).run(*EXPORT)
    assert_told(ended, 4, f"no vault at '{TYPO}', which {path} names", f"check {path}")


def test_a_bundle_of_the_profile_that_is_not_there_is_named(plain: AwsMachine) -> None:
    config = plain.machine.config
    config.write_text(config.read_text().replace("region", f"ca_bundle = {TYPO}\nregion"))
    env = {**plain.machine.env, "AWS_CONFIG_FILE": str(config)}
    assert_told(InProcess(env).run("export", "jonsmith"), 3, f"bundle '{TYPO}'", "ca_bundle in the")


# HOME


WRITERS = [
    (("init",), 7),
    (("--vault", "{there}/v", "init"), 0),
    (("--backend", "age", "init", "--no-passphrase"), 7),
    (("init", "--new-key-file", "{home}/machine.key"), 7),
    (("add", "x", "--env", "--init"), 7),
    (("list",), 0),
    (("status",), 4),
    (("lock",), 4),
    (("clear",), 0),
    (EXPORT, 3),
]


@pytest.mark.parametrize("deep", ["", "/jon"])
@pytest.mark.parametrize(("argv", "status"), WRITERS, ids=str)
def test_a_home_that_does_not_exist_is_never_made(
    argv: tuple[str, ...], status: int, deep: str, tmp_path: Path
) -> None:
    home = tmp_path / "nonexistent"
    there = tmp_path / "there"
    there.mkdir()
    env = {**KEY, "HOME": f"{home}{deep}", "PATH": os.environ["PATH"]}
    env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    ended = InProcess(env).run(*(word.format(there=there, home=env["HOME"]) for word in argv))
    assert not home.exists()
    assert ended.status == status, ended
    assert "Traceback" not in ended.err
    if status == 7:
        told = f"the home directory '{home}{deep}' does not exist, and is not made"
        assert_told(ended, 7, told, "set HOME to a folder that exists")


def test_a_home_that_does_not_exist_is_not_made_for_the_aws_config_either(tmp_path: Path) -> None:
    home = tmp_path / "nonexistent"
    env = {**KEY, "HOME": str(home), "FILEVAULT_PASSPHRASE": PASSPHRASE}
    env |= {"FILEVAULT_DIR": str(tmp_path / "vault"), "PATH": os.environ["PATH"]}
    assert InProcess(env).run("init").status == 0
    added = InProcess(env).run("add", "x", "--env", "--region", "eu-west-1")
    assert added.status == 0, added
    assert "does not exist, and is not made; the key is stored anyway" in added.err
    assert "filevault:     region = eu-west-1" in added.err
    assert not home.exists()


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A folder that everybody may enter, with a home inside that only root may, and a vault."""
    with tempfile.TemporaryDirectory(prefix="filevault-") as name:
        os.chmod(name, 0o755)
        home = Path(name) / "root"
        home.mkdir(0o700)
        (home / ".config/filevault").mkdir(parents=True)
        (home / ".config/filevault/config.toml").write_text("strict = true\n")
        yield home


def as_nobody(home: Path, *argv: str, **env: str) -> tuple[int, list[str]]:
    """Run filevault as nobody in this HOME."""

    def run() -> str:
        given = {"HOME": str(home), "PATH": "/usr/bin:/bin", "FILEVAULT_PASSPHRASE": PASSPHRASE}
        ended = InProcess({**given, **env}).run(*argv)
        return f"{ended.status}\n{ended.err}"

    status, *lines = as_user(NOBODY, run).splitlines()
    return int(status), lines


@needs_root
def test_the_home_of_another_is_named_with_the_ways_out(foreign: Path) -> None:
    vault = foreign.parent / "vault"
    path = foreign / ".config/filevault/config.toml"
    for argv in (("list",), ("status",), ("lock",), ("unlock",), EXPORT, ("clear",), ("init",)):
        status, lines = as_nobody(foreign, *argv)
        assert status == 7, (argv, lines)
        assert len(lines) == 2, lines
        assert f"cannot read '{path}': permission denied, and it could demand" in lines[0]
        assert "set HOME, or XDG_CONFIG_HOME" in lines[1]
    # Where strictness is decided anyway, a config that cannot be read decides nothing.
    strictness = {"FILEVAULT_STRICT": "0"}
    status, lines = as_nobody(foreign, "list", "--credentials", **strictness)
    assert status == 7
    assert f"cannot open '{foreign}/.local/share/filevault': permission denied" in lines[0]
    assert "FILEVAULT_DIR, or HOME" in lines[1]
    vault.mkdir()
    os.chown(vault, NOBODY, NOBODY)
    strictness["FILEVAULT_DIR"] = str(vault)
    status, lines = as_nobody(foreign, "init", **strictness)
    assert status == 0, lines
    status, lines = as_nobody(foreign, *EXPORT, **strictness)
    assert (status, len(lines)) == (7, 2)
    assert f"cannot read '{foreign}/.aws/config': permission denied" in lines[0]
    assert "AWS_CONFIG_FILE names another file, or /dev/null for none" in lines[1]
    strictness["AWS_CONFIG_FILE"] = "/dev/null"
    status, lines = as_nobody(
        foreign, "add", "jonsmith", "--env", "--no-config", **strictness, **KEY
    )
    assert status == 0, lines
    assert as_nobody(foreign, *EXPORT, **strictness) == (0, [])
    assert as_nobody(foreign, "list", **strictness) == (0, [])


@needs_root
def test_strictness_is_not_lost_with_a_config_that_cannot_be_read(foreign: Path) -> None:
    vault = foreign.parent / "vault"
    vault.mkdir()
    os.chown(vault, NOBODY, NOBODY)
    env = {"FILEVAULT_DIR": str(vault), "AWS_CONFIG_FILE": "/dev/null"}
    assert as_nobody(foreign, "init", FILEVAULT_STRICT="1", **env)[0] == 0
    status, lines = as_nobody(foreign, *EXPORT, FILEVAULT_STRICT="1", **env)
    assert status == 10 or "never been seen here" in lines[0], lines


@needs_root
def test_a_user_without_any_home_is_served_by_what_the_hint_names(foreign: Path) -> None:
    """As a container's user without an entry in the password database, and without HOME."""
    own = foreign.parent / "own"
    own.mkdir()
    os.chown(own, UNLISTED, UNLISTED)
    env = {"PATH": "/usr/bin:/bin"}

    def run(*argv: str, **more: str) -> tuple[int, list[str]]:
        def action() -> str:
            ended = InProcess({**env, **more}).run(*argv)
            return f"{ended.status}\n{ended.err}"

        status, *lines = as_user(UNLISTED, action).splitlines()
        return int(status), lines

    status, lines = run("list")
    assert (status, len(lines)) == (3, 2)
    assert lines[1].startswith("filevault: hint: set HOME, or ")
    named = re.findall(r"[A-Z_]{5,}", lines[1])
    env |= {name: str(own / name) for name in named if name != "AWS_CONFIG_FILE"}
    env |= {"AWS_CONFIG_FILE": "/dev/null"} if "AWS_CONFIG_FILE" in named else {}
    key = own / "key"
    assert run("init", "--new-key-file", str(key), "--no-passphrase") == (0, [])
    status, lines = run("add", "x", "--env", "--no-config", FILEVAULT_KEY_FILE=str(key), **KEY)
    assert (status, lines) == (0, [])
    for argv in (("list",), ("export", "x", "-n"), ("export", "x", "--explain"), ("status",)):
        status, lines = run(*argv, FILEVAULT_KEY_FILE=str(key))
        assert (status, [line for line in lines if ": error: " in line]) == (0, []), argv


@needs_root
@pytest.mark.parametrize("options", [("--new-key-file", "{}/key", "--no-passphrase"), AGE])
def test_init_without_any_home_ends_well_and_says_how_the_vault_is_found(
    foreign: Path, options: tuple[str, ...]
) -> None:
    own = foreign.parent / "own"
    own.mkdir()
    os.chown(own, UNLISTED, UNLISTED)
    env = {"PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(own), "XDG_STATE_HOME": str(own)}

    def action() -> str:
        argv = (word.format(own) for word in ("init", "--vault", "{}/v", *options))
        ended = InProcess(env).run(*argv)
        return f"{ended.status}\n{ended.err}"

    status, *lines = as_user(UNLISTED, action).splitlines()
    assert status == "0", lines
    assert f"FILEVAULT_DIR={own}/v" in "\n".join(lines)
