"""What became of a CreateAccessKey that failed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.aws.refusals import has_no_answer
from filevault.errors import AwsError, FilevaultError
from filevault.printable import printable
from filevault.rotation.room import is_cut_off, listed
from filevault.rotation.undo import amend
from filevault.vault.rotationfields import Rotation

if TYPE_CHECKING:
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items


def explain_failure(
    error: FilevaultError,
    items: Items,
    leader: str,
    access: Access,
    known: tuple[str, ...] | None,
    retry: str,
) -> str | None:
    """Let an error say what became of the call, and take the note of it back if nothing did.

    Args:
        error: how the call failed; it is amended.
        items: the vault's items.
        leader: the item that has the note.
        access: how AWS is reached.
        known: the ids of the user's keys before the call, None if nobody may list them.
        retry: the command to give again.

    Returns:
        The id of a key that AWS made all the same, whose secret is lost.
    """
    old = items.stored(leader).key
    if not has_no_answer(error):
        if isinstance(error, AwsError) and error.code == "LimitExceeded":
            error.hint = (
                "allow iam:ListAccessKeys to be told which keys there are, or delete the one "
                f"that nobody needs: {retry} --delete-orphan KEYID"
            )
        with contextlib.suppress(FilevaultError):
            items.set_rotation(leader, Rotation())
        return None
    found = None
    with contextlib.suppress(FilevaultError):
        found = listed(access, old)
    if found is None or known is None:
        amend(error, "whether AWS has made a key all the same is not known")
        return None
    for each in found:
        if is_cut_off(items.stored(leader).rotation, each, access, old):
            shown = printable(each.access_key_id)
            amend(
                error,
                f"AWS has made the key {shown} all the same, and its secret is lost",
                f"{retry} --delete-orphan {shown}",
            )
            return each.access_key_id
    # The list may learn of a key later than the one who made it.
    amend(
        error,
        "IAM lists none yet, but whether AWS has made a key all the same is not known",
        f"{retry} tells, a little later",
    )
    return None
