"""Accept an item as it is now, although it differs from the one that this machine last saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.definition import RECIPIENTS, SEALED
from filevault.credentials import account_of
from filevault.system.printable import printable
from filevault.vault.account_check import is_same_key, seen_with_account
from filevault.vault.item import parse
from filevault.vault.seen_items import SeenItem

if TYPE_CHECKING:
    from filevault.vault.vault import Vault


def accept(vault: Vault, name: str) -> tuple[str | None, str | None]:
    """Accept an item: record it as it is now.

    It is decrypted first, so that what is recorded is authentic. Returns, in a shared store, the
    AWS account that was known and the one that it has now, each None if unknown. Raises as
    `Vault.plaintext`.
    """
    files = vault.read_files(name)
    digest = files.digest
    plaintext = vault.decrypt(files)
    path_name = vault.path_name(name)
    if vault.backend.family == SEALED:
        header = vault.backend.peek(files.data)
        seen = SeenItem(header.generation, digest, header.created, header.created_from)
        vault.trust.replace_seen(path_name, seen)
        return None, None
    item = parse(plaintext, f"item {printable(name)!r}")
    before = vault.trust.seen(path_name) or vault.trust.removed(path_name)
    account = account_of(item.key.access_key_id)
    known = before.account if before is not None else None
    if (
        account is None
        and before is not None
        and is_same_key(before, item.key.access_key_id, digest)
    ):
        account = known
    after = seen_with_account(item, digest, account)
    vault.trust.replace_seen(path_name, after, vault.memory.condition(after))
    return known, account


def needs_acceptance(vault: Vault, name: str) -> bool:
    """Return whether an item differs from the one that this machine saw last, or was never seen.

    In a `file` vault only an older item, another of the same generation, or a removed one that is
    back needs acceptance. Raises as `Vault.read_files`, and IntegrityError for a damaged item.
    """
    files = vault.read_files(name)
    path_name = vault.path_name(name)
    if vault.backend.family == RECIPIENTS:
        seen = vault.trust.seen(path_name)
        return seen is None or seen.sha256 != files.digest
    header = vault.backend.peek(files.data, f"item {printable(name)!r}")
    return vault.rollbacks.suspicion(path_name, header.generation, files.digest) is not None
