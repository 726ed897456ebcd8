"""Create the new key: check the answer to CreateAccessKey; explain a call that failed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.aws.errors import is_plain_refusal, may_have_taken_effect
from filevault.credentials import account_of
from filevault.errors import AwsError, FilevaultError, NetworkError, ProviderError, UsageError
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.item import check_access_key
from filevault.vault.rotation_fields import NO_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.aws.iam import MadeKey
    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.job import Job
    from filevault.rotation.stored_item import StoredItem

_OPERATION = "CreateAccessKey"
_VALID_SECRET = "0123456789" * 4  # to check an id alone


def create_key(job: Job, known: Sequence[str] | None, owner: Identity) -> MadeKey:
    """Create a key and check that its id is new.

    Args:
        job: the rotation.
        known: the ids of the user's keys before the call, None if they are unknown.
        owner: the user of the current key.

    Raises NotAwsError for an id that existed before the call: to take it for the new key would
    delete that key in the end. It is then unknown whether AWS has created a key.
    """
    created = job.keys.signed_by(job.stored.key).create()
    with contextlib.suppress(FilevaultError):
        job.items.refresh(job.primary)
    old = job.stored.key
    keys = job.keys.signed_by(old)
    new_id = created.key.access_key_id
    try:
        check_access_key(created.key._replace(secret_access_key=_VALID_SECRET))
    except UsageError:
        raise keys.not_from_aws(_OPERATION, "what it names is not an access key id") from None
    existing = [each.lower() for each in (old.access_key_id, *(known or ()))]
    if job.items.mentions(new_id) or new_id.lower() in existing:
        raise keys.not_from_aws(
            _OPERATION, f"it names the key {printable(new_id)}, which was there before"
        )
    # The ids of AWS's emulators do not contain the account.
    account = account_of(new_id)
    if account_of(old.access_key_id) == owner.account and account != owner.account:
        raise keys.not_from_aws(
            _OPERATION, f"it names the key {printable(new_id)}, which is of another account"
        )
    return created


def check_usable(job: Job, created: MadeKey, owner: Identity) -> None:
    """Raise NotAwsError or ProviderError for a new key that cannot be used and is to be deleted."""
    keys = job.keys.signed_by(job.stored.key)
    try:
        check_access_key(created.key)
    except UsageError:
        raise keys.not_from_aws(_OPERATION, "it has no secret access key") from None
    if job.items.has_secret(created.key.secret_access_key):
        raise keys.not_from_aws(
            _OPERATION, "its secret access key is one that the vault contains already"
        )
    if created.user_name.lower() not in ("", (owner.user_name or "").lower()):
        raise ProviderError("AWS made the key for another user")


def check_newer(new: AccessKey, stored: StoredItem) -> None:
    """Raise ProviderError if the next key of an item existed before its rotation began."""
    if new.access_key_id in (stored.fields.known_keys or ()):
        raise ProviderError(
            f"the item {printable(stored.name)!r} has {printable(new.access_key_id)} as the new "
            "key of a rotation, but that key was there before it",
            hint="store the key that works with "
            f"filevault add {shell_word(stored.name)} --force --discard, which drops the others "
            "that the item contains",
        )


class CreationFailure(Record):
    """A failed CreateAccessKey: the error to raise, and the id of a key whose secret is lost."""

    error: FilevaultError
    orphan: str | None = None


def explain_failure(
    job: Job, error: FilevaultError, known: tuple[str, ...] | None
) -> CreationFailure:
    """Find out whether a failed call had an effect; clear the rotation fields if it had none.

    Args:
        job: the rotation.
        error: how the call failed.
        known: the ids of the user's keys before the call, None if they are unknown.
    """
    refused = not may_have_taken_effect(error)
    if refused and is_plain_refusal(error):
        _clear_fields(job)
        hint = None
        if isinstance(error, AwsError) and error.code == "LimitExceeded":
            hint = (
                "allow iam:ListAccessKeys, so that the keys can be named, or delete the one "
                f"that is not needed: {job.command} --delete-orphan KEYID"
            )
        return CreationFailure(error.add_context(hint=hint))
    found, orphan = _find_orphan(job, known)
    if orphan is not None:
        shown = printable(orphan)
        composed = error.add_context(
            f"AWS has made the key {shown} all the same, and its secret is lost",
            hint=f"{job.command} --delete-orphan {shown}",
        )
        return CreationFailure(composed, orphan)
    if refused:
        _clear_fields(job)
        return CreationFailure(error.add_context())
    named = _new_id_in(error, job, known)
    if named is not None:
        composed = error.add_context(
            f"the answer names the key {named}, and whether AWS has made it is not known",
            hint=f"look at {named} in IAM; if it is not needed: {job.command} "
            f"--delete-orphan {named}",
        )
    elif not found:
        composed = error.add_context("whether AWS has made a key all the same is not known")
    else:
        # IAM may list a key later than it has created it.
        composed = error.add_context(
            "IAM lists none yet, but whether AWS has made a key all the same is not known",
            hint=f"{job.command} finds out, a little later",
        )
    return CreationFailure(composed, named)


def _clear_fields(job: Job) -> None:
    with contextlib.suppress(FilevaultError):
        job.set_fields(NO_FIELDS)


def _find_orphan(job: Job, known: Sequence[str] | None) -> tuple[bool, str | None]:
    """Return whether IAM listed the keys, and the id of a new key of the user that was never used.

    The key was created by the call, or by another process at the same time. Its time of creation
    does not matter, since the list without it is only a moment old.
    """
    old = job.stored.key
    listed = None
    with contextlib.suppress(FilevaultError):
        listed = job.keys.listed(old)
    if listed is None or known is None:
        return False, None
    for each in listed:
        access_key_id = each.access_key_id
        if access_key_id in known or job.items.mentions(access_key_id):
            continue
        if job.keys.was_never_used(access_key_id, old):
            return True, access_key_id
    return True, None


def _new_id_in(error: FilevaultError, job: Job, known: Sequence[str] | None) -> str | None:
    """Return an access key id in an answer that could not be used, None if all are known."""
    ids = error.key_ids if isinstance(error, NetworkError) else ()
    new = (each for each in ids if each not in (known or ()) and not job.items.mentions(each))
    return next(new, None)
