"""What else may lie in a vault's folder: never an item, never touched, never a reason to hang."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from tests.conditions.other_user import needs_root
from tests.samples import ONE_KEY
from tests.worlds.in_process import picture
from tests.worlds.machine import Machine, ProcessResult

NEW = ("AKIANEWNEWNEWNEWNEW2", "new0" * 10)
TIMEOUT = 10.0

STRAYS = (
    "work.fv~",
    "one.fv~",
    ".one.fv.swp",
    ".work.fv.swp",
    "#work.fv#",
    ".#work.fv",
    "one.fv.orig",
    "one.fv.bak",
    "one (conflicted copy).fv.tmp",
    "one.FV",
    ".fv",
    "fv",
    ".hidden.fv",
    "README.md",
    "a b.txt",
    ".gitignore",
    ".github/objects/one.fv",
    ".stfolder/one.fv",
    "notes/todo.txt",
    "folder.fv/inner.fv",
    "%41.fv",  # what its name says is written A.fv
    "%2e%2e.fv",
    "%zz.fv",
    "%FF.fv",
    "%2F.fv",
    "-.fv",
    " .fv ",
    "a\x1b[2Jb.fv",
    "a\nb.fv",
    "a\u202eb.fv",
    "e\u0301.fv",  # not in Unicode's normal form C
)
BYTES = (b"caf\xe9.fv", b"\xff\xfe.fv", b"a\xed\xa0\x80b.fv", b"folder\xff/x.fv", b"x\xff")


@pytest.fixture
def two_items(machine: Machine) -> Machine:
    machine.with_vault()
    return machine.add("one", *ONE_KEY, "--no-config").add("team/two", *ONE_KEY, "--no-config")


def run(machine: Machine, *argv: str, stdin: str | None = None) -> ProcessResult:
    """Run a command that must end soon and may not fall over."""
    result = machine.run(*argv, stdin=stdin, timeout=TIMEOUT)
    assert "bug in filevault" not in result.err, result
    assert "Traceback" not in result.err, result
    assert "\x1b" not in result.everything
    return result


def names(machine: Machine) -> list[str]:
    result = run(machine, "list", "--credentials")
    assert result.status == 0, result
    return result.out.splitlines()


def use(machine: Machine) -> None:
    """Run every command that looks into the vault's folder or changes it."""
    assert names(machine) == ["one", "team/two"]
    for argv in (("list",), ("list", "--json"), ("recipients", "list"), ("clear",)):
        assert run(machine, *argv).status == 0
    export = run(machine, "export", "one", "--no-session")
    assert (export.status, ONE_KEY[0] in export.out) == (0, True)
    key = f"{NEW[0]}\n{NEW[1]}\n"
    for profile in ("new", "team/new", "notes/new"):
        stored = run(machine, "add", profile, "--stdin", "--no-config", stdin=key)
        assert stored.status == 0, stored
    assert names(machine) == ["new", "notes/new", "one", "team/new", "team/two"]
    for profile in ("new", "team/new", "notes/new"):
        assert run(machine, "remove", profile, "--force").status == 0
    assert names(machine) == ["one", "team/two"]


def test_strays_are_never_items_and_never_touched(two_items: Machine) -> None:
    item = (two_items.vault / "one.fv").read_bytes()
    for name in (*map(os.fsencode, STRAYS), *BYTES):
        path = Path(os.fsdecode(os.fsencode(two_items.vault) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item)
    before = picture(two_items.vault)
    use(two_items)
    assert picture(two_items.vault) == before


def test_every_stray_name_can_still_be_a_profile_of_its_own(two_items: Machine) -> None:
    for name in ("work.fv~", "#work.fv#", ".one.fv.swp", "folder.fv/inner", "%41", "-x"):
        key = f"{NEW[0]}\n{NEW[1]}\n"
        stored = run(two_items, "add", "--stdin", "--no-config", "--", name, stdin=key)
        assert stored.status == 0, stored
        assert name in names(two_items)


def test_a_folder_with_the_name_of_an_item_is_left_alone(two_items: Machine) -> None:
    (two_items.vault / "x.fv").mkdir()
    (two_items.vault / "x.fv/y.fv").write_bytes((two_items.vault / "one.fv").read_bytes())
    before = picture(two_items.vault)
    assert run(two_items, "export", "x", "--no-session").status in (3, 4)
    assert run(two_items, "remove", "x", "--force").status in (4, 7)
    stored = run(two_items, "add", "x", "--stdin", "--no-config", stdin=f"{NEW[0]}\n{NEW[1]}\n")
    assert stored.status == 7, stored
    assert "is a directory" in stored.err
    assert picture(two_items.vault) == before
    use(two_items)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    # The path of a socket is short; it is bound elsewhere and moved.
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def _device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, which never ends


@pytest.mark.parametrize(
    "make", [_fifo, _socket, pytest.param(_device, marks=needs_root)], ids=["fifo", "socket", "dev"]
)
@pytest.mark.parametrize("place", ["x.fv", "team/x.fv", "notes"])
def test_what_is_no_regular_file_is_never_opened_for_good(
    two_items: Machine, make: object, place: str
) -> None:
    try:
        make(two_items.vault / place)  # type: ignore[operator]
    except PermissionError:
        pytest.skip("this process may make no such file")
    before = picture(two_items.vault)
    name = place.removesuffix(".fv")
    assert names(two_items) == ["one", "team/two"]
    assert run(two_items, "list").status == 0
    assert run(two_items, "export", name, "--no-session").status in (3, 4, 7)
    assert run(two_items, "export", "one", "--no-session").status == 0
    assert run(two_items, "export", f"{name}/y", "--no-session").status in (3, 4, 7)
    assert picture(two_items.vault) == before


@pytest.mark.parametrize("file", ["vault.json", "slots/*.slot", "slots/zz.slot"])
def test_a_fifo_in_the_place_of_the_vaults_own_files(two_items: Machine, file: str) -> None:
    inner = two_items.vault / ".filevault"
    for path in list(inner.glob(file)) or [inner / file]:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    wanted = {"vault.json": 7, "slots/*.slot": 7, "slots/zz.slot": 0}[file]
    assert run(two_items, "export", "one", "--no-session").status == wanted
    assert run(two_items, "list").status in (0, wanted)


def test_a_fifo_in_the_place_of_what_this_machine_remembers(two_items: Machine) -> None:
    (trust,) = two_items.state.glob("*/trust.json")
    trust.unlink()
    os.mkfifo(trust)
    assert run(two_items, "export", "one", "--no-session").status == 7
    assert run(two_items, "list").status == 7


LINK_HINT = "only the folder of the whole store may be a link: link that instead"


def moved(path: Path, tmp_path: Path) -> None:
    """Put something elsewhere and a link in its place."""
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("place", "profile"),
    [
        ("one.fv", "one"),
        ("team", "team/two"),
        ("team/two.fv", "team/two"),
        (".filevault", "one"),
        (".filevault/vault.json", "one"),
        (".filevault/slots", "one"),
    ],
)
def test_a_link_inside_the_vault_is_refused_and_never_written_through(
    two_items: Machine, tmp_path: Path, place: str, profile: str
) -> None:
    moved(two_items.vault / place, tmp_path)
    inside, outside = picture(two_items.vault), (tmp_path / "elsewhere").lstat()
    results = [
        run(two_items, "export", profile, "--no-session"),
        run(two_items, "add", profile, "--stdin", "--no-config", "--force", stdin="\n".join(NEW)),
    ]
    if place != ".filevault/slots":  # removing opens no slot
        results.append(run(two_items, "remove", profile, "--force"))
    for result in results:
        assert result.status in (3, 4, 7, 10), result
        assert result.out == ""
    assert LINK_HINT in "".join(result.err for result in results), results
    assert picture(two_items.vault) == inside
    assert (tmp_path / "elsewhere").lstat() == outside


def test_a_link_to_a_slot_opens_nothing(two_items: Machine, tmp_path: Path) -> None:
    (slot,) = (two_items.vault / ".filevault/slots").iterdir()
    moved(slot, tmp_path)
    result = run(two_items, "export", "one", "--no-session")
    assert result.status == 7
    assert LINK_HINT in result.err


def test_links_are_no_items_in_a_list(two_items: Machine, tmp_path: Path) -> None:
    (two_items.vault / "linked.fv").symlink_to(two_items.vault / "one.fv")
    (two_items.vault / "dangling.fv").symlink_to(tmp_path / "nothing")
    (two_items.vault / "circle.fv").symlink_to("circle.fv")
    (two_items.vault / "around").symlink_to(".")
    (two_items.vault / "root").symlink_to("/")
    before = picture(two_items.vault)
    use(two_items)
    assert picture(two_items.vault) == before


def test_the_root_may_be_a_link(two_items: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(two_items.vault, elsewhere)
    two_items.vault.symlink_to(elsewhere)
    shutil.rmtree(two_items.state)  # what the vault's other place was known by
    use(two_items)
    assert two_items.vault.is_symlink()
    assert (elsewhere / "one.fv").is_file()


def test_the_root_may_be_no_file(machine: Machine) -> None:
    machine.env["FILEVAULT_PASSPHRASE"] = "correct horse battery staple"
    machine.vault.parent.mkdir(parents=True)
    machine.vault.write_text("not a folder")
    for argv in (("list",), ("init",), ("export", "x")):
        result = run(machine, *argv)
        assert (result.status, result.out) == (7, "")
    assert machine.vault.read_text() == "not a folder"


def test_folders_deeper_than_anybody_makes_them_are_not_followed(two_items: Machine) -> None:
    folder = os.open(two_items.vault, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    assert names(two_items) == ["one", "team/two"]
    assert run(two_items, "export", "one", "--no-session").status == 0


def test_many_strays_do_not_slow_it_down(two_items: Machine) -> None:
    item = (two_items.vault / "one.fv").read_bytes()
    for number in range(3000):
        (two_items.vault / f"one.fv.{number}~").write_bytes(item)
    assert names(two_items) == ["one", "team/two"]
