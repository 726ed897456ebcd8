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
    """Return type, date, cost and label of a keyslot as text; none of it is authenticated."""
    text = f"{slot.type}, made {slot.created}"
    if slot.parameters is not None:
        costs = slot.parameters
        text += f", {costs.memory_kib} KiB, {costs.iterations} passes, {costs.lanes} lanes"
        if keyslots.weaker([slot], context.kdf_policy.default):
            text += ", weaker than new ones"
    if slot.master_id != vault_json.read(vault.folder).master_id:
        text += ", of a former master key"
    if slot.id == vault.trust.last_slot:
        text += ", opened the vault here last"
    return text + (f", {printable(slot.label)!r}" if slot.label else "")
