"""Whether each cached session and each sign-in opens.

A damaged one is obtained again, so it is no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.finding import WARNING, Finding
from filevault.errors import FilevaultError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.sessions import SessionCache
    from filevault.sessions.token_store import TokenStore
    from filevault.vault.vault import Vault


def check_sessions(
    vault: Vault, sessions: SessionCache, tokens: TokenStore
) -> tuple[int, list[Finding]]:
    """Return how many sessions and sign-ins there are, and the findings.

    No session key is made.
    """
    if not sessions.listing() and not tokens.has_files():
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
    for word, way_out, files in (
        ("session", "it is obtained again", sessions.check_files(key)),
        ("sign-in", "sign in again", tokens.check_files(key)),
    ):
        for name, failed in files:
            count += 1
            if failed is not None:
                subject = f"{word} {printable(name)!r}"
                hint = f"{way_out}; filevault clear deletes it"
                found.append(Finding(subject, "opens", WARNING, failed.message, hint=hint))
    return count, found
