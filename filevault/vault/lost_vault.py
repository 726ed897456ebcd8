"""The errors for a vault that does not exist: never created, or without its marker.

A vault is lost if its marker is gone while items or a pin of it are left.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends import DEFAULT
from filevault.backends.definition import SEALED
from filevault.errors import NoVaultError, PinError, StorageError, VaultChoiceError
from filevault.system.files import Folder
from filevault.system.printable import printable, shell_word
from filevault.vault.item_store import ItemStore
from filevault.vault.trust import Trust

if TYPE_CHECKING:
    from filevault.vault.choose import VaultChoice


def raise_missing(choice: VaultChoice, state_home: str) -> None:
    """Raise the error for a vault that does not exist.

    Return normally if another process has created it in the meantime.

    Raises:
        PinError: if it is lost. Creating a new vault over it would hide the loss.
        VaultChoiceError: if the folder was named explicitly and contains something else.
        NoVaultError: if none was created yet.
    """
    shown = printable(choice.root)
    if is_lost(choice, state_home):
        sealed = choice.backend.family == SEALED
        if sealed and os.path.exists(f"{choice.root}/{choice.backend.marker}"):
            return
        raise PinError(
            f"the vault at {shown!r} has lost its marker {choice.backend.marker}",
            hint="restore it from a copy or from the repository's history; for a new vault, move "
            "everything away and run filevault init",
        )
    if choice.explicit and os.path.isdir(choice.root) and os.listdir(choice.root):
        raise VaultChoiceError(
            f"{shown!r}, chosen by {printable(choice.origin)}, is not a vault",
            hint="check the path, or make a vault there: filevault init",
        )
    raise no_vault(choice)


def no_vault(choice: VaultChoice) -> NoVaultError:
    """Return the error for a vault that does not exist; it says what named the folder."""
    shown = printable(choice.root)
    backend = "" if choice.backend is DEFAULT else f" --backend {choice.backend.name}"
    if not choice.named:
        hint = "; ".join([f"filevault init{backend}", *adoptions(choice)])
        return NoVaultError(f"there is no vault at {shown!r} yet", hint=hint)
    origin = printable(choice.origin)
    option = f"{origin} {shell_word(choice.store)} " if choice.origin.startswith("--") else ""
    return NoVaultError(
        f"there is no vault at {printable(choice.store)!r}, which {origin} names",
        hint=f"check {origin}, or make a vault there: filevault {option}init{backend}",
    )


def adoptions(choice: VaultChoice) -> list[str]:
    """Return what `init` could do with each store of another tool, for a hint."""
    return [
        f"to use the store at {printable(store)!r}: filevault init --backend {backend}"
        for backend, store in choice.adoptable
    ]


def is_lost(choice: VaultChoice, state_home: str) -> bool:
    """Return whether a vault without a marker has items, or is remembered on this machine."""
    return has_items(choice) or is_remembered(choice, state_home)


def has_items(choice: VaultChoice) -> bool:
    """Return whether there are item files below the root."""
    try:
        with Folder.open(choice.store) as folder:
            return bool(ItemStore(folder, choice.backend.suffix, choice.prefix).names())
    except FileNotFoundError:
        return False


def is_remembered(choice: VaultChoice, state_home: str) -> bool:
    """Return whether this machine has pinned a vault at the root.

    False if the state directory cannot be opened.
    """
    try:
        state = Folder.open(f"{state_home}/{choice.state_id}")
    except (FileNotFoundError, StorageError):
        return False
    with state:
        return Trust(state).pin is not None
