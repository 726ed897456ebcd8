"""What identifies a vault, as it is pinned (`docs/format.md` §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.protocols import Family
from filevault.vault.pin import Pin

if TYPE_CHECKING:
    from filevault.backends.protocols import OpenBackend


def pin_of(backend: OpenBackend) -> Pin:
    """Return the identity of a vault: its ids, or all recipients that govern it.

    Raises what reading the recipients files raises.
    """
    if backend.family is Family.SEALED:
        return Pin(backend.name, backend.vault_id, backend.commitment)
    files = backend.governing()
    return Pin(backend.name, recipients=tuple((each.path, each.recipients) for each in files))
