"""The stored items as a rotation sees them: opened all at once, written only if unchanged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import (
    FilevaultError,
    InterruptedByUserError,
    LockedError,
    NoKeyError,
    NotARecipientError,
    ProviderError,
    StorageError,
)
from filevault.rotation.stored_item import Stored, read_stored
from filevault.system.printable import printable, shell_word
from filevault.vault.item import compose
from filevault.vault.rotation_fields import RotationFields, with_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filevault.credentials import AccessKey
    from filevault.vault.vault import Vault


_PARSED = 64


class Items:
    """The items of a vault.

    Of each one the text is kept, which is parsed again when it is needed: there may be very many.

    Args:
        vault: where they are; nothing of it is opened before `load`.
        warn: hears of items that cannot be opened.
        push: called with names of items after their commit; None where nothing is pushed.
    """

    def __init__(
        self,
        vault: Vault,
        warn: Callable[[str], None],
        push: Callable[[Vault, Sequence[str]], None] | None = None,
    ) -> None:
        self._vault = vault
        self._warn = warn
        self._push = push
        self._texts: dict[str, tuple[str, bytes]] = {}  # with the digests of the files
        self._holders: dict[str, tuple[str, ...]] = {}  # by key id, in lower case
        self._rotating: set[str] = set()
        self._parsed: dict[str, Stored] = {}  # the last few
        self._unreadable: dict[str, tuple[str | None, FilevaultError]] = {}
        self._written: list[str] = []

    def load(self) -> None:
        """Open every item, because each may hold the same key as another.

        Those that cannot be opened are passed over with one warning. Raises LockedError if the
        vault cannot be opened at all.
        """
        if self._vault.is_sealed:
            self._vault.unlock()
        closed: list[FilevaultError] = []
        with self._vault.memory.batch():
            for name in self._vault.names():
                error = self._try(name)
                if error is None or self.is_others(name):
                    continue
                if isinstance(error, LockedError) and self._vault.is_sealed:
                    raise error
                closed.append(error)
        if closed:
            more = f", and {len(closed) - 1} more cannot be opened" if len(closed) > 1 else ""
            self._warn(f"{closed[0].message}{more}; whether it holds the same key is not known")

    def _try(self, name: str) -> FilevaultError | None:
        """Open an item; note and return what hinders that."""
        try:
            self._read(name)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            digest = None
            with contextlib.suppress(FilevaultError):
                digest = self._vault.item_digest(name)
            self._forget(name)
            # A traceback keeps everything that the calls have had in hand.
            self._unreadable[name] = digest, _bare(error)
            return error
        return None

    def _read(self, name: str) -> Stored:
        digest, text = self._vault.open_item(name)
        stored = read_stored(name, digest, text)
        self._forget(name)
        self._texts[name] = digest, text
        for access_key_id in stored.ids():
            self._holders[access_key_id] = (*self._holders.get(access_key_id, ()), name)
        if stored.rotation != RotationFields():
            self._rotating.add(name)
        self._unreadable.pop(name, None)
        self._keep_parsed(stored)
        return stored

    def _forget(self, name: str) -> None:
        """Take an item out, as far as it was noted."""
        if name not in self._texts:
            return
        for access_key_id in self.stored(name).ids():
            left = tuple(each for each in self._holders[access_key_id] if each != name)
            if left:
                self._holders[access_key_id] = left
            else:
                del self._holders[access_key_id]
        self._rotating.discard(name)
        self._parsed.pop(name, None)
        del self._texts[name]

    def _keep_parsed(self, stored: Stored) -> None:
        if len(self._parsed) >= _PARSED:
            self._parsed.clear()
        self._parsed[stored.name] = stored

    def get(self, name: str, identify: Callable[[AccessKey], str] | None = None) -> Stored:
        """Return an item, opened and checked. Args and errors as those of `Vault.item`."""
        stored = self.stored(name) if name in self._texts else self._read(name)
        self._vault.check_item(name, stored.item, stored.digest, identify)
        return stored

    def learn(self, key: AccessKey, account: str) -> None:
        """Remember the AWS account that AWS told for a key."""
        names = [each.name for each in self.holding(key)]
        self._vault.record_account(names, key.access_key_id, account)

    def stored(self, name: str) -> Stored:
        """Return an item as it was last read or written."""
        found = self._parsed.get(name)
        if found is None:
            found = read_stored(name, *self._texts[name])
            self._keep_parsed(found)
        return found

    def related(self, name: str) -> list[Stored]:
        """Return the items that hold a key that this one holds, itself included.

        Whoever can write a shared store can put an item with any key's id in, but not with its
        secret: so both must be the same.
        """
        stored = self.stored(name)
        others = {each for key_id in stored.ids() for each in self._holders[key_id]} - {name}
        if not others:
            return [stored]
        keys = stored.keys()
        found = [each for each in map(self.stored, others) if each.keys() & keys]
        return sorted([stored, *found], key=lambda each: each.name)

    def leader(self, name: str) -> str:
        """Return the item with the state of a rotation of this item's key, or the item itself.

        Raises ProviderError if two items say different things of the same key.
        """
        under_way = [each for each in self.related(name) if each.rotation != RotationFields()]
        if len(under_way) > 1:
            first, second = (printable(each.name) for each in under_way[:2])
            add = f"filevault add {shell_word(under_way[0].name)} --force --discard"
            raise ProviderError(
                f"the items {first!r} and {second!r} hold the same key, and each has a rotation of "
                "its own under way",
                hint="was it rotated on two machines? store the key that works in both: "
                f"{add} drops the others that it holds",
            )
        return under_way[0].name if under_way else name

    def refresh(self, leader: str) -> None:
        """Open what is new, or was changed by somebody else since it was opened.

        Raises StorageError if that is the item that a rotation goes by.
        """
        before = self.stored(leader)
        names = self._vault.names()
        for name in (self._texts.keys() | self._unreadable.keys()) - set(names) - {leader}:
            self._forget(name)
            self._unreadable.pop(name, None)
        for name in names:
            digest = None
            with contextlib.suppress(FilevaultError):
                digest = self._vault.item_digest(name)
            stored, failed = self._texts.get(name), self._unreadable.get(name)
            if name == leader:
                if digest != before.digest:
                    raise _changed(leader)  # and what is known of it stays
            elif stored is not None:
                if stored[0] != digest:
                    self._try(name)
            elif failed is None or failed[0] != digest:
                self._try(name)
        if leader not in names:
            raise _changed(leader)

    def check_unused(self, access_key_id: str, leader: str) -> None:
        """Look at what is stored now: a key is to be taken out of use that no item hands out.

        Nothing is locked afterwards, since AWS may take its time. Raises StorageError if an item
        hands the key out, or if the item that the rotation goes by was changed.
        """
        with self._vault.transaction():
            self.refresh(leader)
        name = self.hands_out(access_key_id)
        if name is not None:
            raise StorageError(
                f"the key {printable(access_key_id)} is the one that the item "
                f"{printable(name)!r} hands out",
                hint="look at what is stored now, then run the command again",
            )

    def hands_out(self, access_key_id: str) -> str | None:
        """Return the name of an item that hands out a key of that id, as it was last read."""
        for each in self._holding_id(access_key_id):
            if _same(each.key.access_key_id, access_key_id):
                return each.name
        return None

    def knows(self, access_key_id: str, *, but: tuple[str, AccessKey] | None = None) -> bool:
        """Tell whether any item names a key, as one that it holds or one that was there before.

        Upper and lower case are the same here. `but` is an item and the new key that it notes,
        which does not count.
        """
        if any(
            _same(each, access_key_id)
            for name in self._rotating
            for each in self.stored(name).rotation.known_keys or ()
        ):
            return True
        for stored in self._holding_id(access_key_id):
            held = stored.keys()
            if but is not None and stored.name == but[0] and stored.rotation.next == but[1]:
                held.discard(but[1])
            if any(_same(key.access_key_id, access_key_id) for key in held):
                return True
        return False

    def has_secret(self, secret_access_key: str) -> bool:
        """Tell whether any item holds a secret, whatever key it is of."""
        wanted = secret_access_key.encode()
        return any(wanted in text for _, text in self._texts.values())

    def _holding_id(self, access_key_id: str) -> list[Stored]:
        return [self.stored(name) for name in self._holders.get(access_key_id.lower(), ())]

    def is_others(self, name: str) -> bool:
        """Tell of an item of a shared store whether it is encrypted to others, or no AWS key."""
        failed = self._unreadable.get(name)
        return (
            failed is not None
            and not self._vault.is_sealed
            and isinstance(failed[1], NotARecipientError | NoKeyError)
        )

    def unreadable(self) -> list[str]:
        """Return the names of the items of ours that cannot be opened."""
        return sorted(name for name in self._unreadable if not self.is_others(name))

    def holding(self, key: AccessKey) -> list[Stored]:
        """Return the items that hand out a key."""
        return [each for each in self._holding_id(key.access_key_id) if each.key == key]

    def holders(self, access_key_id: str) -> list[str]:
        """Return the names of the items that have the secret of a key."""
        return [each.name for each in self._holding_id(access_key_id) if each.holds(access_key_id)]

    @property
    def are_authentic(self) -> bool:
        """Whether nobody without the vault's secret can have written an item."""
        return self._vault.is_sealed

    def set_rotation(self, name: str, rotation: RotationFields) -> None:
        """Rewrite an item with other rotation fields, if they are other ones."""
        stored = self.stored(name)
        if stored.rotation == rotation:
            return
        text = with_rotation(self._in_our_form(stored), rotation)
        self._replace(stored, text, stored.item.created, stored.item.created_from)

    def set_key(
        self,
        name: str,
        key: AccessKey,
        rotation: RotationFields,
        *,
        created: str | None,
        created_from: str | None,
    ) -> None:
        """Rewrite an item with another key, what is known of its age, and rotation fields."""
        stored = self.stored(name)
        text = compose(
            self._vault.path_name(name),
            key,
            created=created,
            created_from=created_from,
            old=stored.text,
        )
        self._replace(stored, with_rotation(text, rotation), created, created_from)

    def reread(self, name: str) -> Stored:
        """Open an item anew, after a failure that leaves open what is stored."""
        return self._read(name)

    def may_hand_out(self, name: str, key: AccessKey) -> bool:
        """Tell whether an item hands out a key, after a write that failed; if in doubt, yes."""
        try:
            return self.reread(name).key == key
        except FilevaultError:
            return True

    @property
    def uncommitted(self) -> bool:
        """Whether this run has written an item and not committed it yet."""
        return bool(self._written)

    def commit(self, subject: Callable[[str], str], also: Iterable[str] = ()) -> None:
        """Commit what was written since the last time, as one, and push that if it is wanted.

        `subject` gets what the first of the items is called in the store's history. `also` are
        items that a run before this one may have written and not committed. Raises
        NotCommittedError.
        """
        pushing = bool(self._written)
        names = self._commit(subject, also)
        if pushing:
            self._send(names)

    def publish(self, subject: Callable[[str], str], also: Iterable[str]) -> None:
        """Commit and push, if pushing is wanted.

        Other clones must be able to get a new key before the old one goes. What an earlier run
        has committed and could not push is pushed, too. Arguments and errors as of `commit`.
        """
        if self._push is not None:
            self._send(self._commit(subject, also))

    def _commit(self, subject: Callable[[str], str], also: Iterable[str]) -> list[str]:
        names = list(dict.fromkeys([*self._written, *also]))
        self._written = []
        if names:
            with self._vault.transaction():
                self._vault.commit(names, subject(self._vault.entry_path(names[0])))
        return names

    def _send(self, names: Sequence[str]) -> None:
        """Push, without the lock; what failed once in a rotation is not tried again."""
        push, self._push = self._push, None
        if push is not None:
            push(self._vault, names)
            self._push = push

    def _in_our_form(self, stored: Stored) -> bytes:
        """Return the text of an item; what others wrote by hand takes our form first.

        A key of unknown age stays one: the time of this would let it look young.
        """
        item = stored.item
        if item.path_name is not None:
            return stored.text
        return compose(
            self._vault.path_name(stored.name),
            item.key,
            created=item.created,
            created_from=item.created_from,
            old=stored.text,
        )

    def _replace(
        self, stored: Stored, text: bytes, created: str | None, created_from: str | None
    ) -> None:
        """Write an item if it is still the one that was read, and read it back.

        Raises StorageError, PinError and what encryption raises. As a rule the old item stands
        then; `reread` tells where it matters.
        """
        name = stored.name
        vault = self._vault
        with vault.transaction():
            if not vault.has(name) or vault.item_digest(name) != stored.digest:
                raise _changed(name)
            if name not in self._written:
                self._written.append(name)
            origin = "iam" if created_from == "iam" else "add" if created else None
            vault.write(name, text, created=created, created_from=origin, subject=None)
            # A `file` vault has opened it before it took its place; to the others we could have
            # written what we cannot read.
            if self._read(name).text != text:
                raise StorageError(f"item {printable(name)!r} does not read as it was written")


def _same(one: str, other: str) -> bool:
    """Compare the ids of keys; no two of AWS's differ in case alone."""
    return one.lower() == other.lower()


def _bare(error: FilevaultError) -> FilevaultError:
    """Return an error to keep, without what led to it."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _changed(name: str) -> StorageError:
    return StorageError(
        f"the key of {printable(name)!r} was changed by somebody else meanwhile",
        hint="look at what is stored now, then run the command again",
    )
