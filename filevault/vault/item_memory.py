"""Record in `trust.json` which items were read or written; a failure is only reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import FilevaultError
from filevault.vault.seen_items import SeenItem

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from filevault.vault.trust import Trust


class ItemMemory:
    """Records the items of one vault that are read or written.

    Args:
        trust: the vault's `trust.json`.
        notice: called with the message if it cannot be written.
    """

    def __init__(self, trust: Trust, notice: Callable[[str], None]) -> None:
        self._trust = trust
        self._notice = notice

    def record_seen(self, path_name: str, seen: SeenItem) -> None:
        """Record an item that was read, unless a later state is recorded."""
        try:
            self._trust.record_seen(path_name, seen)
        except FilevaultError as error:
            self._notice(error.message)

    def record_written(self, path_name: str, seen: SeenItem) -> None:
        """Record an item that was written here, whatever was recorded of it."""
        try:
            self._trust.replace_seen(path_name, seen)
        except FilevaultError as error:
            self._notice(error.message)

    def batch(self) -> AbstractContextManager[None]:
        """Write all records once, at the end: for walks over a whole vault."""
        return self._trust.batch(lambda error: self._notice(error.message))

    def before_removal(
        self, path_name: str, digest: str | None, generation: int | None, now: int
    ) -> SeenItem:
        """Return what to record of an item that is removed without being decrypted.

        Args:
            path_name: its encoded name.
            digest: of its file, None if it cannot be read.
            generation: from its header, None without one. The header is not authenticated, so at
                most `now` counts.
            now: Unix seconds.
        """
        seen = self._trust.seen(path_name)
        if digest is None:
            return seen or SeenItem(None, "")
        if generation is None:
            return seen._replace(sha256=digest) if seen is not None else SeenItem(None, digest)
        capped = min(generation, now)
        if seen is None or seen.generation is None or capped > seen.generation:
            return SeenItem(capped, digest)
        return seen
