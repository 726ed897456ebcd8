"""Unlock a `file` vault: the order in which keyslots are tried, and the error if none fits.

`docs/format.md` §5 has the rules. Keyslots come from a synced folder that others may write: the
costs of each are checked before anything is derived, and a damaged or forged one never keeps a
good one from unlocking the vault.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault import errors
from filevault.backends import kdf
from filevault.backends.file import keyslots, vault_json
from filevault.backends.sealing import key_schedule
from filevault.errors import DamagedError, FilevaultError, LockedError, TamperedError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.secret_buffer import overwrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.file.keyslots import Slot
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfPolicy
    from filevault.backends.protocols import SecretSource
    from filevault.backends.values import Secret
    from filevault.system.files import Folder
    from filevault.system.secret_buffer import SecretBytes

MAX_SLOTS = 16
_MAX_READ = 64  # more than MAX_SLOTS: those of former master keys and foreign files count too
_OPENED_BY = {keyslots.PASSPHRASE: "a passphrase", keyslots.KEYFILE: "a key file"}


def useful_secrets(root: Folder, only_slot: str | None) -> tuple[str, ...]:
    """Return the kinds of secret that unlock a vault: passphrase, keyfile or both.

    Both if a keyslot cannot be read: unlocking the vault then reports the reason.

    Args:
        root: the vault's folder.
        only_slot: the id of the one keyslot that may be used, None for all.
    """
    types: set[str] = set()
    with contextlib.suppress(FilevaultError, FileNotFoundError):
        present = vault_json.read(root).master_id
        found = keyslots.listing(root)
        with root.child(vault_json.FOLDER) as inner, inner.child(keyslots.FOLDER) as folder:
            names = [each.name for each in folder.entries() if each.name.endswith(keyslots.SUFFIX)]
        if len(found) == len(names):
            types = {
                slot.type
                for slot in found
                if slot.master_id == present and only_slot in (None, slot.id)
            }
    kinds = tuple(kind for kind in ("passphrase", "keyfile") if keyslots.TYPES[kind] in types)
    return kinds or ("passphrase", "keyfile")


class UnlockResult(Record):
    """A master key, and the id of the keyslot that it was unwrapped from, if any."""

    _secret = ("master",)

    master: bytes
    slot: str | None


class Unlocking:
    """Unwraps the master key: the vault, and how its keyslots are chosen.

    Args:
        root: the vault's folder.
        vault: its marker.
        policy: which costs a keyslot may have.
        last_slot: the keyslot that unlocked the vault last time, tried first.
        only_slot: the one keyslot to read.
        available_memory: returns the KiB that this process may count on.
    """

    __slots__ = ("_available", "_last_slot", "_only_slot", "_policy", "_root", "_vault")

    def __init__(
        self,
        root: Folder,
        vault: Marker,
        policy: KdfPolicy,
        last_slot: str | None,
        only_slot: str | None,
        available_memory: Callable[[], int],
    ) -> None:
        self._root = root
        self._vault = vault
        self._policy = policy
        self._last_slot = last_slot
        self._only_slot = only_slot
        self._available = available_memory

    def open(self, source: SecretSource) -> UnlockResult:
        """Ask the source until one of its secrets unwraps a keyslot, or it gives up.

        It is not asked if no secret could unwrap any keyslot. Its secrets are overwritten.

        Raises:
            LockedError: if no keyslot fits the secret, or none may be tried here.
            IntegrityError: if keyslots are damaged or forged and no other one fits.
            NewerFormatError: if there are only keyslots of a newer filevault.
            BackendError: if keyslots cannot be read, or there is not enough memory.
        """
        found, problems = self._read()
        while True:
            secret = source.secret()
            try:
                opened = self._try(secret, found, problems, source)
            finally:
                overwrite(secret.content)
            if opened is not None:
                return opened

    def _read(self) -> tuple[list[Slot], list[FilevaultError]]:
        """Return the keyslots of this master key in the order in which to try them.

        Also return the errors of the files that cannot be used.
        """
        found: list[Slot] = []
        problems: list[FilevaultError] = []
        strangers = 0
        names = self._names()
        for name in names[:_MAX_READ]:
            what = keyslots.described(name.removesuffix(keyslots.SUFFIX))
            try:
                slot = self._read_one(name, what)
            except FileNotFoundError:
                continue  # another process has removed it
            except FilevaultError as error:
                problems.append(error)
                continue
            if slot.master_id != self._vault.master_id:
                strangers += 1
            elif slot.vault != self._vault.vault:
                problems.append(TamperedError(f"{what} belongs to another vault"))
            else:
                found.append(slot)
        if len(names) > _MAX_READ:
            problems.append(
                LockedError(
                    f"the vault has {len(names)} keyslots, of which {_MAX_READ} are read",
                    hint="--slot ID reads the one that is yours",
                )
            )
        if not found:
            raise problems[0] if problems else self._none_found(strangers)
        found.sort(key=lambda slot: (slot.id != self._last_slot, slot.cost, slot.id))
        return found, problems

    def _names(self) -> list[str]:
        """Return the names of keyslot files; first the one that fitted last time."""
        try:
            with (
                self._root.child(vault_json.FOLDER) as inner,
                inner.child(keyslots.FOLDER) as folder,
            ):
                names = [entry.name for entry in folder.entries()]
        except FileNotFoundError:
            return []
        names = [name for name in names if name.endswith(keyslots.SUFFIX)]
        if self._only_slot is not None:
            names = [name for name in names if name == self._only_slot + keyslots.SUFFIX]
        return sorted(names, key=lambda name: (name != f"{self._last_slot}{keyslots.SUFFIX}", name))

    def _read_one(self, name: str, what: str) -> Slot:
        with self._root.child(vault_json.FOLDER) as inner, inner.child(keyslots.FOLDER) as folder:
            return keyslots.parse(folder.read(name, keyslots.MAX_FILE), name, what)

    def _none_found(self, strangers: int) -> FilevaultError:
        if strangers:
            return TamperedError(
                "the keyslots belong to another master key than vault.json names",
                hint="the vault's key was changed on another machine and only a part of it "
                "arrived: bring .filevault up to date as a whole",
            )
        if self._only_slot is not None:
            return LockedError(
                f"the vault has no {keyslots.described(self._only_slot)}",
                hint="its slots are the files in .filevault/slots",
            )
        return DamagedError(
            "the vault has no keyslots",
            hint="restore .filevault/slots from a copy or from the history of the repository",
        )

    def _try(
        self,
        secret: Secret,
        found: list[Slot],
        unreadable: list[FilevaultError],
        source: SecretSource,
    ) -> UnlockResult | None:
        """Try a secret on the keyslots of its type.

        Return None if it fits none and the source will give another secret.
        """
        fitting = [slot for slot in found if slot.type == keyslots.TYPES[secret.kind]]
        if not fitting:
            raise self._wrong_type(secret, found, unreadable)
        value = _derived_from(secret)
        untried: list[FilevaultError] = []
        broken: DamagedError | None = None
        spent = 0
        for slot in fitting[:MAX_SLOTS]:
            what = keyslots.described(slot.id)
            try:
                spent += self._cost(slot, spent, what)
                master = keyslots.unwrap(slot, value, what)
            except DamagedError as error:
                broken = broken or error
            except FilevaultError as error:
                untried.append(error)
            else:
                if master is not None:
                    self._verify(master, what)
                    return UnlockResult(master, slot.id)
        if broken is not None:
            raise broken  # the secret is right, so another one would not help
        if len(untried) == len(fitting):
            raise untried[0]
        if len(fitting) > MAX_SLOTS:
            untried.append(
                LockedError(
                    f"{MAX_SLOTS} of {len(fitting)} keyslots were tried",
                    hint="--slot ID tries the one that is yours",
                )
            )
        _reject(source, secret, [*untried, *unreadable])
        return None

    def _cost(self, slot: Slot, spent: int, what: str) -> int:
        """Return the cost of trying a keyslot. Raises if that cost is not allowed."""
        if slot.parameters is None:
            return 0
        kdf.check_bounds(slot.parameters, self._policy, self._available, what)
        if spent + slot.cost > kdf.MAX_UNLOCK_COST:
            raise LockedError(
                f"{what} was not tried: all slots together cost more than one unlock may",
                hint=f"--slot {slot.id} tries it alone",
            )
        return slot.cost

    def _wrong_type(
        self, secret: Secret, found: list[Slot], problems: list[FilevaultError]
    ) -> LockedError:
        given = _OPENED_BY[keyslots.TYPES[secret.kind]]
        there = " or ".join(sorted({_OPENED_BY[slot.type] for slot in found}))
        target = "the vault" if self._only_slot is None else keyslots.described(self._only_slot)
        more = f"; besides, {problems[0].message}" if problems else ""
        return LockedError(
            f"{target} cannot be opened with {given}, only with {there}{more}",
            hint=f"the given secret came from {printable(secret.origin)}",
        )

    def _verify(self, master: bytes, what: str) -> None:
        vault = self._vault
        if (
            key_schedule.item_key_id(master, vault.vault) != vault.master_id
            or key_schedule.commitment(master, vault.vault) != vault.commitment
        ):
            raise TamperedError(
                f"{what} contains another master key than vault.json commits to",
                hint="one of the two was replaced: restore .filevault from a copy or from the "
                "history of the repository",
            )


def secret_bytes(secret: Secret) -> bytes:
    """Return the bytes that keyslots are derived from. Raises LockedError for invalid ones."""
    return bytes(_derived_from(secret))


def _derived_from(secret: Secret) -> SecretBytes:
    """Return the bytes that keyslots are derived from, without a copy if possible."""
    origin = printable(secret.origin)
    if keyslots.TYPES[secret.kind] == keyslots.KEYFILE:
        return keyslots.keyfile_bytes(secret.value, f"the key from {origin}")
    return kdf.passphrase_bytes(secret.content, f"the passphrase from {origin}")


def _reject(source: SecretSource, secret: Secret, problems: list[FilevaultError]) -> None:
    """Report a secret as rejected; add the keyslots that were not tried to the error."""
    try:
        source.on_rejected(secret)
    except errors.WrongPassphraseError as error:
        if not problems:
            raise
        raise errors.WrongPassphraseError(
            f"{error.message}; not every keyslot could be tried: {problems[0].message}",
            hint=problems[0].hint or error.hint,
        ) from error
