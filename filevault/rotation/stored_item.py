"""One stored item as a rotation sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import parse_time
from filevault.vault.item import parse
from filevault.vault.rotation_fields import RotationFields, read_rotation

if TYPE_CHECKING:
    from filevault.credentials import AccessKey
    from filevault.vault.item import LongTermItem


class Stored(Record):
    """An opened item; `digest` is that of the file that `text` was read from."""

    _secret = ("text",)

    name: str
    digest: str
    text: bytes
    item: LongTermItem
    rotation: RotationFields

    @property
    def key(self) -> AccessKey:
        """The key that the item hands out."""
        return self.item.key

    @property
    def created(self) -> int | None:
        """When the key was made, or stored, in Unix seconds; None where the item is silent."""
        return None if self.item.created is None else parse_time(self.item.created)

    def keys(self) -> set[AccessKey]:
        """Return every key that the item holds."""
        held = (self.item.key, self.rotation.next, self.rotation.previous)
        return {key for key in held if key is not None}

    def ids(self) -> set[str]:
        """Return the ids of the keys that the item holds, in lower case."""
        return {key.access_key_id.lower() for key in self.keys()}

    def holds(self, access_key_id: str) -> bool:
        """Tell whether the item holds the secret of a key."""
        return any(key.access_key_id == access_key_id for key in self.keys())


def read_stored(name: str, digest: str, text: bytes) -> Stored:
    """Return what the text of an item says. Raises as `parse` and `read_rotation` do."""
    what = f"item {printable(name)!r}"
    return Stored(name, digest, text, parse(text, what), read_rotation(text, what))
