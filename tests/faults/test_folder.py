"""Things of another kind in every place of vault and state, and what may not be read.

Nothing hangs, nothing is touched, and what cannot be read is never taken for what is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conditions.other_user import needs_root
from tests.faults.harness import HarnessCommand, RunOutcome, survey
from tests.faults.scenarios import NEW, ONE, TWO, adding
from tests.worlds.in_process import picture
from tests.worlds.machine import PASSPHRASE, Machine

NOBODY = 65534
MARKER = ".filevault"


@pytest.fixture
def quick_items(quick_machine: Machine) -> Machine:
    """A machine with the items `one` and `team/two`."""
    quick_machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    done(quick_machine, HarnessCommand(("init",)))
    done(quick_machine, adding("one", ONE, "--no-config"))
    done(quick_machine, adding("team/two", TWO, "--no-config"))
    return quick_machine


@pytest.fixture
def away(quick_machine: Machine) -> Path:
    """A folder outside of the home."""
    folder = quick_machine.home.parent / "away"
    folder.mkdir()
    return folder


def run(machine: Machine, *argv: str) -> RunOutcome:
    """Run a command in a child, which a time limit would kill."""
    outcome = survey(HarnessCommand(argv), machine)
    assert outcome.status >= 0, f"{argv} hangs: {outcome}"
    return judged(outcome)


def judged(outcome: RunOutcome) -> RunOutcome:
    """Require an orderly end, whatever was met."""
    assert "Traceback" not in outcome.err, outcome
    assert "bug in filevault" not in outcome.err, outcome
    assert len(outcome.errors) == (outcome.status != 0), outcome
    return outcome


def done(machine: Machine, command: HarnessCommand) -> RunOutcome:
    """Run a command and require success."""
    outcome = judged(survey(command, machine))
    assert outcome.status == 0, (command.argv, outcome)
    return outcome


def names(machine: Machine) -> list[str]:
    """Return what `list` takes for items."""
    return run(machine, "list", "--credentials").out.splitlines()


def exported(machine: Machine, name: str) -> str:
    """Return the key id that `export` gives."""
    outcome = run(machine, "export", name, "--no-session", "--format", "json")
    assert outcome.status == 0, outcome
    return str(json.loads(outcome.out)["AccessKeyId"])


def test_strays_beside_the_vaults_own_files_are_not_touched(quick_items: Machine) -> None:
    for name in (
        "notes",
        "vault.json~",
        "deep/one.fv",
        "slots/notes",
        "slots/.0011223344556677.slot.swp",
        "slots/0011223344556677.slot~",
    ):
        path = quick_items.vault / MARKER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    before = picture(quick_items.vault / MARKER)
    done(quick_items, adding("one", NEW, "--force"))
    assert names(quick_items) == ["one", "team/two"]
    assert exported(quick_items, "one") == NEW.access_key_id
    for argv in (("recipients", "list"), ("recipients", "accept"), ("clear",)):
        assert run(quick_items, *argv).status == 0
    assert picture(quick_items.vault / MARKER) == before


def test_memory_and_sessions_are_not_reached_through_links(
    quick_items: Machine, away: Path
) -> None:
    (state,) = quick_items.state.iterdir()
    (state / "trust.json").rename(away / "trust.json")
    (state / "trust.json").symlink_to(away / "trust.json")
    before = (away / "trust.json").read_bytes()
    outcome = judged(survey(adding("three", NEW, "--no-config"), quick_items))
    assert outcome.status == 7
    assert "trust.json' is a link" in outcome.err
    assert (away / "trust.json").read_bytes() == before


# Files that are none


def pipe(path: Path) -> None:
    """Put a pipe there: whoever opened it would wait."""
    os.mkfifo(path, 0o600)


def socket(path: Path) -> None:
    """Put a socket there."""
    os.mknod(path, stat.S_IFSOCK | 0o600)


PLACES = (
    "one.fv",
    "new.fv",
    "team",
    "team/two.fv",
    MARKER,
    f"{MARKER}/vault.json",
    f"{MARKER}/slots",
    f"{MARKER}/slots/0011223344556677.slot",
)


@pytest.mark.parametrize("kind", [pipe, socket, Path.mkdir], ids=["pipe", "socket", "folder"])
@pytest.mark.parametrize("place", PLACES)
def test_something_else_than_a_file_neither_hangs_nor_is_an_item(
    quick_items: Machine, place: str, kind: Callable[[Path], None], away: Path
) -> None:
    path = quick_items.vault / place
    if path.exists():
        path.rename(away / path.name)
    kind(path)
    mode = path.stat().st_mode
    if MARKER not in place:
        remaining = {"one.fv": ["team/two"], "new.fv": ["one", "team/two"]}
        assert names(quick_items) == remaining.get(place, ["one"])
        remaining_slot = exported(quick_items, "one" if place != "one.fv" else "team/two")
        assert remaining_slot in (ONE.access_key_id, TWO.access_key_id)
    for command in (
        HarnessCommand(("export", "one", "--no-session")),
        HarnessCommand(("export", "team/two", "--no-session")),
        HarnessCommand(("list",)),
        HarnessCommand(("recipients", "list")),
        adding("new", NEW, "--no-config", "--force"),
        adding("team/two", NEW, "--no-config", "--force"),
        HarnessCommand(("remove", "--force", "team/two")),
    ):
        outcome = judged(survey(command, quick_items))
        assert outcome.status in (0, 3, 4, 5, 6, 7, 10), (command.argv, outcome)
        if place == "team" and kind is Path.mkdir:
            continue  # any folder may get an item, and goes with it
        assert path.stat().st_mode == mode


@pytest.mark.parametrize("kind", [pipe, socket, Path.mkdir], ids=["pipe", "socket", "folder"])
@pytest.mark.parametrize("place", ["trust.json", "session-key.fv", "sessions", "locks"])
def test_state_that_is_no_file_never_hangs(
    quick_items: Machine, place: str, kind: Callable[[Path], None], away: Path
) -> None:
    (state,) = quick_items.state.iterdir()
    path = state / place
    if path.exists():
        path.rename(away / path.name)
    kind(path)
    for command in (
        HarnessCommand(("export", "one", "--no-session")),
        HarnessCommand(("list",)),
        HarnessCommand(("clear",)),
        adding("new", NEW, "--no-config"),
    ):
        outcome = judged(survey(command, quick_items))
        assert outcome.status in (0, 7), (command.argv, outcome)
    assert path.exists()


# What may not be read


@contextlib.contextmanager
def nobody(machine: Machine) -> Iterator[None]:
    """Own everything as a user without privileges, and be that user."""
    for path in (machine.home.parent, machine.home, *machine.home.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    groups, group, user = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
        os.setgroups(groups)


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Give a path other permissions for a while."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before & 0o7777)


EXPORT = ("export", "one", "--no-session")


@needs_root
def test_one_item_that_cannot_be_read_does_not_hide_the_others(quick_items: Machine) -> None:
    with nobody(quick_items), mode(quick_items.vault / "one.fv", 0):
        outcome = run(quick_items, *EXPORT)
        assert outcome.status == 7
        assert "one.fv': permission denied" in outcome.err
        assert names(quick_items) == ["one", "team/two"]
        assert run(quick_items, "list", "--json").status == 0
        assert exported(quick_items, "team/two") == TWO.access_key_id


@needs_root
def test_one_folder_that_cannot_be_read_does_not_hide_the_others(quick_items: Machine) -> None:
    (quick_items.vault / "lost+found").mkdir()
    with (
        nobody(quick_items),
        mode(quick_items.vault / "lost+found", 0),
        mode(quick_items.vault / "team", 0),
    ):
        assert names(quick_items) == ["one"]
        listed = run(quick_items, "list")
        assert listed.status == 0
        assert listed.err.count("warning") == 1
        assert "team': permission denied; the keys in it are not shown" in listed.err
        assert exported(quick_items, "one") == ONE.access_key_id
        outcome = run(quick_items, "export", "team/two", "--no-session")
        assert outcome.status == 7
        assert "team': permission denied" in outcome.err


@needs_root
@pytest.mark.parametrize("place", ["", MARKER, f"{MARKER}/vault.json", f"{MARKER}/slots"])
def test_a_vault_that_cannot_be_read_is_not_taken_for_none(
    quick_items: Machine, place: str
) -> None:
    with nobody(quick_items), mode(quick_items.vault / place, 0):
        for command in (
            HarnessCommand(EXPORT),
            adding("one", NEW, "--force", "--no-config"),
            adding("new", NEW, "--init", "--no-config"),
        ):
            outcome = judged(survey(command, quick_items))
            assert outcome.status == 7, (command.argv, outcome)
            assert "permission denied" in outcome.err
        if place != f"{MARKER}/slots":
            assert run(quick_items, "init").status in (3, 7)
    with nobody(quick_items):
        assert exported(quick_items, "one") == ONE.access_key_id


@needs_root
@pytest.mark.parametrize("place", ["", "team"])
def test_a_folder_that_cannot_be_written_is_named_before_a_key_is_read(
    quick_items: Machine, place: str
) -> None:
    with nobody(quick_items), mode(quick_items.vault / place, 0o500):
        before = picture(quick_items.vault)
        name = "team/two" if place else "one"
        outcome = judged(survey(adding(name, NEW, "--force", "--no-config"), quick_items))
        assert outcome.status == 7
        assert "permission denied" in outcome.err
        assert run(quick_items, "remove", "--force", name).status == 7
        assert picture(quick_items.vault) == before
        assert exported(quick_items, "one") == ONE.access_key_id


@needs_root
def test_without_a_state_that_can_be_written_reading_goes_on(quick_items: Machine) -> None:
    (state,) = quick_items.state.iterdir()
    with nobody(quick_items), mode(state, 0o500):
        assert exported(quick_items, "one") == ONE.access_key_id
        assert names(quick_items) == ["one", "team/two"]
        done(quick_items, adding("three", NEW, "--no-config"))
        assert exported(quick_items, "three") == NEW.access_key_id
    with nobody(quick_items), mode(state / "trust.json", 0):
        outcome = run(quick_items, *EXPORT)
        assert outcome.status == 7
        assert "trust.json': permission denied" in outcome.err
