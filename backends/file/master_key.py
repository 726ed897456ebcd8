"""Unwrap the master key from a keyslot, for commands that change keyslots or replace the key.

Everything else needs the item key alone: with the master key, keyslots can be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import kdf
from filevault.backends.file import keyslots, vault_json
from filevault.backends.file.unlock import MAX_SLOTS, Unlocking, secret_bytes
from filevault.backends.sealing import key_schedule
from filevault.errors import FilevaultError, StorageError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filevault.backends.file.keyslots import Slot
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfPolicy
    from filevault.backends.protocols import SecretSource
    from filevault.backends.values import Secret
    from filevault.system.files import Folder


class UnwrappedKey(Record):
    """A master key, with the secret and the keyslot that it was unwrapped with."""

    _secret = ("master",)

    vault: Marker
    secret: Secret
    slot: Slot
    master: bytes


class _Recorder:
    """Wrap a SecretSource and record the last secret it returned."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self.last: Secret | None = None

    def secret(self) -> Secret:
        given = self._source.secret()
        self.last = given._replace(content=given.value)  # the original is overwritten
        return given

    def on_rejected(self, secret: Secret) -> None:
        self._source.on_rejected(secret)


def unwrap(
    root: Folder,
    source: SecretSource,
    policy: KdfPolicy,
    *,
    last_slot: str | None = None,
    only_slot: str | None = None,
) -> UnwrappedKey:
    """Ask a source for a secret, and return the master key that it unwraps.

    Args as `Unlocking`. Raises what `Unlocking.open` raises.
    """
    vault = vault_json.read(root)
    recorder = _Recorder(source)
    unlocking = Unlocking(root, vault, policy, last_slot, only_slot, kdf.available_memory)
    opened = unlocking.open(recorder)
    for slot in keyslots.listing(root):
        if slot.id == opened.slot and recorder.last is not None:
            return UnwrappedKey(vault, recorder.last, slot, opened.master)
    raise concurrent_change()


def confirm(root: Folder, unwrapped: UnwrappedKey) -> None:
    """Raise StorageError if vault.json differs from when the key was unwrapped.

    Call it under the lock.
    """
    if vault_json.read(root) != unwrapped.vault:
        raise concurrent_change()


def concurrent_change() -> StorageError:
    """Return the error for a vault that another process changed during a question."""
    return StorageError(
        "the vault's keys were changed by another process; nothing was done",
        hint="run the command again",
    )


def try_unwrap(
    found: Iterable[Slot],
    secret: Secret,
    policy: KdfPolicy,
    available: Callable[[], int] = kdf.available_memory,
) -> Iterator[tuple[Slot, bytes]]:
    """Yield each keyslot that a secret unwraps, with its master key.

    Number and cost of the tries are bounded as for unlocking. Keyslots that are damaged, forged
    or out of bounds are skipped. Each key is verified to be the one that its keyslot names.
    """
    value = secret_bytes(secret)
    fitting = [slot for slot in found if slot.type == keyslots.TYPES[secret.kind]]
    spent = 0
    for slot in sorted(fitting, key=lambda slot: (slot.cost, slot.id))[:MAX_SLOTS]:
        what = keyslots.described(slot.id)
        try:
            if slot.parameters is not None:
                kdf.check_bounds(slot.parameters, policy, available, what)
            spent += slot.cost
            if spent > kdf.MAX_UNLOCK_COST:
                return
            master = keyslots.unwrap(slot, value, what)
        except FilevaultError:
            continue
        if master is not None and key_schedule.item_key_id(master, slot.vault) == slot.master_id:
            yield slot, master
