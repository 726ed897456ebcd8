"""The steps of one rotation, each of which can be the last one before a crash.

clean -> rotation_started and the ids of the user's keys -> CreateAccessKey -> next_* -> the new
key is proven -> previous_* -> the old key is inactive, then deleted -> clean. Wherever a run ends,
the item hands out a key that works, and the next run goes on from what the item says.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import (
    AwsError,
    FilevaultError,
    InterruptedByUserError,
    ProviderError,
)
from filevault.git.subjects import edited, replaced
from filevault.rotation.creation_failure import (
    check_made,
    explain_failure,
    refuse_known,
    refuse_older,
)
from filevault.rotation.outcome import Outcome
from filevault.rotation.policy import (
    FRESH,
    end_of_grace,
    is_deferred,
    is_due,
    left_as_it_is,
    promised,
)
from filevault.rotation.quota import listed, no_room
from filevault.rotation.retry import is_unknown_key
from filevault.rotation.revoke import (
    check_still_unused,
    delete_orphan,
    go_back,
    refuse_active_again,
    refuse_held,
    retire,
)
from filevault.rotation.rollback import Undo, amend, warn_of_force
from filevault.rotation.signals import signals_blocked
from filevault.system.printable import printable, shell_word
from filevault.system.times import format_time
from filevault.vault.rotation_fields import RotationFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items
    from filevault.rotation.outcome import Progress, RotationOptions
    from filevault.rotation.retry import Patience
    from filevault.rotation.stored_item import Stored


class Machine:
    """The rotation of one key.

    Args:
        items: the vault's items, loaded.
        leader: the item that holds the state.
        access: how AWS is reached.
        wish: what is asked for.
        profile: whose key it is, for messages.
        clock: Unix seconds.
        sleep: takes seconds.
        patience: waits until AWS knows a key.
        progress: hears what is done.
        drop_sessions: deletes the sessions that were made from the key of an item.
    """

    def __init__(
        self,
        items: Items,
        leader: str,
        access: Access,
        wish: RotationOptions,
        *,
        profile: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        patience: Patience,
        progress: Progress,
        drop_sessions: Callable[[str], None],
    ) -> None:
        self._items = items
        self._leader = leader
        self._access = access
        self._wish = wish
        self._clock = clock
        self._patience = patience
        self._progress = progress
        self._drop_sessions = drop_sessions
        self._retry = retry = f"filevault rotate {shell_word(profile)}"
        self._undo = Undo(items, leader, access, sleep, retry)
        self._in_place = False
        self._found = Outcome(profile, "failed", leader)

    def run(self) -> Outcome:
        """Rotate, finish or undo; whatever goes wrong is in the outcome.

        Raises InterruptedByUserError alone.
        """
        stored = self._stored
        self._note(
            items=tuple(each.name for each in self._items.related(self._leader)),
            old_key=stored.key.access_key_id,
            created=stored.created,
        )
        try:
            self._note(result=self._run())
        except InterruptedByUserError:
            with contextlib.suppress(FilevaultError):
                self._commit()
            raise
        except FilevaultError as error:
            warn_of_force(error, self._stored.rotation)
            self._note(result="partly" if self._in_place else "failed", error=error)
        try:
            self._commit()
        except FilevaultError as error:
            if self._found.error is None:
                self._note(error=error)
            else:
                amend(self._found.error, error.message)
        return self._found

    def _commit(self) -> None:
        """Commit what was written, and what an earlier run wrote and did not commit."""
        done = self._in_place or not self._items.uncommitted
        self._items.commit(replaced if done else edited, (self._leader, *self._found.items))

    @property
    def _stored(self) -> Stored:
        return self._items.stored(self._leader)

    def _note(self, **found: object) -> None:
        self._found = self._found._replace(**found)

    def _run(self) -> str:
        if self._wish.delete_orphan is not None:
            self._delete_orphan(self._wish.delete_orphan)
        rotation = self._stored.rotation
        finished = False
        if is_deferred(self._stored):
            left = left_as_it_is(self._found, self._stored, self._wish, self._clock())
            if left is not None:
                self._found = left
                return left.result
            # A kept key goes for no other reason than that a new one is about to be made.
            finished = not promised(rotation, self._wish).kept
            self._end_deferred()
        elif rotation.previous is not None:
            self._in_place = finished = True
            self._finish()
        elif rotation.next is not None:
            finished = self._adopt(rotation.next)
        if self._stored.rotation.previous is not None:
            return "finished"  # and the old key has only begun to wait
        if not is_due(self._stored, self._wish, self._clock(), FRESH if finished else 0):
            return "finished" if finished else "young"
        self._make_new()
        return "rotated"

    # One step after the other

    def _end_deferred(self) -> None:
        """Delete an old key whose time is over, if it still is inactive."""
        key, previous = self._stored.key, self._stored.rotation.previous
        assert previous is not None  # noqa: S101 - for mypy
        self._note(old_key=previous.access_key_id, new_key=key.access_key_id, old_state="inactive")
        self._connect(key)
        refuse_active_again(self._access, key, previous)
        self._finish(keep=False)

    def _make_new(self) -> None:
        self._in_place = False
        old = self._stored.key
        self._note(old_key=old.access_key_id, new_key=None, old_state="active")
        identity = self._connect(old)
        known = self._room(old)
        made, created = self._create(old, known, identity)
        self._prove(made, old, identity)
        self._switch(made, created)
        self._finish()

    def _adopt(self, new: AccessKey) -> bool:
        """Go on with a key that an earlier run made and stored; False if AWS has it no more."""
        old = self._stored.key
        refuse_older(new, self._stored)
        self._note(old_key=old.access_key_id, new_key=new.access_key_id, old_state="active")
        identity = None
        try:
            identity = self._connect(old)
        except AwsError as error:
            # Somebody may have deleted the old key, and left the new one as the only one that
            # works. In a shared store somebody may as well have put in a new key of theirs.
            if not is_unknown_key(error) or not self._items.are_authentic:
                raise
        created = None
        if identity is not None:
            found = {each.access_key_id: each for each in listed(self._access, old) or ()}
            if new.access_key_id in found:
                created = found[new.access_key_id].created
            elif found and self._is_gone(new, old):
                return False
        self._prove(new, old, identity)
        self._switch(new, created)
        self._finish()
        return True

    def _is_gone(self, new: AccessKey, old: AccessKey) -> bool:
        """Tell of a stored key that IAM does not list whether it is gone, and forget it if so.

        What was made a moment ago may be missing from the list; its secret is only here.
        """
        try:
            self._patience.ask(
                "AWS to know the new key",
                lambda: self._access.identity_of(new, short_timeouts=True),
            )
        except AwsError as error:
            if not is_unknown_key(error):
                raise
            if not self._take_back(new, old, error):
                raise
            return True
        return False

    def _connect(self, key: AccessKey) -> Identity:
        if self._found.user is None:
            self._progress.step("asking AWS whose key it is")
        identity = self._access.connect(key)
        self._items.learn(key, identity.account)
        self._note(user=identity.user_name or identity.arn)
        return identity

    def _room(self, old: AccessKey) -> tuple[str, ...] | None:
        """Return the ids of the user's keys, if there is room for one more; None if unknown.

        Raises ProviderError that names the other key and the way out.
        """
        found = listed(self._access, old)
        if found is None:
            return None
        for other in found:
            if other.access_key_id != old.access_key_id:
                holders = self._items.holders(other.access_key_id)
                self._note(orphan=None if holders else other.access_key_id)
                raise no_room(self._access, self._stored, other, holders, self._retry)
        return tuple(each.access_key_id for each in found)

    def _create(
        self, old: AccessKey, known: tuple[str, ...] | None, identity: Identity
    ) -> tuple[AccessKey, int | None]:
        """Make a key and store it at once, so that its secret is never in memory alone for long."""
        begun = promised(RotationFields(format_time(self._clock()), known), self._wish)
        self._items.set_rotation(self._leader, begun)
        self._progress.step("making a new key")
        with signals_blocked() as unblock:
            try:
                made = self._access.keys(old).create()
                # Before anything goes by the id, and so before it could be deleted.
                refuse_known(made, self._items, self._leader, self._access, known, identity)
            except FilevaultError as error:
                unblock()
                orphan = explain_failure(
                    error, self._items, self._leader, self._access, known, self._retry
                )
                if orphan is not None:
                    self._note(orphan=orphan)
                raise
            self._note(new_key=made.key.access_key_id)
            try:
                check_made(made, self._items, self._access, old, identity)
                self._items.set_rotation(self._leader, begun._replace(next=made.key))
            except BaseException as error:
                self._take_back(made.key, old, error)
                raise
        return made.key, made.created

    def _prove(self, new: AccessKey, old: AccessKey, identity: Identity | None) -> None:
        """Wait until AWS takes the new key for one of the same user; else roll back."""
        self._progress.step("waiting until AWS knows the new key")
        try:
            found = self._patience.ask(
                "AWS to know the new key",
                lambda: self._access.identity_of(new, short_timeouts=True),
            )
            if identity is not None and found != identity:
                raise ProviderError(
                    f"the new key belongs to {printable(found.arn)}, the old one to "
                    f"{printable(identity.arn)}"
                )
            self._items.learn(new, found.account)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            if identity is not None and self._take_back(new, old, error):
                amend(
                    error,
                    "the new key was deleted again, the old one is untouched",
                    None if self._undo.orphan else f"{self._retry} makes another",
                )
            raise

    def _switch(self, new: AccessKey, created: int | None) -> None:
        stored = self._stored
        old, rotation = stored.key, stored.rotation
        after = promised(rotation, self._wish)._replace(
            next=None,
            previous=old,
            previous_created=stored.item.created,
            previous_created_from=stored.item.created_from,
        )
        self._progress.step("storing the new key")
        # A key that IAM may not be asked about is no older than its rotation.
        moment, origin = rotation.started, "add"
        if created is not None:
            moment, origin = format_time(created), "iam"
        try:
            self._items.set_key(self._leader, new, after, created=moment, created_from=origin)
        except FilevaultError as error:
            self._in_place = self._items.may_hand_out(self._leader, new)
            if not self._in_place:
                self._take_back(new, old, error)
            raise
        self._in_place = True

    def _finish(self, *, keep: bool = True) -> None:
        """Let every item have the new key, then take the old one out of use.

        With `keep` it stays inactive, if that was promised.
        """
        stored = self._stored
        promise = promised(stored.rotation, self._wish)
        new, previous = stored.key, stored.rotation.previous
        if previous is None:
            return
        self._note(
            old_key=previous.access_key_id,
            new_key=new.access_key_id,
            created=stored.created,
        )
        for other in self._items.holding(previous):
            self._items.set_key(
                other.name,
                new,
                RotationFields(),
                created=stored.item.created,
                created_from=stored.item.created_from,
            )
        for name in self._found.items:
            self._drop_sessions(name)
        self._connect_or_go_back(new, previous)
        self._items.publish(replaced, (self._leader, *self._found.items))
        keys = self._access.keys(new, short_timeouts=True)
        self._progress.step("deactivating the old key")
        self._retire(keys.deactivate, previous)
        self._note(old_state="inactive")
        check_still_unused(self._items, self._leader, previous, keys)
        if keep and (promise.kept or promise.grace):
            moment = format_time(self._clock())
            after = promise._replace(started=None, known_keys=None, deactivated=moment)
            self._items.set_rotation(self._leader, after)
            self._note(until=end_of_grace(self._stored, self._wish))
            return
        self._progress.step("deleting the old key")
        self._retire(keys.delete, previous)
        self._note(old_state="deleted")
        self._items.set_rotation(self._leader, RotationFields())

    def _connect_or_go_back(self, new: AccessKey, previous: AccessKey) -> None:
        try:
            # Some part of AWS may not know a key at once that another one knows.
            self._access.identify(new, self._patience)
        except AwsError as error:
            if is_unknown_key(error) and go_back(
                self._items, self._leader, self._access, previous, error, self._retry
            ):
                self._in_place = False
                self._note(old_key=previous.access_key_id, new_key=None, old_state="active")
            raise
        self._connect(new)

    def _retire(self, call: Callable[[str], None], key: AccessKey) -> None:
        retire(
            call,
            key,
            items=self._items,
            leader=self._leader,
            access=self._access,
            patience=self._patience,
        )

    def _delete_orphan(self, access_key_id: str) -> None:
        refuse_held(self._items, access_key_id, self._retry)
        key = self._stored.key
        self._connect(key)
        self._progress.step(f"deleting {printable(access_key_id)}")
        delete_orphan(access_key_id, self._access.keys(key, short_timeouts=True), self._patience)

    def _take_back(self, new: AccessKey, old: AccessKey, error: BaseException) -> bool:
        """Undo what was done so far; tell whether AWS has the new key no more."""
        gone = self._undo.undo(new, old, error)
        if gone:
            self._note(new_key=None)
        if self._undo.orphan is not None or not gone:
            self._note(orphan=self._undo.orphan)
        return gone
