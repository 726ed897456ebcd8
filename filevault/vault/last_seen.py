"""Compare items with what this machine saw of them, and remember what it sees.

Older items, removed ones that are back and keys of other accounts are noticed here. Only what
passes is remembered, so that a warning today does not silence the refusal of tomorrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.errors import FilevaultError, RollbackError
from filevault.system.printable import printable, shell_word
from filevault.vault.seen import Seen, is_put_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from filevault.vault.accounts import Identify
    from filevault.vault.item import LongTermItem
    from filevault.vault.trust import Trust


class LastSeen:
    """The memory of the items of one vault.

    Args:
        trust: where it is kept.
        strict: refuse what is otherwise a warning.
        warn: told of an older item, or one that is back, that is used all the same.
        notice: told of a memory that cannot be written.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        strict: bool,
        warn: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        self._trust = trust
        self._strict = strict
        self._warn = warn
        self._notice = notice
        self._told: dict[str, str] = {}

    def suspicion(self, path_name: str, generation: int | None, digest: str) -> str | None:
        """Return what is wrong with the age of an item, None if nothing is.

        `path_name` is its encoded name, `generation` None in a shared store.
        """
        tombstone = self._trust.removed(path_name)
        if tombstone is not None and is_put_back(tombstone, generation, digest):
            return "was removed on this machine, and has been put back"
        seen = self._trust.seen(path_name)
        if seen is not None and seen.outdates(generation, digest):
            return "is older than the one this machine saw last"
        return None

    def check_age(self, name: str, path_name: str, generation: int | None, digest: str) -> bool:
        """Warn of an item that is older or was removed; tell whether to remember it.

        Raises RollbackError under `--strict`.
        """
        reason = self.suspicion(path_name, generation, digest)
        if reason is None:
            return True
        message = f"item {printable(name)!r} {reason}"
        hint = f"if that is meant, filevault recipients accept {shell_word(name)}"
        if self._strict:
            raise RollbackError(message, hint=hint)
        self._warn(f"{message}; it is used all the same; {hint}")
        return False

    def check_account(
        self,
        name: str,
        path_name: str,
        item: LongTermItem,
        digest: str,
        identify: Identify | None,
    ) -> None:
        """Compare the account of a key with the one that was known, and remember it.

        Raises PinError as `checked_account`.
        """
        from filevault.vault.accounts import checked_account

        seen, tombstone = self._trust.seen(path_name), self._trust.removed(path_name)
        account = checked_account(name, seen or tombstone, item.key, digest, identify)
        if tombstone is None:
            self.remember(path_name, seen_of(item, digest, account))

    def wants_account(self, path_name: str, key_id: str) -> bool:
        """Tell whether a key is trusted, and AWS could tell the account that its id does not."""
        seen = self._trust.seen(path_name)
        return seen is not None and seen.key_id == key_id and seen.account is None

    def learn_account(self, path_names: list[str], key_id: str, account: str) -> None:
        """Remember the account that AWS told for a key, now and when items get that key."""
        from filevault.vault.accounts import is_account

        if account_of(key_id) is not None or not is_account(account):
            return
        self._told[key_id] = account
        for path_name in path_names:
            seen = self._trust.seen(path_name)
            if seen is not None and seen.key_id == key_id and seen.account != account:
                self.remember(path_name, seen._replace(account=account))

    def stored(self, path_name: str, item: LongTermItem, digest: str) -> Seen:
        """Return what to remember of an item of a shared store that is written here."""
        key_id = item.key.access_key_id
        account = account_of(key_id) or self._told.get(key_id)
        seen = self._trust.seen(path_name)
        if account is None and seen is not None and seen.key_id == key_id:
            account = seen.account
        return seen_of(item, digest, account)

    def last_state(
        self, path_name: str, digest: str | None, generation: int | None, now: int
    ) -> Seen:
        """Return what to remember of an item that is removed without being opened.

        `digest` is None for one that cannot be read, `generation` for one whose header says none.
        Nothing authenticates that header: its generation counts up to `now`.
        """
        seen = self._trust.seen(path_name)
        if digest is None:
            return seen or Seen(None, "")
        if generation is None:
            return seen._replace(sha256=digest) if seen is not None else Seen(None, digest)
        said = min(generation, now)
        if seen is None or seen.generation is None or said > seen.generation:
            return Seen(said, digest)
        return seen

    def gathering(self) -> AbstractContextManager[None]:
        """Write what is remembered once, at the end: for walks over a whole vault."""
        return self._trust.gathering(lambda error: self._notice(error.message))

    def remember(self, path_name: str, seen: Seen, *, written: bool = False) -> None:
        """Note what was seen, or `written` here. It is stored: a note that fails is no failure."""
        try:
            if written:
                self._trust.replace_seen(path_name, seen)
            else:
                self._trust.set_seen(path_name, seen)
        except FilevaultError as error:
            self._notice(error.message)


def seen_of(item: LongTermItem, digest: str, account: str | None) -> Seen:
    """Return what to remember of an item of a shared store."""
    origin = item.created_from or "add"
    return Seen(None, digest, item.created, origin, account, item.key.access_key_id)
