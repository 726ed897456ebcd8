"""Judging the answer to CreateAccessKey, and what became of a call that failed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.aws.errors import is_plain_refusal, may_have_taken_effect
from filevault.credentials import account_of
from filevault.errors import AwsError, FilevaultError, NetworkError, ProviderError, UsageError
from filevault.rotation.quota import is_unused, listed
from filevault.rotation.rollback import amend
from filevault.system.printable import printable, shell_word
from filevault.vault.item import check_access_key
from filevault.vault.rotation_fields import RotationFields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.aws.iam import ListedKey, MadeKey
    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items
    from filevault.rotation.stored_item import Stored

_OPERATION = "CreateAccessKey"
_SOUND = "0123456789" * 4  # a secret of the right form, to judge an id alone


def refuse_known(
    made: MadeKey,
    items: Items,
    leader: str,
    access: Access,
    known: Sequence[str] | None,
    identity: Identity,
) -> None:
    """Raise NotAwsError unless the answer has the id of a key that was not known before the call.

    Args:
        made: the answer.
        items: the vault's items, which are read again where they have changed.
        leader: the item whose key is to be replaced.
        access: how AWS is reached.
        known: the ids of the user's keys before the call, None if nobody may list them.
        identity: whose key it is to be.

    To take a known id for the new one would delete that key in the end. What AWS has made, if
    anything, is unknown then.
    """
    with contextlib.suppress(FilevaultError):
        items.refresh(leader)
    old = items.stored(leader).key
    keys = access.keys(old)
    new_id = made.key.access_key_id
    try:
        check_access_key(made.key._replace(secret_access_key=_SOUND))
    except UsageError:
        raise keys.not_from_aws(_OPERATION, "what it names is not an access key id") from None
    ids = [old.access_key_id, *(known or ())]
    if items.knows(new_id) or new_id.lower() in [each.lower() for each in ids]:
        raise keys.not_from_aws(
            _OPERATION, f"it names the key {printable(new_id)}, which was there before"
        )
    # Emulators of AWS have ids that say nothing of the account.
    account = account_of(new_id)
    if account_of(old.access_key_id) == identity.account and account != identity.account:
        raise keys.not_from_aws(
            _OPERATION, f"it names the key {printable(new_id)}, which is of another account"
        )


def check_made(
    made: MadeKey, items: Items, access: Access, old: AccessKey, identity: Identity
) -> None:
    """Raise NotAwsError or ProviderError for a new key that cannot be used; it is to be deleted."""
    keys = access.keys(old)
    try:
        check_access_key(made.key)
    except UsageError:
        raise keys.not_from_aws(_OPERATION, "it holds no secret access key") from None
    if items.has_secret(made.key.secret_access_key):
        raise keys.not_from_aws(
            _OPERATION, "its secret access key is one that the vault holds already"
        )
    if made.user_name.lower() not in ("", (identity.user_name or "").lower()):
        raise ProviderError("AWS made the key for another user")


def refuse_older(new: AccessKey, stored: Stored) -> None:
    """Raise ProviderError for a key to go on with that was there before its rotation was begun."""
    if new.access_key_id in (stored.rotation.known_keys or ()):
        raise ProviderError(
            f"the item {printable(stored.name)!r} has {printable(new.access_key_id)} as the new "
            "key of a rotation, but that key was there before it",
            hint="store the key that works with "
            f"filevault add {shell_word(stored.name)} --force --discard, which drops the others "
            "that the item holds",
        )


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
    refused = not may_have_taken_effect(error)
    if refused and is_plain_refusal(error):
        if isinstance(error, AwsError) and error.code == "LimitExceeded":
            error.hint = (
                "allow iam:ListAccessKeys to be told which keys there are, or delete the one "
                f"that nobody needs: {retry} --delete-orphan KEYID"
            )
        with contextlib.suppress(FilevaultError):
            items.set_rotation(leader, RotationFields())
        return None
    found = None
    with contextlib.suppress(FilevaultError):
        found = listed(access, old)
    for each in () if found is None or known is None else found:
        if _is_new(each, items, known, access, old):
            shown = printable(each.access_key_id)
            amend(
                error,
                f"AWS has made the key {shown} all the same, and its secret is lost",
                f"{retry} --delete-orphan {shown}",
            )
            return each.access_key_id
    if refused:
        with contextlib.suppress(FilevaultError):
            items.set_rotation(leader, RotationFields())
        return None
    named = _named(error, items, known)
    if named is not None:
        amend(
            error,
            f"the answer names the key {named}, and whether AWS has made it is not known",
            f"look at {named} in IAM; if nobody needs it: {retry} --delete-orphan {named}",
        )
    elif found is None or known is None:
        amend(error, "whether AWS has made a key all the same is not known")
    else:
        # The list may learn of a key later than the one who made it.
        amend(
            error,
            "IAM lists none yet, but whether AWS has made a key all the same is not known",
            f"{retry} tells, a little later",
        )
    return named


def _is_new(
    each: ListedKey, items: Items, known: Sequence[str] | None, access: Access, old: AccessKey
) -> bool:
    """Tell of a listed key whether it was made by the call, or at the same time by somebody else.

    When it was made does not matter, since the list without it is a moment old.
    """
    if each.access_key_id in (known or ()) or items.knows(each.access_key_id):
        return False
    return is_unused(each, access, old)


def _named(error: FilevaultError, items: Items, known: Sequence[str] | None) -> str | None:
    """Return an access key id in an answer that could not be used, None if all were known."""
    ids = error.key_ids if isinstance(error, NetworkError) else ()
    fresh = (each for each in ids if each not in (known or ()) and not items.knows(each))
    return next(fresh, None)
