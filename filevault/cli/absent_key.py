"""The error about a key that the vault does not have, with the most similar name that it has."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.errors import FilevaultError, ItemNotFoundError
from filevault.system.printable import printable
from filevault.vault.lookup import hint_at_top

if TYPE_CHECKING:
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault

_COMPARED = 5000  # names; comparing takes time


def absent_key(name: str, choice: VaultChoice, vault: Vault) -> ItemNotFoundError:
    """Return the error for a name without a stored key."""
    guess = similar_key(name, vault)
    meant = None if guess is None else f"did you mean {printable(guess)!r}?"
    return ItemNotFoundError(
        f"the vault has no key for {printable(name)!r}",
        hint=hint_at_top(choice, [name]) or meant or "filevault list shows the stored keys",
    )


def similar_key(name: str, vault: Vault) -> str | None:
    """Return the name of a stored key that is most like a misspelt one, None if none is."""
    from filevault.cli.unknown import similar

    with contextlib.suppress(FilevaultError):
        names = [each for each in vault.names()[:_COMPARED] if len(each) <= 100]
        return similar(name[:100], names)
    return None
