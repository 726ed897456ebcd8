"""The record of what a run reads: every change shows, and every doubt spoils it."""

from __future__ import annotations

import contextlib
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from filevault.config.settings import Settings
from filevault.errors import FilevaultError
from filevault.system.config_files import read_config
from filevault.system.files import Folder
from filevault.system.inputs import Inputs, Witness

LATER = time.time_ns() + 3600 * 10**9


def make(root: Path) -> None:
    (root / "real/inner").mkdir(parents=True)
    (root / "real/file").write_text("one")
    (root / "real/inner/deep").write_text("deep")
    (root / "other").mkdir()
    (root / "other/file").write_text("two")
    (root / "link").symlink_to("real")
    (root / "config").symlink_to(root / "real/file")


def look(root: Path, began: int = LATER) -> Inputs:
    """Read in every way that a run reads."""
    inputs = Inputs(began)
    assert read_config(str(root / "config"), inputs=inputs) is not None
    assert read_config(str(root / "missing/config.toml"), inputs=inputs) is None
    inputs.real_path(str(root / "link"))
    inputs.exists(str(root / "nothing"))
    with Folder.open(str(root / "link"), inputs=inputs) as folder:
        folder.read("file", 100)
        folder.is_file("absent")
        with folder.child("inner") as inner:
            inner.entries()
    inputs.writable(str(root / "real"))
    return inputs


def touch_back(path: Path, text: str) -> None:
    """Change a file's bytes and restore size and mtime."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def retarget(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def copy_over(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    new.rename(path)


def replace_folder(root: Path) -> None:
    (root / "real").rename(root / "old")
    (root / "real/inner").mkdir(parents=True)
    (root / "real/file").write_text("one")


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes, with size and mtime as before": lambda at: touch_back(at / "real/file", "eno"),
    "a copy renamed over it": lambda at: copy_over(at / "real/file"),
    "mode of a file": lambda at: (at / "real/file").chmod(0o640),
    "owner of a file": lambda at: os.chown(at / "real/file", 54321, -1),
    "a link elsewhere": lambda at: retarget(at / "link", "other"),
    "a link to the same by another way": lambda at: retarget(at / "link", "./real"),
    "the link of the config": lambda at: retarget(at / "config", str(at / "other/file")),
    "a file where none was": lambda at: (at / "real/absent").write_text(""),
    "a folder where none was": lambda at: (at / "missing").mkdir(),
    "a path where none was": lambda at: (at / "nothing").mkdir(),
    "one more file in a listed folder": lambda at: (at / "real/inner/more").write_text(""),
    "mode of a folder": lambda at: (at / "real").chmod(0o711),
    "another folder of the name": replace_folder,
    "a file that is gone": lambda at: (at / "real/file").unlink(),
}


def holds(witness: Witness) -> bool:
    """Tell whether a witness is as it was."""
    again = Inputs(LATER)
    if witness.kind == "A":
        return not os.path.lexists(witness.path)
    if witness.kind == "W":
        return os.access(witness.path, os.W_OK)
    try:
        info = os.lstat(witness.path)
    except OSError:
        return False
    again.read(witness.path, info, info) if witness.kind == "F" else again.seen(witness.path, info)
    return again._found[witness.path].numbers == witness.numbers


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_in_a_witness(tmp_path: Path, change: str) -> None:
    if change.startswith("owner") and os.geteuid():
        pytest.skip("only root gives files away")
    make(tmp_path)
    found = look(tmp_path).witnesses()
    assert found is not None
    assert all(map(holds, found))
    time.sleep(0.011)  # the times of files advance in steps of up to 10 ms
    CHANGES[change](tmp_path)
    assert not all(map(holds, found))


def test_what_changed_shortly_before_is_no_witness(tmp_path: Path) -> None:
    make(tmp_path)
    inputs = look(tmp_path, time.time_ns())
    assert inputs.witnesses() is None
    assert inputs.doubt == "a file changed shortly before it was read"


@pytest.mark.parametrize(
    ("nanoseconds", "later", "recent"),
    [
        (1, 15_000_000, True),
        (1, 25_000_000, False),
        (0, 25_000_000, True),
        (0, 1_015_000_000, True),
        (0, 1_025_000_000, False),
    ],
)
def test_where_times_have_whole_seconds_a_change_counts_for_one_more(
    tmp_path: Path, nanoseconds: int, later: int, *, recent: bool
) -> None:
    """ext4 with inodes of 128 bytes: two changes within a second have the same times."""
    (tmp_path / "x").write_text("")
    info = (tmp_path / "x").stat()
    changed = 1_800_000_000 * 10**9 + nanoseconds
    kept = os.stat_result(info[:10], {"st_ctime_ns": changed, "st_mtime_ns": changed})
    inputs = Inputs(changed + later)
    inputs.read(f"{tmp_path}/x", kept, kept)
    assert inputs.doubt == ("a file changed shortly before it was read" if recent else None)


def spoiled(inputs: Inputs, tmp_path: Path) -> Callable[[str], Callable[[], object]]:
    folder = Folder.open(str(tmp_path), inputs=inputs)
    deeds: dict[str, Callable[[], object]] = {
        "a relative path": lambda: read_config("config", inputs=inputs),
        "a relative folder": lambda: inputs.absolute("vault"),
        "a write": lambda: folder.write("x", b""),
        "a deletion": lambda: folder.remove("x"),
        "a new folder": lambda: folder.make_child("new"),
        "a link in a vault": lambda: folder.read("link", 10),
        "a folder that is a link": lambda: folder.child("link"),
        "the home of a user": lambda: Settings({}, inputs=inputs).home,
        "the home of another user": lambda: Settings({}, inputs=inputs).expand("~root/x"),
        "a beginning": lambda: folder.head("x", 4),
        "two answers about one path": lambda: (
            inputs.exists(f"{tmp_path}/y"),
            (tmp_path / "y").write_text(""),
            inputs.exists(f"{tmp_path}/y"),
        ),
    }
    return lambda name: deeds[name]


@pytest.mark.parametrize(
    "deed",
    [
        *("a relative path", "a relative folder", "a write", "a deletion", "a new folder"),
        *("a link in a vault", "a folder that is a link", "the home of a user"),
        *("the home of another user", "a beginning", "two answers about one path"),
    ],
)
def test_a_doubt_leaves_no_witness(tmp_path: Path, deed: str) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "link").symlink_to("x")
    inputs = Inputs(LATER)
    run = spoiled(inputs, tmp_path)(deed)
    with contextlib.suppress(FilevaultError):
        run()
    assert inputs.doubt is not None
    assert inputs.witnesses() is None


def test_a_walk_over_many_files_keeps_none_of_them(tmp_path: Path) -> None:
    """An answer file has no room for so many; a vault may have 100,000."""
    inputs = Inputs(LATER)
    for number in range(1000):
        inputs.exists(f"{tmp_path}/{number}")
    assert inputs.witnesses() is not None
    tracemalloc.start()
    try:
        for number in range(5000):
            inputs.exists(f"{tmp_path}/more{number}")
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
    assert inputs.doubt == "it read too many files"
    assert inputs.witnesses() is None


def test_a_file_that_changes_while_it_is_read_is_no_witness(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    before = path.stat()
    time.sleep(0.011)
    path.write_text("two")
    inputs = Inputs(LATER)
    inputs.read(str(path), before, path.stat())
    assert inputs.witnesses() is None


def test_variables_in_a_path_are_inputs() -> None:
    inputs = Inputs()
    settings = Settings({"AWS_CONFIG_FILE": "$ONE/${TWO}/config", "HOME": "/h"}, inputs=inputs)
    settings.aws_config_path  # noqa: B018 - looked up for its effect
    assert {"AWS_CONFIG_FILE", "ONE", "TWO"} <= inputs.variables
