"""Taking an item as it is now for the right one, whatever this machine saw before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.printable import printable
from filevault.trust import Seen
from filevault.vault import seen_of
from filevault.vault.items import parse

if TYPE_CHECKING:
    from filevault.vault import Vault


def accept(vault: Vault, name: str) -> tuple[str | None, str | None]:
    """Accept an item.

    It is opened first: what is remembered of it must be authentic. Returns in a shared store the
    AWS account that was known, None for none, and the one it is now. Raises as `Vault.text`.
    """
    files = vault.read(name)
    digest = files.digest
    plaintext = vault.decrypt(files)
    path_name = vault.path_name(name)
    if not vault.shared:
        header = vault.backend.peek(files.data)
        if header is not None:
            seen = Seen(header.generation, digest, header.created, header.created_from)
            vault.trust.set_seen(path_name, seen)
        return None, None
    before = vault.trust.seen(path_name)
    now = seen_of(parse(plaintext, f"item {printable(name)!r}"), digest)
    vault.trust.set_seen(path_name, now)
    return before.account if before is not None else None, now.account


def needs_acceptance(vault: Vault, name: str) -> bool:
    """Tell whether an item is not the one that this machine saw last, or was never seen.

    In a `file` vault only an older one, or another of the same age, is suspicious.
    """
    files = vault.read(name)
    if vault.shared:
        seen = vault.trust.seen(vault.path_name(name))
        return seen is None or seen.sha256 != files.digest
    header = vault.backend.peek(files.data)
    return header is not None and vault.is_rollback(name, header, files.digest)
