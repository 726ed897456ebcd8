"""A vault's folder as people keep it: what lies beside items is never an item, never touched.

Neither a link nor a pipe nor a file that nobody may read leads anywhere else, or hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.scene import needs_root
from tests.faults.harness import Command, Outcome, survey
from tests.faults.inside import picture
from tests.faults.scenarios import NEW, ONE, TWO, adding
from tests.machine import PASSPHRASE, Machine

NOBODY = 65534


@pytest.fixture
def vault(quick_machine: Machine) -> Machine:
    """A machine with the items `one` and `team/two`."""
    quick_machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    done(quick_machine, Command(("init",)))
    done(quick_machine, adding("one", ONE, "--no-config"))
    done(quick_machine, adding("team/two", TWO, "--no-config"))
    return quick_machine


@pytest.fixture
def away(quick_machine: Machine) -> Path:
    """A folder outside of the home."""
    folder = quick_machine.home.parent / "away"
    folder.mkdir()
    return folder


def run(machine: Machine, *argv: str) -> Outcome:
    """Run a command in a child, which a time limit would kill."""
    outcome = survey(Command(argv), machine)
    assert outcome.status >= 0, f"{argv} hangs: {outcome}"
    return judged(outcome)


def judged(outcome: Outcome) -> Outcome:
    """Require an orderly end, whatever was met."""
    assert "Traceback" not in outcome.err, outcome
    assert "bug in filevault" not in outcome.err, outcome
    assert len(outcome.errors) == (outcome.status != 0), outcome
    return outcome


def done(machine: Machine, command: Command) -> Outcome:
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


# Strays

STRAYS = (
    "one.fv~",
    ".one.fv.swp",
    ".one.fv.swo",
    "#one.fv#",
    "one.fv.orig",
    "one.fv.bak",
    "one (conflicted copy).fv.txt",
    "one",
    ".fv",
    ".hidden.fv",
    "-option.fv",
    "ONE.FV",
    "one.FV",
    "%41.fv",
    "a%2fb.fv",
    "100%.fv",
    "col:on.fv",
    "space .fv/inner.fv",
    "bell\x07.fv",
    "new\nline.fv",
    "u\u0308.fv",
    "\u202eevil.fv",
    "NOTES.md",
    "two.gpg",
    "two.age",
    ".gitignore",
    ".git/HEAD",
    ".git/one.fv",
    ".git/objects/aa/two.fv",
    ".stversions/one.fv",
    "team/.two.fv.swp",
    "team/two.fv~",
    "team/notes",
    "team/.trash/two.fv",
    "folder.fv/inner.fv",
    "team/folder.fv/inner.fv",
    ".filevault/notes",
    ".filevault/vault.json~",
    ".filevault/slots/notes",
    ".filevault/slots/.0011223344556677.slot.swp",
    ".filevault/slots/0011223344556677.slot~",
    ".filevault/deep/one.fv",
)


def scatter(root: Path) -> None:
    """Put all kinds of files beside the items."""
    for name in STRAYS:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name!r}")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.fv")).write_text("no UTF-8")
    (root / "empty").mkdir()
    (root / "empty.fv").mkdir()


def untouched(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Return what is below a folder apart from items."""
    kinds = {b"one.fv", b"three.fv", b"team/two.fv", b"team/four.fv"}
    return {path: entry for path, entry in picture(root).items() if path not in kinds}


def test_nothing_beside_the_items_is_an_item_or_is_touched(vault: Machine) -> None:
    scatter(vault.vault)
    before = untouched(vault.vault)
    assert names(vault) == ["one", "team/two"]
    assert exported(vault, "one") == ONE.access_key_id
    done(vault, adding("one", NEW, "--force"))
    done(vault, adding("three", NEW))
    done(vault, adding("team/four", NEW))
    assert names(vault) == ["one", "team/four", "team/two", "three"]
    for name in ("three", "team/four", "team/two"):
        done(vault, Command(("remove", "--force", name)))
    for argv in (("list",), ("list", "--json"), ("clear",), ("recipients", "list")):
        assert run(vault, *argv).status == 0
    assert exported(vault, "one") == NEW.access_key_id
    assert run(vault, "recipients", "accept").status == 0
    assert untouched(vault.vault) == before


@pytest.mark.parametrize("name", ["folder", ".hidden", "a b/../c", "..", "team", "%41"])
def test_what_is_no_item_cannot_be_exported_or_removed(vault: Machine, name: str) -> None:
    scatter(vault.vault)
    before = picture(vault.vault)
    for argv in (("export", name, "--no-session"), ("remove", "--force", name)):
        assert run(vault, *argv).status in (2, 3, 4)
    assert picture(vault.vault) == before


def test_an_item_does_not_replace_a_folder_of_its_name(vault: Machine) -> None:
    scatter(vault.vault)
    before = picture(vault.vault)
    outcome = judged(survey(adding("folder", NEW, "--force", "--no-config"), vault))
    assert outcome.status == 7
    assert "folder.fv' is not a regular file" in outcome.err
    assert picture(vault.vault) == before


def test_the_folder_of_the_last_item_stays_if_anything_else_is_in_it(vault: Machine) -> None:
    (vault.vault / "team/notes").write_text("mine")
    done(vault, Command(("remove", "--force", "team/two")))
    assert (vault.vault / "team/notes").read_text() == "mine"
    (vault.vault / "team/notes").unlink()
    done(vault, adding("team/two", TWO, "--no-config"))
    done(vault, Command(("remove", "--force", "team/two")))
    assert not (vault.vault / "team").exists()


# Links

MARKER = ".filevault"
LINKED = {
    "one.fv": ("export", "one", "--no-session"),
    "team": ("export", "team/two", "--no-session"),
    "team/two.fv": ("export", "team/two", "--no-session"),
    MARKER: ("export", "one", "--no-session"),
    f"{MARKER}/vault.json": ("export", "one", "--no-session"),
    f"{MARKER}/slots": ("export", "one", "--no-session"),
    "the slot": ("export", "one", "--no-session"),
}


@pytest.mark.parametrize("target", LINKED)
def test_a_link_below_the_root_is_refused_and_named(
    vault: Machine, target: str, away: Path
) -> None:
    path = vault.vault / target
    if target == "the slot":
        (path,) = (vault.vault / MARKER / "slots").glob("*.slot")
    path.rename(away / path.name)
    path.symlink_to(away / path.name)
    outcome = run(vault, *LINKED[target])
    assert outcome.status == 7
    assert f"{path}' is a link, which is refused in a vault" in outcome.err
    assert "only the vault's root may be a link" in outcome.err


@pytest.mark.parametrize("target", ["one.fv", "team", "team/two.fv"])
def test_nothing_is_written_or_deleted_through_a_link(
    vault: Machine, target: str, away: Path
) -> None:
    path = vault.vault / target
    path.rename(away / path.name)
    path.symlink_to(away / path.name)
    name = "one" if target == "one.fv" else "team/two"
    before = picture(away), picture(vault.vault)
    for command in (
        adding(name, NEW, "--force", "--no-config"),
        adding(name, NEW, "--force", "--discard", "--no-config"),
        Command(("remove", "--force", name)),
    ):
        assert judged(survey(command, vault)).status == 7, command
        assert (picture(away), picture(vault.vault)) == before


def test_a_linked_folder_is_not_listed(vault: Machine, away: Path) -> None:
    (vault.vault / "team").rename(away / "team")
    (vault.vault / "team").symlink_to(away / "team")
    (vault.vault / "circle").symlink_to(vault.vault)
    (vault.vault / "nowhere.fv").symlink_to(away / "nowhere")
    assert names(vault) == ["one"]


def test_the_root_itself_may_be_a_link(vault: Machine, away: Path) -> None:
    vault.vault.rename(away / "dotfiles")
    vault.vault.symlink_to(away / "dotfiles")
    assert names(vault) == ["one", "team/two"]
    assert exported(vault, "one") == ONE.access_key_id
    done(vault, adding("three", NEW, "--no-config"))
    assert (away / "dotfiles/three.fv").is_file()
    assert vault.vault.is_symlink()
    # The same vault, however it is reached.
    done(vault, Command(("--vault", str(away / "dotfiles"), "export", "three", "--no-session")))
    assert len([path for path in vault.state.iterdir() if list(path.glob("trust.json"))]) == 2


def test_memory_and_sessions_are_not_reached_through_links(vault: Machine, away: Path) -> None:
    (state,) = vault.state.iterdir()
    (state / "trust.json").rename(away / "trust.json")
    (state / "trust.json").symlink_to(away / "trust.json")
    before = (away / "trust.json").read_bytes()
    outcome = judged(survey(adding("three", NEW, "--no-config"), vault))
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
    vault: Machine, place: str, kind: Callable[[Path], None], away: Path
) -> None:
    path = vault.vault / place
    if path.exists():
        path.rename(away / path.name)
    kind(path)
    mode = path.stat().st_mode
    if MARKER not in place:
        remaining = {"one.fv": ["team/two"], "new.fv": ["one", "team/two"]}
        assert names(vault) == remaining.get(place, ["one"])
        remaining_slot = exported(vault, "one" if place != "one.fv" else "team/two")
        assert remaining_slot in (ONE.access_key_id, TWO.access_key_id)
    for command in (
        Command(("export", "one", "--no-session")),
        Command(("export", "team/two", "--no-session")),
        Command(("list",)),
        Command(("recipients", "list")),
        adding("new", NEW, "--no-config", "--force"),
        adding("team/two", NEW, "--no-config", "--force"),
        Command(("remove", "--force", "team/two")),
    ):
        outcome = judged(survey(command, vault))
        assert outcome.status in (0, 3, 4, 5, 6, 7, 10), (command.argv, outcome)
        if place == "team" and kind is Path.mkdir:
            continue  # any folder may get an item, and goes with it
        assert path.stat().st_mode == mode


@pytest.mark.parametrize("kind", [pipe, socket, Path.mkdir], ids=["pipe", "socket", "folder"])
@pytest.mark.parametrize("place", ["trust.json", "session-key.fv", "sessions", "locks"])
def test_state_that_is_no_file_never_hangs(
    vault: Machine, place: str, kind: Callable[[Path], None], away: Path
) -> None:
    (state,) = vault.state.iterdir()
    path = state / place
    if path.exists():
        path.rename(away / path.name)
    kind(path)
    for command in (
        Command(("export", "one", "--no-session")),
        Command(("list",)),
        Command(("clear",)),
        adding("new", NEW, "--no-config"),
    ):
        outcome = judged(survey(command, vault))
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
def test_one_item_that_cannot_be_read_does_not_hide_the_others(vault: Machine) -> None:
    with nobody(vault), mode(vault.vault / "one.fv", 0):
        outcome = run(vault, *EXPORT)
        assert outcome.status == 7
        assert "one.fv': permission denied" in outcome.err
        assert names(vault) == ["one", "team/two"]
        assert run(vault, "list", "--json").status == 0
        assert exported(vault, "team/two") == TWO.access_key_id


@needs_root
def test_one_folder_that_cannot_be_read_does_not_hide_the_others(vault: Machine) -> None:
    (vault.vault / "lost+found").mkdir()
    with nobody(vault), mode(vault.vault / "lost+found", 0), mode(vault.vault / "team", 0):
        assert names(vault) == ["one"]
        assert exported(vault, "one") == ONE.access_key_id
        outcome = run(vault, "export", "team/two", "--no-session")
        assert outcome.status == 7
        assert "team': permission denied" in outcome.err


@needs_root
@pytest.mark.parametrize("place", ["", MARKER, f"{MARKER}/vault.json", f"{MARKER}/slots"])
def test_a_vault_that_cannot_be_read_is_not_taken_for_none(vault: Machine, place: str) -> None:
    with nobody(vault), mode(vault.vault / place, 0):
        for command in (
            Command(EXPORT),
            adding("one", NEW, "--force", "--no-config"),
            adding("new", NEW, "--init", "--no-config"),
        ):
            outcome = judged(survey(command, vault))
            assert outcome.status == 7, (command.argv, outcome)
            assert "permission denied" in outcome.err
        if place != f"{MARKER}/slots":
            assert run(vault, "init").status in (3, 7)
    with nobody(vault):
        assert exported(vault, "one") == ONE.access_key_id


@needs_root
@pytest.mark.parametrize("place", ["", "team"])
def test_a_folder_that_cannot_be_written_is_named_before_a_key_is_read(
    vault: Machine, place: str
) -> None:
    with nobody(vault), mode(vault.vault / place, 0o500):
        before = picture(vault.vault)
        name = "team/two" if place else "one"
        outcome = judged(survey(adding(name, NEW, "--force", "--no-config"), vault))
        assert outcome.status == 7
        assert "permission denied" in outcome.err
        assert run(vault, "remove", "--force", name).status == 7
        assert picture(vault.vault) == before
        assert exported(vault, "one") == ONE.access_key_id


@needs_root
def test_without_a_state_that_can_be_written_reading_goes_on(vault: Machine) -> None:
    (state,) = vault.state.iterdir()
    with nobody(vault), mode(state, 0o500):
        assert exported(vault, "one") == ONE.access_key_id
        assert names(vault) == ["one", "team/two"]
        done(vault, adding("three", NEW, "--no-config"))
        assert exported(vault, "three") == NEW.access_key_id
    with nobody(vault), mode(state / "trust.json", 0):
        outcome = run(vault, *EXPORT)
        assert outcome.status == 7
        assert "trust.json': permission denied" in outcome.err
