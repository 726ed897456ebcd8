"""Undo the rotation of a key: delete the new key after a failure, or go back to the old key."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from filevault.credentials import account_of
from filevault.errors import AwsError, FilevaultError, InterruptedByUserError, ProviderError
from filevault.rotation.keys import NO_SUCH_KEY
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.rotation_fields import NO_FIELDS

if TYPE_CHECKING:
    from filevault.credentials import AccessKey
    from filevault.rotation.job import Job

_TRIES = 5
_PAUSE = 2.0  # seconds
_Error = TypeVar("_Error", bound=FilevaultError)


class Rollback(Record):
    """Result of deleting a new key; `orphan` is the id of a key whose secret is lost.

    `deleted` says whether the new key is gone at AWS. `context` and `hint` are added to the error
    that led to the rollback; they are an empty text and None if there is nothing
    to add.
    """

    deleted: bool
    orphan: str | None = None
    context: str = ""
    hint: str | None = None

    def explain(self, error: _Error) -> _Error:
        """Return a copy of the error that led to the rollback, with the result of the rollback."""
        return error.add_context(self.context, hint=self.hint)


def delete_new_key(job: Job, new: AccessKey, old: AccessKey) -> Rollback:
    """Delete the new key and clear the rotation fields; `old` signs the calls.

    A key that the vault contains elsewhere is never deleted. If the key is
    deleted but its fields cannot be cleared, the next run sees that AWS does not have the key.
    """
    access_key_id = new.access_key_id
    with contextlib.suppress(FilevaultError):
        job.items.refresh(job.primary)
    try:
        _check_own(job, new, old)
        existed = _delete(job, new, old)
    except FilevaultError as error:
        orphan = None if _is_stored(job, access_key_id) else access_key_id
        return Rollback(
            deleted=False,
            orphan=orphan,
            context=f"the new key {access_key_id} could not be deleted at AWS: {error.message}",
            hint=job.command + (f" --delete-orphan {access_key_id}" if orphan else ""),
        )
    done, fields = Rollback(deleted=True), NO_FIELDS
    # If IAM does not have the key, AWS created none, or one with another id than it returned.
    orphan = None if existed else _unknown_key(job, old)
    if orphan is not None:
        fields = job.stored.fields._replace(next=None)
        shown = printable(orphan)
        done = Rollback(
            deleted=True,
            orphan=orphan,
            context=f"IAM lists the key {shown}, which was not there before, and its secret is "
            "lost",
            hint=f"{job.command} --delete-orphan {shown}",
        )
    with contextlib.suppress(FilevaultError):
        job.items.reread(job.primary)
        job.set_fields(fields)
    return done


def _check_own(job: Job, new: AccessKey, old: AccessKey) -> None:
    """Raise ProviderError unless a key certainly belongs to this rotation alone."""
    known = job.items.mentions(new.access_key_id, next_key=(job.primary, new))
    if known or new.access_key_id == old.access_key_id:
        raise ProviderError("the vault has had it before")
    unreadable = job.items.unreadable()
    if unreadable and job.stored.fields.known_keys is None:
        raise ProviderError(
            f"{printable(unreadable[0])!r}, which may contain its secret, cannot be opened"
        )


def _delete(job: Job, new: AccessKey, old: AccessKey) -> bool:
    """Delete a key at AWS; return whether IAM had it."""
    keys = job.keys.signed_by(old)
    for left in reversed(range(_TRIES)):
        try:
            keys.delete(new.access_key_id)
        except AwsError as error:
            # IAM itself may not know a key yet that it has just created.
            if error.code != NO_SUCH_KEY:
                raise
            if left:
                job.retry.pause(_PAUSE)
        else:
            return True
    job.keys.check_gone(new)
    return False


def _is_stored(job: Job, access_key_id: str) -> bool:
    try:
        return job.items.reread(job.primary).contains(access_key_id)
    except FilevaultError:
        return False


def _unknown_key(job: Job, old: AccessKey) -> str | None:
    """Return the id of a key of the user that did not exist before, None if there is none."""
    known = job.stored.fields.known_keys
    if known is None:
        return None
    with contextlib.suppress(FilevaultError):
        for each in job.keys.signed_by(old).listed():
            if each.access_key_id not in known and not job.items.mentions(each.access_key_id):
                return each.access_key_id
    return None


def roll_back_to(job: Job, previous: AccessKey) -> bool:
    """Make the previous key current again, if AWS rejects the new one and accepts the previous.

    Where IAM lists the new key as active, nothing is done. The new key is kept in `next_*`,
    as a key that AWS may not know yet. Return whether the previous key is current again.
    """
    stored = job.stored
    new, fields = stored.key, stored.fields
    account = account_of(previous.access_key_id)
    if not job.items.are_authentic and (
        account is None or account != account_of(new.access_key_id)
    ):
        return False  # others who can write the store may have put the previous key in
    try:
        if not job.keys.works(previous) or _is_listed_as_active(job, previous, new):
            return False
        unproven = fields._replace(
            next=new, previous=None, previous_created=None, previous_created_from=None
        )
        for each in job.items.with_current_key(new):
            job.items.set_key(
                each.name,
                previous,
                unproven if each.name == job.primary else NO_FIELDS,
                created=fields.previous_created,
                created_from=fields.previous_created_from,
            )
    except InterruptedByUserError:
        raise
    except FilevaultError:
        return False
    return True


def _is_listed_as_active(job: Job, previous: AccessKey, new: AccessKey) -> bool:
    """Return whether IAM lists the new key as active; False if the previous key cannot list."""
    try:
        listed = job.keys.listed(previous) or ()
    except InterruptedByUserError:
        raise
    except FilevaultError:
        return False
    return any(each.active and each.access_key_id == new.access_key_id for each in listed)
