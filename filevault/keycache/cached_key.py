"""A key in the cache: its type, the mark of what it belongs to, its deadline."""

from __future__ import annotations

from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    KeyType = Literal[
        "session",
        "vault",
        "answer0",
        "answer1",
        "answer2",
        "answer3",
        "answer4",
        "answer5",
        "answer6",
        "answer7",
    ]

SESSION: KeyType = "session"
"""The session key: opens cached sessions, never a long-term key."""
VAULT: KeyType = "vault"
"""The key that opens the vault itself: cached only on request."""
KEY_TYPES: tuple[KeyType, ...] = (SESSION, VAULT)
ANSWER_TYPES: tuple[KeyType, ...] = (
    "answer0",
    "answer1",
    "answer2",
    "answer3",
    "answer4",
    "answer5",
    "answer6",
    "answer7",
)
"""The other halves of cached answers, whose mark is the id of an unlocking (docs/format.md §10)."""
IDENTITIES_MARK = "a6e1"
"""The mark of age identities: they belong to a person, not to one vault."""
MAX_KEY_SIZE = 2048
"""The longest key in bytes: in base64 it still fits into a line of the agent's protocol."""


class CachedKey(Record):
    """A key in the cache.

    `mark` names in hex digits what the key belongs to: a key with another mark than the one asked
    for does not count. `deadline` is in milliseconds of CLOCK_BOOTTIME, which cannot be set back
    and goes on while the machine sleeps.
    """

    _secret = ("key",)

    key: bytes
    mark: str
    deadline: int
