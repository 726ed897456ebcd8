"""Rotate one key and delete the sessions of the old one; a crash may follow any step.

The state is in the fields of the primary item, whose file is replaced atomically:

    no fields
    rotation_started, rotation_known_keys   the quota was checked; AWS may have created a key
    next_*                                  the new key is stored; AWS may not know it yet
    previous_*                              the new key is current; the old one still exists
    previous_deactivated                    the old key is inactive, and its deletion is deferred
    no fields

Wherever a run ends, the current key of the item works, and the next run continues from the fields.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import AwsError, FilevaultError, InterruptedByUserError, ProviderError
from filevault.git.subjects import edited, replaced
from filevault.rotation import creation, quota, revoke, rollback
from filevault.rotation.outcome import Outcome
from filevault.rotation.policy import (
    FRESH,
    end_of_grace,
    is_deletion_left,
    is_due,
    reason_to_wait,
    with_promise,
)
from filevault.rotation.retry import is_unknown_key
from filevault.system.printable import printable
from filevault.system.signals import signals_blocked
from filevault.system.times import format_time
from filevault.vault.rotation_fields import NO_FIELDS, RotationFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.job import Job
    from filevault.rotation.outcome import Progress, RotationOptions
    from filevault.rotation.stored_item import StoredItem


class Rotation:
    """The rotation of one key.

    Args:
        job: the parts that all steps share.
        options: the options of the command line.
        clock: returns Unix seconds.
        progress: shows the steps.
        drop_sessions: deletes the cached sessions that were obtained with the key of an item.
    """

    def __init__(
        self,
        job: Job,
        options: RotationOptions,
        *,
        clock: Callable[[], float],
        progress: Progress,
        drop_sessions: Callable[[str], None],
    ) -> None:
        self._job = job
        self._options = options
        self._clock = clock
        self._progress = progress
        self._drop_cached_sessions = drop_sessions
        self._switched = False
        # For the outcome.
        self._items = job.items.related(job.primary)
        self._user: str | None = None
        self._old_key: str | None = job.stored.key.access_key_id
        self._new_key: str | None = None
        self._old_state: str | None = None
        self._created = job.stored.created
        self._until: int | None = None
        self._orphan: str | None = None

    def run(self) -> Outcome:
        """Rotate the key, or finish what an earlier run left; failures are in the outcome.

        Raises InterruptedByUserError.
        """
        error: FilevaultError | None = None
        try:
            result = self._rotate()
        except InterruptedByUserError:
            with contextlib.suppress(FilevaultError):
                self._commit()
            raise
        except FilevaultError as failure:
            result = "partly" if self._switched else "failed"
            error = _with_second_key(failure, self._stored.fields)
        try:
            self._commit()
        except FilevaultError as failure:
            error = failure if error is None else error.add_context(failure.message)
        return self._outcome(result, error)

    def _rotate(self) -> str:
        """Take every step that is left to take; return the result for the outcome."""
        self._delete_orphan()
        waiting = self._reason_to_wait()
        if waiting is not None:
            return waiting
        finished = self._finish_earlier_run()
        if self._stored.fields.previous is not None:
            return "finished"  # its old key waits for deletion
        if not is_due(self._stored, self._options, self._clock(), FRESH if finished else 0):
            return "finished" if finished else "young"

        old = self._stored.key
        self._begin(old)
        owner = self._connect(old)
        known_keys = self._check_quota(old)
        self._note_start(known_keys)
        new, created = self._create_and_store(old, known_keys, owner)
        self._wait_until_known(new, old, owner)
        self._switch(new, created)
        self._revoke_old_key()
        return "rotated"

    def _revoke_old_key(self, *, keep: bool = True) -> None:
        """Take the steps after the switch: the new key is current, the old one is the previous.

        With `keep` an old key that --keep-old or --grace promised to keep stays, inactive.
        """
        new, previous = self._stored.key, self._previous()
        self._replace_in_other_items(new, previous)
        self._drop_sessions()
        self._connect_or_roll_back(new, previous)
        self._publish()
        self._deactivate(previous)
        if keep and self._is_old_key_promised():
            self._begin_grace()
        else:
            self._delete(previous)
            self._job.set_fields(NO_FIELDS)

    # Work that an earlier run left

    def _reason_to_wait(self) -> str | None:
        """Return `young` or `waiting` if nothing is left but an old key that is to stay."""
        if not is_deletion_left(self._stored):
            return None
        result = reason_to_wait(self._stored, self._options, self._clock())
        if result is not None:
            self._old_key = self._previous().access_key_id
            self._new_key = self._stored.key.access_key_id
            self._old_state = "inactive"
            self._until = end_of_grace(self._stored, self._options)
        return result

    def _finish_earlier_run(self) -> bool:
        """Continue from the fields of the item; return whether an earlier rotation was finished."""
        fields = self._stored.fields
        if is_deletion_left(self._stored):
            kept = with_promise(fields, self._options).kept
            self._delete_deactivated_key()
            return not kept  # a kept key is deleted only because a new one is about to be created
        if fields.previous is not None:
            self._switched = True
            self._revoke_old_key()
            return True
        return fields.next is not None and self._continue_with(fields.next)

    def _delete_deactivated_key(self) -> None:
        """Delete an old key that need not stay any longer, if it still is inactive."""
        new, previous = self._stored.key, self._previous()
        self._note_keys(previous, new)
        self._old_state = "inactive"
        self._connect(new)
        revoke.check_still_inactive(self._job, previous)
        self._revoke_old_key(keep=False)

    def _continue_with(self, new: AccessKey) -> bool:
        """Continue with a new key that an earlier run stored; return False if it is gone at AWS."""
        old = self._stored.key
        creation.check_newer(new, self._stored)
        self._note_keys(old, new)
        self._old_state = "active"
        owner = None
        try:
            owner = self._connect(old)
        except AwsError as error:
            # The old key may have been deleted, and the new one be the only one that works. In a
            # shared store others may as well have put in a new key of their own.
            if not is_unknown_key(error) or not self._job.items.are_authentic:
                raise
        created = None
        if owner is not None:
            listed = {each.access_key_id: each for each in self._job.keys.listed(old) or ()}
            if new.access_key_id in listed:
                created = listed[new.access_key_id].created
            elif listed and self._is_gone(new, old):
                return False
        self._wait_until_known(new, old, owner)
        self._switch(new, created)
        self._revoke_old_key()
        return True

    def _is_gone(self, new: AccessKey, old: AccessKey) -> bool:
        """Return whether AWS has lost a new key that IAM does not list; if so, remove it here.

        IAM may not list a key yet that was created a moment ago, and its secret is only here.
        """
        try:
            self._ask_until_known(new)
        except AwsError as error:
            if not is_unknown_key(error):
                raise
            undone = self._delete_new_key(new, old)
            if not undone.deleted:
                raise undone.explain(error) from error
            return True
        return False

    # The steps, in order

    def _delete_orphan(self) -> None:
        access_key_id = self._options.delete_orphan
        if access_key_id is None:
            return
        revoke.check_orphan(self._job.items, access_key_id, self._job.command)
        self._connect(self._stored.key)
        self._progress.step(f"deleting {printable(access_key_id)}")
        revoke.delete_orphan(self._job, access_key_id)

    def _begin(self, old: AccessKey) -> None:
        self._switched = False
        self._old_key, self._new_key = old.access_key_id, None
        self._old_state = "active"

    def _connect(self, key: AccessKey) -> Identity:
        """Ask AWS for the owner of the key, and obtain the session that signs the calls."""
        if self._user is None:
            self._progress.step("asking AWS whose key it is")
        owner = self._job.keys.connect(key)
        self._job.items.remember_account(key, owner.account)
        self._user = owner.user_name or owner.arn
        return owner

    def _check_quota(self, old: AccessKey) -> tuple[str, ...] | None:
        """Return the ids of the user's keys, None where listing them is not allowed.

        Raises ProviderError if IAM's quota is used up.
        """
        listed = self._job.keys.listed(old)
        if listed is None:
            return None
        other = quota.other_key(listed, old.access_key_id)
        if other is not None:
            owners = self._job.items.containing(other.access_key_id)
            self._orphan = None if owners else other.access_key_id
            raise quota.quota_error(self._job, other, owners)
        return tuple(each.access_key_id for each in listed)

    def _note_start(self, known_keys: tuple[str, ...] | None) -> None:
        """Store that the rotation begins, and what --keep-old or --grace promises."""
        started = RotationFields(format_time(self._clock()), known_keys)
        self._job.set_fields(with_promise(started, self._options))

    def _create_and_store(
        self, old: AccessKey, known_keys: tuple[str, ...] | None, owner: Identity
    ) -> tuple[AccessKey, int | None]:
        """Create a key and store it as the next one, before anything can interrupt the process.

        Return the key and its time of creation, in Unix seconds.
        """
        self._progress.step("making a new key")
        with signals_blocked() as unblock:
            try:
                made = creation.create_key(self._job, known_keys, owner)
            except FilevaultError as error:
                unblock()
                failure = creation.explain_failure(self._job, error, known_keys)
                self._orphan = failure.orphan or self._orphan
                raise failure.error from error
            self._new_key = made.key.access_key_id
            try:
                creation.check_usable(self._job, made, owner)
                self._job.set_fields(self._stored.fields._replace(next=made.key))
            except FilevaultError as error:
                raise self._delete_new_key(made.key, old).explain(error) from error
            except BaseException:
                self._delete_new_key(made.key, old)
                raise
        return made.key, made.created

    def _wait_until_known(self, new: AccessKey, old: AccessKey, owner: Identity | None) -> None:
        """Wait until AWS knows the new key as one of the same user; delete it if that fails."""
        self._progress.step("waiting until AWS knows the new key")
        try:
            found = self._ask_until_known(new)
            if owner is not None and found != owner:
                raise ProviderError(
                    f"the new key belongs to {printable(found.arn)}, the old one to "
                    f"{printable(owner.arn)}"
                )
            self._job.items.remember_account(new, found.account)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            if owner is None:
                raise
            undone = self._delete_new_key(new, old)
            failure = undone.explain(error)
            if undone.deleted:
                failure = failure.add_context(
                    "the new key was deleted again, the old one is untouched",
                    hint=None if undone.orphan else f"{self._job.command} makes another",
                )
            raise failure from error

    def _ask_until_known(self, new: AccessKey) -> Identity:
        keys = self._job.keys
        return self._job.retry.until_known(lambda: keys.identity_of(new, short_timeouts=True))

    def _switch(self, new: AccessKey, created: int | None) -> None:
        """Make the new key the current one of the primary item, and the old one the previous."""
        stored = self._stored
        fields = with_promise(stored.fields, self._options)._replace(
            next=None,
            previous=stored.key,
            previous_created=stored.item.created,
            previous_created_from=stored.item.created_from,
        )
        self._progress.step("storing the new key")
        # If IAM does not say when, assume the start of the rotation: the key cannot be older.
        moment, origin = stored.fields.started, "add"
        if created is not None:
            moment, origin = format_time(created), "iam"
        items, primary = self._job.items, self._job.primary
        try:
            items.set_key(primary, new, fields, created=moment, created_from=origin)
        except FilevaultError as error:
            self._switched = items.may_be_current(primary, new)
            if self._switched:
                raise
            raise self._delete_new_key(new, stored.key).explain(error) from error
        self._switched = True

    def _replace_in_other_items(self, new: AccessKey, previous: AccessKey) -> None:
        """Make the new key the current one of all other items that have the old one."""
        self._note_keys(previous, new)
        self._created = self._stored.created
        item = self._stored.item
        for other in self._job.items.with_current_key(previous):
            self._job.items.set_key(
                other.name,
                new,
                NO_FIELDS,
                created=item.created,
                created_from=item.created_from,
            )

    def _drop_sessions(self) -> None:
        """Delete the cached sessions that were obtained with the old key."""
        for name in self._items:
            self._drop_cached_sessions(name)

    def _connect_or_roll_back(self, new: AccessKey, previous: AccessKey) -> None:
        """Connect with the new key; make the old one current again if AWS has lost the new one."""
        try:
            # Parts of AWS may learn of a key later than others.
            self._job.keys.owner(new, self._job.retry)
        except AwsError as error:
            if not is_unknown_key(error) or not rollback.roll_back_to(self._job, previous):
                raise
            self._begin(previous)
            raise error.add_context(
                f"AWS no longer accepts the key {printable(new.access_key_id)}, and the old one, "
                "which still works, is the current key again",
                hint=f"{self._job.command} makes another",
            ) from error
        self._connect(new)

    def _publish(self) -> None:
        """Commit and push the new key, if pushing is asked for, before the old one is revoked."""
        self._job.items.commits.publish(replaced, (self._job.primary, *self._items))

    def _deactivate(self, previous: AccessKey) -> None:
        self._progress.step("deactivating the old key")
        revoke.deactivate(self._job, previous)
        self._old_state = "inactive"

    def _is_old_key_promised(self) -> bool:
        """Return whether the old key is to stay inactive, with `--keep-old` or `--grace`."""
        promise = with_promise(self._stored.fields, self._options)
        return promise.kept or bool(promise.grace)

    def _begin_grace(self) -> None:
        """Store when the old key was deactivated; a later run deletes it."""
        fields = with_promise(self._stored.fields, self._options)
        now = format_time(self._clock())
        self._job.set_fields(fields._replace(started=None, known_keys=None, deactivated=now))
        self._until = end_of_grace(self._stored, self._options)

    def _delete(self, previous: AccessKey) -> None:
        self._progress.step("deleting the old key")
        revoke.delete(self._job, previous)
        self._old_state = "deleted"

    def _commit(self) -> None:
        """Commit what was written, and what an earlier run wrote and did not commit."""
        commits = self._job.items.commits
        finished = self._switched or not commits.pending
        commits.commit(replaced if finished else edited, (self._job.primary, *self._items))

    # Helpers

    @property
    def _stored(self) -> StoredItem:
        return self._job.stored

    def _previous(self) -> AccessKey:
        previous = self._stored.fields.previous
        assert previous is not None  # noqa: S101 - for mypy
        return previous

    def _note_keys(self, old: AccessKey, new: AccessKey) -> None:
        self._old_key, self._new_key = old.access_key_id, new.access_key_id

    def _delete_new_key(self, new: AccessKey, old: AccessKey) -> rollback.Rollback:
        """Undo the creation of the new key, and note the result for the outcome."""
        undone = rollback.delete_new_key(self._job, new, old)
        if undone.deleted:
            self._new_key = None
        if undone.orphan is not None or not undone.deleted:
            self._orphan = undone.orphan
        return undone

    def _outcome(self, result: str, error: FilevaultError | None) -> Outcome:
        return Outcome(
            profile=self._job.profile,
            result=result,
            item=self._job.primary,
            items=self._items,
            user=self._user,
            old_key=self._old_key,
            new_key=self._new_key,
            old_state=self._old_state,
            created=self._created,
            until=self._until,
            orphan=self._orphan,
            same_as=None,
            error=error,
        )


def _with_second_key(error: FilevaultError, fields: RotationFields) -> FilevaultError:
    """If the error's hint is to store another key, add that this loses the item's second key."""
    other = fields.next or fields.previous
    if other is None or error.hint is None or "--force" not in error.hint:
        return error
    return error.add_context(
        hint=f"{error.hint}, but throws away the secret of {printable(other.access_key_id)}, which "
        "the item also contains"
    )
