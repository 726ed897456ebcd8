"""The vault: long-term items by name, over a store of files and a backend.

Reading takes no lock. Writing holds the store's lock from the read it is based on to the commit
of the file that is in place. What was seen of each item is remembered, so that an older copy, or
in a shared store another account's key, put in its place is noticed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.protocols import Family, ItemHeader
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    NewerFormatError,
    StorageError,
    TamperedError,
    UsageError,
)
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.times import format_time
from filevault.vault.last_seen import LastSeen
from filevault.vault.lookup import Entries, ItemFiles
from filevault.vault.names import encode_name
from filevault.vault.seen import Seen
from filevault.vault.session_key import load_session_key, reseal_session_key
from filevault.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.backends.protocols import OpenBackend, RecipientsBackend
    from filevault.credentials import AccessKey
    from filevault.system.files import Folder
    from filevault.vault.accounts import Identify
    from filevault.vault.item import LongTermItem
    from filevault.vault.session_key_cache import SessionKeyCache
    from filevault.vault.trust import Trust

_KIND = "credentials"


class Vault:
    """An open vault.

    Args:
        store: the folder of the store, which is locked.
        prefix: the folders below it that lead to the items.
        backend: how they are encrypted. Other tools write a store for recipients, too: there
            names may be unencoded, nothing authenticates which item is which, and the account
            of each key is remembered.
        state: the state directory, None where it cannot be written.
        state_id: 32 hex digits that name it.
        trust: what this machine remembers.
        strict: refuse what is otherwise a warning.
        clock: Unix seconds.
        warn: hears one sentence about something odd that did not stop anything.
        notice: hears what matters to a person only; `warn` if left out.
        guard: called under the lock before each write; raises PinError if there must be none.
        commit: called with paths relative to the store and a subject after each write.
        held: what has the session key without asking, as long as it is unlocked.
    """

    def __init__(
        self,
        store: Folder,
        backend: OpenBackend,
        *,
        prefix: Sequence[str] = (),
        state: Folder | None,
        state_id: str,
        trust: Trust,
        strict: bool,
        clock: Callable[[], float],
        warn: Callable[[str], None],
        notice: Callable[[str], None] | None = None,
        guard: Callable[[], None] = lambda: None,
        commit: Callable[[Sequence[str], str], None] = lambda _paths, _subject: None,
        held: SessionKeyCache | None = None,
    ) -> None:
        shared = backend.family is Family.RECIPIENTS
        self.folder = store
        self.backend = backend
        self.state = state
        self.state_id = state_id
        self.trust = trust
        self.store = Store(store, backend.suffix, prefix, literal=shared)
        self.entries = Entries(self.store, shared=shared)
        self.last_seen = LastSeen(trust, strict=strict, warn=warn, notice=notice or warn)
        self._session_key: bytes | None = None
        self._has_opened = False
        self._strict = strict
        self._clock = clock
        self._warn = warn
        self._guard = guard
        self._commit = commit
        self._held = held

    @property
    def is_sealed(self) -> bool:
        """Whether items are authenticated; else other tools write the store, too."""
        return self.backend.family is Family.SEALED

    @property
    def recipients_backend(self) -> RecipientsBackend:
        """The backend of a vault for recipients. Raises UsageError for another vault."""
        if self.backend.family is Family.SEALED:
            raise UsageError(f"the vault is a {self.backend.name} vault, which has no recipients")
        return self.backend

    def names(self) -> list[str]:
        """Return the names of the stored keys, sorted; nothing is decrypted."""
        return self.entries.keys(self.store.names())

    def ages(self) -> dict[str, tuple[str, str | None] | None]:
        """Return the names of the stored keys, sorted, each with when it was made.

        That is (time, `iam` or `add`) as the item's header says, not authenticated, or where
        there is none what was last seen of it. Nothing is decrypted.
        """
        backend = self.backend
        size = backend.head_size if backend.family is Family.SEALED else 0
        heads = dict(self.store.heads(size))
        names = self.entries.keys(list(heads))
        return {name: self._made(name, heads.get(name, b"")) for name in names}

    def _made(self, name: str, head: bytes) -> tuple[str, str | None] | None:
        if self.backend.family is Family.SEALED:
            return self.backend.created(head)
        seen = self.trust.seen(self.path_name(name))
        return (seen.created, seen.created_from) if seen and seen.created else None

    def has(self, name: str) -> bool:
        """Tell whether a key is stored for a profile; nothing is read."""
        return self.entries.has(name)

    def path(self, name: str) -> str:
        """Return the path, relative to the store, of the file that an item has or would have."""
        return self.store.path(name)

    def entry(self, name: str) -> str:
        """Return what an item is called in the store's history: its path without the suffix."""
        return self.path(name)[: -len(self.backend.suffix)]

    def path_name(self, name: str) -> str:
        """Return the encoded name of an item: its path below the root without the suffix."""
        return encode_name(name, self.backend.suffix)[: -len(self.backend.suffix)]

    def _sealed_name(self, name: str) -> str:
        """Return what an item is called where its name is authenticated with it."""
        return self.path_name(name) if self.is_sealed else name

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of an item's file as hex; it is read, never decrypted."""
        return self.read(name).digest

    def text(self, name: str) -> bytes:
        """Return an item's plaintext, after the checks for swaps and rollbacks.

        Raises ItemNotFoundError, LockedError, IntegrityError, NewerFormatError, StorageError.
        """
        return self.opened(name)[1]

    def read(self, name: str) -> ItemFiles:
        """Return what an item lies in. Raises ItemNotFoundError, DamagedError, StorageError."""
        return self.entries.read(name)

    def decrypt(self, files: ItemFiles) -> bytes:
        """Return an item's plaintext, whatever was seen before. Raises as `text` does."""
        texts = [
            self.backend.decrypt(_KIND, self._sealed_name(name), data) for name, data in files.files
        ]
        self._has_opened = True
        if len(texts) == 1:
            return texts[0]
        from filevault.vault.split_entries import Pair, join

        return join(Pair(*(name for name, _ in files.files)), *texts)

    def opened(self, name: str) -> tuple[str, bytes]:
        """Return the digest of an item's file and what is in it. Raises as `text` does."""
        files = self.read(name)
        plaintext = self.decrypt(files)
        if not self.is_sealed:
            self.last_seen.check_age(name, self.path_name(name), None, files.digest)
        else:
            seen = self.judge(name, files.data)
            if seen is not None:
                self.last_seen.remember(self.path_name(name), seen)
        return files.digest, plaintext

    def item(self, name: str, identify: Identify | None = None) -> LongTermItem:
        """Return an item's content. Raises as `text` does, and PinError for another account.

        `identify` asks AWS for the account of a key where its id does not tell it; None in a run
        that makes no calls.
        """
        from filevault.vault.item import parse

        digest, plaintext = self.opened(name)
        item = parse(plaintext, f"item {printable(name)!r}")
        self.check_item(name, item, digest, identify)
        return item

    def check_item(
        self, name: str, item: LongTermItem, digest: str, identify: Identify | None = None
    ) -> None:
        """Compare what an item says with its name and its account. Raises as `item` does."""
        if item.path_name is not None and item.path_name != self.path_name(name):
            message = (
                f"item {printable(name)!r} says inside that it is {printable(item.path_name)!r}"
            )
            if self.is_sealed or self._strict:
                # The header's name was right: in a `file` vault they can only differ by damage.
                raise TamperedError(message)
            self._warn(f"{message}; was it renamed with another tool?")
        if not self.is_sealed:
            self.last_seen.check_account(name, self.path_name(name), item, digest, identify)

    def access_key(self, name: str, identify: Identify | None = None) -> AccessKey:
        """Return the long-term key stored for a profile. Raises as `item` does."""
        return self.item(name, identify).key

    def wants_account(self, name: str, key_id: str) -> bool:
        """Tell whether a key's account is to be learned from AWS: its id does not tell it."""
        if self.is_sealed or self.state is None:
            return False
        return self.last_seen.wants_account(self.path_name(name), key_id)

    def learn_account(self, names: Sequence[str], key_id: str, account: str) -> None:
        """Remember the AWS account of a key that is trusted, as AWS told it."""
        if not self.is_sealed:
            paths = [self.path_name(name) for name in names]
            self.last_seen.learn_account(paths, key_id, account)

    def unlock(self) -> None:
        """Open the vault now, before anything else is asked. Raises LockedError."""
        self.backend.unlock()

    @property
    def is_open(self) -> bool:
        """Whether something of the vault was decrypted in this run: no question would follow."""
        backend = self.backend
        return self._has_opened or (
            backend.family is Family.SEALED and backend.opened_slot is not None
        )

    def check_recipients(self) -> None:
        """Raise PinError now if nothing may be written, before anybody is asked for a secret."""
        self._guard()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the store's lock. Raises as `locked`, PinError if the recipients have changed."""
        with self.locked():
            self._guard()
            yield

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock, with `check_recipients` still to be called before a write.

        It is the directory's own, or one in the state directory. Raises StorageError where
        neither can be had.
        """
        from filevault.system.locks import writers_lock

        with writers_lock(self.folder, self.state.path if self.state is not None else None):
            yield

    def write(
        self,
        name: str,
        text: bytes,
        *,
        created: str | None,
        created_from: str | None,
        subject: str | None,
    ) -> None:
        """Store an item's plaintext; call inside `transaction`. Commit it, if there is a `subject`.

        `created` and `created_from` are what the text says, None where it says nothing.
        In a `file` vault the new file is opened once before it replaces the old one; the others
        can be written without a key to read them. Raises NotCommittedError if git refused.
        """
        path_name = self.path_name(name)
        generation = self._next_generation(name) if self.is_sealed else None
        made = created or format_time(self._clock())  # each header has a time
        header = ItemHeader(_KIND, self._sealed_name(name), generation or 0, made, created_from)
        data = self.backend.encrypt(header, text)
        if self.is_sealed and self.backend.decrypt(_KIND, path_name, data) != text:
            raise StorageError("the encrypted item does not open again; nothing was changed")
        pair = self.entries.replaced_by(name)
        replaced = [printable(self.entry(each)) for each in pair]
        self.store.write(name, data, like=pair[-1] if pair else None)  # whoever reads the secret
        if replaced:
            self._warn(
                f"{' and '.join(replaced)} are still there, but no longer used: "
                f"{printable(self.entry(name))} has the key of {printable(name)!r} from now on"
            )
        seen = Seen(generation, sha256_hex(data), created, created_from)
        if not self.is_sealed:
            from filevault.vault.item import parse

            item = parse(text, "the new item")
            seen = self.last_seen.stored(path_name, item, seen.sha256)._replace(
                created=created, created_from=created_from
            )
        self.last_seen.remember(path_name, seen, written=True)
        if subject is not None:
            self.commit([name], subject)

    def commit(self, names: Sequence[str], subject: str) -> None:
        """Commit items that were written without, or raise NotCommittedError."""
        self._commit([self.path(name) for name in names], subject)

    def _next_generation(self, name: str) -> int:
        path_name = self.path_name(name)
        with contextlib.suppress(FilevaultError):
            self.trust.reload()  # another process may have removed it since
        known = (self.trust.seen(path_name), self.trust.removed(path_name))
        seen = [each.generation + 1 for each in known if each and each.generation is not None]
        return max(int(self._clock()), self._generation(name) + 1, *seen)

    def _generation(self, name: str) -> int:
        """Return the generation of the item that is there, if it is authentic.

        Whoever can write the vault's folder can put any number into a header.
        """
        if not self.store.has(name):
            return -1
        try:
            data = self.store.read(name)
            self.backend.decrypt(_KIND, self._sealed_name(name), data)
            header = self._header(data)
        except IntegrityError:
            return -1
        return header.generation if header is not None else -1

    def _header(self, data: bytes) -> ItemHeader | None:
        """Return an item's header, not authenticated; None if its backend has none."""
        return self.backend.peek(data) if self.backend.family is Family.SEALED else None

    def remove(self, name: str, *, subject: str) -> None:
        """Delete an item and commit that; call inside `transaction`.

        The two entries that would take its place go first. Raises ItemNotFoundError,
        StorageError or NotCommittedError.
        """
        names = self.entries.all_of(name)
        paths = [self.path(each) for each in names]
        path_name, last = self.path_name(name), self._last_state(name)
        before = self.trust.seen(path_name)
        # Noted first: after a kill an item that is left is reported, one put back is not missed.
        with contextlib.suppress(StorageError):
            self.trust.bury(path_name, last)
        try:
            for each in names:
                self.store.remove(each)
        except FilevaultError:
            if before is not None:
                self.last_seen.remember(path_name, before, written=True)
            raise
        self._commit(paths, subject)

    def _last_state(self, name: str) -> Seen:
        """Return what to remember of an item that is removed; it is read, never opened."""
        digest = generation = None
        with contextlib.suppress(IntegrityError, NewerFormatError):
            files = self.read(name)
            header = self._header(files.data)
            digest, generation = files.digest, header.generation if header else None
        return self.last_seen.last_state(
            self.path_name(name), digest, generation, int(self._clock())
        )

    def places(self, name: str) -> list[str]:
        """Return what all entries that hold a profile's key are called in the store's history."""
        return [self.entry(each) for each in self.entries.all_of(name)]

    def seen(self, name: str) -> bool:
        """Tell whether this machine has stored, opened or accepted an item before."""
        return self.trust.seen(self.path_name(name)) is not None

    def reseal_session_key(self) -> None:
        """Seal the session key anew, for recipients that have changed; sessions stay good."""
        if self.state is not None:
            reseal_session_key(
                self.state,
                self.state_id,
                self.backend,
                self._session_key,
                self._clock,
                self._held,
            )

    def keeping(self) -> Folder:
        """Return the state directory. Raises StorageError if there is none that can be written."""
        if self.state is None:
            raise StorageError(
                "the state directory cannot be written, so no session is kept",
                hint="set HOME or XDG_STATE_HOME to a folder of yours that can be written",
            )
        return self.state

    def session_key(self) -> bytes:
        """Return the key of the cached sessions. Raises LockedError and StorageError."""
        state = self.keeping()
        if self._session_key is None:
            self._session_key = load_session_key(
                state,
                self.state_id,
                self.backend,
                self._clock,
                self._held,
                replace=self._has_opened,
            )
        return self._session_key

    def judge(self, name: str, data: bytes) -> Seen | None:
        """Return what to remember of an item of a `file` vault that was opened.

        None for one that is older than what was seen before, or was removed here: that is told
        of, or refused with RollbackError under `--strict`.
        """
        header = self._header(data)
        if header is None:
            return None
        digest = sha256_hex(data)
        path_name = self.path_name(name)
        if not self.last_seen.check_age(name, path_name, header.generation, digest):
            return None
        return Seen(header.generation, digest, header.created, header.created_from)
