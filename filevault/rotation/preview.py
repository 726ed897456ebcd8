"""Preview of a rotation for `--dry-run`, from the vault alone: AWS is not called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.rotation.outcome import Outcome
from filevault.rotation.policy import (
    FRESH,
    end_of_grace,
    is_deletion_left,
    is_due,
    reason_to_wait,
    with_promise,
)
from filevault.rotation.revoke import check_orphan
from filevault.system.printable import shell_word

if TYPE_CHECKING:
    from filevault.rotation.items import Items
    from filevault.rotation.outcome import RotationOptions
    from filevault.rotation.stored_item import StoredItem


def preview(
    items: Items, primary: str, options: RotationOptions, profile: str, now: float
) -> Outcome:
    """Return the expected outcome of the rotation of one key.

    Args:
        items: the vault's items, loaded.
        primary: the item that keeps the state of the rotation.
        options: the options of the command line.
        profile: the profile whose key it is.
        now: Unix seconds.

    Raises UsageError and ProviderError for an orphan that would not be deleted.
    """
    if options.delete_orphan is not None:
        check_orphan(items, options.delete_orphan, f"filevault rotate {shell_word(profile)}")
    stored = items.stored(primary)
    fields, key_id = stored.fields, stored.key.access_key_id
    result, until, old_state = _result(stored, options, now), None, None
    old_key, new_key = key_id, None
    if fields.previous is not None and result != "planned":
        old_key, new_key = fields.previous.access_key_id, key_id
    elif fields.next is not None:
        new_key = fields.next.access_key_id
    if result == "waiting" or (result == "young" and fields.previous is not None):
        old_state, until = "inactive", end_of_grace(stored, options)
    return Outcome(
        profile=profile,
        result=result,
        item=primary,
        items=items.related(primary),
        user=None,
        old_key=old_key,
        new_key=new_key,
        old_state=old_state,
        created=stored.created,
        until=until,
        orphan=options.delete_orphan,
        same_as=None,
        error=None,
    )


def _result(stored: StoredItem, options: RotationOptions, now: float) -> str:
    fields = stored.fields
    if fields.previous is not None:
        promise = with_promise(fields, options)
        if is_deletion_left(stored):
            waiting = reason_to_wait(stored, options, now)
            if waiting is not None:
                return waiting
            minimum, stays = 0 if promise.kept else FRESH, False
        else:
            minimum, stays = FRESH, bool(promise.kept or promise.grace)
        # What was begun is finished first, and then the key is replaced.
        due = not stays and is_due(stored, options, now, minimum)
        return "planned" if due else "unfinished"
    if fields.next is not None:
        return "unfinished"
    if not is_due(stored, options, now):
        return "young"
    # Only AWS knows whether the interrupted run has created a key.
    return "planned" if fields.started is None else "unfinished"
