"""The rotation fields of a long-term item: read and write them (`docs/format.md` §3)."""

from __future__ import annotations

import re

from filevault.credentials import AccessKey, is_key_id, is_secret_key
from filevault.errors import DamagedError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.item import is_swapped, parse
from filevault.vault.item_lines import (
    ROTATION_FIELDS,
    field_of,
    line_end_of,
    lines_of,
    time_of,
)

_STARTED, _KNOWN, *_KEYS, _CREATED, _ORIGIN, _DEACTIVATED, _GRACE = ROTATION_FIELDS
_BEGINNINGS = (b"\nrotation_", b"\nnext_", b"\nprevious_")  # of every field
_KEPT = "kept"
# A hundred years, the longest duration that a command line takes, have this many digits.
_SECONDS = r"[0-9]{1,10}\Z"


class RotationFields(Record):
    """The state of a rotation in progress, or the key that was replaced.

    `started` is a time as in the format, `known_keys` the ids of the user's keys before the new
    one was created, None if IAM denied listing them. `next` is the new key until it is proven to
    work, `previous` the old one until it is deleted, with `previous_created` and
    `previous_created_from` as its item had them. `deactivated` is the time when it was set
    Inactive, to be deleted later.

    When the rotation began, the old key was to stay for `grace` seconds from then on, or, if
    `kept`, until the quota of two keys requires its deletion.
    """

    started: str | None = None
    known_keys: tuple[str, ...] | None = None
    next: AccessKey | None = None
    previous: AccessKey | None = None
    previous_created: str | None = None
    previous_created_from: str | None = None
    deactivated: str | None = None
    grace: int | None = None
    kept: bool = False


NO_FIELDS = RotationFields()
"""The fields of an item without a rotation."""


def read_rotation(text: bytes, what: str) -> RotationFields:
    """Return the rotation fields of an item that `parse` has accepted.

    Fields with the item's own key, which a person may have moved to line 1, are ignored: acting on
    them would deactivate that key.

    Raises:
        DamagedError: for half a key, an invalid key, an invalid grace time, and fields that
            contradict each other or line 1.
    """
    if not any(beginning in text for beginning in _BEGINNINGS):
        return NO_FIELDS
    fields = {pair[0]: pair[1] for pair in map(field_of, lines_of(text)[1:]) if pair}
    known = fields.get(_KNOWN)
    found = RotationFields(
        fields.get(_STARTED),
        None if known is None else tuple(known.split()),
        _both_halves(fields, _KEYS[0], _KEYS[1], what),
        _both_halves(fields, _KEYS[2], _KEYS[3], what),
        time_of(fields.get(_CREATED)),
        fields.get(_ORIGIN),
        time_of(fields.get(_DEACTIVATED)),
        *_grace(fields.get(_GRACE), what),
    )
    if found.next is not None and found.previous is not None:
        raise DamagedError(f"{what} is damaged: it has a next key and a previous one")
    other = found.next or found.previous
    if other is None:
        return found
    own = parse(text, what).key
    if other.access_key_id != own.access_key_id:
        return found
    if other != own:
        raise DamagedError(
            f"{what} is damaged: it has two secrets for the key {printable(own.access_key_id)}",
            hint="take the lines of the wrong one out with the tool that wrote it, or store the "
            "right one: `filevault add --force --discard` drops the other",
        )
    return RotationFields()


def _grace(text: str | None, what: str) -> tuple[int | None, bool]:
    if text is None or text == _KEPT:
        return None, text == _KEPT
    if not re.match(_SECONDS, text):
        raise DamagedError(
            f"{what} is damaged: {_GRACE} is neither {_KEPT!r} nor a number of seconds",
            hint="it says how long the old key is to stay at AWS",
        )
    return int(text), False


def _both_halves(
    fields: dict[str, str], id_name: str, secret_name: str, what: str
) -> AccessKey | None:
    if id_name not in fields and secret_name not in fields:
        return None
    key = AccessKey(fields.get(id_name, ""), fields.get(secret_name, ""))
    sound = is_key_id(key.access_key_id) and is_secret_key(key.secret_access_key)
    if not sound or is_swapped(key):
        raise DamagedError(f"{what} is damaged: {id_name} and {secret_name} are no key together")
    return key


def with_rotation(text: bytes, rotation: RotationFields) -> bytes:
    """Return an item's text with these rotation fields; every other byte stays.

    The text must have the form that `compose` writes. The fields are written above the key id, so
    that removing them restores the text.
    """
    wanted: dict[str, str] = {}
    if rotation.started is not None:
        wanted[_STARTED] = rotation.started
    if rotation.known_keys is not None:
        wanted[_KNOWN] = " ".join(rotation.known_keys)
    for names, key in ((_KEYS[:2], rotation.next), (_KEYS[2:], rotation.previous)):
        if key is not None:
            wanted[names[0]], wanted[names[1]] = key.access_key_id, key.secret_access_key
    promise = _KEPT if rotation.kept else rotation.grace
    more = {
        _CREATED: rotation.previous_created,
        _ORIGIN: rotation.previous_created_from,
        _DEACTIVATED: rotation.deactivated,
        _GRACE: None if promise is None else str(promise),
    }
    wanted |= {name: value for name, value in more.items() if value is not None}
    lines = lines_of(text)
    end = line_end_of(lines[0]) or b"\n"
    result = lines[:1]
    for line in lines[1:]:
        pair = field_of(line)
        name = pair[0] if pair else ""
        if name == "aws_access_key_id":
            result += [f"{field}: {value}".encode() + end for field, value in wanted.items()]
            wanted = {}
        if name not in ROTATION_FIELDS:
            result.append(line)
    return b"".join(result)
