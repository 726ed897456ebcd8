"""Command lines for the hot lane, and the changes after which it must not serve an answer."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filevault.issued.export_formats import FORMATS
from tests.worlds.hot_lane import EXEC, EXPORT, HotLane

OPTIONS: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((), ("--region", "eu-central-1"), ("--region=us-east-1",)),
    ((), ("--min-ttl", "20m")),
    ((), ("--strict",)),
    ((), ("--prompt", "none")),
)
ENVIRONMENTS: tuple[dict[str, str | None], ...] = (
    {},
    {"AWS_PROFILE": "other", "AWS_DEFAULT_REGION": "eu-west-3", "UNRELATED": "x"},
    {
        "AWS_ACCESS_KEY_ID": "AKIA" + "A" * 16,
        "AWS_SECRET_ACCESS_KEY": "s" * 40,
        "FILEVAULT_SET": "AWS_REGION=eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_EMPTY": "",
    },
    {"FILEVAULT_PASSPHRASE": "not the passphrase", "FILEVAULT_KEY_FILE": "/no/such/file"},
)


def command_lines() -> Iterator[tuple[tuple[str, ...], dict[str, str | None]]]:
    for chosen in itertools.product(*OPTIONS):
        own = tuple(itertools.chain(*chosen))
        for number, env in enumerate(ENVIRONMENTS):
            yield ("exec", *own, "admin", "--", "/usr/bin/env"), env
            yield (*own[:2], "exec", "work", *own[2:], "env", "-0"), env
            form = FORMATS[(len(own) + number) % len(FORMATS)]
            yield ("export", "admin", *own, "--format", form), env
            yield ("exec", "-j", *own, "admin"), env


ALL_LINES = list(command_lines())


def check_same(lane: HotLane, words: tuple[str, ...], env: dict[str, str | None]) -> None:
    normal = lane.run(words, env, lane=False)
    if normal.path.startswith("exit") and normal.path != "exit 0":
        lane.run(words, env)
        assert isinstance(lane.ask(words, env), str)
        return
    lane.cached(words, env)
    assert lane.ask(words, env) == normal


def back(path: Path, text: bytes) -> None:
    """Change a file's bytes and put back its times."""
    before = path.stat()
    path.write_bytes(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_over(path: Path) -> None:
    new = path.with_name(".new")
    shutil.copy2(path, new)
    new.rename(path)


def other_link(path: Path) -> None:
    target = path.readlink()
    path.unlink()
    path.symlink_to(f"./{target}")


def another_folder(path: Path) -> None:
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    shutil.copytree(aside, path, symlinks=True)


def file_in_place(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


def one_moment(path: Path) -> None:
    (path / ".more").mkdir()
    (path / ".more").rmdir()


def back_again(path: Path) -> None:
    """Undo `another_folder`."""
    shutil.rmtree(path)
    path.with_name(path.name + ".aside").rename(path)


Change = tuple[Callable[[Path], object], Callable[[Path], object]]
NONE: Callable[[Path], object] = lambda _path: None  # noqa: E731 - a row of the table
CHANGES: dict[str, dict[str, Change]] = {
    "file": {
        "other bytes of the same size": (
            lambda path: back(path, bytes(path.stat().st_size)),
            NONE,
        ),
        "the same bytes again": (lambda path: path.write_bytes(path.read_bytes()), NONE),
        "more bytes": (lambda path: back(path, path.read_bytes() + b"\n"), NONE),
        "a copy renamed over it": (copy_over, NONE),
        "another mode": (lambda path: path.chmod(0o640), NONE),
        "another group": (lambda path: os.chown(path, -1, 12345), NONE),
        "gone": (lambda path: path.unlink(), NONE),
        "other times": (lambda path: os.utime(path, ns=(0, 0)), NONE),
    },
    "link": {
        "another target": (other_link, NONE),
        "gone": (lambda path: path.unlink(), NONE),
        "a file in its place": (file_in_place, NONE),
    },
    "list": {
        "one more entry": (
            lambda path: (path / ".more").write_bytes(b""),
            lambda path: (path / ".more").unlink(),
        ),
        "an entry and gone": (one_moment, NONE),
    },
    "folder": {
        "another mode": (lambda path: path.chmod(0o711), NONE),
        "another group": (lambda path: os.chown(path, -1, 12345), NONE),
        "a copy in its place": (another_folder, back_again),
        "gone": (
            lambda path: path.rename(path.with_name(path.name + ".gone")),
            lambda path: path.with_name(path.name + ".gone").rename(path),
        ),
    },
    "nothing": {
        "a file": (lambda path: path.write_bytes(b""), lambda path: path.unlink()),
        "a folder": (lambda path: path.mkdir(), lambda path: path.rmdir()),
        "a link that leads nowhere": (
            lambda path: path.symlink_to("nowhere"),
            lambda path: path.unlink(),
        ),
    },
}


def kind_of(line: str, path: Path) -> str:
    if line[0] == "A":
        return "nothing"
    if line[0] == "D":
        return "folder"
    return "link" if path.is_symlink() else "list" if path.is_dir() else "file"


def cases(lane: HotLane) -> list[tuple[Path, str, str]]:
    """Return each witness below the home, with each change of its kind."""
    found = []
    for line in lane.witnesses:
        path = Path(line[line.index("/") :])
        if line[0] == "W" or lane.machine.home not in path.parents:
            continue
        kind = kind_of(line, path)
        found += [(path, kind, change) for change in CHANGES[kind]]
    return found


@contextlib.contextmanager
def as_it_was(path: Path) -> Iterator[None]:
    """Put back a file or link, and mode and group of a folder."""
    link = path.readlink() if path.is_symlink() else None
    exists = os.path.lexists(path)
    data = path.read_bytes() if path.is_file() and link is None else None
    info = path.lstat() if exists else None
    yield
    if link is not None:
        path.unlink(missing_ok=True)
        path.symlink_to(link)
    elif info is not None:
        if data is not None:
            path.unlink(missing_ok=True)
            path.write_bytes(data)
        os.chown(path, info.st_uid, info.st_gid)
        path.chmod(info.st_mode & 0o7777)


def check_miss(lane: HotLane, case: tuple[Path, str, str], words: tuple[str, ...] = EXEC) -> None:
    path, kind, change = case
    lane.cached(words)
    do, undo = CHANGES[kind][change]
    with as_it_was(path):
        time.sleep(0.011)  # the times of files advance in steps of up to 10 ms
        do(path)
        found = lane.ask(words)
        undo(path)
    assert isinstance(found, str), case


def check_rewritten(lane: HotLane, count: int) -> None:
    """Run that many at once while the config is replaced by rename, again and again."""
    lane.cached()
    config = lane.machine.home / "dotfiles/config"
    text = config.read_text()
    expected = set()
    for region in ("eu-west-1", "eu-west-2"):
        config.write_text(text.replace("eu-west-1", region))
        child = lane.run(EXPORT[:2], lane=False)
        expected.add(child.printed)
    config.write_text(text)
    opens = {} if lane.machine.places else lane.opens
    running = [lane.machine.popen(*EXPORT[:2], env=opens) for _ in range(count)]
    for number in range(2 * count):
        new = config.with_name(".next")
        new.write_text(text.replace("eu-west-1", f"eu-west-{1 + number % 2}"))
        new.rename(config)
    ends = [process.communicate() for process in running]
    config.write_text(text)
    assert {process.returncode for process in running} == {0}
    assert {out for out, _err in ends} <= expected
    assert {err for _out, err in ends} == {b""}
