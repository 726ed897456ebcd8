"""One possible key of a source: a long-term key, or the reason why it is left out."""

from __future__ import annotations

from filevault.credentials import AccessKey
from filevault.errors import UsageError
from filevault.exchange.found_keys import FoundKey, LeftOut
from filevault.system.printable import printable
from filevault.vault.item import check_access_key

_LONGEST_VALUE = 2048
TEMPORARY = "temporary credentials, which expire by themselves"


def candidate(
    name: str,
    key_id: str | None,
    secret: str | None,
    place: str,
    *,
    token: str | None = None,
) -> FoundKey | LeftOut | None:
    """Return a key, or the reason why it is left out; None if there is no part of a key."""
    if not key_id and not secret:
        return None
    if token or (key_id or "").startswith("ASIA"):
        return LeftOut(name, place, TEMPORARY)
    if not key_id or not secret:
        missing = "secret access key" if key_id else "access key id"
        return LeftOut(name, place, f"it has no {missing}", failed=True)
    key = AccessKey(key_id, secret)
    try:
        check_access_key(key)
    except UsageError as error:
        return LeftOut(name, place, error.message, failed=True)
    return FoundKey(name, key, place)


def plain_value(value: str | None) -> str | None:
    """Return a setting that can be kept beside a key, None for an empty or unprintable one."""
    if not value or len(value) > _LONGEST_VALUE or printable(value) != value:
        return None
    return value
