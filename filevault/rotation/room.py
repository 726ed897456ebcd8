"""IAM allows two keys for each user: whether there is room for one more, and what to do if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.refusals import is_denied
from filevault.errors import AwsError, FilevaultError, ProviderError
from filevault.printable import printable, shell_word
from filevault.times import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.aws.iam import ListedKey
    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Stored
    from filevault.vault.items import Rotation


def listed(access: Access, key: AccessKey) -> tuple[ListedKey, ...] | None:
    """Return the user's keys, None where nobody may list them; raises what the call raises."""
    try:
        return access.keys(key).listed()
    except AwsError as error:
        if is_denied(error):
            return None
        raise


def is_cut_off(rotation: Rotation, other: ListedKey) -> bool:
    """Tell whether a key came into being after a rotation had noted which keys there were."""
    known = rotation.known_keys
    return known is not None and other.access_key_id not in known


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
    hint = f"if nobody needs it: {retry} --delete-orphan {shown}"
    made = "" if other.created is None else f", was made at {format_time(other.created)}"
    if holders:
        return ProviderError(
            "the user has two access keys already, which is all that IAM allows, and both are in "
            f"the vault: {key.access_key_id} in {printable(stored.name)!r}, {shown} in "
            f"{printable(holders[0])!r}",
            hint=f"decide for one of them: filevault remove {shell_word(holders[0])}, then "
            f"{retry} --delete-orphan {shown}",
        )
    if is_cut_off(rotation, other):
        return ProviderError(
            f"the rotation that was begun at {printable(rotation.started)} was cut off when AWS "
            f"had made the key {shown}, whose secret is lost",
            hint=hint,
        )
    return ProviderError(
        "the user has two access keys already, which is all that IAM allows: "
        f"{key.access_key_id} is the one in the vault; {shown} is "
        f"{'active' if other.active else 'inactive'}{made} and "
        f"{_last_use(access, key, other.access_key_id)}",
        hint=hint,
    )


def _last_use(access: Access, key: AccessKey, access_key_id: str) -> str:
    try:
        use = access.keys(key).last_use(access_key_id)
    except FilevaultError as error:
        why = "iam:GetAccessKeyLastUsed is not allowed" if is_denied(error) else "IAM does not say"
        return f"when it was last used is not known ({why})"
    if use.at is None:
        return "was never used"
    service = f" for {printable(use.service)}" if use.service else ""
    return f"was last used at {format_time(use.at)}{service}"
