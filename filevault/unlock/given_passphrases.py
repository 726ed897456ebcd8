"""GivenPassphrases: what a person typed in a run on two vaults, so that nothing is asked twice."""

from __future__ import annotations

from filevault.system.secret_buffer import overwrite


class GivenPassphrases:
    """The passphrases that this run has got already, which another vault may be opened with.

    Call `clear` at the end: until then they are in memory.
    """

    __slots__ = ("made", "typed")

    def __init__(self) -> None:
        self.typed: list[bytearray] = []
        self.made: list[bytearray] = []
        """Those of what this run made itself: it is opened with no other."""

    def clear(self) -> None:
        """Overwrite and forget all of them."""
        for each in (*self.typed, *self.made):
            overwrite(each)
        self.typed.clear()
        self.made.clear()
