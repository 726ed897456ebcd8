"""Holding a `file` vault's master key: for those commands that change what opens the vault.

Everything else works with the item key alone; who holds the master key can make keyslots.
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
    from filevault.backends.protocols import Secret, SecretSource
    from filevault.system.files import Folder


class Holder(Record):
    """A secret that opens a vault, with the slot that it opened and the master key in it."""

    vault: Marker
    secret: Secret
    slot: Slot
    master: bytes

    def __repr__(self) -> str:
        return f"Holder(slot={self.slot.id!r}, ...)"


class _Recorder:
    """Hands on what a source gives, and knows what it gave last."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self.last: Secret | None = None

    def secret(self) -> Secret:
        given = self._source.secret()
        self.last = given._replace(content=given.value)  # that one is overwritten
        return given

    def on_rejected(self, secret: Secret) -> None:
        self._source.on_rejected(secret)


def hold(
    root: Folder,
    source: SecretSource,
    policy: KdfPolicy,
    *,
    last_slot: str | None = None,
    only_slot: str | None = None,
    available: Callable[[], int] = kdf.available_memory,
) -> Holder:
    """Ask a source, and return what its secret opens.

    Args as `filevault.backends.open_backend`. Raises as `Unlocking.open`.
    """
    vault = vault_json.read(root)
    recorder = _Recorder(source)
    opened = Unlocking(root, vault, policy, last_slot, only_slot, available).open(recorder)
    for slot in keyslots.listing(root):
        if slot.id == opened.slot and recorder.last is not None:
            return Holder(vault, recorder.last, slot, opened.master)
    raise changed_meanwhile()


def confirm(root: Folder, holder: Holder) -> None:
    """Raise StorageError if the vault is another than when it was opened; call under the lock."""
    if vault_json.read(root) != holder.vault:
        raise changed_meanwhile()


def changed_meanwhile() -> StorageError:
    """Return the error for a vault that another process changed while somebody was asked."""
    return StorageError(
        "the vault's keys were changed by somebody else meanwhile; nothing was done",
        hint="run the command again",
    )


def try_unwrap(
    found: Iterable[Slot],
    secret: Secret,
    policy: KdfPolicy,
    available: Callable[[], int] = kdf.available_memory,
) -> Iterator[tuple[Slot, bytes]]:
    """Yield each slot that a secret opens, with the master key in it.

    As in an unlock, only so many are tried at only so much cost; what is damaged, forged or out
    of bounds is passed over. That the key is the one a slot names is verified.
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
        if master is not None and key_schedule.item_key_id(master, slot.vault) == slot.master:
            yield slot, master
