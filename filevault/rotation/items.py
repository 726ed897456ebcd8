"""Items of the vault during a rotation; one is rewritten only if no other process changed it."""

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
from filevault.rotation.commits import Commits
from filevault.rotation.key_index import KeyIndex
from filevault.rotation.stored_item import StoredItem, read_stored_item
from filevault.system.printable import printable, shell_word
from filevault.vault.item import compose
from filevault.vault.rotation_fields import NO_FIELDS, with_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.credentials import AccessKey
    from filevault.vault.rotation_fields import RotationFields
    from filevault.vault.vault import Vault


_PARSED = 64
_DIGEST = 32  # bytes


class Items:
    """The items of a vault.

    The text of each item is kept and parsed again when it is needed: there may be very many.

    Args:
        vault: the vault; nothing in it is decrypted before `load`.
        warn: called with a warning about items that cannot be decrypted.
        push: called with names of items after their commit; None if nothing is pushed.
    """

    def __init__(
        self,
        vault: Vault,
        warn: Callable[[str], None],
        push: Callable[[Vault, Sequence[str]], None] | None = None,
    ) -> None:
        self.commits = Commits(vault, push)
        self._vault = vault
        self._warn = warn
        self._texts: dict[str, bytes] = {}  # after the 32 bytes of the file's digest
        self._index = KeyIndex()
        self._rotating: dict[str, tuple[str, ...]] = {}  # the known keys in the fields of items
        self._sharing: dict[AccessKey, tuple[str, ...]] = {}  # of keys whose id several items have
        self._parsed: dict[str, StoredItem] = {}  # the last few
        self._unreadable: dict[str, tuple[str | None, FilevaultError]] = {}

    # Reading

    def load(self, alone: str | None = None) -> list[str]:
        """Decrypt every item, since each may contain the same key as another; return all names.

        Warn once of items that cannot be decrypted, but not of `alone`: nothing else is rotated, so
        that soon is an error. Raises LockedError if that is the whole vault.
        """
        if self._vault.is_sealed:
            self._vault.unlock()
        names = self._vault.names()
        failures: list[FilevaultError] = [*self._vault.items.unopened]
        with self._vault.memory.batch():
            for name in names:
                error = self._try_read(name)
                if error is None or self.belongs_to_others(name):
                    continue
                if isinstance(error, LockedError) and self._vault.is_sealed:
                    raise error
                if name != alone:
                    failures.append(error)
        if failures:
            count = len(failures) - 1
            more = f", and {count} more cannot be opened" if count else ""
            self._warn(
                f"{failures[0].message}{more}; whether it contains the same key is not known"
            )
        return names

    def refresh(self, primary: str) -> None:
        """Decrypt the items that are new, or that another process has changed.

        Raises StorageError if the primary item has changed.
        """
        before = self.stored(primary)
        names = self._vault.names()
        for name in (self._texts.keys() | self._unreadable.keys()) - set(names) - {primary}:
            self._forget(name)
            self._unreadable.pop(name, None)
        for name in names:
            digest = self._digest(name)
            known, failed = name in self._texts, self._unreadable.get(name)
            if name == primary:
                if digest != before.digest:
                    raise _changed(primary)  # and keep what is known of it
            elif known:
                if self._split(name)[0] != digest:
                    self._try_read(name)
            elif failed is None or failed[0] != digest:
                self._try_read(name)
        if primary not in names:
            raise _changed(primary)

    def reread(self, name: str) -> StoredItem:
        """Decrypt an item again, after a failure that leaves its content uncertain."""
        return self._read(name)

    def _digest(self, name: str) -> str | None:
        """Return the digest of an item's file, None if it cannot be read."""
        with contextlib.suppress(FilevaultError):
            return self._vault.item_digest(name)
        return None

    def _try_read(self, name: str) -> FilevaultError | None:
        """Decrypt an item; remember and return the error if that fails."""
        try:
            self._read(name)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            digest = self._digest(name)
            self._forget(name)
            self._unreadable[name] = digest, _without_traceback(error)
            return error
        return None

    def _read(self, name: str) -> StoredItem:
        digest, text = self._vault.open_item(name)
        stored = read_stored_item(name, digest, text)
        self._forget(name)
        self._texts[name] = bytes.fromhex(digest) + text
        self._index.add(name, stored.access_keys())
        if stored.fields != NO_FIELDS:
            self._rotating[name] = stored.fields.known_keys or ()
        self._unreadable.pop(name, None)
        self._keep_parsed(stored)
        return stored

    def _forget(self, name: str) -> None:
        """Remove an item from everything that is kept of it."""
        self._sharing.clear()
        if name not in self._texts:
            return
        self._index.remove(name, self.stored(name).access_keys())
        self._rotating.pop(name, None)
        self._parsed.pop(name, None)
        del self._texts[name]

    def _split(self, name: str) -> tuple[str, bytes]:
        """Return the digest and the text of an item, as they were last read or written."""
        text = self._texts[name]
        return text[:_DIGEST].hex(), text[_DIGEST:]

    def _keep_parsed(self, stored: StoredItem) -> None:
        if len(self._parsed) >= _PARSED:
            self._parsed.clear()
        self._parsed[stored.name] = stored

    # Looking up

    def get(self, name: str, identify: Callable[[AccessKey], str] | None = None) -> StoredItem:
        """Return an item after the vault's checks. Args and errors as those of `Vault.item`."""
        stored = self.stored(name) if name in self._texts else self._read(name)
        self._vault.check_item(name, stored.item, stored.digest, identify)
        return stored

    def __contains__(self, name: object) -> bool:
        """Return whether an item was read, or written, and is readable."""
        return name in self._texts

    def stored(self, name: str) -> StoredItem:
        """Return an item as it was last read or written."""
        found = self._parsed.get(name)
        if found is None:
            found = read_stored_item(name, *self._split(name))
            self._keep_parsed(found)
        return found

    def related(self, name: str) -> tuple[str, ...]:
        """Return the sorted names of the items that contain a key of this one, itself included.

        Id and secret must be the same: others who can write a shared store can put in an item
        with the id of any key, but not with its secret.
        """
        keys = self.stored(name).access_keys()
        if len(keys) == 1:
            return self._containing(keys[0])
        return tuple(sorted({each for key in keys for each in self._containing(key)}))

    def _containing(self, key: AccessKey) -> tuple[str, ...]:
        """Return the sorted names of the items that contain a key, one of a loaded item."""
        names = self._index.names(key.access_key_id)
        if len(names) == 1:
            return tuple(names)
        found = self._sharing.get(key)
        if found is None:
            sharing = (each for each in sorted(names) if key in self.stored(each).access_keys())
            found = self._sharing[key] = tuple(sharing)
        return found

    def primary(self, name: str) -> str:
        """Return the item that keeps the state of the rotation of a key, or the item itself.

        Raises ProviderError if two items keep different states for the same key.
        """
        if not self._rotating:
            return name
        rotating = [each for each in self.related(name) if each in self._rotating]
        if len(rotating) > 1:
            first, second = (printable(each) for each in rotating[:2])
            add = f"filevault add {shell_word(rotating[0])} --force --discard"
            raise ProviderError(
                f"the items {first!r} and {second!r} contain the same key, and each has an "
                "unfinished rotation",
                hint="was it rotated on two machines? store the key that works in both: "
                f"{add} drops the others that it contains",
            )
        return rotating[0] if rotating else name

    def with_current_key(self, key: AccessKey) -> list[StoredItem]:
        """Return the items whose current key is this one."""
        return [each for each in self._with_id(key.access_key_id) if each.key == key]

    def containing(self, access_key_id: str) -> list[str]:
        """Return the names of the items that contain the secret of a key."""
        found = self._with_id(access_key_id)
        return [each.name for each in found if each.contains(access_key_id)]

    def with_current_id(self, access_key_id: str) -> str | None:
        """Return the name of an item whose current key has this id, None if there is none."""
        for each in self._with_id(access_key_id):
            if each.key.access_key_id.lower() == access_key_id.lower():
                return each.name
        return None

    def mentions(
        self, access_key_id: str, *, next_key: tuple[str, AccessKey] | None = None
    ) -> bool:
        """Return whether an item contains a key, or names it as one that existed before.

        Upper and lower case are the same here. `next_key` is an item and its next key, which does
        not count.
        """
        wanted = access_key_id.lower()
        if any(wanted == each.lower() for known in self._rotating.values() for each in known):
            return True
        for stored in self._with_id(access_key_id):
            for key in stored.access_keys():
                is_next = (stored.name, key) == next_key and key == stored.fields.next
                if key.access_key_id.lower() == wanted and not is_next:
                    return True
        return False

    def has_secret(self, secret_access_key: str) -> bool:
        """Return whether an item contains a secret, whichever key it belongs to."""
        wanted = secret_access_key.encode()
        return any(text.find(wanted, _DIGEST) >= 0 for text in self._texts.values())

    def _with_id(self, access_key_id: str) -> list[StoredItem]:
        return [self.stored(name) for name in self._index.names(access_key_id)]

    def belongs_to_others(self, name: str) -> bool:
        """Return whether an item of a shared store is encrypted to others, or is no AWS key."""
        failed = self._unreadable.get(name)
        return (
            failed is not None
            and not self._vault.is_sealed
            and isinstance(failed[1], NotARecipientError | NoKeyError)
        )

    def unreadable(self) -> list[str]:
        """Return the sorted names of the items that should be readable, and are not."""
        return sorted(name for name in self._unreadable if not self.belongs_to_others(name))

    @property
    def are_authentic(self) -> bool:
        """Whether items can only be written with the vault's secret."""
        return self._vault.is_sealed

    def check_not_current(self, access_key_id: str, primary: str) -> None:
        """Raise StorageError if a key is now the current one of an item, or the primary changed.

        The vault's flock is released afterwards, since the next call to AWS may take long.
        """
        with self._vault.transaction():
            self.refresh(primary)
        name = self.with_current_id(access_key_id)
        if name is not None:
            raise StorageError(
                f"the key {printable(access_key_id)} is the one that the item "
                f"{printable(name)!r} uses",
                hint="look at what is stored now, then run the command again",
            )

    # Writing

    def remember_account(self, key: AccessKey, account: str) -> None:
        """Remember the AWS account that AWS reported for a key."""
        names = [each.name for each in self.with_current_key(key)]
        self._vault.record_account(names, key.access_key_id, account)

    def set_fields(self, name: str, fields: RotationFields) -> None:
        """Rewrite an item with other rotation fields; do nothing if they are the same.

        Raises StorageError, PinError and what encryption raises.
        """
        stored = self.stored(name)
        if stored.fields == fields:
            return
        text = with_rotation(self._normalized(stored), fields)
        self._replace(stored, text, stored.item.created, stored.item.created_from)

    def set_key(
        self,
        name: str,
        key: AccessKey,
        fields: RotationFields,
        *,
        created: str | None,
        created_from: str | None,
    ) -> None:
        """Rewrite an item with another current key, its time of creation, and rotation fields.

        Errors as of `set_fields`.
        """
        stored = self.stored(name)
        text = compose(
            self._vault.path_name(name),
            key,
            created=created,
            created_from=created_from,
            old=stored.text,
        )
        self._replace(stored, with_rotation(text, fields), created, created_from)

    def may_be_current(self, name: str, key: AccessKey) -> bool:
        """Return whether a write that failed may have made a key the current one of an item."""
        try:
            return self.reread(name).key == key
        except FilevaultError:
            return True

    def _normalized(self, stored: StoredItem) -> bytes:
        """Return the text of an item in filevault's own form.

        A key of unknown age keeps none: the present time would make it look young.
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
        self, stored: StoredItem, text: bytes, created: str | None, created_from: str | None
    ) -> None:
        """Write an item if its file is the one that was read, and read it back.

        After an error the old item usually stands; use `reread` to see.
        """
        name = stored.name
        vault = self._vault
        with vault.transaction():
            if not vault.has(name) or vault.item_digest(name) != stored.digest:
                raise _changed(name)
            self.commits.add(name)
            origin = "iam" if created_from == "iam" else "add" if created else None
            vault.write(name, text, created=created, created_from=origin, subject=None)
            # A `file` vault has decrypted it before replacing the old one; to the other vaults
            # an item can be written that cannot be read.
            if self._read(name).text != text:
                raise StorageError(f"item {printable(name)!r} does not read as it was written")


def _without_traceback(error: FilevaultError) -> FilevaultError:
    """Return an error without traceback and cause, which keep the variables of all callers."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _changed(name: str) -> StorageError:
    return StorageError(
        f"the key of {printable(name)!r} was changed by another process",
        hint="look at what is stored now, then run the command again",
    )
