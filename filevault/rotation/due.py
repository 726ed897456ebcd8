"""Whether a key is to be replaced now: decided from the item alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.times import parse_time

if TYPE_CHECKING:
    from filevault.rotation.items import Stored
    from filevault.rotation.outcome import Wish

DAY = 86400
FRESH = 7 * DAY
"""A run that finishes an older one makes no further key while the present one is so young."""


def is_due(stored: Stored, wish: Wish, now: float, least: int = 0) -> bool:
    """Tell whether a key is as old as asked for, or as `least` seconds where nothing is asked.

    A key of unknown age is.
    """
    limit = least if wish.older_than is None else wish.older_than
    # AWS's clock may be ahead of ours.
    return not limit or stored.created is None or now - stored.created >= limit


def is_deferred(stored: Stored) -> bool:
    """Tell whether all is done but the deletion of the old key."""
    return stored.rotation.previous is not None and stored.rotation.started is None


def left_alone(stored: Stored, wish: Wish, now: float) -> str | None:
    """Return `young` or `waiting` where the old key of a finished rotation is to stay.

    It stays for the time of grace, and with `keep_old` until its place is needed.
    """
    if wish.keep_old:
        return None if is_due(stored, wish, now) else "young"
    end = end_of_grace(stored, wish)
    return "waiting" if wish.grace and end is not None and now < end else None


def end_of_grace(stored: Stored, wish: Wish) -> int | None:
    """Return when the time of grace of the old key is over, None if the item does not tell."""
    since = deactivated(stored)
    return None if since is None else since + wish.grace


def deactivated(stored: Stored) -> int | None:
    """Return when the old key was set inactive; items without that are as old as the new key."""
    moment = stored.rotation.deactivated
    return stored.created if moment is None else parse_time(moment)
