"""KeyIndex: find items by the ids of the keys that they contain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from filevault.credentials import AccessKey


class KeyIndex:
    """Names of items by key id, in the order in which they were added.

    Ids are compared without case: no two of AWS's differ in case alone. Most keys are in one
    item only, so a name alone stands for a collection of one: there may be very many.
    """

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, str | dict[str, None]] = {}

    def add(self, name: str, keys: Iterable[AccessKey]) -> None:
        """Add an item that contains some keys."""
        for key in keys:
            key_id = key.access_key_id.lower()
            found = self._names.setdefault(key_id, name)
            if isinstance(found, dict):
                found[name] = None
            elif found != name:
                self._names[key_id] = {found: None, name: None}

    def remove(self, name: str, keys: Iterable[AccessKey]) -> None:
        """Remove an item that contains some keys."""
        for key in keys:
            key_id = key.access_key_id.lower()
            found = self._names.get(key_id)
            if isinstance(found, dict):
                found.pop(name, None)
            if found == name or found == {}:
                del self._names[key_id]

    def names(self, access_key_id: str) -> Collection[str]:
        """Return the names of the items that contain a key of this id."""
        found = self._names.get(access_key_id.lower(), ())
        return (found,) if isinstance(found, str) else found
