"""The vault: long-term items by name, over a store of files and a backend.

Reading takes no lock. Writing holds the vault's lock from the read it is based on to the file
that is in place. What was seen of each item is remembered, so that an older copy put in its
place is noticed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends import ItemHeader
from filevault.digest import sha256_hex
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    RollbackError,
    StorageError,
    TamperedError,
)
from filevault.printable import printable, shell_word
from filevault.trust import Seen
from filevault.vault.names import encode_name
from filevault.vault.session_key import load_session_key
from filevault.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.backends import Backend
    from filevault.credentials import AccessKey
    from filevault.files import Folder
    from filevault.trust import Trust
    from filevault.vault.items import LongTermItem

_KIND = "credentials"


class Vault:
    """An open vault.

    Args:
        root: the folder of the items.
        backend: how they are encrypted.
        state: the state directory, None where it cannot be written.
        state_id: 32 hex digits that name it.
        trust: what this machine remembers.
        strict: refuse what is otherwise a warning.
        clock: Unix seconds.
        warn: hears one sentence about something odd that did not stop anything.
        notice: hears what matters to a person only; `warn` if left out.
    """

    def __init__(
        self,
        root: Folder,
        backend: Backend,
        *,
        state: Folder | None,
        state_id: str,
        trust: Trust,
        strict: bool,
        clock: Callable[[], float],
        warn: Callable[[str], None],
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self.root = root
        self.backend = backend
        self.state = state
        self.state_id = state_id
        self.trust = trust
        self._store = Store(root, backend.suffix)
        self._session_key: bytes | None = None
        self._strict = strict
        self._clock = clock
        self._warn = warn
        self._notice = notice or warn

    def names(self) -> list[str]:
        """Return the names of the stored keys, sorted; nothing is decrypted."""
        return [name for name in self._store.names() if not name.startswith("mfa/")]

    def ages(self) -> dict[str, tuple[str, str | None] | None]:
        """Return the names of the stored keys, sorted, each with when it was made.

        That is (time, `iam` or `add`) as the item's header says, not authenticated, and None
        where it says nothing. Nothing is decrypted.
        """
        heads = self._store.heads(self.backend.head_size)
        return {
            name: self.backend.created(head) for name, head in heads if not name.startswith("mfa/")
        }

    def has(self, name: str) -> bool:
        """Tell whether a key is stored for a profile; nothing is read."""
        return not name.startswith("mfa/") and self._store.has(name)

    def item_digest(self, name: str) -> str:
        """Return SHA-256 of an item's file as hex; it is read, never decrypted."""
        return sha256_hex(self._store.read(name))

    def text(self, name: str) -> bytes:
        """Return an item's plaintext, after the checks for swaps and rollbacks.

        Raises ItemNotFoundError, LockedError, IntegrityError, NewerFormatError, StorageError.
        """
        data = self._store.read(name)
        plaintext = self.backend.decrypt(_KIND, name, data)
        self._check_rollback(name, data)
        return plaintext

    def item(self, name: str) -> LongTermItem:
        """Return an item's content. Raises as `text` does."""
        from filevault.vault.items import parse

        what = f"item {printable(name)!r}"
        item = parse(self.text(name), what)
        if item.path_name is not None and item.path_name != self._path_name(name):
            # The header's name was right: in a `file` vault the two can only differ by damage.
            raise TamperedError(f"{what} says inside that it is {printable(item.path_name)!r}")
        return item

    def access_key(self, name: str) -> AccessKey:
        """Return the long-term key stored for a profile. Raises as `text` does."""
        return self.item(name).key

    def unlock(self) -> None:
        """Open the vault now, before anything else is asked. Raises LockedError."""
        self.backend.unlock()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the vault's lock: the directory's own, or one in the state directory.

        Raises StorageError where neither can be had.
        """
        from filevault.locks import writers_lock

        with writers_lock(self.root, self.state.path if self.state is not None else None):
            yield

    def write(self, name: str, text: bytes, *, created: str, created_from: str) -> None:
        """Store an item's plaintext; call inside `writing`.

        The new file is opened once before it replaces the old one.
        """
        path_name = self._path_name(name)
        seen = self.trust.seen(path_name)
        generation = max(
            int(self._clock()), self._generation(name) + 1, seen.generation + 1 if seen else 0
        )
        header = ItemHeader(_KIND, name, generation, created, created_from)
        data = self.backend.encrypt(header, text)
        if self.backend.decrypt(_KIND, name, data) != text:
            raise StorageError("the encrypted item does not open again; nothing was changed")
        self._store.write(name, data)
        self._remember(path_name, Seen(generation, sha256_hex(data), created, created_from))

    def _generation(self, name: str) -> int:
        """Return the generation of the item that is there, if it is authentic.

        Whoever can write the vault's folder can put any number into a header.
        """
        if not self._store.has(name):
            return -1
        data = self._store.read(name)
        try:
            self.backend.decrypt(_KIND, name, data)
            header = self.backend.peek(data)
        except IntegrityError:
            return -1
        return header.generation if header is not None else -1

    def remove(self, name: str) -> None:
        """Delete an item; call inside `writing`. Raises ItemNotFoundError or StorageError."""
        self._store.remove(name)
        with contextlib.suppress(StorageError):
            self.trust.forget(self._path_name(name))

    def accept(self, name: str) -> None:
        """Take an item as it is now for the newest, whatever was seen before.

        It is opened first: what is remembered of it must be authentic. Raises as `text` does.
        """
        data = self._store.read(name)
        self.backend.decrypt(_KIND, name, data)
        header = self.backend.peek(data)
        if header is not None:
            seen = Seen(header.generation, sha256_hex(data), header.created, header.created_from)
            self.trust.set_seen(self._path_name(name), seen)

    def rolled_back(self, name: str) -> bool:
        """Tell whether an item is older than, or another than, the one this machine saw last."""
        data = self._store.read(name)
        header = self.backend.peek(data)
        return header is not None and self._is_rollback(name, header, sha256_hex(data))

    def session_key(self) -> bytes:
        """Return the key of the cached sessions. Raises LockedError and StorageError."""
        if self.state is None:
            raise StorageError("there is no state directory to keep sessions in")
        if self._session_key is None:
            self._session_key = load_session_key(
                self.state, self.state_id, self.backend, self._clock
            )
        return self._session_key

    def _path_name(self, name: str) -> str:
        return encode_name(name, self.backend.suffix)[: -len(self.backend.suffix)]

    def _is_rollback(self, name: str, header: ItemHeader, digest: str) -> bool:
        seen = self.trust.seen(self._path_name(name))
        if seen is None or digest == seen.sha256:
            return False
        return header.generation <= seen.generation

    def _check_rollback(self, name: str, data: bytes) -> None:
        header = self.backend.peek(data)
        if header is None:
            return
        digest = sha256_hex(data)
        if self._is_rollback(name, header, digest):
            message = f"item {printable(name)!r} is older than the one this machine saw last"
            if self._strict:
                raise RollbackError(
                    message,
                    hint=f"if that is meant, filevault recipients accept {shell_word(name)}",
                )
            self._warn(f"{message}; it is used all the same")
        self._remember(
            self._path_name(name),
            Seen(header.generation, digest, header.created, header.created_from),
        )

    def _remember(self, path_name: str, seen: Seen) -> None:
        # The item is stored; that this could not be noted down must not look like a failure.
        try:
            self.trust.set_seen(path_name, seen)
        except FilevaultError as error:
            self._notice(error.message)
