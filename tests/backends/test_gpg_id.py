from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.gpg import gpg_id
from filevault.errors import BackendError, StorageError
from filevault.system.files import Folder
from filevault.system.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

FPR = "9D11787AD7192489BCF5A51A4C5685A395A4FF7F"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"{FPR}\n", [FPR]),
        ("0x4C5685A395A4FF7F\nBob\n", ["0x4C5685A395A4FF7F", "Bob"]),
        ("  Alice Liddell \t\n\n \nbob@x\n", ["Alice Liddell", "bob@x"]),
        ("# the team\nbob@x\n#old: carol@x\n", ["bob@x"]),
        ("bob@x\nbob@x\n", ["bob@x"]),
        ("Bób <bob@x>\n", ["Bób <bob@x>"]),
    ],
)
def test_ids_are_read_as_pass_reads_them(text: str, ids: list[str]) -> None:
    found = gpg_id.parse(text.encode(), ".gpg-id")
    assert (list(found.ids), found.notices) == (ids, ())


@pytest.mark.parametrize(
    ("text", "ids", "notice"),
    [
        ("alice@x\nbob@x", ["alice@x", "bob@x"], "does not end in a newline: pass ignores"),
        ("alice@x", ["alice@x"], "does not end in a newline: pass ignores"),
        ("alice@x # me\n", ["alice@x"], "a comment after 'alice@x': pass finds no such key"),
        ("alice@x\r\nbob@x\r\n", ["alice@x", "bob@x"], "has CRLF line ends, which pass cannot"),
    ],
)
def test_ids_that_pass_would_lose_are_kept_and_said(text: str, ids: list[str], notice: str) -> None:
    found = gpg_id.parse(text.encode(), "aws/.gpg-id")
    assert list(found.ids) == ids
    assert len(found.notices) == 1
    assert found.notices[0].startswith("'aws/.gpg-id' ")
    assert notice in found.notices[0]


def test_comment_after_a_fingerprint_is_no_trap() -> None:
    assert gpg_id.parse(f"{FPR} # me\n".encode(), ".gpg-id") == gpg_id.GpgIds((FPR,))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "'.gpg-id' lists no gpg key"),
        (b"\n  \n# bob@x\n", "'.gpg-id' lists no gpg key"),
        (b"alice@x\n  --output=/etc/passwd\n", ".gpg-id has the line '--output=/etc/passwd'"),
        (b"-o\n", ".gpg-id has the line '-o', which is an option, not a key id"),
        (b"a\x1b[31m\n", r".gpg-id has control characters in"),
        ("a\u202eb\n".encode(), r".gpg-id has control characters in"),
        (b"a\x00b\n", r".gpg-id has control characters in"),
        (b"b\xf6b\n", "'.gpg-id' is not UTF-8"),
        (b"a" * 70000, "'.gpg-id' is longer than 65536 bytes"),
    ],
)
def test_file_that_names_no_keys_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BackendError) as caught:
        gpg_id.parse(data, ".gpg-id")
    assert caught.value.message.startswith(message)
    assert caught.value.exit_status == 7


@given(st.binary(max_size=200))
def test_any_bytes_give_clean_ids_or_a_backend_error(data: bytes) -> None:
    try:
        ids = gpg_id.parse(data, ".gpg-id").ids
    except BackendError:
        return
    assert ids
    for entry in ids:
        assert entry == entry.strip(" \t")
        assert not entry.startswith("-")
        assert "#" not in entry
        assert printable(entry) == entry


@given(st.lists(st.text(string.ascii_letters + "@.<> é", min_size=1), min_size=1))
def test_what_is_built_is_read_back_without_a_notice(ids: list[str]) -> None:
    ids = [entry.strip() or "x" for entry in ids]
    data = gpg_id.build(ids)
    assert data.endswith(b"\n")
    assert gpg_id.parse(data, ".gpg-id") == gpg_id.GpgIds(tuple(dict.fromkeys(ids)))


@pytest.mark.parametrize("ids", [[], [""], [" a"], ["a "], ["a#b"], ["-r"], ["a\nb"], ["a\r"]])
def test_ids_that_would_be_read_back_otherwise_are_not_written(ids: list[str]) -> None:
    with pytest.raises(BackendError):
        gpg_id.build(ids)


def test_variable_is_split_at_blanks() -> None:
    ids = gpg_id.parse_variable(f" {FPR}  bob@x\n", "PASSWORD_STORE_KEY").ids
    assert ids == (FPR, "bob@x")


@pytest.mark.parametrize("text", ["  ", "bob@x --yes"])
def test_variable_without_ids_or_with_options_is_refused(text: str) -> None:
    with pytest.raises(BackendError) as caught:
        gpg_id.parse_variable(text, "PASSWORD_STORE_KEY")
    assert caught.value.message.startswith("PASSWORD_STORE_KEY ")


def place_ids(store: Path, *folders: str) -> None:
    for folder in folders:
        (store / folder).mkdir(parents=True, exist_ok=True)
        (store / folder / ".gpg-id").write_text(f"{folder or 'top'}\n")


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ((), ".gpg-id"),
        (("aws",), "aws/.gpg-id"),
        (("web",), ".gpg-id"),
        (("aws", "dev"), "aws/.gpg-id"),
        (("aws", "prod"), "aws/prod/.gpg-id"),
        (("aws", "prod", "missing"), "aws/prod/.gpg-id"),
        (("missing", "aws"), ".gpg-id"),
    ],
)
def test_nearest_file_upward_governs(tmp_path: Path, prefix: tuple[str, ...], place: str) -> None:
    place_ids(tmp_path, "", "aws", "aws/prod")
    (tmp_path / "aws" / "dev").mkdir()
    (tmp_path / "web").mkdir()
    with Folder.open(str(tmp_path)) as store:
        found = gpg_id.read_above(store, prefix)
    assert found is not None
    assert found.path == place


def test_no_file_above_the_store_governs_it(tmp_path: Path) -> None:
    place_ids(tmp_path, "")
    (tmp_path / "store" / "aws").mkdir(parents=True)
    with Folder.open(str(tmp_path / "store")) as store:
        assert gpg_id.read_above(store, ("aws",)) is None


def test_every_file_below_the_root_is_found_and_no_other(tmp_path: Path) -> None:
    place_ids(tmp_path, "", "aws", "aws/b", "aws/a/x", "web", "aws/.git", "aws/.extensions/y")
    with Folder.open(str(tmp_path)) as store:
        below = gpg_id.read_below(store, ("aws",))
        assert [file.path for file in below] == ["aws/a/x/.gpg-id", "aws/b/.gpg-id"]
        assert [file.data for file in below] == [b"aws/a/x\n", b"aws/b\n"]
        assert gpg_id.read_below(store, ("missing",)) == []


def test_linked_folders_are_not_entered(tmp_path: Path) -> None:
    place_ids(tmp_path, "outside")
    store = tmp_path / "store"
    store.mkdir()
    (store / "link").symlink_to(tmp_path / "outside")
    with Folder.open(str(store)) as folder:
        assert gpg_id.read_below(folder, ()) == []
        with pytest.raises(StorageError, match="is a link"):
            gpg_id.read_above(folder, ("link",))


def test_linked_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("mallory\n")
    store = tmp_path / "store"
    (store / "aws").mkdir(parents=True)
    (store / "aws" / ".gpg-id").symlink_to(tmp_path / "ids")
    with Folder.open(str(store)) as folder:
        with pytest.raises(StorageError, match=r"aws/\.gpg-id' is a link"):
            gpg_id.read_below(folder, ())
        with pytest.raises(StorageError, match=r"aws/\.gpg-id' is a link"):
            gpg_id.read_above(folder, ("aws",))


def test_tree_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 80)).mkdir(parents=True)
    with Folder.open(str(tmp_path)) as store, pytest.raises(BackendError, match="too deeply"):
        gpg_id.read_below(store, ())
