"""Change the master key of a `file` vault: its files, its items and `trust.json`.

The change is begun, then completed, all under the vault's lock. It can be resumed wherever it was
interrupted: re-encrypted items stay so, and `trust.json` records that a change is pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import FILE, master_key, rekey, vault_json
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    PartlyDoneError,
    RollbackError,
    TamperedError,
)
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.pin import Pin
from filevault.vault.rekey.former_keys import former_keys
from filevault.vault.rekey.reseal import Resealer
from filevault.vault.survey import UnreadableItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.backends.kdf import KdfPolicy
    from filevault.vault.seen_items import SeenItem
    from filevault.vault.survey import Survey, SurveyedItem
    from filevault.vault.vault import Vault


class BegunRekey(Record):
    """A vault that has its new key, the items to re-encrypt, and those that do not open."""

    prepared: rekey.Prepared
    items: tuple[SurveyedItem, ...]
    unreadable: tuple[UnreadableItem, ...]


def is_pending(vault: Vault) -> bool:
    """Return whether this machine has begun to change the vault's key, and not completed it."""
    return vault.trust.pending_pin == _pin(vault_json.read(vault.folder)).digest


def _pin(vault: vault_json.Marker) -> Pin:
    return Pin(FILE.name, vault.vault, vault.commitment)


def begin(
    vault: Vault,
    unwrapped: Sequence[UnwrappedKey],
    present: Survey,
    *,
    policy: KdfPolicy,
    clock: Callable[[], float],
    announce: Callable[[Pin], None],
) -> BegunRekey:
    """Give the vault a new key; `complete` must follow.

    Each item is opened first. One that no key of the vault opens stays as it is: it was of no use
    before, and a copy of it can be opened with the retired key. What an earlier attempt left
    behind that was killed before its key took effect is removed first.

    Args:
        vault: the vault, whose lock the caller holds.
        unwrapped: the master key with each secret that is to open the vault.
        present: all items.
        policy: the costs of the new keyslots.
        clock: Unix seconds.
        announce: called with the new pin before the key takes effect.

    Raises:
        TamperedError: for an item under another key that `rekey --finish` would re-encrypt.
        RollbackError: for an older item under `--strict`.
        StorageError: if a file cannot be written; the vault still has its old key then.
    """
    old = unwrapped[0]
    master_key.confirm(vault.folder, old)
    items, unreadable, seen, older = _checked(vault, old, present, policy)
    pending = vault.trust.pending_pin
    if pending is not None:
        rekey.remove_abandoned_slots(
            vault.folder, old, policy, lambda made: _pin(made).digest == pending
        )
    new = rekey.new_master_key(old.vault.vault)
    pin = _pin(new.vault)
    if vault.state is not None:
        if vault.trust.pin is None:  # opened with a given pin, which it matches
            vault.trust.set_pin(_pin(old.vault))
        # Recorded before the new key is written, so that it is recognised after a kill.
        vault.trust.begin_rekey(pin, seen, older)
    prepared = rekey.prepare(vault.folder, unwrapped, new, clock=clock)
    try:
        announce(pin)
    except BaseException:
        rekey.undo(vault.folder, prepared)
        raise
    rekey.switch(vault.folder, prepared)
    return BegunRekey(prepared, tuple(items), (*present.unreadable, *unreadable))


def _checked(
    vault: Vault, unwrapped: UnwrappedKey, present: Survey, policy: KdfPolicy
) -> tuple[list[SurveyedItem], list[UnreadableItem], dict[str, SeenItem], dict[str, str]]:
    """Open each item; return those that open, the others, what was seen, and older digests."""
    resealer = Resealer(vault, unwrapped.vault, unwrapped.master, {}, clock=lambda: 0)
    former = None
    items: list[SurveyedItem] = []
    unreadable: list[UnreadableItem] = []
    seen: dict[str, SeenItem] = {}
    older: dict[str, str] = {}
    for item in present.items:
        what = f"item {printable(item.name)!r}"
        if not resealer.has_key(item):
            if former is None:
                former = former_keys(vault, unwrapped, policy)
            if item.master_id in former:
                raise TamperedError(
                    f"{what} is sealed under another key of this vault",
                    hint="first finish what was begun before: filevault rekey --finish",
                )
            reason = f"{what} is sealed under an unknown key"
            unreadable.append(UnreadableItem(item.name, reason))
            continue
        try:
            found = resealer.check(item)
        except RollbackError:
            raise
        except IntegrityError as error:
            unreadable.append(UnreadableItem(item.name, error.message))
            continue
        items.append(item)
        if found is None:
            older[vault.path_name(item.name)] = item.digest
        else:
            seen[vault.path_name(item.name)] = found
    return items, unreadable, seen, older


def sync(vault: Vault, unwrapped: UnwrappedKey) -> None:
    """Sync vault.json, so that no power cut restores the old one. Raises StorageError."""
    rekey.rewrite_marker(vault.folder, unwrapped.vault)


def complete(
    vault: Vault,
    present: vault_json.Marker,
    master: bytes,
    former: Mapping[str, bytes],
    items: Iterable[SurveyedItem],
    *,
    slot: str,
    clock: Callable[[], float],
) -> None:
    """Re-encrypt items, retire former keys, delete their keyslots, and pin the present key.

    Args:
        vault: the vault, whose lock the caller holds.
        present: the content of vault.json.
        master: its master key.
        former: the keys to retire, by their ids.
        items: the items to re-encrypt.
        slot: the keyslot to try first from now on.
        clock: Unix seconds.

    Raises PartlyDoneError if anything fails: it can be resumed.
    """
    resealer = Resealer(vault, present, master, former, clock)
    seen: dict[str, SeenItem] = {}
    try:
        resealer.seal_session_key()
        for item in items:
            sealed = resealer.seal(item)
            if sealed is not None:
                seen[vault.path_name(item.name)] = sealed
        # A keyslot may be the only copy of another machine's key: first that key is retired.
        rekey.retire(vault.folder, present, master, former, clock=clock)
        rekey.remove_stale_slots(vault.folder, present, master)
        if vault.state is not None:
            vault.trust.end_rekey(_pin(present), seen, slot)
    except FilevaultError as error:
        raise PartlyDoneError(
            f"the vault has its new key, but not everything is done: {error.message}",
            hint="run filevault rekey again when what hinders it is out of the way: it goes on "
            "from there",
        ) from error
