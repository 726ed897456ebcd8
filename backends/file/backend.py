"""An opened `file` vault.

Opening reads vault.json alone. Keyslots are read, and the user is asked for a passphrase, when
the first item must be encrypted or decrypted (`docs/format.md` §5). What does that is imported
only then: a run that finds the session key in the key cache unlocks nothing.
"""

from __future__ import annotations

import functools

from filevault.backends.definition import SEALED, SecretRequest
from filevault.backends.file import FILE, vault_json
from filevault.backends.sealing import envelope, key_schedule
from filevault.errors import TamperedError
from filevault.system.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from filevault.backends.definition import VaultParts
    from filevault.backends.file.unlock import UnlockResult
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.item_header import ItemHeader
    from filevault.backends.protocols import SecretSource
    from filevault.system.files import Folder


class FileBackend:
    """A `file` vault; made by `open` or `opened`."""

    __slots__ = (
        "_cached_key",
        "_last",
        "_marker",
        "_master",
        "_opened_slot",
        "_root",
        "_unwrap",
    )

    name = FILE.name
    suffix = FILE.suffix
    family: Literal["sealed"] = SEALED
    head_size = envelope.HEAD_SIZE

    def __init__(
        self,
        vault: Marker,
        unwrap: Callable[[], UnlockResult] | None,
        cached_key: Callable[[str], bytes | None] = lambda _commitment: None,
    ) -> None:
        self._marker = vault
        self._unwrap = unwrap  # None once the vault is unlocked
        self._cached_key = cached_key
        self._root: Folder | None = None
        self._master = b""
        self._opened_slot: str | None = None
        self._last: tuple[bytes, ItemHeader] | None = None

    @classmethod
    def open(
        cls,
        parts: VaultParts,
        available_memory: Callable[[], int] | None = None,
    ) -> FileBackend:
        """Open an existing vault. Only vault.json is read.

        `available_memory` returns the KiB that this process may count on; it is
        `kdf.available_memory` if left out.

        Raises:
            NoVaultError: if the folder has no marker.
            DamagedError: if the marker is damaged.
            NewerFormatError: if a newer filevault wrote it.
            StorageError: if it cannot be read.
        """
        root, only_slot = parts.store, parts.only_slot
        vault = vault_json.read(root)

        @functools.cache  # it counts the tries
        def source() -> SecretSource:
            from filevault.backends.file.unlock import useful_secrets

            request = SecretRequest(
                ("passphrase", "keyfile"),
                "keyslot of this vault",
                lambda: parts.root,
                lambda: useful_secrets(root, only_slot),
            )
            return parts.secrets(request)

        def unwrap() -> UnlockResult:
            from filevault.backends import kdf
            from filevault.backends.file.unlock import Unlocking

            return Unlocking(
                root,
                vault,
                parts.kdf_policy(),
                parts.last_slot,
                only_slot,
                available_memory or kdf.available_memory,
            ).open(source())

        backend = cls(vault, unwrap, parts.cached_key)
        backend._root = root
        return backend

    @classmethod
    def opened(cls, vault: Marker, opened: UnlockResult) -> FileBackend:
        """Return the unlocked backend of a vault whose master key is known."""
        backend = cls(vault, None)
        backend._adopt(opened)
        return backend

    @property
    def vault_id(self) -> str:
        """The vault's id, 32 hex digits."""
        return self._marker.vault

    @property
    def commitment(self) -> str:
        """The commitment to the master key, 64 hex digits, verified when unlocked."""
        return self._marker.commitment

    @property
    def master_id(self) -> str:
        """The key id of items, 16 hex digits."""
        return self._marker.master_id

    @property
    def opened_slot(self) -> str | None:
        """The id of the keyslot that opened the vault, None before."""
        return self._opened_slot

    def unlock(self) -> None:
        """Unlock the vault now, once. Raises what `Unlocking.open` raises."""
        if self._unwrap is not None:
            if not self._adopt_cached():
                self._adopt(self._unwrap())
            self._unwrap = None

    def vault_key(self) -> bytes:
        """Return the master key, unlocking the vault first."""
        self.unlock()
        return self._master

    def _adopt_cached(self) -> bool:
        master = self._cached_key(self.commitment)
        if master is None or key_schedule.commitment(master, self.vault_id) != self.commitment:
            return False
        self._master = master
        return True

    def _adopt(self, opened: UnlockResult) -> None:
        self._master = opened.master
        self._opened_slot = opened.slot

    @property
    def _item_key(self) -> bytes:
        return key_schedule.item_key(self._master, self.vault_id)

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        """Return the bytes of an item file; raises BackendError for an item too long."""
        self.unlock()
        return envelope.seal(self._item_key, self.vault_id, self.master_id, header, plaintext)

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        """Return an item's plaintext.

        The header is compared before a passphrase is asked for.
        """
        what = "the session key" if kind == "session-key" else f"item {printable(name, 200)!r}"
        parsed = envelope.parse(data, what)
        if parsed.vault == self.vault_id and parsed.key != self.master_id:
            self._refuse_retired(parsed.key, what)
        envelope.expect(parsed, self.vault_id, self.master_id, kind, name, what)
        self.unlock()
        self._last = data, parsed.header  # most callers call `peek` next
        return envelope.unseal(self._item_key, parsed, what)

    def _refuse_retired(self, key_id: str, what: str) -> None:
        """Raise TamperedError if an item is sealed under a former key of this vault."""
        from filevault.backends.file import retired_keys

        if self._root is not None and retired_keys.exists(self._root, key_id):
            raise TamperedError(
                f"{what} is sealed under a former key of this vault",
                hint="another machine stored it before it knew of the new key, or a rekey was "
                "interrupted: filevault rekey --finish",
            )

    def confirm(self) -> None:
        """Raise StorageError if the master key was replaced since the vault was opened."""
        if self._root is not None and vault_json.read(self._root) != self._marker:
            from filevault.backends.file.master_key import concurrent_change

            raise concurrent_change()

    def created(self, head: bytes) -> tuple[str, str | None] | None:
        """Return (time, origin) from an item's header; not authenticated."""
        return envelope.created(head)

    def peek(self, data: bytes, what: str = "the item") -> ItemHeader:
        """Return an item's header; not authenticated."""
        last = self._last
        if last is not None and last[0] is data:
            return last[1]
        return envelope.parse(data, what).header
