"""Commit the items that a rotation has written, and have them pushed if that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filevault.vault.vault import Vault


class Commits:
    """Commits items, several at once, and has them pushed if that is asked for.

    Args:
        vault: the vault of the items.
        push: called with names of items after their commit; None if nothing is pushed.
    """

    def __init__(self, vault: Vault, push: Callable[[Vault, Sequence[str]], None] | None) -> None:
        self._vault = vault
        self._push = push
        self._written: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Note that an item is about to be written."""
        self._written[name] = None

    @property
    def pending(self) -> bool:
        """Whether this run has written an item and not committed it yet."""
        return bool(self._written)

    def commit(self, subject: Callable[[str], str], also: Iterable[str] = ()) -> None:
        """Commit what was written since the last commit as one commit; push it, if asked for.

        Args:
            subject: returns the subject for the path of the first item in the store's history.
            also: items that an earlier run may have written and not committed.

        Raises NotCommittedError, NotPushedError.
        """
        pushing = self.pending
        names = self._commit(subject, also)
        if pushing:
            self._send(names)

    def publish(self, subject: Callable[[str], str], also: Iterable[str]) -> None:
        """Commit and push, if pushing is asked for; also commits that an earlier run left.

        Other clones must be able to get a new key before the old one is deactivated. Arguments
        and errors as of `commit`.
        """
        if self._push is not None:
            self._send(self._commit(subject, also))

    def _commit(self, subject: Callable[[str], str], also: Iterable[str]) -> list[str]:
        names = list(dict.fromkeys([*self._written, *also]))
        self._written = {}
        if names:
            with self._vault.transaction():
                self._vault.commit(names, subject(self._vault.entry_path(names[0])))
        return names

    def _send(self, names: Sequence[str]) -> None:
        """Push, without the vault's flock; after a failure no further push is tried."""
        push, self._push = self._push, None
        if push is not None:
            push(self._vault, names)
            self._push = push
