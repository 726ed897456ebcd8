"""IAM allows two keys for each user: whether there is room for one more, and what to do if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.errors import is_denied
from filevault.errors import AwsError, FilevaultError, ProviderError
from filevault.system.printable import printable, shell_word
from filevault.system.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.aws.iam import ListedKey
    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.stored_item import Stored
    from filevault.vault.rotation_fields import RotationFields

_NEAR = 900
"""Seconds by which our clock and AWS's may differ, for a signature to be taken, and the call."""


def listed(access: Access, key: AccessKey) -> tuple[ListedKey, ...] | None:
    """Return the user's keys, None where nobody may list them; raises what the call raises."""
    try:
        return access.keys(key).listed()
    except AwsError as error:
        if is_denied(error):
            return None
        raise


def is_orphan_of(
    rotation: RotationFields, other: ListedKey, access: Access, key: AccessKey
) -> bool:
    """Tell whether a key was made by a rotation whose note of it is all that is left.

    It must not be one of those that were there before, and have come into being when the
    rotation was begun, as far as IAM says when. One that somebody uses has an owner.
    """
    known, started, made = rotation.known_keys, rotation.started, other.created
    if known is None or other.access_key_id in known or started is None:
        return False
    try:
        if made is not None and abs(made - parse_time(started)) > _NEAR:
            return False
    except ValueError:
        return False
    return is_unused(other, access, key)


def is_unused(other: ListedKey, access: Access, key: AccessKey) -> bool:
    """Tell whether a key was never used, as far as may be known; `key` signs the question."""
    try:
        return access.keys(key).last_use(other.access_key_id).at is None
    except FilevaultError:
        return True


def no_room(
    access: Access, stored: Stored, other: ListedKey, holders: Sequence[str], retry: str
) -> ProviderError:
    """Return the error that names the other key and the way out; nothing is guessed.

    Args:
        access: asks when the other key was last used.
        stored: the item with the key that is to be replaced.
        other: the key in the way.
        holders: the items that have the other key.
        retry: the command that was given, without options.
    """
    key, rotation = stored.key, stored.rotation
    shown = printable(other.access_key_id)
    if holders:
        named = ", ".join(repr(printable(each)) for each in holders)
        removals = ", ".join(f"filevault remove {shell_word(each)}" for each in holders)
        return ProviderError(
            "the user has two access keys already, which is all that IAM allows, so there is no "
            f"room for a new one, and both are in the vault: {printable(key.access_key_id)} in "
            f"{printable(stored.name)!r}, {shown} in {named}",
            hint=f"one user cannot have two keys rotated: to give up {shown}, {removals}, then "
            f"{retry} --delete-orphan {shown}",
        )
    made = "" if other.created is None else f", was made at {format_time(other.created)}"
    about = (
        f"{shown} is {'active' if other.active else 'inactive'}{made} and "
        f"{last_used_text(access, key, other.access_key_id)}"
    )
    hint = f"if nobody needs it: {retry} --delete-orphan {shown}"
    if is_orphan_of(rotation, other, access, key):
        return ProviderError(
            f"the rotation that was begun at {printable(rotation.started)} was cut off when AWS "
            f"had made the key {shown}, whose secret is lost, or another machine is rotating now; "
            f"{about}",
            hint=hint,
        )
    return ProviderError(
        "the user has two access keys already, which is all that IAM allows: "
        f"{printable(key.access_key_id)} is the one in the vault; {about}",
        hint=hint,
    )


def last_used_text(access: Access, key: AccessKey, access_key_id: str) -> str:
    """Say when a key was last used, as the rest of a sentence; `key` signs the question."""
    try:
        use = access.keys(key).last_use(access_key_id)
    except FilevaultError as error:
        why = "iam:GetAccessKeyLastUsed is not allowed" if is_denied(error) else "IAM does not say"
        return f"when it was last used is not known ({why})"
    if use.at is None:
        return "was never used"
    service = f" for {printable(use.service)}" if use.service else ""
    return f"was last used at {format_time(use.at)}{service}"
