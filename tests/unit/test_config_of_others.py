"""Root writes the configuration in a user's home: what that user put there leads nowhere else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.config.aws_config_edit import append_profile
from filevault.errors import ConfigError, StorageError
from filevault.system.config_files import EditRules
from tests.conditions.other_user import needs_root

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
