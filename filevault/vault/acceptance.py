"""Taking an item as it is now for the right one, whatever this machine saw before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.protocols import Family
from filevault.credentials import account_of
from filevault.system.printable import printable
from filevault.vault.accounts import is_same
from filevault.vault.item import parse
from filevault.vault.last_seen import seen_of
from filevault.vault.seen import Seen

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
    if vault.backend.family is Family.SEALED:
        header = vault.backend.peek(files.data)
        seen = Seen(header.generation, digest, header.created, header.created_from)
        vault.trust.replace_seen(path_name, seen)
        return None, None
    item = parse(plaintext, f"item {printable(name)!r}")
    before = vault.trust.seen(path_name) or vault.trust.removed(path_name)
    account = account_of(item.key.access_key_id)
    known = before.account if before is not None else None
    if account is None and before is not None and is_same(before, item.key.access_key_id, digest):
        account = known
    vault.trust.replace_seen(path_name, seen_of(item, digest, account))
    return known, account


def needs_acceptance(vault: Vault, name: str) -> bool:
    """Tell whether an item is not the one that this machine saw last, or was never seen.

    In a `file` vault only an older one, another of the same age, or a removed one that is back.
    Raises as `Vault.read`, and IntegrityError for what is no item of a `file` vault.
    """
    files = vault.read(name)
    path_name = vault.path_name(name)
    if vault.backend.family is Family.RECIPIENTS:
        seen = vault.trust.seen(path_name)
        return seen is None or seen.sha256 != files.digest
    header = vault.backend.peek(files.data, f"item {printable(name)!r}")
    return vault.last_seen.suspicion(path_name, header.generation, files.digest) is not None
