"""One file for each item: which files are items, and what is done to them alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.errors import DamagedError, ItemNotFoundError, StorageError, UsageError
from filevault.system.files import Folder
from filevault.vault.item_store import ItemStore
from filevault.vault.names import encode_name


@pytest.fixture
def item_root(tmp_path: Path) -> Iterator[Folder]:
    with Folder.make(str(tmp_path / "root")) as made:
        yield made


@pytest.fixture
def items(item_root: Folder) -> ItemStore:
    return ItemStore(item_root, ".fv")


def put(root: Folder, path: str, data: bytes = b"x") -> Path:
    place = Path(root.path, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12),
    min_size=1,
    max_size=3,
).map("/".join)


def heads(store: ItemStore) -> list[tuple[str, bytes]]:
    """Read what a listing reads."""
    return sorted(
        (name, each.folder.head(os.fsdecode(file), 100)[0])
        for each in store.files()
        for name, file in zip(each.names, each.files, strict=True)
    )


@settings(deadline=None)
@given(items=st.dictionaries(NAMES, st.binary(max_size=50), max_size=6))
def test_a_store_is_a_mapping_of_names(
    tmp_path_factory: pytest.TempPathFactory, items: dict[str, bytes]
) -> None:
    with Folder.make(str(tmp_path_factory.mktemp("store"))) as root:
        store = ItemStore(root, ".fv")
        kept = {}
        for name, data in items.items():
            try:
                store.write(name, data)
            except UsageError:
                continue  # a name that has no path
            kept[name] = data
        assert store.names() == sorted(kept)
        assert dict(heads(store)) == kept
        for name, data in kept.items():
            assert store.has(name)
            assert store.read(name) == data
        for name in kept:
            store.remove(name)
            assert not store.has(name)
        assert os.listdir(root.path) == []  # not a folder is left


@pytest.mark.parametrize(
    "path",
    [
        "a.fv~",
        ".a.fv.swp",
        ".a.fv",
        ".git/a.fv",
        "team/.git/a.fv",
        ".filevault/a.fv",
        "a.FV",
        "%41.fv",
        "%2e.fv",
        "-a.fv",
        "a:b.fv",
        "a .fv/b.fv",
        "dir.fv/b.fv",
        "u\u0308.fv",
        "a",
        ".fv",
        "a.fv.gpg",
    ],
)
def test_what_is_no_item_is_not_listed(item_root: Folder, items: ItemStore, path: str) -> None:
    items.write("real", b"1")
    put(item_root, path)
    assert items.names() == ["real"]
    assert heads(items) == [("real", b"1")]


def test_neither_links_nor_pipes_nor_folders_are_items(item_root: Folder, items: ItemStore) -> None:
    items.write("real", b"1")
    os.symlink("real.fv", f"{item_root.path}/link.fv")
    os.symlink(".", f"{item_root.path}/circle")
    os.mkfifo(f"{item_root.path}/pipe.fv")
    os.mkdir(f"{item_root.path}/folder.fv")
    assert items.names() == ["real"]
    for name in ("pipe", "folder"):
        assert not items.has(name)
        with pytest.raises(StorageError):
            items.read(name)
        with pytest.raises(StorageError, match="is not a regular file|is a directory"):
            items.write(name, b"2")
    for name in ("link", "circle/real"):
        for action in (items.has, items.read):
            with pytest.raises(StorageError, match="is a link, which is refused"):
                action(name)


def test_a_missing_item_is_named_with_the_way_out(items: ItemStore) -> None:
    for action in (items.read, items.remove):
        with pytest.raises(ItemNotFoundError, match="the vault has no key for 'a/b'"):
            action("a/b")
    with pytest.raises(ItemNotFoundError) as caught:
        items.read("a b")
    assert caught.value.hint == "filevault add 'a b'"


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a/", "a\0b", "\ud800", "u\u0308"])
def test_names_that_have_no_path_reach_no_file(items: ItemStore, name: str) -> None:
    for action in (items.has, items.read, items.remove):
        with pytest.raises(UsageError):
            action(name)
    with pytest.raises(UsageError):
        items.write(name, b"1")


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", ".", "./x", ".git/config", "-x"])
def test_no_name_leads_out_or_to_hidden_places(
    item_root: Folder, items: ItemStore, tmp_path: Path, name: str
) -> None:
    items.write(name, b"1")
    assert os.listdir(tmp_path) == ["root"]
    assert not [entry for entry in os.listdir(item_root.path) if entry.startswith((".", "-"))]
    assert items.names() == [name]


def test_the_longest_names_are_kept(items: ItemStore) -> None:
    name = "/".join(["x" * 250] * 10)
    items.write(name, b"1")
    assert items.read(name) == b"1"
    with pytest.raises(UsageError):
        items.write("x" * 253, b"1")


def test_each_name_that_can_be_stored_is_found_again(items: ItemStore) -> None:
    deepest = "/".join(["a"] * 64 + ["b"])
    items.write(deepest, b"x")
    assert items.names() == [deepest]
    assert items.below(deepest) == []
    with pytest.raises(UsageError, match="more than 64 folders"):
        items.write(f"a/{deepest}", b"x")
    assert items.names() == [deepest]


def test_a_listing_of_every_item_leaves_out_no_folder(item_root: Folder, items: ItemStore) -> None:
    for path in ("a.fv", "team/b.fv", "lost+found/c.fv", ".git/d.fv"):
        put(item_root, path)
    child, refused = Folder.child, {"lost+found"}

    def refusing(folder: Folder, name: str) -> Folder:
        if name in refused:
            raise StorageError(f"cannot open {name!r}: permission denied")
        return child(folder, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Folder, "child", refusing)
        assert items.every_name() == ["a", "team/b"]
        refused.add("team")
        assert items.names() == ["a"]
        with pytest.raises(StorageError, match="'team': permission denied; so it is not known"):
            items.every_name()
    assert items.every_name() == ["a", "lost+found/c", "team/b"]
    put(item_root, f"{'a/' * 65}b.fv")
    assert items.names() == ["a", "lost+found/c", "team/b"]
    with pytest.raises(StorageError, match="too deep"):
        items.every_name()


def test_a_file_of_more_than_a_mebibyte_is_damaged(item_root: Folder, items: ItemStore) -> None:
    path = put(item_root, "a.fv", bytes(1 << 20))
    assert len(items.read("a")) == 1 << 20
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(DamagedError, match="larger than 1 MiB"):
        items.read("a")


def test_removing_takes_empty_folders_along_and_no_others(
    item_root: Folder, items: ItemStore
) -> None:
    for name in ("a/b/c/one", "a/b/two"):
        items.write(name, b"1")
    items.remove("a/b/c/one")
    assert not Path(item_root.path, "a/b/c").exists()
    put(item_root, "a/notes")
    items.remove("a/b/two")
    assert os.listdir(f"{item_root.path}/a") == ["notes"]


def test_folders_without_end_are_not_walked_for_ever(item_root: Folder, items: ItemStore) -> None:
    path = Path(item_root.path)
    for _ in range(80):
        path /= "d"
        path.mkdir()
    (path / "deep.fv").write_bytes(b"1")
    items.write("a", b"1")
    assert items.names() == ["a"]


def test_no_descriptor_is_left_open(item_root: Folder, items: ItemStore) -> None:
    items.write("a/b/c", b"1")
    before = os.listdir("/proc/self/fd")
    items.names()
    heads(items)
    items.read("a/b/c")
    items.has("a/b/d")
    items.has("x/y/z")
    items.remove("a/b/c")
    for name in ("x/y", "a"):
        with pytest.raises(ItemNotFoundError):
            items.read(name)
    assert os.listdir("/proc/self/fd") == before


def test_an_item_is_written_where_its_name_says(item_root: Folder, items: ItemStore) -> None:
    for name in ("jonsmith", "team/jon:smith", ".hidden", "100%"):
        items.write(name, name.encode())
        assert Path(item_root.path, encode_name(name, ".fv")).read_bytes() == name.encode()


def test_a_plainly_named_item_in_a_folder_of_a_literal_name_is_listed(item_root: Folder) -> None:
    store = ItemStore(item_root, ".gpg", literal=True)
    put(item_root, "a:b/work.gpg", b"1")
    assert store.names() == ["a:b/work"]
    put(item_root, "a%3Ab/work.gpg", b"2")
    assert heads(store) == [("a:b/work", b"2")]
