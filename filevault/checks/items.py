"""Whether each item opens, and is the one that it should be."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding
from filevault.errors import (
    FilevaultError,
    LockedError,
    NoKeyError,
    RollbackError,
    TamperedError,
)
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.account_check import checked_account
from filevault.vault.item import is_in_rotation, parse
from filevault.vault.pin import accept_hint

if TYPE_CHECKING:
    from filevault.vault.item import LongTermItem
    from filevault.vault.lookup import ItemFiles
    from filevault.vault.vault import Vault


class CheckedItem(Record):
    """What a check of an item found; `item` is None if it is not usable or is no key.

    `digest` is that of its files, None if they could not be opened.
    """

    findings: tuple[Finding, ...]
    item: LongTermItem | None = None
    is_key: bool = True
    digest: str | None = None


def check_item(vault: Vault, name: str) -> CheckedItem:
    """Check an item as its use would, and more; nothing is remembered.

    Raises LockedError if nothing opened the vault yet, so that all items would fail alike.
    """
    checked = _checked(vault, name)
    if any(each.severity == ERROR for each in checked.findings) and is_outdated(
        vault, name, checked
    ):
        return _checked(vault, name)
    return checked


def is_outdated(vault: Vault, name: str, checked: CheckedItem) -> bool:
    """Return whether another process has stored or recorded an item since it was checked."""
    with contextlib.suppress(FilevaultError):
        return checked.digest is not None and vault.has_changed(name, checked.digest)
    return False


def _checked(vault: Vault, name: str) -> CheckedItem:
    subject = f"item {printable(name)!r}"
    try:
        files = vault.read_files(name)
        text = vault.decrypt(files)
        item = parse(text, subject)
    except NoKeyError as error:
        if not vault.is_sealed:
            return CheckedItem((), is_key=False)  # another tool's
        return CheckedItem((error_finding(subject, "opens", error),))
    except LockedError as error:
        if not vault.is_open:
            raise
        return CheckedItem((error_finding(subject, "opens", error),))
    except FilevaultError as error:
        return CheckedItem((error_finding(subject, "opens", error),))
    found = [*_identity(vault, name, subject, item), *_age(vault, name, subject, files)]
    found += _owner(vault, name, subject, item, files)
    found += _recipients(vault, subject, files)
    if is_in_rotation(text):
        hint = f"finish it: filevault rotate {shell_word(name)}"
        message = "its rotation is not finished"
        found.append(Finding(subject, "rotation", WARNING, message, hint=hint))
    usable = not any(each.severity == ERROR for each in found)
    return CheckedItem(tuple(found), item if usable else None, digest=files.digest)


def check_other(vault: Vault, name: str) -> list[Finding]:
    """Check an item that is no access key: a TOTP seed."""
    subject = f"item {printable(name)!r}"
    try:
        vault.decrypt(vault.read_files(name))
    except FilevaultError as error:
        return [error_finding(subject, "opens", error)]
    return []


def _identity(vault: Vault, name: str, subject: str, item: LongTermItem) -> list[Finding]:
    if item.path_name in (None, vault.path_name(name)):
        return []
    message = f"says inside that it is {printable(item.path_name)!r}"
    if vault.is_sealed:
        return [error_finding(subject, "name", TamperedError(message))]
    hint = "was it renamed with another tool? filevault rename writes the name"
    return [Finding(subject, "name", WARNING, message, hint=hint)]


def _age(vault: Vault, name: str, subject: str, files: ItemFiles) -> list[Finding]:
    backend = vault.backend
    generation = backend.peek(files.data).generation if backend.family == SEALED else None
    reason = vault.rollbacks.suspicion(vault.path_name(name), generation, files.digest)
    if reason is None:
        return []
    error = RollbackError(reason, hint=accept_hint(name))
    return [error_finding(subject, "generation", error)]


def _owner(
    vault: Vault, name: str, subject: str, item: LongTermItem, files: ItemFiles
) -> list[Finding]:
    if vault.is_sealed:
        return []
    path_name = vault.path_name(name)
    seen = vault.trust.seen(path_name) or vault.trust.removed(path_name)
    try:
        checked_account(name, seen, item.key, files.digest, None)
    except FilevaultError as error:
        return [error_finding(subject, "account", error)]
    return []


def _recipients(vault: Vault, subject: str, files: ItemFiles) -> list[Finding]:
    backend = vault.backend
    if backend.family == SEALED:
        return []
    found = []
    for name, data in files.files:
        try:
            differs = backend.differs(name, data)
        except FilevaultError as error:
            return [error_finding(subject, "recipients", error)]
        if differs:
            message = "is encrypted to other recipients than the file that governs it has"
            hint = "filevault recipients add with a recipient that is there encrypts it again"
            found.append(Finding(subject, "recipients", WARNING, message, hint=hint))
    return found[:1]
