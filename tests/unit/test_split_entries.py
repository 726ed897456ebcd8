"""Two entries of a shared store that are one key: which they are, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.errors import DamagedError
from filevault.system.files import Folder
from filevault.vault.item import parse
from filevault.vault.item_lines import ROTATION_FIELDS
from filevault.vault.item_store import ItemStore
from filevault.vault.lookup import ItemLookup
from filevault.vault.split_entries import Pair, find, fold, join
from tests.samples import KEY_ID, SECRET

PAIR = Pair("work/access_id", "work/access_token")


@pytest.mark.parametrize(
    ("key_id", "secret"),
    [
        ("access_id", "access_token"),
        ("access-key-id", "secret-key"),
        ("access_key", "secret_key"),
        ("aws_access_key_id", "aws_secret_access_key"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("aws-access-key", "secret-access-key"),
    ],
)
def test_names_in_any_usual_spelling_are_a_pair(key_id: str, secret: str) -> None:
    names = [f"a/b/{name}" for name in (secret, "notes", key_id)]
    assert find(names) == Pair(f"a/b/{key_id}", f"a/b/{secret}")
    assert fold(sorted(names)) == ["a/b", "a/b/notes"]


@pytest.mark.parametrize(
    "names",
    [
        ["w/access_id"],
        ["w/secret_key"],
        ["w/access_id", "w/access-key-id", "w/secret_key"],
        ["w/access_id", "w/secret_key", "w/access_token"],
        ["w/my_access_id", "w/secret_key"],
        ["access_id", "access_token"],
        ["a/access_id", "b/access_token"],
    ],
)
def test_what_is_not_one_id_and_one_secret_in_a_folder_stays_apart(names: list[str]) -> None:
    assert fold(sorted(names)) == sorted(names)


def test_a_listing_has_the_item_in_place_of_its_former_pair_once() -> None:
    names = ["work", "work/access_id", "work/access_token", "zoo"]
    assert fold(names) == ["work", "zoo"]


def test_further_lines_of_both_entries_are_kept() -> None:
    text = join(PAIR, f"{KEY_ID}\r\nurl: x\n".encode(), f"{SECRET}\notpauth://totp/x".encode())
    assert text == f"{SECRET}\naws_access_key_id: {KEY_ID}\notpauth://totp/x\nurl: x\n".encode()
    assert parse(text, "item").key.access_key_id == KEY_ID


@pytest.mark.parametrize(
    ("key_id", "secret", "words"),
    [
        ("", SECRET, "'work/access_id', by its name one half.*has no access key id"),
        (f"{KEY_ID} x", SECRET, "has no access key id in its first line"),
        (KEY_ID, "short", "'work/access_token', by its name one half.*has no secret access key"),
        (SECRET, KEY_ID, "has no access key id in its first line"),
        (f"ASIA{KEY_ID[4:]}", SECRET, "the key id of a temporary session"),
        (
            KEY_ID,
            f"{SECRET}\naws_access_key_id: {KEY_ID}\nfilevault: 1 name=work/access_token",
            "is an item of its own",
        ),
        *(
            (KEY_ID + text, SECRET + other, "is an item of its own")
            for field in ROTATION_FIELDS
            for text, other in (
                (f"\nurl: x\n{field}: {KEY_ID}\n", ""),
                ("", f"\n{field}: {KEY_ID}"),
            )
        ),
    ],
)
def test_a_half_that_holds_something_else_is_named(key_id: str, secret: str, words: str) -> None:
    with pytest.raises(DamagedError, match=words) as caught:
        join(PAIR, key_id.encode(), secret.encode())
    assert SECRET not in caught.value.message + (caught.value.hint or "")


def entries(root: Folder, *paths: str) -> ItemLookup:
    for path in paths:
        place = Path(root.path, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.encode())
    return ItemLookup(ItemStore(root, ".gpg", literal=True), shared=True)


def test_a_pair_is_found_below_encoded_and_literal_folders_alike(tmp_path: Path) -> None:
    with Folder.make(str(tmp_path / "root")) as root:
        found = entries(
            root,
            *("a:b/access_id.gpg", "a:b/secret_key.gpg"),
            *("c%3Ad/access_id.gpg", "c%3Ad/secret_key.gpg", "c%3Ad/deeper/access_id.gpg"),
            *(".hidden/access_id.gpg", ".hidden/secret_key.gpg"),
            *("mfa/access_id.gpg", "mfa/secret_key.gpg"),
        )
        for name in ("a:b", "c:d"):
            assert found.has(name)
            assert [half for half, _ in found.read(name).files] == [
                f"{name}/access_id",
                f"{name}/secret_key",
            ]
        for name in (".hidden", "mfa", "mfa/x", "a", "absent", "c:d/deeper"):
            assert not found.has(name)


def test_the_digest_tells_which_byte_is_in_which_file(tmp_path: Path) -> None:
    with Folder.make(str(tmp_path / "root")) as root:
        found = entries(root, "w/access_id.gpg", "w/secret_key.gpg")
        digests = set()
        for key_id, secret in (("ab", "c"), ("a", "bc"), ("ab", "d"), ("x", "c")):
            Path(root.path, "w/access_id.gpg").write_text(key_id)
            Path(root.path, "w/secret_key.gpg").write_text(secret)
            digests.add(found.read("w").digest)
        assert len(digests) == 4


def test_a_link_in_place_of_a_folder_has_no_pair_in_it(tmp_path: Path) -> None:
    with Folder.make(str(tmp_path / "root")) as root:
        found = entries(root, "w/access_id.gpg", "w/secret_key.gpg")
        Path(root.path, "link").symlink_to("w")
        assert found.has("w")
        assert not found.has("link")
