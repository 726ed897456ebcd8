"""Taking a new key back when the rest of its rotation fails."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import AwsError, FilevaultError, ProviderError
from filevault.rotation.retry import is_unknown_key
from filevault.system.printable import printable
from filevault.vault.rotation_fields import RotationFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import AccessKey
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items

GONE = "NoSuchEntity"
"""IAM's code for a key that does not exist."""


def check_gone(access: Access, key: AccessKey) -> None:
    """Raise ProviderError unless a key that IAM did not find for its user is unknown to AWS.

    IAM says the same of a key that belongs to another user, whose secret must not be forgotten.
    """
    try:
        found = access.identity_of(key)
    except AwsError as error:
        if not is_unknown_key(error):
            raise
        return
    raise ProviderError(
        f"IAM does not find the key {printable(key.access_key_id)} among those of the user, but it "
        f"works: it belongs to {printable(found.arn)}",
        hint="was another user's key put into the item by hand? its secret stays in the item",
    )


_TRIES = 5
_PAUSE = 2.0


class Undo:
    """Takes the new key of one rotation back.

    Args:
        items: the vault's items.
        leader: the one with the rotation's state.
        access: how AWS is reached.
        sleep: takes seconds.
        retry: the command that was given, for hints.
    """

    def __init__(
        self,
        items: Items,
        leader: str,
        access: Access,
        sleep: Callable[[float], None],
        retry: str,
    ) -> None:
        self._items = items
        self._leader = leader
        self._access = access
        self._sleep = sleep
        self._retry = retry
        self.orphan: str | None = None
        """A key that could not be deleted and whose secret is lost."""

    def undo(self, new: AccessKey, old: AccessKey, error: BaseException) -> bool:
        """Delete the new key and take the notes of it back; tell whether it is gone.

        If it cannot be deleted, `error` says so. If only the notes stay, the next run sees that
        AWS does not have the key. A key that the vault has beyond those notes is never deleted.
        """
        access_key_id = new.access_key_id
        with contextlib.suppress(FilevaultError):
            self._items.refresh(self._leader)
        rotation = self._items.stored(self._leader).rotation
        try:
            self._refuse_known(new, old, rotation)
            existed = self._delete(new, old)
        except FilevaultError as second:
            orphan = not self._is_stored(access_key_id)
            if orphan:
                self.orphan = access_key_id
            amend(
                error,
                f"the new key {access_key_id} could not be deleted at AWS: {second.message}",
                self._retry + (f" --delete-orphan {access_key_id}" if orphan else ""),
            )
            return False
        left = RotationFields()
        if not existed:
            # Then AWS has made none, or another one than the answer said.
            self.orphan = self._stranger(old, rotation.known_keys)
            if self.orphan is not None:
                left = rotation._replace(next=None)
                shown = printable(self.orphan)
                amend(
                    error,
                    f"IAM lists the key {shown}, which was not there before, and its secret is "
                    "lost",
                    f"{self._retry} --delete-orphan {shown}",
                )
        with contextlib.suppress(FilevaultError):
            self._items.reread(self._leader)
            self._items.set_rotation(self._leader, left)
        return True

    def _refuse_known(self, new: AccessKey, old: AccessKey, rotation: RotationFields) -> None:
        """Raise ProviderError for a key that is not, or not for sure, this rotation's alone."""
        items, access_key_id = self._items, new.access_key_id
        if access_key_id == old.access_key_id or items.knows(
            access_key_id, but=(self._leader, new)
        ):
            raise ProviderError("the vault has had it before")
        closed = items.unreadable()
        if closed and rotation.known_keys is None:
            raise ProviderError(
                f"{printable(closed[0])!r}, which may hold its secret, cannot be opened"
            )

    def _stranger(self, old: AccessKey, known: tuple[str, ...] | None) -> str | None:
        """Return the id of a key of the user that was not there before, None if there is none."""
        if known is None:
            return None
        with contextlib.suppress(FilevaultError):
            for each in self._access.keys(old).listed():
                if each.access_key_id not in known and not self._items.knows(each.access_key_id):
                    return each.access_key_id
        return None

    def _is_stored(self, access_key_id: str) -> bool:
        try:
            return self._items.reread(self._leader).holds(access_key_id)
        except FilevaultError:
            return False

    def _delete(self, new: AccessKey, old: AccessKey) -> bool:
        """Delete a key; return whether IAM had it."""
        keys = self._access.keys(old)
        for left in reversed(range(_TRIES)):
            try:
                keys.delete(new.access_key_id)
            except AwsError as error:
                # Right after it was made, IAM itself may not know it yet.
                if error.code != GONE:
                    raise
                if left:
                    self._sleep(_PAUSE)
            else:
                return True
        check_gone(self._access, new)
        return False


def warn_of_force(error: FilevaultError, rotation: RotationFields) -> None:
    """Let a hint to store another key say that the item holds a second one, which that drops."""
    other = rotation.next or rotation.previous
    if other is not None and error.hint is not None and "--force" in error.hint:
        error.hint = (
            f"{error.hint}, but throws away the secret of {printable(other.access_key_id)}, which "
            "the item holds too"
        )


def amend(error: BaseException, more: str, hint: str | None = None) -> None:
    """Let an error say more than it did."""
    if isinstance(error, FilevaultError):
        error.message = f"{error.message}; {more}"
        error.hint = hint or error.hint
        error.args = (error.message,)
