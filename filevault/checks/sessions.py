"""Whether each cached session opens. A damaged one is obtained again, so it is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.finding import WARNING, Finding
from filevault.errors import FilevaultError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.sessions import SessionCache
    from filevault.vault.vault import Vault


def check_sessions(vault: Vault, cache: SessionCache) -> tuple[int, list[Finding]]:
    """Return how many sessions there are, and the findings; no session key is made."""
    if not cache.listing():
        return 0, []
    try:
        key = vault.existing_session_key()
    except FilevaultError as error:
        return 0, [Finding("the sessions", "opens", WARNING, error.message, hint=error.hint)]
    if key is None:
        message = "cannot be opened here: they are obtained again"
        return 0, [Finding("the sessions", "opens", WARNING, message, hint="filevault clear")]
    count = 0
    found: list[Finding] = []
    for name, failed in cache.check_files(key):
        count += 1
        if failed is not None:
            subject = f"session {printable(name)!r}"
            hint = "it is obtained again; filevault clear deletes it"
            found.append(Finding(subject, "opens", WARNING, failed.message, hint=hint))
    return count, found
