"""Walks over whole vaults: the work for each item must not grow with the number of items."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filevault.backends.age.library import library
from filevault.backends.item_header import ItemHeader
from tests.samples import KEY_ID, SECRET
from tests.worlds import file_vault
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE, Machine

TEXT = f"{SECRET}\naws_access_key_id: {KEY_ID}\nfilevault: 1 name={{}}\n"
COMMANDS = {
    "file": {
        "list": ("list",),
        "accept": ("recipients", "accept"),
        "rekey": ("rekey",),
        "rotate": ("rotate", "--all", "--dry-run", "--region", "eu-west-1"),
        "verify": ("verify",),
    },
    "age": {
        "list": ("list",),
        "accept": ("recipients", "accept"),
        "add": ("recipients", "add", str(library().x25519.Identity.generate().to_public())),
        "verify": ("verify",),
        "rotate": ("rotate", "--all", "--dry-run", "--region", "eu-west-1"),
    },
}
CASES = [(kind, command) for kind, commands in COMMANDS.items() for command in commands]


class Large:
    """A vault with many items in one folder, some of which were never seen here."""

    def __init__(
        self, kind: str, home: Path, items: int, *, own_keys: bool = False, notes: str = ""
    ) -> None:
        self.kind = kind
        self.machine = machine = Machine(home)
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        machine.env["FILEVAULT_BACKEND"] = kind
        machine.write_config("".join(f"[profile team/p{number}]\n" for number in range(items)))
        self.run("init", *(("--no-passphrase",) if kind == "age" else ()))
        encrypt = self._encryption()
        folder = machine.vault / "team"
        folder.mkdir(mode=0o700)
        for number in range(items):
            name = f"team/p{number}"
            suffix = {"file": "fv", "age": "age"}[kind]
            text = TEXT.format(name) + notes
            if own_keys:
                text = text.replace("EXAMPLEKEY", f"{number:010}").replace("JQ7WML", f"{number:06}")
            (machine.vault / f"{name}.{suffix}").write_bytes(encrypt(name, text))

    def _encryption(self) -> Callable[[str, str], bytes]:
        if self.kind == "file":
            opened = file_vault.reopen(
                self.machine.vault, file_vault.GivenSecrets(PASSPHRASE.encode())
            )

            def seal(name: str, text: str) -> bytes:
                header = ItemHeader("credentials", name, 1, "2026-11-23T21:45:13Z", "add")
                return opened.encrypt(header, text.encode())

            return seal
        age = library()
        line = (self.machine.vault / ".age-recipients").read_text().strip()
        recipient = age.x25519.Recipient.from_str(line)
        return lambda _name, text: bytes(age.encrypt(text.encode(), [recipient]))

    def run(self, *argv: str) -> InProcessResult:
        ended = InProcess(self.machine.environment({"LAUNCH": None})).run(*argv)
        assert ended.status == 0, ended
        return ended


WRITTEN = {"trust.json": "memory written", "config": "config written"}


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count directory reads, and writes of the config and of what this machine remembers."""
    counts: Counter[str] = Counter()
    scandir, rename = os.scandir, os.rename

    def counted_scandir(*args: Any) -> Any:
        counts["folders read"] += 1
        return scandir(*args)

    def counted_rename(old: str, new: str, **where: Any) -> None:
        if str(new) in WRITTEN:
            counts[WRITTEN[str(new)]] += 1
        rename(old, new, **where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", counted_scandir)
        patch.setattr(os, "rename", counted_rename)
        yield counts


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count all calls of functions, whatever they do."""
    count: Counter[str] = Counter()

    def traced(_frame: object, event: str, _argument: object) -> None:
        count["calls"] += event in ("call", "c_call")

    sys.setprofile(traced)
    try:
        yield count
    finally:
        sys.setprofile(None)


def work(kind: str, home: Path, items: int, argv: tuple[str, ...]) -> Counter[str]:
    large = Large(kind, home, items)
    with counting() as counts:
        large.run(*argv)
    return counts


@pytest.mark.parametrize(("kind", "command"), CASES)
def test_no_folder_is_read_and_nothing_is_remembered_for_each_item(
    tmp_path: Path, kind: str, command: str
) -> None:
    argv = COMMANDS[kind][command]
    few, many = (work(kind, tmp_path / f"home{items}", items, argv) for items in (4, 24))
    assert many == few


@pytest.mark.parametrize("kind", COMMANDS)
def test_verify_keeps_the_names_of_items_in_memory_and_nothing_else(
    tmp_path: Path, kind: str
) -> None:
    """Bytes are counted, at most of all times: less than a KiB an item, of items of 16."""
    notes = f"# {'x' * (16 << 10)}\n"

    def peak(items: int) -> int:
        large = Large(kind, tmp_path / f"home{items}", items, notes=notes)
        tracemalloc.start()
        try:
            large.run("verify")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # imports modules
    few, many = peak(50), peak(350)
    assert many - few < 300 << 10


TICK = 0.05  # seconds: files that have just changed are no witnesses
# Bytes of memory for each item, at most of all times. Of the first 1,000 also the witnesses count.
EACH = {
    ("file", "status"): 100,
    ("file", "export", "team/p1", "--no-session"): 600,
    ("file", "list"): 1250,
    ("file", "list", "--json"): 1500,
    ("file", "doctor"): 1300,
    ("file", "recipients", "accept"): 800,
    ("file", "rotate", "--all", "--dry-run", "--region", "eu-west-1"): 2050,
    ("file", "rotate", "--all", "--dry-run", "--json", "--older-than", "1d"): 2600,
    ("age", "rotate", "--all", "--dry-run", "--region", "eu-west-1"): 2850,
    ("file", "import", "--yes"): 3900,
    ("file", "rekey"): 3350,
}


def each_item(folder: Path) -> list[float]:
    """Return what each case of `EACH` takes for an item more, without collecting garbage."""
    return [_each(folder / str(number), *case) for number, case in enumerate(EACH)]


def _each(folder: Path, kind: str, *argv: str) -> float:
    importing = argv[0] == "import"

    def peak(home: str, items: int) -> int:
        large = Large(kind, folder / home, 0 if importing else items, own_keys=True)
        if importing:
            sections = (
                f"[p{number}]\naws_access_key_id = AKIA{number:016}\n"
                f"aws_secret_access_key = {number:040}\n"
                for number in range(items)
            )
            (large.machine.home / ".aws/credentials").write_text("".join(sections))
        gc.collect()
        gc.disable()
        time.sleep(TICK)
        tracemalloc.start()
        try:
            large.run(*argv)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.enable()

    peak("first", 10)  # imports modules
    return (peak("many", 350) - peak("few", 50)) / 300


def test_memory_for_each_item_is_bounded(tmp_path: Path) -> None:
    """In a new process: tables of an interpreter that ran other tests may grow meanwhile."""
    script = (
        "import json, pathlib, sys\n"
        "from tests.cli.test_large_vaults import each_item\n"
        "found = each_item(pathlib.Path(sys.argv[1]))\n"
        "pathlib.Path(sys.argv[1], 'found').write_text(json.dumps(found))\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=True,
        cwd=root,
        stdout=subprocess.DEVNULL,
    )
    found = dict(zip(EACH, json.loads((tmp_path / "found").read_text()), strict=True))
    assert {case: each for case, each in found.items() if each >= EACH[case]} == {}


# MiB of a whole process over 100,000 items whose profiles have sections, in the same page.
LARGEST = {
    ("file", "rotate", "--all", "--dry-run", "--region", "eu-west-1"): 195,  # and remembers all
    ("file", "rotate", "--all", "--dry-run", "--json", "--region", "eu-west-1"): 205,
    ("file", "status"): 90,
    ("file", "export", "team/p1", "--no-session"): 115,
    ("file", "list"): 155,
    ("file", "list", "--json"): 145,
    ("file", "doctor"): 170,
    ("file", "recipients", "accept"): 120,
    ("file", "verify"): 110,
    ("age", "verify"): 120,
}
# A process counts the memory of the one that started it, so a small one does.
_MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print("KiB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.torture
@pytest.mark.parametrize("kind", COMMANDS)
def test_the_memory_of_commands_over_100_000_items_is_bounded(tmp_path: Path, kind: str) -> None:
    large = Large(kind, tmp_path / "home", 100_000, own_keys=True)
    measured = {}
    for argv in (argv for each, *argv in LARGEST if each == kind):
        ended = subprocess.run(
            [
                *(sys.executable, "-c", _MEASURE, sys.executable, "-m", "filevault"),
                *(*argv, "--allow-weak-kdf"),
            ],
            env=large.machine.environment({"LAUNCH": None}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (argv, ended.stderr[:500])
        measured[(kind, *argv)] = int(ended.stderr.split()[-1]) >> 10
    print(measured)
    assert not {argv: found for argv, found in measured.items() if found >= LARGEST[argv]}


@pytest.mark.parametrize("kind", COMMANDS)
def test_an_import_remembers_a_batch_of_keys_at_once(tmp_path: Path, kind: str) -> None:
    """The config and the source are written once as well, so thousands take seconds."""

    def counts(keys: int) -> Counter[str]:
        large = Large(kind, tmp_path / f"home{keys}", 0)
        sections = (
            f"[p{number}]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
            for number in range(keys)
        )
        (large.machine.home / ".aws/credentials").write_text("".join(sections))
        with counting() as found:
            large.run("import", "--yes", "--remove-source")
        assert large.run("list", "--credentials").out.count("\n") == keys
        assert large.machine.config.read_text().count("[profile") == keys
        return Counter({what: count for what, count in found.items() if what in WRITTEN.values()})

    assert counts(60) == counts(4) == {"memory written": 1, "config written": 1}


@pytest.mark.parametrize(
    ("own_keys", "sections", "limit"),
    [(True, "q", 1150), (True, "team/p", 1150), (False, "team/p", 1250)],
    ids=["keys without sections", "keys with sections", "one key"],
)
def test_a_dry_run_needs_a_bounded_number_of_calls_for_each_item(
    tmp_path: Path, own_keys: bool, sections: str, limit: int
) -> None:
    """Of 100,000 items the time is this number times a few hundred nanoseconds."""
    argv = COMMANDS["file"]["rotate"]

    def calls(items: int) -> int:
        large = Large("file", tmp_path / f"home{items}", items, own_keys=own_keys)
        config = "".join(f"[profile {sections}{number}]\n" for number in range(items))
        large.machine.write_config(config)
        with counted_calls() as count:
            large.run(*argv)
        return count["calls"]

    # Some dozens are kept at hand, and the first run imports modules.
    _, base, first, second = (calls(items) for items in (10, 110, 210, 310))
    assert (second - first) < 1.1 * (first - base)
    assert (second - first) / 100 < limit


@pytest.mark.torture
@pytest.mark.parametrize(("kind", "command"), CASES)
def test_calls_for_each_item_stay_the_same(tmp_path: Path, kind: str, command: str) -> None:
    """All calls of Python functions are counted, whatever they do."""
    argv = COMMANDS[kind][command]

    def calls(items: int) -> int:
        large = Large(kind, tmp_path / f"home{items}", items)
        with counted_calls() as count:
            large.run(*argv)
        return count["calls"]

    base, first, second = (calls(items) for items in (10, 310, 610))
    assert (second - first) < 1.5 * (first - base)  # quadratic work would give 2.9
