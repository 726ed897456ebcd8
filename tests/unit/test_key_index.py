"""Which items contain a key, by its id."""

from __future__ import annotations

from filevault.credentials import AccessKey
from filevault.rotation.key_index import KeyIndex
from tests.samples import EXAMPLE_ID

KEY = AccessKey(EXAMPLE_ID, "a" * 40)
OTHER = AccessKey("AKIAI44QH8DHBEXAMPLE", "b" * 40)


def test_items_are_found_in_the_order_in_which_they_were_added() -> None:
    index = KeyIndex()
    for name in ("c", "a", "b"):
        index.add(name, [KEY])
    index.add("a", [KEY, OTHER])
    assert list(index.names(KEY.access_key_id)) == ["c", "a", "b"]
    assert list(index.names(OTHER.access_key_id)) == ["a"]


def test_case_does_not_matter() -> None:
    index = KeyIndex()
    index.add("a", [KEY])
    assert list(index.names(KEY.access_key_id.lower())) == ["a"]


def test_an_item_that_was_removed_is_not_found() -> None:
    index = KeyIndex()
    for name in ("a", "b"):
        index.add(name, [KEY])
    index.remove("a", [KEY, OTHER])
    assert list(index.names(KEY.access_key_id)) == ["b"]
    index.remove("a", [KEY])
    index.remove("b", [KEY])
    assert not index.names(KEY.access_key_id)
    index.add("c", [KEY])
    assert list(index.names(KEY.access_key_id)) == ["c"]
