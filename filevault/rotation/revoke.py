"""Revoke the old key, unless an item uses the key again or it was made active again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import AwsError, FilevaultError, ProviderError, StorageError, UsageError
from filevault.rotation.keys import NO_SUCH_KEY
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import AccessKey
    from filevault.rotation.items import Items
    from filevault.rotation.job import Job


def deactivate(job: Job, key: AccessKey) -> None:
    """Set a key Inactive, unless it is the current key of an item; this can be reversed.

    Another process may store the key during the call: then the key is activated again, and
    StorageError is raised. Raises as `delete`.
    """
    keys = job.keys.signed_by(job.stored.key, short_timeouts=True)
    _revoke(job, key, keys.deactivate)
    try:
        job.items.check_not_current(key.access_key_id, job.primary)
    except StorageError as error:
        if not job.items.with_current_id(key.access_key_id):
            raise
        try:
            keys.activate(key.access_key_id)
        except FilevaultError as second:
            raise error.add_context(f"the key stays inactive: {second.message}") from error
        raise error.add_context("it was made active again") from error


def delete(job: Job, key: AccessKey) -> None:
    """Delete a key, unless it is the current key of an item. A key that is gone is no error.

    Raises StorageError if an item uses the key, ProviderError if it belongs to another user, and
    what the call raises.
    """
    _revoke(job, key, job.keys.signed_by(job.stored.key, short_timeouts=True).delete)


def _revoke(job: Job, key: AccessKey, call: Callable[[str], None]) -> None:
    """Make a call for a key; before each attempt, check that no item uses the key by now.

    The vault's flock is taken for the check, and not during the call, which AWS can delay.
    """

    def attempt() -> None:
        job.items.check_not_current(key.access_key_id, job.primary)
        call(key.access_key_id)

    try:
        job.retry.until_known(attempt)
    except AwsError as error:
        if error.code != NO_SUCH_KEY:
            raise
        job.keys.check_gone(key)


def check_still_inactive(job: Job, previous: AccessKey) -> None:
    """Raise ProviderError if a deactivated key was activated again, and so is needed."""
    listed = job.keys.listed(job.stored.key)
    # If listing is not allowed, AWS is asked with the key itself: it rejects an inactive one.
    if listed is None:
        active = job.keys.works(previous)
    else:
        active = any(
            each.active and each.access_key_id == previous.access_key_id for each in listed
        )
    if active:
        raise ProviderError(
            f"the old key {printable(previous.access_key_id)} was made active again, and "
            f"{job.keys.last_use_text(previous.access_key_id, job.stored.key)}; it is left alone",
            hint="give the new key to the programs that use the old one, then make that inactive: "
            "the next run deletes it",
        )


def delete_orphan(job: Job, access_key_id: str) -> None:
    """Delete a key whose secret is lost. A key that is gone is no error."""
    keys = job.keys.signed_by(job.stored.key, short_timeouts=True)
    try:
        job.retry.until("AWS to take the key", lambda: keys.delete(access_key_id))
    except AwsError as error:
        if error.code != NO_SUCH_KEY:
            raise


def check_orphan(items: Items, access_key_id: str, command: str) -> None:
    """Raise UsageError or ProviderError if an item contains a key, or might, that is to go."""
    if items.containing(access_key_id):
        raise UsageError(
            f"{printable(access_key_id)} is no orphan: the vault contains its secret",
            hint=f"{command} finishes what is unfinished",
        )
    unreadable = items.unreadable()
    if unreadable:
        raise ProviderError(
            f"{printable(access_key_id)} is not deleted, because {printable(unreadable[0])!r}, "
            "which may contain its secret, cannot be opened",
            hint="restore that item, or delete the key with aws iam delete-access-key",
        )
