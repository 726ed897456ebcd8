"""A file that others own or may write: refused, with hints that work, and a way round."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.other_user import NOBODY, as_user, needs_root
from tests.samples import KEY_ID, SECRET
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine

pytestmark = needs_root

KEY = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
EXPORT = ("export", "jon", "-n")
ANOTHER = 12345


@pytest.fixture
def root_machine() -> Iterator[Machine]:
    """A machine of root's, as in a container, with a key and both configurations."""
    with tempfile.TemporaryDirectory(prefix="filevault-") as name:
        made = Machine(Path(name) / "home")
        made.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        assert InProcess(made.env).run("init").status == 0
        added = InProcess({**made.env, **KEY}).run("add", "jon", "--env", "--region", "eu-west-1")
        assert added.status == 0
        toml(made).parent.mkdir(parents=True)
        toml(made).write_text("cache_roles = true\n")
        yield made


def toml(machine: Machine) -> Path:
    return machine.home / ".config/filevault/config.toml"


def spoil(path: Path, how: str) -> None:
    """Make a file that of another user, or writable for all as on a Windows drive."""
    if how == "owner":
        os.chown(path, ANOTHER, ANOTHER)
    else:
        path.chmod(0o777)


def follow(hint: str, machine: Machine) -> None:
    """Do what the hint says first, in a shell."""
    (command,) = re.findall(r"((?:cp|chmod) [^;]*)", hint)
    subprocess.run(["sh", "-c", command], check=True, cwd=machine.home)


@pytest.mark.parametrize("how", ["owner", "mode"])
@pytest.mark.parametrize("which", ["aws", "config.toml"])
def test_the_hint_works_and_so_does_the_opt_out(
    root_machine: Machine, which: str, how: str
) -> None:
    path = root_machine.config if which == "aws" else toml(root_machine)
    spoil(path, how)
    refused = InProcess(root_machine.env).run(*EXPORT)
    assert (refused.status, refused.out) == (3, "")
    error, hint = refused.err.splitlines()
    reason = f"belongs to user {ANOTHER}" if how == "owner" else "is writable for every user"
    assert f"'{path}' {reason}" in error
    opt_out = re.findall(r"FILEVAULT_TRUST_WRITERS_OF=\S+", hint)
    assert opt_out == [f"FILEVAULT_TRUST_WRITERS_OF={path}"]
    assert "let those who can write it choose your programs and accounts" in hint
    # The variable, among other paths or alone, and no other path.
    name, _, value = opt_out[0].partition("=")
    for given in (value, f"/elsewhere:{value}", value.replace(str(root_machine.home), "~")):
        ended = InProcess({**root_machine.env, name: given}).run(*EXPORT)
        assert (ended.status, ended.err) == (0, ""), given
    for given in ("/elsewhere", f"{value}x", str(path.parent), ".aws/config", "1"):
        assert InProcess({**root_machine.env, name: given}).run(*EXPORT).status == 3, given
    follow(hint.partition("hint: ")[2], root_machine)
    assert InProcess(root_machine.env).run(*EXPORT).status == 0


@pytest.mark.parametrize("how", ["owner", "mode"])
def test_config_toml_remembers_the_opt_out(root_machine: Machine, how: str) -> None:
    spoil(root_machine.config, how)
    for named in (str(root_machine.config), "~/.aws/config"):
        toml(root_machine).write_text(f'trust_writers_of = "{named}"\n')
        assert InProcess(root_machine.env).run(*EXPORT).status == 0
    toml(root_machine).write_text('trust_writers_of = ".aws/config"\n')
    refused = InProcess(root_machine.env).run(*EXPORT)
    assert refused.status == 3
    assert "trust_writers_of must be an absolute path" in refused.err
    # It says nothing of itself: whoever can write it could write that into it.
    toml(root_machine).write_text(f'trust_writers_of = "{toml(root_machine)}"\n')
    spoil(toml(root_machine), how)
    assert f"'{toml(root_machine)}'" in InProcess(root_machine.env).run(*EXPORT).err


@pytest.mark.parametrize("how", ["owner", "mode"])
def test_a_section_is_added_to_a_config_whose_writers_are_trusted(
    root_machine: Machine, how: str
) -> None:
    spoil(root_machine.config, how)
    env = {**root_machine.env, **KEY, "FILEVAULT_TRUST_WRITERS_OF": str(root_machine.config)}
    added = InProcess(env).run("add", "new", "--env", "--region", "eu-west-1")
    assert added.status == 0, added
    assert "[profile new]" in root_machine.config.read_text()
    assert root_machine.config.stat().st_mode & 0o002 == 0
    spoil(root_machine.config, how)
    rename = ("rename", "new", "other", "--config")
    before = root_machine.config.read_bytes()
    refused = InProcess(root_machine.env).run(*rename)
    assert (refused.status, refused.out) == (3, "")
    assert root_machine.config.read_bytes() == before
    assert InProcess(env).run("export", "new", "-n").status == 0
    assert InProcess(env).run(*rename).status == 0
    assert "[profile other]" in root_machine.config.read_text()


@pytest.mark.parametrize(
    ("mode", "owner", "at_home", "reason"),
    [
        (0o644, NOBODY, True, "is readable for others"),
        (0o777, NOBODY, False, "is writable for others"),
        (0o644, ANOTHER, False, f"belongs to user {ANOTHER}"),
        (0o644, 0, True, "belongs to root"),
    ],
)
def test_the_hints_for_files_that_hold_a_secret_work(
    root_machine: Machine, mode: int, owner: int, at_home: bool, reason: str
) -> None:
    home = root_machine.home
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    home.parent.chmod(0o777)
    secret = (home if at_home else home.parent) / "a secret"
    secret.write_text(PASSPHRASE)
    secret.chmod(mode)
    os.chown(secret, owner, owner)
    env = dict(root_machine.env)
    del env["FILEVAULT_PASSPHRASE"]
    copy = home / "copy"

    def export(path: Path) -> str:
        ended = InProcess({**env, "FILEVAULT_PASSPHRASE_FILE": str(path)}).run(*EXPORT)
        return f"{ended.status}\n{ended.err}"

    said = as_user(NOBODY, lambda: export(secret))
    assert said.startswith("5\n"), said
    assert reason in said
    command = re.findall(r"(install -m 600 .*?) COPY", said)[0]
    assert shlex.split(command)[-1] == str(secret)
    as_user(NOBODY, lambda: subprocess.run([*shlex.split(command), copy], check=True))
    assert as_user(NOBODY, lambda: export(copy)) == "0\n"
    (chmod,) = re.findall(r"(chmod 600 .*?),", said) or [""]
    assert bool(chmod) == (owner == NOBODY)
    if chmod:
        as_user(NOBODY, lambda: subprocess.run(shlex.split(chmod), check=True))
        assert as_user(NOBODY, lambda: export(secret)) == "0\n"


@pytest.mark.parametrize("vault_owner", [0, ANOTHER, NOBODY])
def test_a_state_folder_counts_for_root_only_if_the_vault_is_its_owners(
    root_machine: Machine, vault_owner: int
) -> None:
    for path in (root_machine.state, *root_machine.state.rglob("*")):
        os.chown(path, ANOTHER, ANOTHER)
    trust = next(root_machine.state.rglob("trust.json"))
    planted = re.sub(r'("generation": ?)', r"\g<1>9", trust.read_text())
    planted = re.sub(r'("sha256": ?)"[0-9a-f]{64}"', rf'\1"{"0" * 64}"', planted)
    trust.write_text(planted)
    for path in (root_machine.vault, *root_machine.vault.rglob("*")):
        os.chown(path, vault_owner, vault_owner)
    ended = InProcess(root_machine.env).run(*EXPORT)
    assert ended.status == 0, ended.err
    believed = vault_owner == ANOTHER
    assert ("is older than the one this machine saw last" in ended.err) is believed
    assert trust.read_text() == planted


def test_init_goes_on_where_config_toml_of_another_user_is_a_link_elsewhere(
    root_machine: Machine,
) -> None:
    fresh = Machine(root_machine.home.parent / "fresh")
    fresh.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    place, kept = toml(fresh), toml(root_machine)
    place.parent.mkdir(parents=True)
    place.symlink_to(kept)
    os.chown(place, ANOTHER, ANOTHER, follow_symlinks=False)
    before = kept.read_bytes()
    other = fresh.home / "other"
    ended = InProcess(fresh.env).run("--vault", str(other), "init")
    assert ended.status == 0, ended.err
    assert "leads to" in ended.err
    assert f"--vault {other}" in ended.err
    assert kept.read_bytes() == before
