"""All former master keys of a `file` vault, and the items still encrypted with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import keyslots, master_key, retired_keys
from filevault.backends.sealing import key_schedule
from filevault.vault.survey import survey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.backends.kdf import KdfPolicy
    from filevault.vault.survey import SurveyedItem
    from filevault.vault.vault import Vault


def former_keys(vault: Vault, unwrapped: UnwrappedKey, policy: KdfPolicy) -> dict[str, bytes]:
    """Return the former master keys by their ids.

    Most are retired: stored encrypted with their successors. Where two machines each changed the
    key and one change was kept, the other's key is in keyslots that no unlock tries: they are tried
    with the secret at hand. Keys that were retired under such a key are returned as well.
    """
    present = unwrapped.vault
    found = retired_keys.masters(vault.folder, present, unwrapped.master)
    others = [
        slot
        for slot in keyslots.listing(vault.folder)
        if slot.vault == present.vault and slot.master_id not in (present.master_id, *found)
    ]
    in_slots = {
        slot.master_id: master
        for slot, master in master_key.try_unwrap(others, unwrapped.secret, policy)
    }
    return retired_keys.masters(vault.folder, present, unwrapped.master, in_slots)


def items_before_rekey(vault: Vault, former: Mapping[str, bytes]) -> list[SurveyedItem]:
    """Return the items that are unchanged since this machine began an interrupted rekey.

    They are encrypted with the key that is still pinned here, so no confirmation is needed.
    """
    pin = vault.trust.pin
    if pin is None:
        return []
    old = {
        master_id
        for master_id, master in former.items()
        if key_schedule.commitment(master, pin.vault) == pin.commitment
    }
    found = []
    older = vault.trust.rekey_older_items
    for item in survey(vault).items:
        path_name = vault.path_name(item.name)
        seen = vault.trust.seen(path_name)
        known = (seen.sha256 if seen is not None else "", *older.get(path_name, ()))
        if item.master_id in old and item.digest in known:
            found.append(item)
    return found
