"""What identifies a vault, as it is pinned (`docs/format.md` §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from filevault.vault.pin import Pin

if TYPE_CHECKING:
    from filevault.backends import Backend, FileBackend, RecipientsBackend


def pin_of(kind: str, backend: Backend) -> Pin:
    """Return the identity of a vault: its ids, or all recipients that govern it.

    Raises what reading the recipients files raises.
    """
    if kind == "file":
        file = cast("FileBackend", backend)
        return Pin(kind, file.vault_id, file.commit)
    shared = cast("RecipientsBackend", backend)
    return Pin(kind, recipients=tuple((each.place, each.recipients) for each in shared.governing()))
