"""Policy of a rotation: whether a key is due, and whether the old one may be deleted.

Everything is decided from the item, the options and the time; nothing is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.times import parse_time

if TYPE_CHECKING:
    from filevault.rotation.outcome import RotationOptions
    from filevault.rotation.stored_item import StoredItem
    from filevault.vault.rotation_fields import RotationFields

DAY = 86400
FRESH = 7 * DAY
"""A run that finishes an earlier rotation replaces no key that is younger, in seconds."""


def is_due(stored: StoredItem, options: RotationOptions, now: float, minimum: int = 0) -> bool:
    """Return whether a key is as old as `--older-than`, or else as `minimum` seconds.

    A key of unknown age is due.
    """
    limit = minimum if options.older_than is None else options.older_than
    # The clock of AWS may be ahead of this machine's.
    return not limit or stored.created is None or now - stored.created >= limit


def is_deletion_left(stored: StoredItem) -> bool:
    """Return whether only the deletion of the old key, which is inactive, is left to do."""
    return stored.fields.previous is not None and stored.fields.started is None


def with_promise(fields: RotationFields, options: RotationOptions) -> RotationFields:
    """Return the fields with the promise for the old key: `kept`, `grace`, or nothing.

    A promise that was stored when the rotation began stands, whatever the options of later runs;
    only a grace of 0 ends an earlier grace. Without one, the options of this run count.
    """
    if fields.kept or (fields.grace is not None and options.grace != 0):
        return fields
    return fields._replace(kept=options.keep_old, grace=options.grace or None)


def reason_to_wait(stored: StoredItem, options: RotationOptions, now: float) -> str | None:
    """Return `young` or `waiting` if the inactive old key is to stay for now, else None.

    It stays for its time of grace; a kept one until the current key is due.
    """
    if with_promise(stored.fields, options).kept:
        return None if is_due(stored, options, now) else "young"
    end = end_of_grace(stored, options)
    return "waiting" if end is not None and now < end else None


def end_of_grace(stored: StoredItem, options: RotationOptions) -> int | None:
    """Return when the old key's time of grace ends, in Unix seconds; None if it has none."""
    grace = with_promise(stored.fields, options).grace
    since = _deactivated(stored)
    return None if since is None or grace is None else since + grace


def _deactivated(stored: StoredItem) -> int | None:
    """Return when the old key was deactivated; by default when the current one was created."""
    moment = stored.fields.deactivated
    return stored.created if moment is None else parse_time(moment)
