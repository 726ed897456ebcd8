"""Detect an item that was put back: older than this machine saw last, or removed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import RollbackError
from filevault.system.printable import printable
from filevault.vault.pin import accept_hint
from filevault.vault.seen_items import is_put_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.vault.trust import Trust


class RollbackCheck:
    """Compares items with `trust.json`.

    Args:
        trust: the vault's `trust.json`.
        strict: raise an error instead of a warning.
        warn: called with a warning about an item that is used all the same.
    """

    def __init__(self, trust: Trust, *, strict: bool, warn: Callable[[str], None]) -> None:
        self._trust = trust
        self._strict = strict
        self._warn = warn

    def suspicion(self, path_name: str, generation: int | None, digest: str) -> str | None:
        """Return the reason why an item is older than expected, None if it is not.

        `path_name` is its encoded name, `generation` None in a shared store.
        """
        removed = self._trust.removed(path_name)
        if removed is not None and is_put_back(removed, generation, digest):
            return "was removed on this machine, and has been put back"
        seen = self._trust.seen(path_name)
        if seen is not None and seen.outdates(generation, digest):
            return "is older than the one this machine saw last"
        return None

    def check(self, name: str, path_name: str, generation: int | None, digest: str) -> bool:
        """Warn of an item that is older or was removed; return whether it may be recorded.

        A suspicious item is not recorded: a warning today must not silence the error of tomorrow.
        Raises RollbackError under `--strict`.
        """
        reason = self.suspicion(path_name, generation, digest)
        if reason is None:
            return True
        message = f"item {printable(name)!r} {reason}"
        hint = accept_hint(name)
        if self._strict:
            raise RollbackError(message, hint=hint)
        self._warn(f"{message}; it is used all the same; {hint}")
        return False
