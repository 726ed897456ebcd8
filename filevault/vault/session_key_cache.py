"""What a vault asks for keys that were unlocked before."""

from __future__ import annotations

from typing import Protocol


class SessionKeyCache(Protocol):
    """Where the session key may be held; `mark` is the digest of the file that it lies in."""

    def session_key(self, mark: str) -> bytes | None:
        """Return the session key of the file with this digest, if it is held."""
        ...

    def opened(self, mark: str, key: bytes) -> None:
        """Hear that the vault was opened for it."""
        ...

    def on_rewrapped(self, mark: str, new: str) -> None:
        """Hear that the file with this digest was sealed anew, with the same key in it."""
        ...
