"""Store a key that was found in a source, and verify it by reading it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import NotCommittedError, StorageError
from filevault.git import subjects
from filevault.system.printable import printable
from filevault.system.times import format_time
from filevault.vault.item import compose, parse, parse_for_rewrite, with_name

if TYPE_CHECKING:
    from filevault.exchange.import_plan import PlannedKey
    from filevault.vault.vault import Vault


def store_key(vault: Vault, planned: PlannedKey, now: float) -> NotCommittedError | None:
    """Store a key and read it back; return the error if git has no commit of it.

    Raises StorageError if the item was changed meanwhile, or reads back differently; and what a
    write raises.
    """
    name = planned.name
    uncommitted = None
    with vault.transaction():
        check_unchanged(vault, name, planned.digest)
        text = _text(vault, planned, now)
        item = parse(text, f"the key of {printable(name)!r}")
        subject = subjects.added(vault.entry_path(name))
        try:
            vault.write(
                name,
                text,
                created=item.created,
                created_from=item.created_from or "add",
                subject=subject,
            )
        except NotCommittedError as error:
            uncommitted = error  # it is stored: the rest follows
    verify(vault, name, text)
    return uncommitted


def digest_of(vault: Vault, name: str) -> str | None:
    """Return the digest of an item's files, None if there is no item."""
    return vault.item_digest(name) if vault.has_item(name) else None


def check_unchanged(vault: Vault, name: str, digest: str | None) -> None:
    """Raise StorageError unless an item still has a digest of `digest_of`; call under the lock.

    What the user agreed to replace, or the absence of an item, may be history by now.
    """
    if digest_of(vault, name) != digest:
        raise StorageError(
            f"the key of {printable(name)!r} was changed by another process; it is not replaced",
            hint="run the command again",
        )


def verify(vault: Vault, name: str, text: bytes) -> None:
    """Raise StorageError unless an item reads back as it was written, byte for byte."""
    if vault.plaintext(name) != text:
        raise StorageError(f"the item of {printable(name)!r} reads back differently")


def _text(vault: Vault, planned: PlannedKey, now: float) -> bytes:
    found, path_name = planned.found, vault.path_name(planned.name)
    if found.text is not None and parse_for_rewrite(found.text, "the item") is None:
        return with_name(found.text, path_name)
    old = found.text or b""
    if planned.digest is not None and not old:
        old = vault.plaintext(planned.name)  # its other lines stay
    return compose(
        path_name,
        found.key,
        created=found.created or format_time(now),
        created_from="iam" if found.created else "add",
        mfa_serial=found.mfa_serial,
        old=old,
    )
