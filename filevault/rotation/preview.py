"""What a rotation would do, as far as the vault alone can tell: AWS is not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.rotation.due import FRESH, is_deferred, is_due, left_alone
from filevault.rotation.outcome import Outcome

if TYPE_CHECKING:
    from filevault.rotation.items import Items
    from filevault.rotation.outcome import Wish


def preview(items: Items, leader: str, wish: Wish, profile: str, now: float) -> Outcome:
    """Return what would come of the rotation of one key.

    Args:
        items: the vault's items, loaded.
        leader: the one that holds the state.
        wish: what is asked for.
        profile: whose key it is.
        now: Unix seconds.
    """
    stored = items.stored(leader)
    rotation, key_id = stored.rotation, stored.key.access_key_id
    names = tuple(each.name for each in items.related(leader))
    found = Outcome(profile, "planned", leader, names, old_key=key_id, created=stored.created)
    if rotation.previous is not None:
        left = left_alone(stored, wish, now) if is_deferred(stored) else None
        if left is None and is_due(stored, wish, now, FRESH):
            return found  # what was begun is finished first, and then the key is replaced
        found = found._replace(old_key=rotation.previous.access_key_id, new_key=key_id)
        return found._replace(result=left or "unfinished")
    if rotation.next is not None:
        return found._replace(result="unfinished", new_key=rotation.next.access_key_id)
    return found if is_due(stored, wish, now) else found._replace(result="young")
