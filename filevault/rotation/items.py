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
from filevault.printable import printable
from filevault.times import parse_time
from filevault.values import Value
from filevault.vault.items import compose, parse
from filevault.vault.rotationfields import Rotation, read_rotation, with_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filevault.credentials import AccessKey
    from filevault.vault import Vault
    from filevault.vault.items import LongTermItem


class Stored(Value):
    """An opened item; `digest` is that of the file that `text` was read from."""

    name: str
    digest: str
    text: bytes
    item: LongTermItem
    rotation: Rotation

    def __repr__(self) -> str:
        return f"Stored(name={self.name!r}, key={self.item.key!r}, ...)"

    @property
    def key(self) -> AccessKey:
        """The key that the item hands out."""
        return self.item.key

    @property
    def created(self) -> int | None:
        """When the key was made, or stored, in Unix seconds; None where the item is silent."""
        return None if self.item.created is None else parse_time(self.item.created)

    def keys(self) -> set[AccessKey]:
        """Return every key that the item holds."""
        held = (self.item.key, self.rotation.next, self.rotation.previous)
        return {key for key in held if key is not None}

    def holds(self, access_key_id: str) -> bool:
        """Tell whether the item holds the secret of a key."""
        return any(key.access_key_id == access_key_id for key in self.keys())


class Items:
    """The items of a vault.

    Args:
        vault: where they are; nothing of it is opened before `load`.
        warn: hears of items that cannot be opened.
    """

    def __init__(self, vault: Vault, warn: Callable[[str], None]) -> None:
        self._vault = vault
        self._warn = warn
        self._stored: dict[str, Stored] = {}
        self._unreadable: dict[str, tuple[str | None, FilevaultError]] = {}
        self._written: list[str] = []

    def load(self) -> None:
        """Open every item, because each may hold the same key as another.

        Those that cannot be opened are passed over with one warning. Raises LockedError if the
        vault cannot be opened at all.
        """
        if not self._vault.shared:
            self._vault.unlock()
        closed: list[FilevaultError] = []
        with self._vault.last_seen.gathering():
            for name in self._vault.names():
                error = self._try(name)
                if error is None or self.is_others(name):
                    continue
                if isinstance(error, LockedError) and not self._vault.shared:
                    raise error
                closed.append(error)
        if closed:
            more = f", and {len(closed) - 1} more cannot be opened" if len(closed) > 1 else ""
            self._warn(f"{closed[0].message}{more}; whether it holds the same key is not known")

    def _try(self, name: str) -> FilevaultError | None:
        """Open an item; note and return what hinders that."""
        digest = None
        try:
            digest = self._vault.item_digest(name)
            self._read(name)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            self._stored.pop(name, None)
            self._unreadable[name] = digest, error
            return error
        return None

    def _read(self, name: str) -> Stored:
        what = f"item {printable(name)!r}"
        digest = self._vault.item_digest(name)
        text = self._vault.text(name)
        stored = Stored(name, digest, text, parse(text, what), read_rotation(text, what))
        self._stored[name] = stored
        self._unreadable.pop(name, None)
        return stored

    def get(self, name: str, identify: Callable[[AccessKey], str] | None = None) -> Stored:
        """Return an item, opened and checked. Args and errors as those of `Vault.item`."""
        if name not in self._stored:
            self._read(name)
        self._vault.item(name, identify)
        return self._stored[name]

    def learn(self, key: AccessKey, account: str) -> None:
        """Remember the AWS account that AWS told for a key."""
        names = [each.name for each in self.holding(key)]
        self._vault.learn_account(names, key.access_key_id, account)

    def stored(self, name: str) -> Stored:
        """Return an item as it was last read or written."""
        return self._stored[name]

    def related(self, name: str) -> list[Stored]:
        """Return the items that hold a key that this one holds, itself included.

        Whoever can write a shared store can put an item with any key's id in, but not with its
        secret: so both must be the same.
        """
        keys = self._stored[name].keys()
        return [each for each in self._stored.values() if each.keys() & keys]

    def leader(self, name: str) -> str:
        """Return the item with the state of a rotation of this item's key, or the item itself.

        Raises ProviderError if two items say different things of the same key.
        """
        under_way = [each for each in self.related(name) if each.rotation != Rotation()]
        if len(under_way) > 1:
            first, second = (printable(each.name) for each in under_way[:2])
            raise ProviderError(
                f"the items {first!r} and {second!r} hold the same key, and each has a rotation of "
                "its own under way",
                hint="was it rotated on two machines? store the key that works in both with "
                "filevault add PROFILE --force --discard, which drops the others that they hold",
            )
        return under_way[0].name if under_way else name

    def refresh(self, leader: str) -> None:
        """Open what is new, or was changed by somebody else since it was opened.

        Raises StorageError if that is the item that a rotation goes by.
        """
        before = self._stored[leader]
        names = self._vault.names()
        for name in (self._stored.keys() | self._unreadable.keys()) - set(names):
            self._stored.pop(name, None)
            self._unreadable.pop(name, None)
        for name in names:
            digest = None
            with contextlib.suppress(FilevaultError):
                digest = self._vault.item_digest(name)
            stored, failed = self._stored.get(name), self._unreadable.get(name)
            if stored is not None:
                if stored.digest != digest:
                    self._try(name)
            elif failed is None or failed[0] != digest:
                self._try(name)
        now = self._stored.setdefault(leader, before)
        if now.digest != before.digest or leader in self._unreadable or leader not in names:
            raise _changed(leader)

    @contextlib.contextmanager
    def unused(self, access_key_id: str, leader: str) -> Iterator[None]:
        """Let nobody write an item while a key is taken out of use that no item hands out.

        Raises StorageError if one does, or if the item that the rotation goes by was changed.
        """
        with self._vault.writing():
            self.refresh(leader)
            for each in self._stored.values():
                if each.key.access_key_id == access_key_id:
                    raise StorageError(
                        f"the key {printable(access_key_id)} is the one that the item "
                        f"{printable(each.name)!r} hands out",
                        hint="look at what is stored now, then run the command again",
                    )
            yield

    def is_others(self, name: str) -> bool:
        """Tell of an item of a shared store whether it is encrypted to others, or no AWS key."""
        failed = self._unreadable.get(name)
        return (
            failed is not None
            and self._vault.shared
            and isinstance(failed[1], NotARecipientError | NoKeyError)
        )

    def unreadable(self) -> list[str]:
        """Return the names of the items of ours that cannot be opened."""
        return sorted(name for name in self._unreadable if not self.is_others(name))

    def holding(self, key: AccessKey) -> list[Stored]:
        """Return the items that hand out a key."""
        return [each for each in self._stored.values() if each.key == key]

    def holders(self, access_key_id: str) -> list[str]:
        """Return the names of the items that have the secret of a key."""
        return [each.name for each in self._stored.values() if each.holds(access_key_id)]

    @property
    def are_authentic(self) -> bool:
        """Whether nobody without the vault's secret can have written an item."""
        return not self._vault.shared

    def set_rotation(self, name: str, rotation: Rotation) -> None:
        """Rewrite an item with other rotation fields, if they are other ones."""
        stored = self._stored[name]
        if stored.rotation == rotation:
            return
        text = with_rotation(self._in_our_form(stored), rotation)
        self._replace(stored, text, stored.item.created, stored.item.created_from)

    def set_key(
        self,
        name: str,
        key: AccessKey,
        rotation: Rotation,
        *,
        created: str | None,
        created_from: str | None,
    ) -> None:
        """Rewrite an item with another key, what is known of its age, and rotation fields."""
        stored = self._stored[name]
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
        """Commit what was written since the last time, as one; raises NotCommittedError.

        `subject` gets what the first of the items is called in the store's history. `also` are
        items that a run before this one may have written and not committed.
        """
        names = list(dict.fromkeys([*self._written, *also]))
        self._written = []
        if names:
            with self._vault.writing():
                self._vault.commit(names, subject(self._vault.entry(names[0])))

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
        with vault.writing():
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


def _changed(name: str) -> StorageError:
    return StorageError(
        f"the key of {printable(name)!r} was changed by somebody else meanwhile",
        hint="look at what is stored now, then run the command again",
    )
