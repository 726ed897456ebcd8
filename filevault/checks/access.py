"""Who can open the vault: its keyslots, or its recipients files with their signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.backends.file import keyslots, vault_json
from filevault.checks.finding import WARNING, Finding, error_finding
from filevault.errors import FilevaultError
from filevault.system.printable import printable
from filevault.vault.pin import pin_of
from filevault.vault.pin_policy import check_recipients

if TYPE_CHECKING:
    from filevault.backends.kdf import KdfParameters
    from filevault.vault.vault import Vault


def check_access(
    vault: Vault, given_pin: str | None, default_cost: KdfParameters
) -> tuple[int, list[Finding]]:
    """Return how many keyslots or recipients there are, and the findings.

    `given_pin` is that of `--pin`, `default_cost` the cost of a new keyslot. No slot is
    unwrapped but the one that opened the vault.
    """
    if vault.backend.family == SEALED:
        return _keyslots(vault, default_cost)
    try:
        pin = pin_of(vault.backend)
    except FilevaultError as error:
        return 0, [error_finding("the recipients", "recipients", error)]
    count = len({name for _, names in pin.recipients for name in names})
    try:
        check_recipients(vault.trust, pin, given=given_pin)
    except FilevaultError as error:
        return count, [error_finding("the recipients", "pin", error)]
    return count, []


def _keyslots(vault: Vault, default_cost: KdfParameters) -> tuple[int, list[Finding]]:
    master_id = vault_json.read(vault.folder).master_id
    usable, found = 0, []
    for name, data in keyslots.files(vault.folder):
        subject = f"keyslot {printable(name)}"
        try:
            slot = keyslots.parse(data, name, "it")
        except FilevaultError as error:
            hint = "filevault slot remove deletes it; another keyslot opens the vault"
            found.append(Finding(subject, "opens", WARNING, error.message, hint=hint))
            continue
        if slot.master_id != master_id:
            message = "belongs to a former master key, and opens nothing any more"
            hint = f"filevault slot remove {slot.id}"
            found.append(Finding(subject, "master key", WARNING, message, hint=hint))
            continue
        usable += 1
        if keyslots.weaker([slot], default_cost):
            message = "costs less to guess than a new one"
            hint = "filevault passphrase makes a new one, with the same passphrase if you like"
            found.append(Finding(subject, "cost", WARNING, message, hint=hint))
    return usable, found
