"""Root writes the configuration in a user's home: what that user put there leads nowhere else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.backends import BACKENDS
from filevault.backends.gpg.process import Gpg
from filevault.config.aws_config_edit import append_profile
from filevault.errors import ConfigError, ProgramError, StorageError
from filevault.git.program import Git
from filevault.git.trusted_repositories import TrustedRepositories
from filevault.system.config_files import EditRules
from tests.conditions.other_user import needs_root
from tests.worlds.git_store import RememberedRepositories

pytestmark = needs_root

APP, OTHER = 12345, 12346
TEXT = "[profile boss]\naws_secret_access_key = only-root-knows\n"


@pytest.fixture
def tree() -> Iterator[Path]:
    """A home of a user's, and beside it a folder of root's with a configuration."""
    with tempfile.TemporaryDirectory(prefix="filevault-") as name:
        tree = Path(name)
        for folder, owner in (("home", APP), ("home/.aws", APP), ("root", 0), ("other", OTHER)):
            (tree / folder).mkdir()
            os.chown(tree / folder, owner, owner)
        for folder, owner in (("root", 0), ("other", OTHER)):
            (tree / folder / "config").write_text(TEXT)
            os.chown(tree / folder / "config", owner, owner)
            (tree / folder / "config").chmod(0o600)
        yield tree


def append(path: Path, trusted: bool = False) -> None:
    rules = EditRules(None, trusted=[str(path)] if trusted else ())
    append_profile(str(path), "new", {"region": "eu-west-1"}, rules)


def link(path: Path, target: str) -> None:
    path.symlink_to(target)
    os.chown(path, APP, APP, follow_symlinks=False)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("place", ["root", "other"])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("which", ["file", "folder", "twice"])
def test_a_users_link_does_not_lead_root_out_of_what_is_theirs(
    tree: Path, which: str, place: str, *, absolute: bool, trusted: bool
) -> None:
    there = str(tree / place) if absolute else f"../{place}"
    up = there if absolute else f"../{there}"
    path = tree / "home/.aws/config"
    if which == "folder":
        link(tree / "home/dir", there)
        path = tree / "home/dir/config"
    elif which == "twice":
        link(tree / "home/.aws/second", f"{up}/config")
        link(path, "second")
    else:
        link(path, f"{up}/config")
    with pytest.raises(ConfigError):
        append(path, trusted)
    assert (tree / place / "config").read_text() == TEXT


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("place", ["root", "other"])
def test_a_file_that_a_user_put_in_a_folder_of_theirs_is_not_given_to_them(
    tree: Path, place: str, *, trusted: bool
) -> None:
    path = tree / "home/.aws/config"
    os.link(tree / place / "config", path)
    with pytest.raises(ConfigError):
        append(path, trusted)
    assert path.stat().st_uid != APP
    assert path.read_text() == TEXT


def test_a_link_put_there_at_the_last_moment_is_not_read(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tree / "home/.aws/config"
    path.write_text("")
    os.chown(path, APP, APP)
    real = os.stat

    def stat(name: str, *args: object, **more: object) -> os.stat_result:
        found = real(name, *args, **more)  # type: ignore[arg-type]
        if name == "config" and more.get("dir_fd") is not None and not path.is_symlink():
            path.unlink()
            link(path, "../../root/config")
        return found

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises((ConfigError, StorageError)):
        append(path, trusted=True)
    assert path.is_symlink()


def test_a_link_of_a_users_to_what_is_theirs_is_followed(tree: Path) -> None:
    (tree / "home/dots").mkdir()
    os.chown(tree / "home/dots", APP, APP)
    path = tree / "home/.aws/config"
    link(path, "../dots/config")
    append(path)
    made = tree / "home/dots/config"
    assert path.is_symlink()
    assert made.stat().st_uid == APP
    append_profile(
        str(path), "second", {"region": "eu-west-1"}, EditRules(None, trusted=[str(path)])
    )
    assert "second" in made.read_text()


def test_roots_own_link_is_followed_wherever_it_leads(tree: Path) -> None:
    (tree / "link").symlink_to("home/.aws")
    append(tree / "link/config")
    assert (tree / "home/.aws/config").stat().st_uid == APP


def trap(tree: Path, mark: Path) -> str:
    """Return a program of the user's, which root must not run."""
    program = tree / "home/program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
    program.chmod(0o755)
    return str(program)


def owned_by(owner: int, folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner)


@pytest.mark.parametrize("which", ["folder", "file", "writable for all"])
def test_root_runs_no_program_that_another_users_gpg_conf_names(tree: Path, which: str) -> None:
    home, mark = tree / "home/.gnupg", tree / "ran"
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text(f"agent-program {trap(tree, mark)}\n")
    environment = {"HOME": str(tree / "home"), "PATH": os.environ["PATH"]}
    words = ("--card-status",)  # which asks the agent
    Gpg(environment, terminal=False, ask=False).listing(*words)
    assert mark.exists()  # so that the test would notice it
    mark.unlink()
    if which == "folder":
        owned_by(APP, home)
    elif which == "file":
        os.chown(home / "gpg.conf", APP, APP)
    else:
        (home / "gpg.conf").chmod(0o666)
    with pytest.raises(ProgramError, match="gpg is not run: .*could choose the programs") as caught:
        Gpg(environment, terminal=False, ask=False).listing(*words)
    options = {"HOME": "/root", "PASSWORD_STORE_GPG_OPTS": f"--homedir {home}"}
    with pytest.raises(ProgramError, match="gpg is not run"):
        Gpg(environment | options, terminal=False, ask=False).listing(*words)
    assert not mark.exists()
    trusted = (caught.value.hint or "").rpartition("FILEVAULT_TRUST_WRITERS_OF=")[2]
    trusting = {**environment, "FILEVAULT_TRUST_WRITERS_OF": trusted}
    Gpg(trusting, terminal=False, ask=False).listing(*words)
    assert mark.exists()


@pytest.mark.parametrize("place", [".gitconfig", ".config/git/config", "elsewhere/config"])
def test_root_runs_no_program_that_another_users_git_config_names(tree: Path, place: str) -> None:
    mark, config = tree / "ran", tree / "home" / place
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"[alias]\nrun = !{trap(tree, mark)}\n")
    environment = {"HOME": str(tree / "home"), "PATH": os.environ["PATH"]}
    if place == "elsewhere/config":
        environment["GIT_CONFIG_GLOBAL"] = str(config)
    git = Git(
        environment,
        BACKENDS["file"],
        trusted=TrustedRepositories(RememberedRepositories()),
        sleep=lambda _seconds: None,
        warn=lambda _text: None,
    )
    git.run(str(tree), ["run"])
    assert mark.exists()
    mark.unlink()
    os.chown(config, APP, APP)
    for run in (git.run, git.attach):
        with pytest.raises(ProgramError, match=f"git is not run: .*belongs to user {APP}"):
            run(str(tree), ["run"])
    assert not mark.exists()
