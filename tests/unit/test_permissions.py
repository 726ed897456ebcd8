"""What a file grants after it was replaced: every mode, group, ACL and owner, with real ACLs."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.system import permissions
from filevault.system.files import Folder
from filevault.system.locks import locked
from tests.conditions.other_user import as_user, needs_root
from tests.conditions.tools import tool

pytestmark = needs_root

APP, OTHER, TEAM = 12345, 12346, 12347  # users and groups that need no entry anywhere
MODES = (0o600, 0o640, 0o664, 0o446, 0o7777)
ACLS = ("", f"u:{OTHER}:r", f"g:{OTHER}:rw,u:{APP}:---,m::r", f"u:{OTHER}:r,o::rw")
DEFAULT_ACL = f"d:u:{OTHER}:rwx,d:g:{TEAM}:rwx"


class FileCase(NamedTuple):
    """A file before it is replaced by root, with the folder it lies in."""

    mode: int
    group: int
    acl: str
    owner: int
    folder_owner: int
    default_acl: bool


CASES = [
    FileCase(*each, default_acl=bool(number % 2))
    for number, each in enumerate(
        itertools.product(MODES, (0, TEAM), ACLS, (0, APP), (OTHER, APP, 0))
    )
]


@pytest.fixture
def permission_tree() -> Iterator[Path]:
    """A folder that every user may enter and write."""
    with tempfile.TemporaryDirectory(prefix="filevault-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


def setfacl(acls: dict[str, list[str]], folder: Path) -> None:
    """Set ACLs; one process for each, however many files have it."""
    for acl, names in acls.items():
        subprocess.run([tool("setfacl"), "-m", acl, *names], cwd=folder, check=True)


def granted(path: Path) -> tuple[int, int, int, bytes]:
    info = path.lstat()
    try:
        acl = os.getxattr(path, "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        acl = b""
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, acl


def acl_text(path: Path) -> list[str]:
    done = subprocess.run(
        [tool("getfacl"), "-cn", "--absolute-names", path], capture_output=True, check=True
    )
    return done.stdout.decode().split()


def test_a_replaced_file_keeps_group_acl_and_mode_and_follows_the_folders_owner(
    permission_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # most of the time, and not what is tested
    acls: dict[str, list[str]] = {}
    for number, case in enumerate(CASES):
        folder = permission_tree / str(number)
        folder.mkdir()
        (folder / "f").write_bytes(b"old")
        os.chown(folder, case.folder_owner, TEAM if case.default_acl else 0)
        os.chown(folder / "f", case.owner, case.group)
        (folder / "f").chmod(case.mode)
        if case.acl:
            acls.setdefault(case.acl, []).append(f"{number}/f")
        if case.default_acl:
            acls.setdefault(DEFAULT_ACL, []).append(str(number))
    setfacl(acls, permission_tree)
    warned: list[str] = []
    for number, case in enumerate(CASES):
        path = permission_tree / str(number) / "f"
        before = granted(path)
        other_writes = before[0] & stat.S_IWOTH
        with Folder.open(str(path.parent), warned.append) as opened:
            opened.write("f", b"new", keep="f")
        mode, uid, gid, acl = granted(path)
        assert path.read_bytes() == b"new"
        assert mode == before[0] & 0o775, case
        assert uid == (case.folder_owner or case.owner), case
        assert gid == case.group, case
        assert bool(acl) == bool(case.acl), case
        if not other_writes:
            assert acl == before[3], case
        elif acl:
            assert "other::r-x" in acl_text(path) or "other::r--" in acl_text(path), case
    assert warned == []


@pytest.mark.parametrize("default_acl", [False, True])
@pytest.mark.parametrize("setgid", [False, True])
@pytest.mark.parametrize("owner", [0, APP])
@pytest.mark.parametrize("made_by", [0, APP])
def test_a_new_file_is_private_and_takes_what_its_folder_says(
    permission_tree: Path, owner: int, made_by: int, setgid: bool, default_acl: bool
) -> None:
    top = permission_tree / "top"
    top.mkdir()
    os.chown(top, owner, TEAM)
    top.chmod(0o2777 if setgid else 0o777)
    if default_acl:
        setfacl({DEFAULT_ACL: ["top"]}, permission_tree)

    def make() -> None:
        with Folder.make(str(top / "a/b")) as folder, folder.make_child("c") as inner:
            inner.write("f", b"1", keep="f")
            inner.write("state", b"1")
            inner.create("key", b"1")
            inner.create("own", b"1", follow=False)

    as_user(made_by, make)
    expected_owner = owner if made_by == 0 else made_by
    expected_group = TEAM if setgid or (made_by == 0 and owner) else made_by
    for name in ("a", "a/b", "a/b/c", "a/b/c/f", "a/b/c/state", "a/b/c/key"):
        mode, uid, gid, _ = granted(top / name)
        assert mode & 0o777 == (0o700 if (top / name).is_dir() else 0o600), name
        assert (uid, gid) == (expected_owner, expected_group), name
        effective = [line for line in acl_text(top / name) if line.startswith("mask::")]
        assert effective in ([], ["mask::---"]), name
    assert granted(top / "a/b/c/own")[:2] == (0o600, made_by)


def test_what_is_private_stays_so_whatever_lay_there(permission_tree: Path) -> None:
    path = permission_tree / "f"
    path.write_bytes(b"old")
    os.chown(path, APP, TEAM)
    path.chmod(0o666)
    setfacl({f"u:{OTHER}:rw": ["f"]}, permission_tree)
    with Folder.open(str(permission_tree)) as folder:
        folder.write("f", b"new")
    assert granted(path)[0] == 0o600
    assert granted(path)[3] == b""


class Refused(NamedTuple):
    """A file whose group or ACL the user who replaces it cannot set."""

    name: str
    mode: int
    group: int
    warns: bool


@pytest.mark.parametrize(
    "refused",
    [
        Refused("private", 0o600, TEAM, warns=False),
        Refused("group", 0o640, TEAM, warns=True),
        Refused("others", 0o604, TEAM, warns=True),
        Refused("unreadable", 0o020, APP, warns=True),
        Refused("own group", 0o640, APP, warns=False),
    ],
    ids=lambda refused: refused.name,
)
def test_where_it_cannot_be_kept_the_file_is_private_and_that_is_told(
    permission_tree: Path, refused: Refused
) -> None:
    path = permission_tree / "f"
    path.write_bytes(b"old")
    os.chown(path, OTHER if refused.name == "unreadable" else APP, refused.group)
    path.chmod(refused.mode)

    def replace() -> str:
        warned: list[str] = []
        with Folder.open(str(permission_tree), warned.append) as folder:
            folder.write("f", b"new", keep="f")
        return "\n".join(warned)

    said = as_user(APP, replace)
    kept = refused.name == "own group"
    assert granted(path)[:3] == (refused.mode if kept else 0o600, APP, APP)
    told = f"'{path}' is readable for its owner alone now (mode 0600)"
    assert (told in said) == refused.warns
    assert bool(said) == refused.warns


def test_no_step_on_the_way_grants_more_than_the_last(
    permission_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves the temporary file as it is: it must not be readable for more users."""
    path = permission_tree / "f"
    path.write_bytes(b"old")
    os.chown(path, 0, TEAM)
    path.chmod(0o646)
    setfacl({f"u:{OTHER}:r": ["f"], DEFAULT_ACL: ["."]}, permission_tree)
    steps: list[tuple[str, int, int]] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **more: object) -> object:
            done = real(*args, **more)
            for each in permission_tree.glob(".fv-*.tmp"):
                info = each.stat()
                steps.append((name, stat.S_IMODE(info.st_mode), info.st_gid))
            return done

        monkeypatch.setattr(os, name, call)

    for name in ("open", "fchown", "fchmod", "setxattr", "removexattr", "write"):
        watched(name)
    with Folder.open(str(permission_tree)) as folder:
        folder.write("f", b"new", keep="f")
    monkeypatch.undo()
    final = granted(path)
    assert final[0] == 0o644
    names = [name for name, _, _ in steps]
    assert names.index("fchown") < names.index("setxattr") < names.index("fchmod")
    assert names.index("fchmod") < names.index("write")
    for name, mode, gid in steps:
        assert mode & ~final[0] == 0, name
        assert mode & 0o077 == 0 or gid == TEAM, name


def test_a_folder_swapped_for_another_of_roots_is_not_given_away(permission_tree: Path) -> None:
    os.chown(permission_tree, APP, APP)
    (permission_tree / "secret").mkdir()
    (permission_tree / "secret/file").write_text("root's")
    fd = os.open(permission_tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        permissions.give_folder("secret", fd)
        (permission_tree / "link").symlink_to("/root")
        permissions.give_folder("link", fd)
    finally:
        os.close(fd)
    assert (permission_tree / "secret").stat().st_uid == 0
    assert Path("/root").stat().st_uid == 0


def test_a_lock_that_root_takes_gives_no_file_away(permission_tree: Path) -> None:
    os.chown(permission_tree, APP, APP)
    (permission_tree / "planted").write_text("root's")
    (permission_tree / "planted").chmod(0o440)
    with Folder.open(str(permission_tree)) as folder:
        for name, owner, mode in (("planted", 0, 0o440), ("new", APP, 0o600)):
            with locked(folder, name):
                info = (permission_tree / name).stat()
                assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (owner, mode)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)
