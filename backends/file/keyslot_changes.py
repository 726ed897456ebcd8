"""Add, replace and remove keyslots (`docs/format.md` §5).

The caller holds the vault's lock and has unwrapped the master key. Nothing here revokes access:
copies of the vault, and the history of a repository, keep every keyslot there ever was.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends import kdf
from filevault.backends.file import keyslots, master_key, vault_json
from filevault.backends.file.unlock import MAX_SLOTS, secret_bytes
from filevault.errors import (
    FilevaultError,
    NotFoundError,
    PartlyDoneError,
    StorageError,
    UnsyncedError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filevault.backends.file.keyslots import NewKeyslot, Slot
    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.backends.values import Secret
    from filevault.system.files import Folder

_LEAST_DIGITS = 4


def own_slots(root: Folder, unwrapped: UnwrappedKey) -> list[Slot]:
    """Return the keyslots that name the vault's present master key; not authenticated."""
    vault = unwrapped.vault
    return [
        slot
        for slot in keyslots.listing(root)
        if (slot.vault, slot.master_id) == (vault.vault, vault.master_id)
    ]


@contextlib.contextmanager
def slot_folder(root: Folder) -> Iterator[Folder]:
    """Open the folder of the keyslots, making it if it is missing."""
    with root.child(vault_json.FOLDER) as inner, inner.make_child(keyslots.FOLDER) as folder:
        yield folder


def passphrase_secret(
    passphrase: bytes,
    policy: KdfPolicy,
    available: Callable[[], int] = kdf.available_memory,
) -> tuple[bytes, KdfParameters]:
    """Return the secret of a new passphrase's keyslot, and its costs, those of the policy.

    Raises LockedError for an invalid passphrase, UsageError for costs out of bounds here.
    """
    try:
        kdf.check_bounds(policy.default, policy, available, "the new keyslot")
    except FilevaultError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return kdf.passphrase_bytes(passphrase, "the new passphrase"), policy.default


def add(
    root: Folder,
    unwrapped: UnwrappedKey,
    new: NewKeyslot,
) -> str:
    """Write another keyslot, read it back, unwrap it, and return its id.

    Args:
        root: the vault's folder.
        unwrapped: the master key.
        new: what the keyslot has; the secret is as `passphrase_secret` or `keyslots.keyfile_bytes`
            returns it.

    Raises:
        UsageError: for an invalid label, and if the vault has as many keyslots as it may.
        StorageError: if it cannot be written, or another process changed the vault.
    """
    keyslots.check_label(new.label)
    master_key.confirm(root, unwrapped)
    if len(own_slots(root, unwrapped)) >= MAX_SLOTS:
        raise UsageError(
            f"the vault has {MAX_SLOTS} keyslots, as many as may be",
            hint="filevault slot list shows them, filevault slot remove ID removes one",
        )
    with slot_folder(root) as folder:
        return keyslots.write(folder, unwrapped.master, unwrapped.vault.vault, new)


def find(root: Folder, given: str) -> str:
    """Return the id of the keyslot with an id or its beginning.

    Invalid keyslot files are found, too, so that they can be removed. Raises NotFoundError if
    there is none, UsageError if several fit.
    """
    with slot_folder(root) as folder:
        ids = [
            entry.name.removesuffix(keyslots.SUFFIX)
            for entry in folder.entries()
            if entry.name.endswith(keyslots.SUFFIX)
        ]
    found = [each for each in ids if each == given] or [
        each for each in ids if len(given) >= _LEAST_DIGITS and each.startswith(given)
    ]
    if not found:
        raise NotFoundError(
            f"the vault has no {keyslots.described(given)}",
            hint="filevault slot list shows which there are",
        )
    if len(found) > 1:
        raise UsageError(
            f"{keyslots.described(given)} could be one of {len(found)}",
            hint="give more digits of its id; filevault slot list shows them",
        )
    return found[0]


def _kept_slot(
    root: Folder, unwrapped: UnwrappedKey, slot: str, own: list[Slot], policy: KdfPolicy
) -> Slot | None:
    """Return a keyslot other than one, known to be unwrapped by the secret at hand."""
    if unwrapped.slot.id != slot:
        if unwrapped.slot.id not in {each.id for each in own}:
            raise master_key.concurrent_change()
        return unwrapped.slot
    return next(iter(slots_with_same_secret(root, unwrapped, policy)), None)


def slots_with_same_secret(root: Folder, unwrapped: UnwrappedKey, policy: KdfPolicy) -> list[Slot]:
    """Return the other keyslots that the secret at hand unwraps."""
    others = [slot for slot in own_slots(root, unwrapped) if slot.id != unwrapped.slot.id]
    return [
        slot
        for slot, master in master_key.try_unwrap(others, unwrapped.secret, policy)
        if master == unwrapped.master
    ]


def opens(root: Folder, unwrapped: UnwrappedKey, secret: Secret, policy: KdfPolicy) -> bool:
    """Return whether a secret unwraps one of the keyslots; False if they cannot be read."""
    try:
        own = own_slots(root, unwrapped)
    except FilevaultError:
        return False
    return any(list(master_key.try_unwrap([slot], secret, policy)) for slot in own)


def remove(
    root: Folder, unwrapped: UnwrappedKey, slot: str, policy: KdfPolicy
) -> tuple[str, str] | None:
    """Delete a keyslot, unless it is the last one that is known to work.

    A valid form proves little: anyone who can write the vault's folder can make a keyslot. So the
    secret at hand must unwrap another one, the kept one. That is written again for the same
    secret, under another name: if two machines each delete the other's keyslot at the same time,
    their changes merge into a vault that has both, not into one that has none.

    Returns the former and the present id of the kept keyslot; None if the deleted file was no
    keyslot of the present key, so that the kept one did not change.

    Raises:
        UsageError: if it is the last one, or the only one that the secret at hand unwraps.
        NotFoundError: if it does not exist any more.
        PartlyDoneError: if it is deleted and the kept one exists twice.
        StorageError: if it cannot be deleted, or another process changed the vault.
    """
    master_key.confirm(root, unwrapped)
    what = keyslots.described(slot)
    own = own_slots(root, unwrapped)
    if not [other for other in own if other.id != slot]:
        raise UsageError(
            f"{what} is the last one: without it the vault could not be opened",
            hint="filevault slot add makes another one first",
        )
    kept = _kept_slot(root, unwrapped, slot, own, policy)
    if kept is None:
        raise UsageError(
            f"{what} is the only one that the given secret opens; another one must be known to "
            "work",
            hint="open the vault with the secret that is to stay, such as --key-file F; filevault "
            "passphrase replaces a passphrase",
        )
    with slot_folder(root) as folder:
        if slot not in {each.id for each in own}:
            _delete(folder, slot)
            return None
        copy = keyslots.write(
            folder,
            unwrapped.master,
            unwrapped.vault.vault,
            keyslots.NewKeyslot(
                secret_bytes(unwrapped.secret), kept.parameters, kept.label, kept.created
            ),
            replaces=kept.id,
        )
        try:
            _delete(folder, slot)
        except UnsyncedError:
            raise
        except BaseException as error:
            # If another process deleted it, that may have deleted the kept one, too: then
            # the copy is its only copy.
            unneeded = slot if not isinstance(error, NotFoundError) else kept.id
            if folder.is_file(unneeded + keyslots.SUFFIX):
                with contextlib.suppress(FileNotFoundError, StorageError):
                    folder.remove(copy + keyslots.SUFFIX)
            raise
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.remove(kept.id + keyslots.SUFFIX)
        except UnsyncedError:
            raise
        except StorageError as error:
            raise PartlyDoneError(
                f"{what} is deleted, and the one that stays exists twice: {error.message}",
                hint=f"filevault slot remove {kept.id}",
            ) from error
    return kept.id, copy


def _delete(folder: Folder, slot: str) -> None:
    try:
        folder.remove(slot + keyslots.SUFFIX)
    except FileNotFoundError as error:
        raise NotFoundError(f"{keyslots.described(slot)} is gone already") from error


def change_passphrase(
    root: Folder,
    unwrapped: UnwrappedKey,
    new: NewKeyslot,
    also: Iterable[Slot] = (),
) -> str:
    """Replace the unwrapped keyslot by one for a new passphrase; return the new one's id.

    The new one is written, synced and unwrapped before the old one is deleted. It keeps the
    label of the old one. `also` are other keyslots of the old passphrase, which are deleted, too.

    Raises:
        PartlyDoneError: if an old keyslot could not be deleted.
        StorageError: if the new one cannot be written: then nothing was changed.
    """
    old = unwrapped.slot
    master_key.confirm(root, unwrapped)
    with slot_folder(root) as folder:
        made = keyslots.write(
            folder,
            unwrapped.master,
            unwrapped.vault.vault,
            new._replace(label=old.label),
            replaces=old.id,
        )
        for slot in (old, *also):
            try:
                with contextlib.suppress(FileNotFoundError):  # another process deleted it
                    folder.remove(slot.id + keyslots.SUFFIX)
            except UnsyncedError:
                raise
            except StorageError as error:
                raise PartlyDoneError(
                    "the new passphrase opens the vault, and the old one does still: "
                    f"{error.message}",
                    hint=f"filevault slot remove {slot.id} with the new passphrase",
                ) from error
    return made
