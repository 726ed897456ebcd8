"""Whether a key is to be replaced now, and an old one to go: decided from the item alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.times import parse_time

if TYPE_CHECKING:
    from filevault.rotation.outcome import Outcome, RotationOptions
    from filevault.rotation.stored_item import Stored
    from filevault.vault.rotation_fields import RotationFields

DAY = 86400
FRESH = 7 * DAY
"""A run that finishes an older one makes no further key while the present one is so young."""


def is_due(stored: Stored, wish: RotationOptions, now: float, least: int = 0) -> bool:
    """Tell whether a key is as old as asked for, or as `least` seconds where nothing is asked.

    A key of unknown age is.
    """
    limit = least if wish.older_than is None else wish.older_than
    # AWS's clock may be ahead of ours.
    return not limit or stored.created is None or now - stored.created >= limit


def is_deferred(stored: Stored) -> bool:
    """Tell whether all is done but the deletion of the old key."""
    return stored.rotation.previous is not None and stored.rotation.started is None


def promised(rotation: RotationFields, wish: RotationOptions) -> RotationFields:
    """Return a rotation with what is promised of the old key.

    What was promised when it was begun holds, whatever later runs are asked for; only a grace of 0
    ends an earlier one. Where nothing was, it is what this run is asked for.
    """
    if rotation.kept or (rotation.grace is not None and wish.grace != 0):
        return rotation
    return rotation._replace(kept=wish.keep_old, grace=wish.grace or None)


def left_alone(stored: Stored, wish: RotationOptions, now: float) -> str | None:
    """Return `young` or `waiting` where the old key of a finished rotation is to stay.

    It stays for the time of grace, and a kept one until the new key is due and needs its place.
    """
    if promised(stored.rotation, wish).kept:
        return None if is_due(stored, wish, now) else "young"
    end = end_of_grace(stored, wish)
    return "waiting" if end is not None and now < end else None


def left_as_it_is(
    found: Outcome, stored: Stored, wish: RotationOptions, now: float
) -> Outcome | None:
    """Return the outcome where the old key of a finished rotation is to stay, else None."""
    result, previous = left_alone(stored, wish, now), stored.rotation.previous
    if result is None or previous is None:
        return None
    return found._replace(
        result=result,
        old_key=previous.access_key_id,
        new_key=stored.key.access_key_id,
        old_state="inactive",
        until=end_of_grace(stored, wish),
    )


def end_of_grace(stored: Stored, wish: RotationOptions) -> int | None:
    """Return when the time of grace of the old key is over, None if it has none."""
    grace = promised(stored.rotation, wish).grace
    since = deactivated(stored)
    return None if since is None or grace is None else since + grace


def deactivated(stored: Stored) -> int | None:
    """Return when the old key was set inactive; items without that are as old as the new key."""
    moment = stored.rotation.deactivated
    return stored.created if moment is None else parse_time(moment)
