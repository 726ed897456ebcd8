"""Taking an old key out of use: only one that no item hands out and nobody has taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.errors import (
    AwsError,
    FilevaultError,
    InterruptedByUserError,
    ProviderError,
    StorageError,
    UsageError,
)
from filevault.rotation.quota import last_used_text, listed
from filevault.rotation.retry import is_unknown_key
from filevault.rotation.rollback import GONE, amend, check_gone
from filevault.system.printable import printable
from filevault.vault.rotation_fields import RotationFields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.aws.iam import AccessKeys, ListedKey
    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items
    from filevault.rotation.retry import Patience


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

    Before each attempt is a look at what is stored by now, under the vault's lock; the lock is
    not held during the call, which AWS can draw out. Raises StorageError if an item hands the key
    out, ProviderError if it is another user's.
    """

    def attempt() -> None:
        items.check_unused(key.access_key_id, leader)
        call(key.access_key_id)

    try:
        patience.ask("AWS to know the new key", attempt)
    except AwsError as error:
        if error.code != GONE:
            raise
        check_gone(access, key)


def check_still_unused(items: Items, leader: str, key: AccessKey, keys: AccessKeys) -> None:
    """Look again after a key was deactivated: it may have been stored during the call.

    It is made active again then. Raises StorageError as `Items.check_unused` does.
    """
    try:
        items.check_unused(key.access_key_id, leader)
    except StorageError as error:
        if items.hands_out(key.access_key_id):
            try:
                keys.activate(key.access_key_id)
            except FilevaultError as second:
                amend(error, f"the key stays inactive: {second.message}")
            else:
                amend(error, "it was made active again")
        raise


def refuse_active_again(access: Access, key: AccessKey, previous: AccessKey) -> None:
    """Raise ProviderError if somebody made a deactivated key active again, and so needs it."""
    found = listed(access, key)
    # Where nobody may list keys, the old one itself can tell: AWS takes no inactive one.
    if _works(access, previous) if found is None else _is_active(found, previous):
        raise ProviderError(
            f"the old key {printable(previous.access_key_id)} was made active again, and "
            f"{last_used_text(access, key, previous.access_key_id)}; it is left alone",
            hint="let whoever uses it take the new key, then make the old one inactive: the "
            "next run deletes it",
        )


def _is_active(found: Sequence[ListedKey], key: AccessKey) -> bool:
    return any(each.active and each.access_key_id == key.access_key_id for each in found)


def _works(access: Access, key: AccessKey) -> bool:
    try:
        access.identity_of(key)
    except AwsError as error:
        if not is_unknown_key(error):
            raise
        return False
    return True


def delete_orphan(access_key_id: str, keys: AccessKeys, patience: Patience) -> None:
    """Delete a key that nobody has the secret of; one that is gone already is what we want."""
    try:
        patience.ask("AWS to take the key", lambda: keys.delete(access_key_id))
    except AwsError as error:
        if error.code != GONE:
            raise


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
    """Hand out the old key again where AWS takes the new one no more and the old one works.

    IAM's list has the last word on a key that AWS did not know, where it may be had. Nothing is
    forgotten: what the item says then is that the new key is unproven. `error` is told of it.
    Returns whether it was done.
    """
    stored = items.stored(leader)
    new, rotation = stored.key, stored.rotation
    account = account_of(previous.access_key_id)
    if not items.are_authentic and (account is None or account != account_of(new.access_key_id)):
        return False  # whoever can write the store may have put the old key in
    try:
        if not _works(access, previous) or _is_listed(access, previous, new):
            return False
        unproven = rotation._replace(
            next=new, previous=None, previous_created=None, previous_created_from=None
        )
        for each in items.holding(new):
            items.set_key(
                each.name,
                previous,
                unproven if each.name == leader else RotationFields(),
                created=rotation.previous_created,
                created_from=rotation.previous_created_from,
            )
    except InterruptedByUserError:
        raise
    except FilevaultError:
        return False
    amend(
        error,
        f"AWS takes the key {printable(new.access_key_id)} no more, and the old one, which still "
        "works, is handed out again",
        f"{retry} makes another",
    )
    return True


def _is_listed(access: Access, previous: AccessKey, new: AccessKey) -> bool:
    """Tell whether IAM lists a key as active, as far as the old one can ask."""
    try:
        return _is_active(listed(access, previous) or (), new)
    except InterruptedByUserError:
        raise
    except FilevaultError:
        return False
