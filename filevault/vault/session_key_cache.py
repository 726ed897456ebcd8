"""Protocol of the cache that may have the session key in memory."""

from __future__ import annotations

from typing import Protocol


class SessionKeyCache(Protocol):
    """A cache for the session key; `mark` is the digest of the session key's file."""

    def session_key(self, mark: str) -> bytes | None:
        """Return the session key of the file with this digest, if it is cached."""
        ...

    def on_unwrapped(self, mark: str, key: bytes) -> None:
        """Called after the session key was decrypted or created, so that it can be cached."""
        ...

    def on_rewrapped(self, mark: str, new: str) -> None:
        """Called after the file was written with the same key; `new` is its digest now."""
        ...
