"""The subjects of our commits: pass's, which people and other tools look for in a history."""

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
    """Return the subject for an item whose key was made anew by us, as by a rotation."""
    return f"Replace generated password for {printable(path)}."


def edited(path: str) -> str:
    """Return pass's subject for an item that was changed by hand, here by a rotation cut short."""
    return f"Edit password for {printable(path)} using filevault."


def removed(path: str) -> str:
    """Return the subject for a deleted item."""
    return f"Remove {printable(path)} from store."


def recipients_set(kind: str, recipients: Iterable[str], folder: str) -> str:
    """Return the subject for a written recipients file; `kind` is `GPG id` in a pass store."""
    return f"Set {kind} to {_listed(recipients, folder)}."


def reencrypted(kind: str, recipients: Iterable[str], folder: str) -> str:
    """Return the subject for items that were encrypted anew to other recipients."""
    return f"Reencrypt password store using new {kind} {_listed(recipients, folder)}."


def _listed(recipients: Iterable[str], folder: str) -> str:
    shown = ", ".join(printable(recipient) for recipient in recipients)
    return f"{shown} ({printable(folder)})" if folder else shown
