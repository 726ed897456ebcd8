"""Record in `trust.json` which items were read or written; a failure is only reported."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import FilevaultError
from filevault.vault.seen_items import SeenItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from filevault.vault.trust import IsStored, Trust


class ItemMemory:
    """Records the items of one vault that are read or written.

    Args:
        trust: the vault's `trust.json`.
        notice: called with the message if it cannot be written.
        is_stored: looks at an item's files.
    """

    def __init__(
        self,
        trust: Trust,
        notice: Callable[[str], None],
        is_stored: IsStored,
    ) -> None:
        self._trust = trust
        self._notice = notice
        self._is_stored = is_stored

    def record_seen(self, path_name: str, seen: SeenItem) -> None:
        """Record an item that was read, unless a later state is recorded or is in the file."""
        with self._noticing():
            self._trust.record_seen(path_name, seen, self.condition(seen))

    def record_written(self, path_name: str, seen: SeenItem) -> None:
        """Record an item that was written here, whatever was recorded of it."""
        with self._noticing():
            self._trust.replace_seen(path_name, seen, self.condition(seen))

    def restore(self, path_name: str, seen: SeenItem) -> None:
        """Record again what was recorded before a removal that failed."""
        with self._noticing():
            self._trust.replace_seen(path_name, seen)

    def record_account(self, path_name: str, key_id: str, account: str) -> None:
        """Record the AWS account of an item's key, unless another key is recorded."""
        with self._noticing():
            self._trust.record_account(path_name, key_id, account)

    def condition(self, seen: SeenItem) -> IsStored | None:
        """Return what determines, under the lock, whether an item may be recorded.

        Another process may have replaced it since it was read or written here. Without
        generations only the file shows that. None where the generation shows it.
        """
        return self._is_stored if seen.generation is None else None

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
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
