"""Taking an old key out of use: only one that no item hands out and nobody has taken up again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.errors import AwsError, FilevaultError, ProviderError, UsageError
from filevault.printable import printable
from filevault.rotation.room import listed, said_of_use
from filevault.rotation.undo import GONE, amend, check_gone
from filevault.vault.items import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items
    from filevault.rotation.patience import Patience


def retire(
    call: Callable[[str], None],
    key: AccessKey,
    *,
    items: Items,
    leader: str,
    access: Access,
    patience: Patience,
) -> None:
    """Deactivate or delete a key by `call`; one that is gone already is what we want.

    Each attempt is made under the vault's lock, after a look at what is stored by now; `call` makes
    haste, for other writers wait for it a minute at most, and may write between two. Raises
    StorageError if an item hands the key out, ProviderError if it is another user's.
    """

    def attempt() -> None:
        with items.unused(key.access_key_id, leader):
            call(key.access_key_id)

    try:
        patience.ask("AWS to know the new key", attempt)
    except AwsError as error:
        if error.code != GONE:
            raise
        check_gone(access, key)


def refuse_active_again(access: Access, key: AccessKey, previous: AccessKey) -> None:
    """Raise ProviderError if somebody made a deactivated key active again, and so needs it."""
    for each in listed(access, key) or ():
        if each.access_key_id == previous.access_key_id and each.active:
            raise ProviderError(
                f"the old key {printable(previous.access_key_id)} was made active again, and "
                f"{said_of_use(access, key, previous.access_key_id)}; it is left alone",
                hint="let whoever uses it take the new key, then make the old one inactive: the "
                "next run deletes it",
            )


def refuse_held(items: Items, access_key_id: str, retry: str) -> None:
    """Raise UsageError or ProviderError if an item holds a key, or might, that is to be deleted."""
    if items.holders(access_key_id):
        raise UsageError(
            f"{printable(access_key_id)} is no orphan: the vault holds its secret",
            hint=f"{retry} finishes what is unfinished",
        )
    closed = items.unreadable()
    if closed:
        raise ProviderError(
            f"{printable(access_key_id)} is not deleted, because {printable(closed[0])!r}, which "
            "may hold its secret, cannot be opened",
            hint="restore that item, or delete the key with aws iam delete-access-key",
        )


def go_back(
    items: Items, leader: str, access: Access, previous: AccessKey, error: AwsError, retry: str
) -> bool:
    """Hand out the old key again where AWS has the new one no more and the old one works.

    Nothing is forgotten by that: what the item says then is that the new key is unproven. `error`
    is told of it. Returns whether it was done.
    """
    stored = items.stored(leader)
    new, rotation = stored.key, stored.rotation
    account = account_of(previous.access_key_id)
    if not items.are_authentic and (account is None or account != account_of(new.access_key_id)):
        return False  # whoever can write the store may have put the old key in
    with contextlib.suppress(FilevaultError):
        access.identity_of(previous)
        unproven = Rotation(rotation.started, rotation.known_keys, next=new)
        for each in items.holding(new):
            after = unproven if each.name == leader else Rotation()
            items.set_key(each.name, previous, None, after)
        amend(
            error,
            f"AWS has no key {printable(new.access_key_id)} any more, and the old one, which "
            "still works, is handed out again",
            f"{retry} makes another",
        )
        return True
    return False
