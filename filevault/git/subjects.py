"""The subjects of commits: those of pass, which people and tools search a history for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

CURRENT_CONTENTS = "Add current contents of password store."


def added(path: str) -> str:
    """Return the subject for a newly stored or overwritten item."""
    return f"Add given password for {printable(path)} to store."


def replaced(path: str) -> str:
    """Return pass's subject for a generated password, here a rotated key."""
    return f"Replace generated password for {printable(path)}."


def edited(path: str) -> str:
    """Return pass's subject for an edited item, here by an interrupted rotation."""
    return f"Edit password for {printable(path)} using filevault."


def removed(path: str) -> str:
    """Return the subject for a deleted item."""
    return f"Remove {printable(path)} from store."


def renamed(old: str, new: str) -> str:
    """Return pass's subject for a renamed item."""
    return f"Rename {printable(old)} to {printable(new)}."


def copied(old: str, new: str) -> str:
    """Return pass's subject for a copied item."""
    return f"Copy {printable(old)} to {printable(new)}."


def recipients_set(term: str, recipients: Iterable[str], folder: str) -> str:
    """Return the subject for a written recipients file; `term` is a recipient's name."""
    return f"Set {term} to {_listed(recipients, folder)}."


def reencrypted(term: str, recipients: Iterable[str], folder: str) -> str:
    """Return the subject for items that were re-encrypted to other recipients."""
    return f"Reencrypt password store using new {term} {_listed(recipients, folder)}."


def _listed(recipients: Iterable[str], folder: str) -> str:
    shown = ", ".join(printable(recipient) for recipient in recipients)
    return f"{shown} ({printable(folder)})" if folder else shown
