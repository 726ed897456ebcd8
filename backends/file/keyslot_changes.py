"""Adding and removing keyslots (`docs/format.md` §5).

The caller holds the vault's lock and the master key. None of this takes anything back: copies of
the vault, and the history of a repository, keep every slot that ever was.
"""

from __future__ import annotations

import contextlib
import os
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

    from filevault.backends.file.keyslots import Slot
    from filevault.backends.file.master_key import Holder
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.backends.protocols import Secret
    from filevault.system.files import Folder

_LEAST_DIGITS = 4


def own_slots(root: Folder, holder: Holder) -> list[Slot]:
    """Return the slots of the vault's present master key, as their files say."""
    vault = holder.vault
    return [
        slot
        for slot in keyslots.listing(root)
        if (slot.vault, slot.master) == (vault.vault, vault.master)
    ]


@contextlib.contextmanager
def slot_folder(root: Folder) -> Iterator[Folder]:
    """Open the folder of the slots."""
    with root.child(vault_json.FOLDER) as inner, inner.make_child(keyslots.FOLDER) as folder:
        yield folder


def passphrase_secret(
    passphrase: bytes,
    policy: KdfPolicy,
    available: Callable[[], int] = kdf.available_memory,
) -> tuple[bytes, KdfParameters]:
    """Return what a new passphrase's slot is derived from, and its costs, those of the policy.

    Raises LockedError for what no passphrase can be, UsageError for costs out of bounds here.
    """
    try:
        kdf.check_bounds(policy.default, policy, available, "the new keyslot")
    except FilevaultError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return kdf.passphrase_bytes(passphrase, "the new passphrase"), policy.default


def add(
    root: Folder,
    holder: Holder,
    secret: bytes,
    parameters: KdfParameters | None,
    *,
    label: str,
    created: str,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Write one more slot, read it back, open it, and return its id.

    Args:
        root: the vault's folder.
        holder: who opened it.
        secret: as `passphrase_secret` or `keyslots.keyfile_bytes` returns it.
        parameters: of a passphrase's slot; None for a key file's.
        label: for people, published with the vault.
        created: the time now, as text.
        random: where salt and nonce come from.

    Raises:
        UsageError: for a label that is none, and where there are as many slots as may be.
        StorageError: if it cannot be written, or the vault was changed meanwhile.
    """
    keyslots.check_label(label)
    master_key.confirm(root, holder)
    if len(own_slots(root, holder)) >= MAX_SLOTS:
        raise UsageError(
            f"the vault has {MAX_SLOTS} keyslots, as many as may be",
            hint="filevault slot list shows them, filevault slot remove ID makes room",
        )
    with slot_folder(root) as folder:
        return keyslots.write(
            folder,
            holder.master,
            holder.vault.vault,
            secret,
            parameters=parameters,
            label=label,
            created=created,
            random=random,
        )


def find(root: Folder, given: str) -> str:
    """Return the id of the slot that is meant by an id or its beginning.

    A file that is no proper slot is found, too: it must be possible to remove it. Raises
    NotFoundError for none, UsageError where it could be several.
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
        raise UsageError(f"{keyslots.described(given)} could be one of {len(found)}")
    return found[0]


def _keeper(
    root: Folder, holder: Holder, slot: str, own: list[Slot], policy: KdfPolicy
) -> Slot | None:
    """Return a slot besides one that the secret which opened the vault is known to open."""
    if holder.slot.id != slot:
        if holder.slot.id not in {each.id for each in own}:
            raise master_key.changed_meanwhile()
        return holder.slot
    return next(iter(slots_with_same_secret(root, holder, policy)), None)


def slots_with_same_secret(root: Folder, holder: Holder, policy: KdfPolicy) -> list[Slot]:
    """Return the slots besides the opened one that the secret which opened the vault opens."""
    others = [slot for slot in own_slots(root, holder) if slot.id != holder.slot.id]
    return [
        slot
        for slot, master in master_key.try_unwrap(others, holder.secret, policy)
        if master == holder.master
    ]


def opens(root: Folder, holder: Holder, secret: Secret, policy: KdfPolicy) -> bool:
    """Tell whether a secret opens one of the slots; False where they cannot be read."""
    try:
        own = own_slots(root, holder)
    except FilevaultError:
        return False
    return any(list(master_key.try_unwrap([slot], secret, policy)) for slot in own)


def remove(root: Folder, holder: Holder, slot: str, policy: KdfPolicy) -> tuple[str, str] | None:
    """Delete a slot, unless it is the last way in that is known to work.

    That a slot looks well says little: anybody who can write the vault's folder can make one. So
    whoever removes one must have opened another. That other one is written anew, for the same
    secret: if another machine deletes it at the same time, as this one does the other's, the two
    changes merge into a vault that has both, not into one that has none.

    Returns the ids that the holder's slot had and has now; None if the deleted file was none of
    the present key's slots, so that nobody's way in was changed.

    Raises:
        UsageError: if it is the last one, or the only one that the holder opens.
        NotFoundError: if it is gone already.
        PartlyDoneError: if it is deleted and the holder's own lies there twice.
        StorageError: if it cannot be deleted, or the vault was changed meanwhile.
    """
    master_key.confirm(root, holder)
    what = keyslots.described(slot)
    own = own_slots(root, holder)
    if not [other for other in own if other.id != slot]:
        raise UsageError(
            f"{what} is the last one: without it nobody could open the vault",
            hint="filevault slot add makes another one first",
        )
    keeper = _keeper(root, holder, slot, own, policy)
    if keeper is None:
        raise UsageError(
            f"{what} is the one that what was given opens; another one must be known to work",
            hint="open the vault with what is to stay, for example --key-file F; filevault "
            "passphrase replaces a passphrase",
        )
    with slot_folder(root) as folder:
        if slot not in {each.id for each in own}:
            _delete(folder, slot)
            return None
        anew = keyslots.write(
            folder,
            holder.master,
            holder.vault.vault,
            secret_bytes(holder.secret),
            parameters=keeper.parameters,
            label=keeper.label,
            created=keeper.created,
            replaces=keeper.id,
        )
        try:
            _delete(folder, slot)
        except UnsyncedError:
            raise
        except BaseException as error:
            # Deleted by somebody else, it may have been with the holder's own: then `anew` is
            # all that is left of that.
            unneeded = slot if not isinstance(error, NotFoundError) else keeper.id
            if folder.is_file(unneeded + keyslots.SUFFIX):
                with contextlib.suppress(FileNotFoundError, StorageError):
                    folder.remove(anew + keyslots.SUFFIX)
            raise
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.remove(keeper.id + keyslots.SUFFIX)
        except UnsyncedError:
            raise
        except StorageError as error:
            raise PartlyDoneError(
                f"{what} is deleted, and yours lies there twice: {error.message}",
                hint=f"filevault slot remove {keeper.id}",
            ) from error
    return keeper.id, anew


def _delete(folder: Folder, slot: str) -> None:
    try:
        folder.remove(slot + keyslots.SUFFIX)
    except FileNotFoundError as error:
        raise NotFoundError(f"{keyslots.described(slot)} is gone already") from error


def change_passphrase(
    root: Folder,
    holder: Holder,
    secret: bytes,
    parameters: KdfParameters,
    *,
    created: str,
    also: Iterable[Slot] = (),
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Put a slot for a new passphrase in the place of the one that was opened; return its id.

    The new one is written, synced and opened before the old one goes. Its label stays. `also`
    are other slots of the old passphrase, which go with it.

    Raises:
        PartlyDoneError: if an old slot could not be deleted.
        StorageError: if the new one cannot be written: then nothing has changed.
    """
    old = holder.slot
    master_key.confirm(root, holder)
    with slot_folder(root) as folder:
        new = keyslots.write(
            folder,
            holder.master,
            holder.vault.vault,
            secret,
            parameters=parameters,
            label=old.label,
            created=created,
            replaces=old.id,
            random=random,
        )
        for slot in (old, *also):
            try:
                with contextlib.suppress(FileNotFoundError):  # somebody else changed it, too
                    folder.remove(slot.id + keyslots.SUFFIX)
            except UnsyncedError:
                raise
            except StorageError as error:
                raise PartlyDoneError(
                    "the new passphrase opens the vault, and the old one does still: "
                    f"{error.message}",
                    hint=f"filevault slot remove {slot.id} with the new passphrase",
                ) from error
    return new
