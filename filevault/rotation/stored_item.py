"""A stored item, decrypted and parsed for a rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import parse_time
from filevault.vault.item import parse
from filevault.vault.rotation_fields import NO_FIELDS, read_rotation

if TYPE_CHECKING:
    from filevault.credentials import AccessKey
    from filevault.vault.item import LongTermItem
    from filevault.vault.rotation_fields import RotationFields


class StoredItem(Record):
    """A decrypted item; `digest` is that of the file that `text` was read from."""

    _secret = ("text",)

    name: str
    digest: str
    text: bytes
    item: LongTermItem
    fields: RotationFields

    @property
    def key(self) -> AccessKey:
        """The current key: the one that the profile uses."""
        return self.item.key

    @property
    def created(self) -> int | None:
        """When the current key was created, or stored, in Unix seconds; None if unknown."""
        return None if self.item.created is None else parse_time(self.item.created)

    def access_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys that the item contains: the current one, and the next or previous one."""
        fields = self.fields
        if fields is NO_FIELDS:
            return (self.item.key,)
        return tuple(key for key in (self.item.key, fields.next, fields.previous) if key)

    def contains(self, access_key_id: str) -> bool:
        """Return whether the item contains the secret of a key."""
        return any(key.access_key_id == access_key_id for key in self.access_keys())


def read_stored_item(name: str, digest: str, text: bytes) -> StoredItem:
    """Parse the text of an item. Raises as `parse` and `read_rotation` do."""
    what = f"item {printable(name)!r}"
    return StoredItem(name, digest, text, parse(text, what), read_rotation(text, what))
