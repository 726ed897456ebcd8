"""An open vault: read, write and remove its long-term items by name.

Reading takes no lock. A write holds the store's lock from the read it is based on until the file
is committed. What is seen of each item is recorded, so that an older copy, or in a shared store
a key of another AWS account, is detected.
"""

from __future__ import annotations

import contextlib
from functools import cached_property

from filevault.backends.definition import RECIPIENTS, SEALED
from filevault.backends.item_header import ItemHeader
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
from filevault.system.times import format_time, parse_time
from filevault.vault.item_store import ItemStore
from filevault.vault.lookup import ItemFiles, ItemLookup, is_seed
from filevault.vault.names import decode_path, encode_name
from filevault.vault.seen_items import SeenItem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.backends.protocols import OpenBackend, RecipientsBackend
    from filevault.credentials import AccessKey
    from filevault.system.files import Folder
    from filevault.vault.account_check import AccountCheck, AskAccount
    from filevault.vault.creation_times import CreationTime
    from filevault.vault.item import LongTermItem
    from filevault.vault.item_memory import ItemMemory
    from filevault.vault.rollback_check import RollbackCheck
    from filevault.vault.session_key import SessionKeyFile
    from filevault.vault.session_key_cache import SessionKeyCache
    from filevault.vault.trust import Trust


def _kind(name: str) -> str:
    return "totp" if is_seed(name) else "credentials"


class Vault:
    """An open vault.

    Args:
        store: the folder of the store; writers lock it.
        prefix: the folders below it that lead to the items.
        backend: encrypts and decrypts items. Other tools write a store for recipients as well:
            there names may be unencoded, an item's name is not authenticated, and the account of
            each key is recorded.
        state: the state directory, None if it cannot be written.
        state_id: 32 hex digits that name it.
        trust: the vault's `trust.json`.
        strict: raise errors instead of warnings.
        clock: Unix seconds.
        warn: called with a sentence about a problem that stops nothing.
        notice: called with a sentence that matters to a person only; `warn` if left out.
        guard: called under the lock before each write; raises PinError to forbid it.
        commit: called with paths relative to the store and a subject after each write.
        session_keys: may have the session key in memory.
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
        session_keys: SessionKeyCache | None = None,
    ) -> None:
        shared = backend.family == RECIPIENTS
        self.folder = store
        self.backend = backend
        self.state = state
        self.state_id = state_id
        self.trust = trust
        self.items = ItemStore(store, backend.suffix, prefix, literal=shared)
        self.lookup = ItemLookup(self.items, shared=shared)
        self._session_key: bytes | None = None
        self._has_opened = False
        self._strict = strict
        self._clock = clock
        self._warn = warn
        self._notice = notice or warn
        self._guard = guard
        self._commit = commit
        self._session_keys = session_keys

    # Imported on demand: a run with a cached session needs none of the three.

    @cached_property
    def memory(self) -> ItemMemory:
        """Records items that are read or written."""
        from filevault.vault.item_memory import ItemMemory

        return ItemMemory(self.trust, self._notice, self._is_stored)

    @cached_property
    def rollbacks(self) -> RollbackCheck:
        """Detects items that are older than what this machine saw."""
        from filevault.vault.rollback_check import RollbackCheck

        return RollbackCheck(self.trust, strict=self._strict, warn=self._warn)

    @cached_property
    def accounts(self) -> AccountCheck:
        """Detects keys of other AWS accounts in a shared store."""
        from filevault.vault.account_check import AccountCheck

        return AccountCheck(self.trust, self.memory)

    @property
    def is_sealed(self) -> bool:
        """Whether items are authenticated; else other tools write the store as well."""
        return self.backend.family == SEALED

    @property
    def recipients_backend(self) -> RecipientsBackend:
        """The backend of a vault for recipients. Raises UsageError for another vault."""
        if self.backend.family == SEALED:
            raise UsageError(
                f"the vault is a {self.backend.name} vault, which has no recipients",
                hint="filevault slot changes what opens it",
            )
        return self.backend

    def names(self) -> list[str]:
        """Return the names of the stored keys, sorted; decrypt nothing."""
        return self.lookup.keys(self.items.names())

    def created_times(self) -> dict[str, CreationTime | None]:
        """Return the names of the stored keys, sorted, each with the time of its creation.

        That is Unix seconds and `iam`, `add` or None, from the item's header, not authenticated,
        or without a header from what was last seen of it. Nothing is decrypted.
        """
        if self.backend.family == SEALED:
            from filevault.vault.creation_times import CreationTimes

            times = CreationTimes(self.trust.state, self.backend.created, self.backend.head_size)
            found = times.of(self.items)
            if self.state is not None:
                times.record(self.state)
            keys = self.lookup.keys(list(found))
            return found if len(keys) == len(found) else {name: found[name] for name in keys}
        return {name: self._created(name) for name in self.names()}

    def _created(self, name: str) -> CreationTime | None:
        seen = self.trust.seen(self.path_name(name))
        if seen is None or seen.created is None:
            return None
        try:
            return parse_time(seen.created), seen.created_from
        except ValueError:
            return None

    def seed_names(self) -> list[str]:
        """Return the names of the TOTP seeds, sorted; decrypt nothing."""
        return list(filter(is_seed, self.items.names()))

    def has(self, name: str) -> bool:
        """Return whether a key is stored for a profile; no file is read."""
        return self.lookup.has(name)

    def has_item(self, name: str) -> bool:
        """Return whether a key is stored for a profile, or a TOTP seed under its name."""
        return self.items.has(name) if is_seed(name) else self.has(name)

    def path(self, name: str) -> str:
        """Return the path, relative to the store, of the file that an item has or would have."""
        return self.items.path(name)

    def entry_path(self, name: str) -> str:
        """Return the name of an item in the store's history: its path without the suffix."""
        return self.path(name)[: -len(self.backend.suffix)]

    def path_name(self, name: str) -> str:
        """Return the encoded name of an item: its path below the root without the suffix."""
        return encode_name(name, self.backend.suffix)[: -len(self.backend.suffix)]

    def _sealed_name(self, name: str) -> str:
        """Return the name that is authenticated with an item's content."""
        return self.path_name(name) if self.is_sealed else name

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of an item's file as hex; it is not decrypted."""
        return self.read_files(name).digest

    def _is_stored(self, path_name: str, digest: str) -> bool:
        """Return whether the files of an item, by its encoded name, have a digest."""
        name = decode_path(path_name + self.backend.suffix, self.backend.suffix)
        try:
            return name is not None and self.item_digest(name) == digest
        except FilevaultError:
            return False

    def has_changed(self, name: str, digest: str) -> bool:
        """Return whether another process has stored or recorded an item since it was read here.

        `digest` is that of the files that were read. The records of other processes are read.
        Raises as `read_files`, DamagedError.
        """
        path_name = self.path_name(name)
        before = self.trust.seen(path_name), self.trust.removed(path_name)
        self.trust.reload()
        after = self.trust.seen(path_name), self.trust.removed(path_name)
        return before != after or self.item_digest(name) != digest

    def plaintext(self, name: str) -> bytes:
        """Return an item's plaintext, after the checks for swaps and rollbacks.

        Raises ItemNotFoundError, LockedError, IntegrityError, NewerFormatError, StorageError.
        """
        return self.open_item(name)[1]

    def read_files(self, name: str) -> ItemFiles:
        """Return the files of an item. Raises ItemNotFoundError, DamagedError, StorageError."""
        return self.lookup.read(name)

    def decrypt(self, files: ItemFiles) -> bytes:
        """Return an item's plaintext without the rollback check. Raises as `plaintext`."""
        texts = [
            self.backend.decrypt(_kind(name), self._sealed_name(name), data)
            for name, data in files.files
        ]
        self._has_opened = True
        if len(texts) == 1:
            return texts[0]
        from filevault.vault.split_entries import Pair, join

        return join(Pair(*(name for name, _ in files.files)), *texts)

    def open_item(self, name: str) -> tuple[str, bytes]:
        """Return the digest and the plaintext of an item. Raises as `plaintext`."""
        files = self.read_files(name)
        plaintext = self.decrypt(files)
        if not self.is_sealed:
            self.rollbacks.check(name, self.path_name(name), None, files.digest)
        else:
            seen = self.check_rollback(name, files.data)
            if seen is not None:
                self.memory.record_seen(self.path_name(name), seen)
        return files.digest, plaintext

    def item(self, name: str, ask_account: AskAccount | None = None) -> LongTermItem:
        """Return an item's content. Raises as `plaintext`, and PinError for another account.

        `ask_account` asks AWS for the account of a key whose id does not encode it; None in a run
        that makes no calls.
        """
        from filevault.vault.item import parse

        digest, plaintext = self.open_item(name)
        item = parse(plaintext, f"item {printable(name)!r}")
        try:
            self.check_item(name, item, digest, ask_account)
        except FilevaultError:
            if not self.has_changed(name, digest):
                raise
            digest, plaintext = self.open_item(name)
            item = parse(plaintext, f"item {printable(name)!r}")
            self.check_item(name, item, digest, ask_account)
        return item

    def check_item(
        self, name: str, item: LongTermItem, digest: str, ask_account: AskAccount | None = None
    ) -> None:
        """Check the name in an item's text, and the account of its key. Raises as `item`."""
        if item.path_name is not None and item.path_name != self.path_name(name):
            message = (
                f"item {printable(name)!r} says inside that it is {printable(item.path_name)!r}"
            )
            if self.is_sealed or self._strict:
                # In a `file` vault the name in the header was right, so the text is damaged.
                raise TamperedError(message)
            self._warn(f"{message}; was it renamed with another tool?")
        if not self.is_sealed:
            self.accounts.check(name, self.path_name(name), item, digest, ask_account)

    def access_key(self, name: str, ask_account: AskAccount | None = None) -> AccessKey:
        """Return the long-term key stored for a profile. Raises as `item`."""
        return self.item(name, ask_account).key

    def needs_account(self, name: str, key_id: str) -> bool:
        """Return whether the account of a trusted key is unknown, so that AWS should be asked."""
        if self.is_sealed or self.state is None:
            return False
        return self.accounts.is_missing(self.path_name(name), key_id)

    def record_account(self, names: Sequence[str], key_id: str, account: str) -> None:
        """Record the AWS account of a trusted key, as AWS reported it."""
        if not self.is_sealed:
            self.accounts.record([self.path_name(name) for name in names], key_id, account)

    def unlock(self) -> None:
        """Unlock the backend now, before any other question. Raises LockedError."""
        self.backend.unlock()

    @property
    def is_open(self) -> bool:
        """Whether an item was decrypted in this run, so that no secret is asked for again."""
        backend = self.backend
        return self._has_opened or (backend.family == SEALED and backend.opened_slot is not None)

    def check_recipients(self) -> None:
        """Fail early: raise PinError if the pin forbids writing, before prompting."""
        self._guard()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the store's lock. Raises as `locked`, PinError if the recipients have changed."""
        with self.locked():
            self._guard()
            yield

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; call `check_recipients` before a write.

        The folder itself is locked, or else a file in the state directory. Raises StorageError if
        neither is possible.
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
        """Encrypt and store an item; call inside `transaction`.

        In a `file` vault the new file is decrypted once before it replaces the old one; the
        others can be written without a key to read them.

        Args:
            name: of the item.
            text: its plaintext.
            created: from the text, None if it has no such line.
            created_from: from the text, None if it has no such line, and for a TOTP seed.
            subject: of a commit; None to commit later with `commit`.

        Raises:
            NotCommittedError: if git cannot commit.
            StorageError: if it cannot be stored.
        """
        path_name = self.path_name(name)
        generation = self._next_generation(name) if self.is_sealed else None
        header_time = created or format_time(self._clock())
        header = ItemHeader(
            _kind(name), self._sealed_name(name), generation or 0, header_time, created_from
        )
        data = self.backend.encrypt(header, text)
        if self.is_sealed and self.backend.decrypt(_kind(name), path_name, data) != text:
            raise StorageError("the encrypted item does not open again; nothing was changed")
        pair = self.lookup.replaced_by(name)
        replaced = [printable(self.entry_path(each)) for each in pair]
        self.items.write(name, data, like=pair[-1] if pair else None)  # the readers of the secret
        if replaced:
            self._warn(
                f"{' and '.join(replaced)} are still there, but no longer used: "
                f"{printable(self.entry_path(name))} has the key of {printable(name)!r} from now on"
            )
        seen = SeenItem(generation, sha256_hex(data), created, created_from)
        if not self.is_sealed and not is_seed(name):
            from filevault.vault.item import parse

            with contextlib.suppress(FilevaultError):
                self.trust.reload()  # another process may have recorded the key's account since
            item = parse(text, "the new item")
            seen = self.accounts.written(path_name, item, seen.sha256)._replace(
                created=created, created_from=created_from
            )
        self.memory.record_written(path_name, seen)
        if subject is not None:
            self.commit([name], subject)

    def commit(self, names: Sequence[str], subject: str) -> None:
        """Commit items that were written without a subject. Raises NotCommittedError."""
        self._commit([self.path(name) for name in names], subject)

    def _next_generation(self, name: str) -> int:
        path_name = self.path_name(name)
        with contextlib.suppress(FilevaultError):
            self.trust.reload()  # another process may have removed it since
        known = (self.trust.seen(path_name), self.trust.removed(path_name))
        seen = [each.generation + 1 for each in known if each and each.generation is not None]
        return max(int(self._clock()), self._generation(name) + 1, *seen)

    def _generation(self, name: str) -> int:
        """Return the generation of the stored item, -1 if there is none or it is not authentic.

        A header alone proves nothing: any process that can write the folder can forge it.
        """
        if not self.items.has(name):
            return -1
        try:
            data = self.items.read(name)
            self.backend.decrypt(_kind(name), self._sealed_name(name), data)
            header = self._header(data)
        except IntegrityError:
            return -1
        return header.generation if header is not None else -1

    def _header(self, data: bytes) -> ItemHeader | None:
        """Return an item's header, not authenticated; None if its backend has none."""
        return self.backend.peek(data) if self.backend.family == SEALED else None

    def remove(self, name: str, *, subject: str, also: Sequence[str] = ()) -> None:
        """Delete an item and commit that; call inside `transaction`.

        A pair that it hides is deleted first. `also` are items that were written without a
        subject and belong to the same commit. Raises ItemNotFoundError, StorageError or
        NotCommittedError.
        """
        with contextlib.suppress(FilevaultError):
            self.trust.reload()  # another process may have stored it since
        names = self.lookup.all_of(name)
        paths = [self.path(each) for each in names]
        path_name, last = self.path_name(name), self._last_state(name)
        before = self.trust.seen(path_name)
        # Recorded first: after a kill in between, the item that is left is reported.
        with contextlib.suppress(StorageError):
            self.trust.record_removed(path_name, last)
        try:
            for each in names:
                self.items.remove(each)
        except FilevaultError:
            if before is not None:
                self.memory.restore(path_name, before)
            raise
        self._commit([*paths, *map(self.path, also)], subject)

    def _last_state(self, name: str) -> SeenItem:
        """Return what to record of an item that is removed; it is not decrypted."""
        digest = generation = None
        with contextlib.suppress(IntegrityError, NewerFormatError):
            files = self.read_files(name)
            header = self._header(files.data)
            digest, generation = files.digest, header.generation if header else None
        return self.memory.before_removal(
            self.path_name(name), digest, generation, int(self._clock())
        )

    def entry_paths(self, name: str) -> list[str]:
        """Return the `entry_path` of each file that contains a profile's key."""
        return [self.entry_path(each) for each in self.lookup.all_of(name)]

    def has_seen(self, name: str) -> bool:
        """Return whether this machine has stored, opened or accepted an item before."""
        return self.trust.seen(self.path_name(name)) is not None

    def reseal_session_key(self) -> None:
        """Encrypt the session key to the present recipients; sessions stay readable."""
        if self.state is not None:
            self._session_key_file(self.state).reseal(self._session_key)

    def require_state(self) -> Folder:
        """Return the state directory. Raises StorageError if it cannot be written."""
        if self.state is None:
            raise StorageError(
                "the state directory cannot be written, so no session is kept",
                hint="set HOME or XDG_STATE_HOME to a folder of yours that can be written",
            )
        return self.state

    def session_key(self) -> bytes:
        """Return the key of the cached sessions. Raises LockedError, StorageError."""
        state = self.require_state()
        if self._session_key is None:
            self._session_key = self._session_key_file(state).load(replace=self._has_opened)
        return self._session_key

    def existing_session_key(self) -> bytes | None:
        """Return the key of the cached sessions, None if there is none that opens; make none.

        Raises LockedError, NewerFormatError, StorageError.
        """
        if self.state is None:
            return None
        return self._session_key_file(self.state).read()

    def _session_key_file(self, state: Folder) -> SessionKeyFile:
        from filevault.vault.session_key import SessionKeyFile

        return SessionKeyFile(state, self.state_id, self.backend, self._clock, self._session_keys)

    def check_rollback(self, name: str, data: bytes) -> SeenItem | None:
        """Return what to record of an item of a `file` vault that was decrypted.

        None, after a warning, for one that is older than what was seen before, or was removed
        here. Raises RollbackError for it under `--strict`.
        """
        header = self._header(data)
        if header is None:
            return None
        digest = sha256_hex(data)
        path_name = self.path_name(name)
        if not self.rollbacks.check(name, path_name, header.generation, digest):
            return None
        return SeenItem(header.generation, digest, header.created, header.created_from)
