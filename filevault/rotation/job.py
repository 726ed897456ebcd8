"""The items, the keys at AWS and the names that the steps of one rotation work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.printable import shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.rotation.items import Items
    from filevault.rotation.keys import UserKeys
    from filevault.rotation.retry import Retry
    from filevault.rotation.stored_item import StoredItem
    from filevault.vault.rotation_fields import RotationFields


class Job(Record):
    """The parts that all steps of one rotation share.

    Args:
        profile: the profile whose key is rotated, for messages.
        items: the vault's items, loaded.
        primary: the name of the primary item: the one whose fields keep the rotation's state.
        keys: the user's keys at AWS.
        retry: repeats calls until AWS knows the new key.
    """

    profile: str
    items: Items
    primary: str
    keys: UserKeys
    retry: Retry

    @property
    def command(self) -> str:
        """The command to run again, for hints."""
        return f"filevault rotate {shell_word(self.profile)}"

    @property
    def stored(self) -> StoredItem:
        """The primary item as it was last read or written."""
        return self.items.stored(self.primary)

    def set_fields(self, fields: RotationFields) -> None:
        """Rewrite the primary item with other rotation fields. Errors as of `Items.set_fields`."""
        self.items.set_fields(self.primary, fields)
