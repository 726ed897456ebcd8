"""The line that `slot list`, `recipients list` and `rekey` print about a keyslot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import keyslots, vault_json
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.backends.file.keyslots import Slot
    from filevault.cli.context import Context
    from filevault.vault.vault import Vault


def keyslot_text(slot: Slot, context: Context, vault: Vault) -> str:
    """Return what a keyslot says of itself besides its id, none of it authenticated."""
    what = f"{slot.type}, made {slot.created}"
    if slot.parameters is not None:
        costs = slot.parameters
        what += f", {costs.memory_kib} KiB, {costs.iterations} passes, {costs.lanes} lanes"
        if keyslots.weaker([slot], context.kdf_policy.default):
            what += ", weaker than new ones"
    if slot.master_id != vault_json.read(vault.folder).master_id:
        what += ", of a former master key"
    if slot.id == vault.trust.last_slot:
        what += ", opened the vault here last"
    return what + (f", {printable(slot.label)!r}" if slot.label else "")
