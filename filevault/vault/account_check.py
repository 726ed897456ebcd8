"""Check that the key of an item belongs to the same AWS account as before.

Any process that can write a shared store can put in a key of another account. A key id made since
2019 encodes its account. An older one does not: it is compared as a whole, and its account is the
one that AWS reported while that id was trusted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.errors import (
    AwsError,
    ConfigError,
    FilevaultError,
    NetworkError,
    PinError,
    ProviderError,
)
from filevault.system.printable import printable
from filevault.vault.pin import accept_hint
from filevault.vault.seen_items import SeenItem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.credentials import AccessKey
    from filevault.vault.item import LongTermItem
    from filevault.vault.item_memory import ItemMemory
    from filevault.vault.trust import Trust

    AskAccount = Callable[[AccessKey], str]
    """Ask AWS for the account of a key. Raises ProviderError, NetworkError, ConfigError."""

_ACCOUNT = r"[0-9]{12}\Z"


class AccountCheck:
    """Compares the accounts of the keys in a shared store with `trust.json`, and records them.

    Args:
        trust: the vault's `trust.json`.
        memory: records the accounts.
    """

    def __init__(self, trust: Trust, memory: ItemMemory) -> None:
        self._trust = trust
        self._memory = memory
        self._reported: dict[str, str] = {}  # accounts that AWS reported in this run, by key id

    def check(
        self,
        name: str,
        path_name: str,
        item: LongTermItem,
        digest: str,
        ask_account: AskAccount | None,
    ) -> None:
        """Compare the account of an item's key with the recorded one, and record it.

        Raises PinError as `checked_account`.
        """
        seen, removed = self._trust.seen(path_name), self._trust.removed(path_name)
        account = checked_account(name, seen or removed, item.key, digest, ask_account)
        if removed is None:
            self._memory.record_seen(path_name, seen_with_account(item, digest, account))

    def is_missing(self, path_name: str, key_id: str) -> bool:
        """Return whether a key is trusted, and its account is still unknown."""
        seen = self._trust.seen(path_name)
        return seen is not None and seen.key_id == key_id and seen.account is None

    def record(self, path_names: Sequence[str], key_id: str, account: str) -> None:
        """Record the account that AWS reported for a key, for items that have or get that key."""
        if account_of(key_id) is not None or not is_account(account):
            return
        self._reported[key_id] = account
        for path_name in path_names:
            self._memory.record_account(path_name, key_id, account)

    def written(self, path_name: str, item: LongTermItem, digest: str) -> SeenItem:
        """Return what to record of an item that is written here."""
        key_id = item.key.access_key_id
        account = account_of(key_id) or self._reported.get(key_id)
        seen = self._trust.seen(path_name)
        if account is None and seen is not None and seen.key_id == key_id:
            account = seen.account
        return seen_with_account(item, digest, account)


def seen_with_account(item: LongTermItem, digest: str, account: str | None) -> SeenItem:
    """Return what to record of an item of a shared store."""
    origin = item.created_from or "add"
    return SeenItem(None, digest, item.created, origin, account, item.key.access_key_id)


def checked_account(
    name: str, known: SeenItem | None, key: AccessKey, digest: str, ask_account: AskAccount | None
) -> str | None:
    """Return the account to record with a key, None if it is not known.

    Args:
        name: of the item.
        known: what was last seen of it, None if nothing.
        key: the key that is in it now.
        digest: of its files.
        ask_account: asks AWS; None in a run that makes no calls.

    Raises:
        PinError: for another account, and for another key whose account cannot be determined.
    """
    encoded = account_of(key.access_key_id)
    if known is None or is_same_key(known, key.access_key_id, digest):
        return encoded or (known.account if known is not None else None)
    if known.account is None:
        raise _unknown(name, key, "the account of the key before is not known")
    account = encoded or _asked(name, key, ask_account)
    if account != known.account:
        raise PinError(
            f"the key of {printable(name)!r} belongs to another AWS account than before: "
            f"{printable(account, 40)} instead of {printable(known.account, 40)}",
            hint=accept_hint(name),
        )
    return account


def is_same_key(known: SeenItem, key_id: str, digest: str) -> bool:
    """Return whether a key is the one that was seen; if its id was not recorded, compare files."""
    return known.sha256 == digest if known.key_id is None else known.key_id == key_id


def is_account(text: str) -> bool:
    """Return whether a text is an AWS account id: twelve digits."""
    return re.match(_ACCOUNT, text) is not None


def _asked(name: str, key: AccessKey, ask_account: AskAccount | None) -> str:
    if ask_account is None:
        raise _unknown(name, key, "this run does not ask AWS")
    try:
        return ask_account(key)
    except (ProviderError, NetworkError, ConfigError) as error:
        reason = "AWS does not know it" if isinstance(error, AwsError) else "AWS did not report it"
        raise _unknown(name, key, f"{reason}: {error.message}") from error


def _unknown(name: str, key: AccessKey, reason: str) -> FilevaultError:
    no_account = (
        "its id does not contain its AWS account, and " if not account_of(key.access_key_id) else ""
    )
    return PinError(
        f"the key of {printable(name)!r} is another one than before, "
        f"{printable(key.access_key_id, 40)}: {no_account}{reason}",
        hint=accept_hint(name),
    )
