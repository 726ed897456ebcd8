"""What a rotation would do, as far as the vault alone can tell: AWS is not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.rotation.outcome import Outcome
from filevault.rotation.policy import FRESH, is_deferred, is_due, left_as_it_is, promised
from filevault.rotation.revoke import refuse_held
from filevault.system.printable import shell_word

if TYPE_CHECKING:
    from filevault.rotation.items import Items
    from filevault.rotation.outcome import RotationOptions


def preview(items: Items, leader: str, wish: RotationOptions, profile: str, now: float) -> Outcome:
    """Return what would come of the rotation of one key.

    Args:
        items: the vault's items, loaded.
        leader: the one that holds the state.
        wish: what is asked for.
        profile: whose key it is.
        now: Unix seconds.

    Raises UsageError and ProviderError for an orphan that would not be deleted.
    """
    if wish.delete_orphan is not None:
        refuse_held(items, wish.delete_orphan, f"filevault rotate {shell_word(profile)}")
    stored = items.stored(leader)
    rotation, key_id = stored.rotation, stored.key.access_key_id
    found = Outcome(
        profile,
        "planned",
        leader,
        tuple(each.name for each in items.related(leader)),
        old_key=key_id,
        created=stored.created,
        orphan=wish.delete_orphan,
    )
    if rotation.previous is not None:
        if is_deferred(stored):
            left = left_as_it_is(found, stored, wish, now)
            if left is not None:
                return left
            least, stays = 0 if promised(rotation, wish).kept else FRESH, False
        else:
            promise = promised(rotation, wish)
            least, stays = FRESH, bool(promise.kept or promise.grace)
        if not stays and is_due(stored, wish, now, least):
            return found  # what was begun is finished first, and then the key is replaced
        old_key = rotation.previous.access_key_id
        return found._replace(result="unfinished", old_key=old_key, new_key=key_id)
    if rotation.next is not None:
        return found._replace(result="unfinished", new_key=rotation.next.access_key_id)
    if not is_due(stored, wish, now):
        return found._replace(result="young")
    # Only AWS knows whether the run that was cut off has made a key.
    return found if rotation.started is None else found._replace(result="unfinished")
