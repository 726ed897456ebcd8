"""Giving a `file` vault another master key: its items, its session key and its pin.

The keys themselves are `filevault.backends.file.rekey`'s. Everything here is done under the vault's
lock, and can be begun again wherever it was cut off: what is sealed anew stays so, and
`trust.json` says that there is something to finish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import (
    FILE,
    master_key,
    rekey,
    retired_keys,
    unlocked_backend,
    vault_json,
)
from filevault.backends.file import keyslots as slotfiles
from filevault.backends.sealing import key_schedule
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    PartlyDoneError,
    RollbackError,
    StorageError,
    TamperedError,
)
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.acceptance import needs_acceptance
from filevault.vault.item import parse
from filevault.vault.pin import Pin
from filevault.vault.seen import Seen
from filevault.vault.session_key import read_session_key, reseal_session_key
from filevault.vault.store import Store
from filevault.vault.survey import Entry, Survey, Unreadable, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filevault.backends.file.master_key import Holder
    from filevault.backends.kdf import KdfPolicy
    from filevault.backends.protocols import ItemHeader, SealedBackend
    from filevault.vault import Vault


class Content(Record):
    """What somebody who can open an item gets: `key_id` of an access key, None of a TOTP seed."""

    name: str
    key_id: str | None
    created: str
    older: bool = False


class Begun(Record):
    """A vault that has its new key: the items that are to be sealed under it, and what is left."""

    made: rekey.Prepared
    chosen: tuple[Entry, ...]
    left: tuple[Unreadable, ...]


def unfinished(vault: Vault) -> bool:
    """Tell whether this machine has begun to give the vault a new key, and not finished."""
    return vault.trust.pending == _pin(vault_json.read(vault.folder)).digest


def _pin(vault: vault_json.Marker) -> Pin:
    return Pin(FILE.name, vault.vault, vault.commit)


class Resealing:
    """Seals under a vault's present key what lies under former ones.

    Args:
        vault: the vault, whose lock the caller holds.
        present: what vault.json says.
        master: the present master key.
        former: former master keys by their ids.
        clock: Unix seconds.
    """

    def __init__(
        self,
        vault: Vault,
        present: vault_json.Marker,
        master: bytes,
        former: Mapping[str, bytes],
        clock: Callable[[], float],
    ) -> None:
        self._vault = vault
        self._store = Store(vault.folder, vault.backend.suffix)
        self._present = present
        self._clock = clock
        self._backends: dict[str, SealedBackend] = {
            key: unlocked_backend(
                vault_json.Marker(present.vault, key, key_schedule.commitment(each, present.vault)),
                each,
            )
            for key, each in former.items()
        }
        self._backends[present.master] = unlocked_backend(present, master)

    def opens(self, entry: Entry) -> bool:
        """Tell whether the key of an item is at hand."""
        return entry.key in self._backends

    def _open(self, entry: Entry) -> tuple[bytes, ItemHeader, bytes]:
        """Return an item's file, what its header says, and its text."""
        data = self._store.read(entry.name)
        backend = self._backends[entry.key]
        text = backend.decrypt(entry.kind, self._vault.path_name(entry.name), data)
        header = backend.peek(data)
        if sha256_hex(data) != entry.digest:
            raise master_key.changed_meanwhile()
        return data, header, text

    def content(self, entry: Entry) -> Content:
        """Return what an item gives away. Raises IntegrityError if it does not open."""
        _, header, text = self._open(entry)
        key_id = None
        if entry.kind == "credentials":
            key_id = parse(text, f"item {printable(entry.name)!r}").key.access_key_id
        older = entry.kind == "credentials" and needs_acceptance(self._vault, entry.name)
        return Content(entry.name, key_id, header.created, older)

    def check(self, entry: Entry) -> Seen | None:
        """Open an item under the present key and return what to remember of it.

        None for an older copy. Raises IntegrityError, RollbackError for such a copy under
        `--strict`.
        """
        data, _, _ = self._open(entry)
        return self._vault.judge(entry.name, data)

    def seal(self, entry: Entry) -> Seen | None:
        """Seal an item under the present key, and return what to remember of it.

        The new file is opened once before it takes the old one's place. A copy that is older
        than what this machine saw, or was removed here, stays so: None is returned.
        """
        _, header, text = self._open(entry)
        path_name = self._vault.path_name(entry.name)
        trust = self._vault.trust
        known = [
            each.generation
            for each in (trust.seen(path_name), trust.removed(path_name))
            if each is not None and each.generation is not None
        ]
        older = self._vault.last_seen.suspicion(path_name, header.generation, entry.digest)
        if older is None:
            generation = max(
                int(self._clock()), header.generation + 1, *(each + 1 for each in known)
            )
        else:
            generation = min([header.generation + 1, *known])
        present = self._backends[self._present.master]
        data = present.encrypt(header._replace(generation=generation), text)
        if present.decrypt(entry.kind, path_name, data) != text:
            raise StorageError("the item sealed anew does not open again")
        self._store.write(entry.name, data)
        if older is not None:
            return None
        return Seen(generation, sha256_hex(data), header.created, header.created_from)

    def seal_session_key(self) -> None:
        """Seal the session key under the present key, so that it opens what it sealed.

        Sessions that come from an item that is sealed anew are not found again all the same:
        what they are found by has the digest of the item's file in it.
        """
        state, state_id = self._vault.state, self._vault.state_id
        if state is None:
            return
        present = self._backends[self._present.master]
        for key_id, backend in self._backends.items():
            key = read_session_key(state, state_id, backend)
            if key is not None and key_id != self._present.master:
                reseal_session_key(state, state_id, present, key, self._clock)


def begin(
    vault: Vault,
    holders: Sequence[Holder],
    present: Survey,
    *,
    policy: KdfPolicy,
    clock: Callable[[], float],
    announce: Callable[[Pin], None],
) -> Begun:
    """Give the vault a new key; from here on `complete` has to follow.

    Each item is opened first. One that no key of the vault opens stays as it is: it was of no use
    before, and what of it can be restored from a copy is opened with the retired key. `announce`
    is called with the new pin before it counts. What an earlier try left behind that was killed
    before its key counted is taken away first.

    Raises:
        TamperedError: for an item under another key that `finish` would seal anew.
        RollbackError: for an older item under `--strict`.
        StorageError: if something cannot be written; the vault has its old key then.
    """
    old = holders[0]
    master_key.confirm(vault.folder, old)
    chosen, left, seen, older = _checked(vault, old, present, policy)
    pending = vault.trust.pending
    if pending is not None:
        rekey.remove_abandoned_slots(
            vault.folder, old, policy, lambda made: _pin(made).digest == pending
        )
    new = rekey.new_key(old.vault.vault)
    pin = _pin(new.vault)
    if vault.state is not None:
        if vault.trust.pin is None:  # another pin was given, and the vault is that one
            vault.trust.set_pin(_pin(old.vault))
        # Before anything of the new key is written, so that it is known again after a kill.
        vault.trust.begin_rekey(pin, seen, older)
    prepared = rekey.prepare(vault.folder, holders, new, clock=clock)
    try:
        announce(pin)
    except BaseException:
        rekey.undo(vault.folder, prepared)
        raise
    rekey.switch(vault.folder, prepared)
    return Begun(prepared, tuple(chosen), (*present.unreadable, *left))


def _checked(
    vault: Vault, holder: Holder, present: Survey, policy: KdfPolicy
) -> tuple[list[Entry], list[Unreadable], dict[str, Seen], dict[str, str]]:
    """Open each item; return those that open, the others, what was seen, and older digests."""
    sealed = Resealing(vault, holder.vault, holder.master, {}, clock=lambda: 0)
    former = None
    chosen: list[Entry] = []
    left: list[Unreadable] = []
    seen: dict[str, Seen] = {}
    older: dict[str, str] = {}
    for entry in present.entries:
        what = f"item {printable(entry.name)!r}"
        if not sealed.opens(entry):
            if former is None:
                former = former_keys(vault, holder, policy)
            if entry.key in former:
                raise TamperedError(
                    f"{what} is sealed under another key of this vault",
                    hint="first finish what was begun before: filevault rekey --finish",
                )
            left.append(Unreadable(entry.name, f"{what} is sealed under an unknown key"))
            continue
        try:
            found = sealed.check(entry)
        except RollbackError:
            raise
        except IntegrityError as error:
            left.append(Unreadable(entry.name, error.message))
            continue
        chosen.append(entry)
        if found is None:
            older[vault.path_name(entry.name)] = entry.digest
        else:
            seen[vault.path_name(entry.name)] = found
    return chosen, left, seen, older


def sync(vault: Vault, holder: Holder) -> None:
    """See to it that no power cut brings the old vault.json back. Raises StorageError."""
    rekey.make_last(vault.folder, holder.vault)


def former_keys(vault: Vault, holder: Holder, policy: KdfPolicy) -> dict[str, bytes]:
    """Return the master keys that items may lie under, by their ids, besides the present one.

    That is every retired one. Where two machines gave the vault a key each, and one of the two
    was kept, the other's is in keyslots that no unlock looks at: the holder's secret is tried on
    them. What was retired under such a key is found as well.
    """
    present = holder.vault
    found = retired_keys.masters(vault.folder, present, holder.master)
    others = [
        slot
        for slot in slotfiles.listing(vault.folder)
        if slot.vault == present.vault and slot.master not in (present.master, *found)
    ]
    in_slots = {
        slot.master: master for slot, master in master_key.try_unwrap(others, holder.secret, policy)
    }
    return retired_keys.masters(vault.folder, present, holder.master, in_slots)


def known_before(vault: Vault, former: Mapping[str, bytes]) -> list[Entry]:
    """Return the items that lay in the vault, as they are, when this machine began.

    They are sealed under the key that is still pinned here. Nobody has to be asked about them.
    """
    pin = vault.trust.pin
    if pin is None:
        return []
    old = {
        key
        for key, master in former.items()
        if key_schedule.commitment(master, pin.vault) == pin.commit
    }
    found = []
    older = vault.trust.resealing
    for entry in survey(vault).entries:
        path_name = vault.path_name(entry.name)
        seen = vault.trust.seen(path_name)
        known = (seen.sha256 if seen is not None else "", *older.get(path_name, ()))
        if entry.key in old and entry.digest in known:
            found.append(entry)
    return found


def complete(
    vault: Vault,
    present: vault_json.Marker,
    master: bytes,
    former: Mapping[str, bytes],
    chosen: Iterable[Entry],
    *,
    slot: str,
    clock: Callable[[], float],
) -> None:
    """Seal items anew, retire former keys, delete their keyslots, and pin the present one.

    Args:
        vault: the vault, whose lock is held.
        present: what vault.json says.
        master: its master key.
        former: the keys that items lie under, or may come under, by their ids.
        chosen: the items to seal anew.
        slot: the keyslot to try first from now on.
        clock: Unix seconds.

    Raises PartlyDoneError if anything fails: the same can be begun again.
    """
    resealing = Resealing(vault, present, master, former, clock)
    seen: dict[str, Seen] = {}
    try:
        resealing.seal_session_key()
        for entry in chosen:
            sealed = resealing.seal(entry)
            if sealed is not None:
                seen[vault.path_name(entry.name)] = sealed
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


def contents(
    vault: Vault,
    present: vault_json.Marker,
    master: bytes,
    former: Mapping[str, bytes],
    chosen: Iterable[Entry],
    clock: Callable[[], float],
) -> list[Content]:
    """Return what items give away, as `Resealing.content`; one that does not open is left out."""
    resealing = Resealing(vault, present, master, former, clock)
    found = []
    for entry in chosen:
        try:
            found.append(resealing.content(entry))
        except (FilevaultError, KeyError):
            continue
    return found
