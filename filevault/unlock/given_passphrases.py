"""GivenPassphrases: what a run on two vaults was given, so that nothing is asked or read twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.values import Secret
from filevault.system.secret_buffer import overwrite
from filevault.unlock.secret_sources import read_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.unlock.secret_sources import NamedSource

_ONCE = ("fd", "command")  # a descriptor is at its end, and a command may ask a person


class GivenPassphrases:
    """The passphrases that this run has got already, which another vault may be opened with.

    Call `clear` at the end: until then they are in memory.
    """

    __slots__ = ("_read", "made", "typed")

    def __init__(self) -> None:
        self.typed: list[bytearray] = []
        self.made: list[bytearray] = []
        """Those of what this run made itself: it is opened with no other."""
        self._read: dict[tuple[str, str, str], bytearray] = {}

    def read(
        self, source: NamedSource, settings: Settings, tell: Callable[[str], None] | None = None
    ) -> Secret:
        """Return the secret from a source as `read_source`; read a descriptor or command once."""
        key = source.kind, source.transport, source.content
        if key in self._read:
            return Secret(source.kind, bytearray(self._read[key]), source.origin)
        secret = read_source(source, settings, tell)
        if source.transport in _ONCE:
            self._read[key] = bytearray(secret.content)
        return secret

    def clear(self) -> None:
        """Overwrite and forget all of them."""
        for each in (*self.typed, *self.made, *self._read.values()):
            overwrite(each)
        self.typed.clear()
        self.made.clear()
        self._read.clear()
