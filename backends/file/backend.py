"""An opened `file` vault, and the creation of a new one.

Opening reads vault.json alone. Keyslots are read, and the user is asked for a passphrase, when
the first item must be encrypted or decrypted (`docs/format.md` §5).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

from filevault.backends import kdf
from filevault.backends.definition import SecretRequest
from filevault.backends.file import FILE, keyslots, vault_json
from filevault.backends.file.unlock import Unlocking, UnlockResult, useful_secrets
from filevault.backends.protocols import Family
from filevault.backends.sealing import envelope, key_schedule
from filevault.errors import (
    FilevaultError,
    LockedError,
    NoVaultError,
    StorageError,
    TamperedError,
    UsageError,
    VaultChoiceError,
)
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.definition import VaultParts
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.backends.protocols import ItemHeader, Secret, SecretSource
    from filevault.system.files import Folder


class FileBackend:
    """A `file` vault; made by `open`, `opened` or `create`."""

    __slots__ = (
        "_cached_key",
        "_last",
        "_marker",
        "_master",
        "_opened_slot",
        "_root",
        "_source",
        "_unlocking",
    )

    name = FILE.name
    suffix = FILE.suffix
    family: Literal[Family.SEALED] = Family.SEALED
    head_size = envelope.HEAD_SIZE

    def __init__(
        self,
        vault: Marker,
        source: SecretSource,
        unlocking: Unlocking | None,
        cached_key: Callable[[str], bytes | None] = lambda _commitment: None,
    ) -> None:
        self._marker = vault
        self._source = source
        self._unlocking = unlocking
        self._cached_key = cached_key
        self._root: Folder | None = None
        self._master = b""
        self._opened_slot: str | None = None
        self._last: tuple[bytes, ItemHeader] | None = None

    @classmethod
    def open(
        cls,
        parts: VaultParts,
        available_memory: Callable[[], int] = kdf.available_memory,
    ) -> FileBackend:
        """Open an existing vault. Only vault.json is read.

        `available_memory` returns the KiB that this process may count on.

        Raises:
            NoVaultError: if the folder has no marker.
            DamagedError: if the marker is damaged.
            NewerFormatError: if a newer filevault wrote it.
            StorageError: if it cannot be read.
        """
        root, only_slot = parts.store, parts.only_slot
        vault = vault_json.read(root)
        source = parts.secrets(
            SecretRequest(
                ("passphrase", "keyfile"),
                "keyslot of this vault",
                lambda: parts.root,
                lambda: useful_secrets(root, only_slot),
            )
        )
        unlocking = Unlocking(
            root, vault, parts.kdf_policy, parts.last_slot, only_slot, available_memory
        )
        backend = cls(vault, source, unlocking, parts.cached_key)
        backend._root = root
        return backend

    @classmethod
    def opened(cls, vault: Marker, opened: UnlockResult) -> FileBackend:
        """Return the unlocked backend of a vault whose master key is known."""
        backend = cls(vault, _NoSource(), None)
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
        """Unlock the vault now, once. Raises as `Unlocking.open`."""
        if self._unlocking is not None:
            if not self._adopt_cached():
                self._adopt(self._unlocking.open(self._source))
            self._unlocking = None

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


class _NoSource:
    """Secret source of a vault that is unlocked already."""

    def secret(self) -> Secret:
        raise LockedError("the vault is unlocked already")

    def on_rejected(self, secret: Secret) -> None:
        raise LockedError(f"the {secret.kind} opens nothing")


def create(
    root: Folder,
    *,
    passphrase: bytes | None = None,
    keyfile_text: bytes | None = None,
    policy: KdfPolicy,
    parameters: KdfParameters | None = None,
    label: str = "",
    clock: Callable[[], float],
    random: Callable[[int], bytes] = os.urandom,
    available_memory: Callable[[], int] = kdf.available_memory,
) -> FileBackend:
    """Make a vault, see `filevault.backends.definition.Creator`; `label` is published.

    vault.json is written last, after every keyslot was read back and unwrapped. Keyslots that a
    crashed run left are kept: they name another master key and are skipped.
    """
    try:
        vault_json.read(root)
    except NoVaultError:
        pass
    else:
        raise VaultChoiceError(f"there is a vault already at {printable(root.path)!r}")
    keyslots.check_label(label)
    secrets = _slot_secrets(passphrase, keyfile_text, parameters, policy, available_memory)

    vault = key_schedule.new_vault_id(random)
    master = key_schedule.new_master(random)
    created = format_time(clock())
    written = vault_json.Marker(
        vault, key_schedule.item_key_id(master, vault), key_schedule.commitment(master, vault)
    )
    with root.make_child(vault_json.FOLDER) as inner:
        with inner.make_child(keyslots.FOLDER) as folder:
            names = [
                keyslots.write(
                    folder,
                    master,
                    vault,
                    secret,
                    parameters=costs,
                    label=label,
                    created=created,
                    random=random,
                )
                for secret, costs in secrets
            ]
        try:
            vault_json.write(inner, written)
        except BaseException:
            # A generated passphrase is not shown after an error: this must not be a vault.
            with contextlib.suppress(FileNotFoundError, StorageError):
                inner.remove(vault_json.FILE)
            raise
    return FileBackend.opened(written, UnlockResult(master, names[0]))


def _slot_secrets(
    passphrase: bytes | None,
    keyfile_text: bytes | None,
    parameters: KdfParameters | None,
    policy: KdfPolicy,
    available_memory: Callable[[], int],
) -> list[tuple[bytes, KdfParameters | None]]:
    """Return the secret and the costs of each keyslot. Raises before anything is written."""
    secrets: list[tuple[bytes, KdfParameters | None]] = []
    if passphrase is not None:
        costs = policy.default if parameters is None else parameters
        try:
            kdf.check_bounds(costs, policy, available_memory, "the new keyslot")
        except FilevaultError as error:
            raise UsageError(error.message, hint=error.hint) from error
        secrets.append((kdf.passphrase_bytes(passphrase, "the new passphrase"), costs))
    if keyfile_text is not None:
        secrets.append((keyslots.keyfile_bytes(keyfile_text, "the new key file"), None))
    if not secrets:
        raise UsageError("a vault needs a passphrase or a key file")
    return secrets
