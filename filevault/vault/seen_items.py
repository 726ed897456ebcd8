"""The items in `trust.json`: what this machine last saw of each (`docs/format.md` §4, §9).

Records only move forward: an older item, or a removed one that is back, changes nothing. Only
`replace` lowers a generation, for an item that a person stores or accepts. An item of a shared
store has no generation: there a reader records only what is in the file at that time.

There may be very many, so the table of items has their JSON texts; that of the removed ones, which
is bounded, has objects.
"""

from __future__ import annotations

from filevault.system.record import Record
from filevault.system.strict_json import dumps_member, loads_member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_REMOVED = 1000
"""The number of removed items that are recorded; the oldest are dropped first."""

ITEMS = "items"
"""The key of the table of items."""
_REMOVED = "removed"


class SeenItem(Record):
    """The state of an item when it was last seen.

    `generation` is None in a shared store. There `key_id` is the id of the access key, and
    `account` its AWS account: encoded in the id, or reported by AWS while that id was trusted.
    """

    generation: int | None
    sha256: str
    created: str | None = None
    created_from: str | None = None
    account: str | None = None
    key_id: str | None = None

    def outdates(self, generation: int | None, sha256: str) -> bool:
        """Return whether an item is older, or another one of the same generation."""
        if self.generation is None or generation is None or sha256 == self.sha256:
            return False
        return generation <= self.generation


def is_valid(content: Mapping[str, Any]) -> bool:
    """Return whether the parts of `trust.json` that are read here are well-formed."""
    removed = content.get(_REMOVED, {})
    return (
        isinstance(content.get(ITEMS, {}), dict)
        and isinstance(removed, dict)
        and all(isinstance(each, dict) for each in removed.values())
    )


def text_of(path_name: str, seen: SeenItem) -> str:
    """Return the member of the table of items for an item, as JSON."""
    entry: dict[str, Any] = {}
    _write(entry, seen)
    return dumps_member(path_name, entry)


def digest_of(text: str) -> str:
    """Return the digest in a text of `text_of`."""
    return _item_of(text).sha256


def _item_of(text: str) -> SeenItem:
    """Return the item of a text of `text_of`."""
    seen = _parsed(loads_member(text))
    assert seen is not None  # noqa: S101 - for mypy
    return seen


def seen_item(content: Mapping[str, Any], path_name: str) -> SeenItem | None:
    """Return what was last seen of an item, by its encoded name."""
    text = content.get(ITEMS, {}).get(path_name)
    return None if text is None else _parsed(loads_member(text))


def removed_item(content: Mapping[str, Any], path_name: str) -> SeenItem | None:
    """Return the last state of an item that this machine removed, None if it did not."""
    return _parsed(content.get(_REMOVED, {}).get(path_name))


def is_put_back(tombstone: SeenItem, generation: int | None, sha256: str) -> bool:
    """Return whether an item with the name of a removed one is an earlier state of it.

    In a shared store earlier and later states cannot be distinguished, so any item counts.
    """
    if generation is None or sha256 == tombstone.sha256:
        return True
    return tombstone.generation is not None and generation <= tombstone.generation


def record(content: dict[str, Any], path_name: str, text: str) -> None:
    """Record an item, unless a later state is recorded; `text` is that of `text_of`."""
    seen = _item_of(text)
    tombstone = removed_item(content, path_name)
    if tombstone is not None and is_put_back(tombstone, seen.generation, seen.sha256):
        return
    known = seen_item(content, path_name)
    if known is None or not known.outdates(seen.generation, seen.sha256):
        replace(content, path_name, text)


def record_account(content: dict[str, Any], path_name: str, text: str) -> None:
    """Record the AWS account of an item's key, unless another key is recorded.

    Of `text` only that key and the account count.
    """
    account = _item_of(text)
    known = seen_item(content, path_name)
    if known is not None and known.key_id == account.key_id:
        replace(content, path_name, text_of(path_name, known._replace(account=account.account)))


def replace(content: dict[str, Any], path_name: str, text: str) -> None:
    """Record an item, whatever was recorded of it. Arguments as of `record`."""
    content.get(_REMOVED, {}).pop(path_name, None)
    items = content.setdefault(ITEMS, {})
    known = items.get(path_name)
    entry = {} if known is None else loads_member(known)
    if not entry.keys() <= SeenItem._names:  # a key of a newer version is kept
        _write(entry, _item_of(text))
        text = dumps_member(path_name, entry)
    items[path_name] = text


def record_removed(content: dict[str, Any], path_name: str, text: str) -> None:
    """Record that an item was removed; `text` is that of its last state."""
    last = _item_of(text)
    before = removed_item(content, path_name)
    if before is not None and before.outdates(last.generation, last.sha256):
        last = before
    content.get(ITEMS, {}).pop(path_name, None)
    tombstones = content.setdefault(_REMOVED, {})
    tombstones.pop(path_name, None)
    _write(tombstones.setdefault(path_name, {}), last)
    for name in list(tombstones)[:-MAX_REMOVED]:
        del tombstones[name]


def forget_all(content: dict[str, Any]) -> None:
    """Forget every item."""
    for key in (ITEMS, _REMOVED):
        content.pop(key, None)


def _parsed(entry: Mapping[str, Any] | None) -> SeenItem | None:
    if entry is None:
        return None
    generation, digest = entry.get("generation"), entry.get("sha256")
    if type(digest) is not str or type(generation) not in (int, type(None)):
        return None
    texts = (entry.get(key) for key in ("created", "created_from", "account", "key_id"))
    return SeenItem(
        generation, digest, *(text if isinstance(text, str) else None for text in texts)
    )


def _write(entry: dict[str, Any], seen: SeenItem) -> None:
    for key, value in seen._asdict().items():
        entry.pop(key, None)  # an account that is no longer known
        if value is not None:
            entry[key] = value
