"""Giving a `file` vault another master key: its items, its session key and its pin.

The keys themselves are `filevault.backends.rekey`'s. Everything here is done under the vault's
lock, and can be begun again wherever it was cut off: what is sealed anew stays so, and
`trust.json` says that there is something to finish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import envelope, holding, keys, marker, opened_backend, rekey, retired
from filevault.backends import slots as slotfiles
from filevault.digest import sha256_hex
from filevault.errors import FilevaultError, PartlyDoneError, StorageError, TamperedError
from filevault.printable import printable
from filevault.trust import Pin, Seen
from filevault.values import Value
from filevault.vault.acceptance import needs_acceptance
from filevault.vault.items import parse
from filevault.vault.session_key import read_session_key, reseal_session_key
from filevault.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filevault.backends import FileBackend, ItemHeader
    from filevault.backends.holding import Holder
    from filevault.backends.kdf import KdfPolicy
    from filevault.vault import Vault

_TOTP = "mfa/"


class Entry(Value):
    """An item file: `key` is the id of the key that sealed it, `digest` its SHA-256 as hex."""

    name: str
    kind: str
    key: str
    digest: str


class Content(Value):
    """What somebody who can open an item gets: `key_id` of an access key, None of a TOTP seed."""

    name: str
    key_id: str | None
    created: str
    older: bool = False


def unfinished(vault: Vault) -> bool:
    """Tell whether this machine has begun to give the vault a new key, and not finished."""
    return vault.trust.pending == _pin(marker.read(vault.folder)).digest


def _pin(vault: marker.Marker) -> Pin:
    return Pin("file", vault.vault, vault.commit)


def entries(vault: Vault) -> list[Entry]:
    """Return all items, TOTP seeds too, sorted by name; nothing is opened.

    Raises IntegrityError or StorageError for one that cannot be read.
    """
    store = Store(vault.folder, vault.backend.suffix)
    found = []
    for name in store.names():
        data = store.read(name)
        parsed = envelope.parse(data, f"item {printable(name)!r}")
        kind = "totp" if name.startswith(_TOTP) else "credentials"
        found.append(Entry(name, kind, parsed.key, sha256_hex(data)))
    return found


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
        present: marker.Marker,
        master: bytes,
        former: Mapping[str, bytes],
        clock: Callable[[], float],
    ) -> None:
        self._vault = vault
        self._store = Store(vault.folder, vault.backend.suffix)
        self._present = present
        self._clock = clock
        self._backends: dict[str, FileBackend] = {
            key: opened_backend(
                marker.Marker(present.vault, key, keys.commitment(each, present.vault)), each
            )
            for key, each in former.items()
        }
        self._backends[present.master] = opened_backend(present, master)

    def opens(self, entry: Entry) -> bool:
        """Tell whether the key of an item is at hand."""
        return entry.key in self._backends

    def _open(self, entry: Entry) -> tuple[bytes, ItemHeader, bytes]:
        """Return an item's file, what its header says, and its text."""
        data = self._store.read(entry.name)
        backend = self._backends[entry.key]
        text = backend.decrypt(entry.kind, self._vault.path_name(entry.name), data)
        header = backend.peek(data)
        if header is None or sha256_hex(data) != entry.digest:
            raise holding.changed_meanwhile()
        return data, header, text

    def content(self, entry: Entry) -> Content:
        """Return what an item gives away. Raises IntegrityError if it does not open."""
        _, header, text = self._open(entry)
        key_id = None
        if entry.kind == "credentials":
            key_id = parse(text, f"item {printable(entry.name)!r}").key.access_key_id
        older = entry.kind == "credentials" and needs_acceptance(self._vault, entry.name)
        return Content(entry.name, key_id, header.created, older)

    def check(self, entry: Entry) -> Seen:
        """Open an item under the present key and return what to remember of it.

        Raises IntegrityError, also for an older copy under `--strict`.
        """
        data, _, _ = self._open(entry)
        return self._vault.judge(entry.name, data)

    def seal(self, entry: Entry) -> Seen:
        """Seal an item under the present key, and return what to remember of it.

        The new file is opened once before it takes the old one's place.
        """
        _, header, text = self._open(entry)
        path_name = self._vault.path_name(entry.name)
        known = self._vault.trust.seen(path_name)
        generation = max(
            int(self._clock()),
            header.generation + 1,
            known.generation + 1 if known is not None and known.generation is not None else 0,
        )
        present = self._backends[self._present.master]
        data = present.encrypt(header._replace(generation=generation), text)
        if present.decrypt(entry.kind, path_name, data) != text:
            raise StorageError("the item sealed anew does not open again")
        self._store.write(entry.name, data)
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
    present: Iterable[Entry],
    *,
    policy: KdfPolicy,
    clock: Callable[[], float],
    announce: Callable[[Pin], None],
) -> rekey.Prepared:
    """Give the vault a new key; from here on `complete` has to follow.

    Each item, all of which are `present`, is opened first: what cannot be opened now could not
    be later, either. `announce` hears the new pin before it counts. What an earlier try left
    behind that was killed before its key counted is taken away first.

    Raises:
        IntegrityError: for an item that does not open, or lies under another key.
        StorageError: if something cannot be written; the vault has its old key then.
    """
    old = holders[0]
    holding.confirm(vault.folder, old)
    sealed = Resealing(vault, old.vault, old.master, {}, clock)
    seen = {}
    for entry in present:
        if not sealed.opens(entry):
            raise TamperedError(
                f"item {printable(entry.name)!r} is sealed under another key of this vault",
                hint="first finish what was begun before: filevault rekey --finish",
            )
        seen[vault.path_name(entry.name)] = sealed.check(entry)
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
        vault.trust.begin_rekey(pin, seen)
    prepared = rekey.prepare(vault.folder, holders, new, clock=clock)
    try:
        announce(pin)
    except BaseException:
        rekey.undo(vault.folder, prepared)
        raise
    rekey.switch(vault.folder, prepared)
    return prepared


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
    found = retired.masters(vault.folder, present, holder.master)
    others = [
        slot
        for slot in slotfiles.listing(vault.folder)
        if slot.vault == present.vault and slot.master not in (present.master, *found)
    ]
    in_slots = {
        slot.master: master for slot, master in holding.openings(others, holder.secret, policy)
    }
    return retired.masters(vault.folder, present, holder.master, in_slots)


def known_before(vault: Vault, former: Mapping[str, bytes]) -> list[Entry]:
    """Return the items that lay in the vault, as they are, when this machine began.

    They are sealed under the key that is still pinned here. Nobody has to be asked about them.
    """
    pin = vault.trust.pin
    if pin is None:
        return []
    old = {
        key for key, master in former.items() if keys.commitment(master, pin.vault) == pin.commit
    }
    found = []
    for entry in entries(vault):
        seen = vault.trust.seen(vault.path_name(entry.name))
        if entry.key in old and seen is not None and seen.sha256 == entry.digest:
            found.append(entry)
    return found


def complete(
    vault: Vault,
    present: marker.Marker,
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
            seen[vault.path_name(entry.name)] = resealing.seal(entry)
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
    present: marker.Marker,
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
