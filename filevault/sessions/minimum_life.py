"""The minimum life that a cached session must have left to be reused."""

from __future__ import annotations

from filevault.system.record import Record

_SHORT_LIFE = 30 * 60
_ISSUED = 15 * 60
_ISSUED_SHORT = 5 * 60
_AS_PARENT = 60


class MinimumLife(Record):
    """The seconds that a session must have left to be reused.

    `seconds` None means the rule for credentials that are issued: 15 minutes, below which boto3
    asks again for every call, or 5 where the whole life is under 30.
    """

    seconds: int | None = None

    @property
    def least(self) -> int:
        """The fewest seconds left with which any session could be reused."""
        return _ISSUED_SHORT if self.seconds is None else self.seconds

    def met(self, left: float, whole: int) -> bool:
        """Return whether a session with `left` of its `whole` life, in seconds, is reused.

        If the minimum is not below the whole life, no session is reused.
        """
        needed = self.needed(whole)
        return left >= needed and needed < whole

    def needed(self, whole: int) -> int:
        """Return the seconds that a session must have left that was issued for `whole`."""
        if self.seconds is not None:
            return self.seconds
        return _ISSUED_SHORT if whole < _SHORT_LIFE else _ISSUED


AS_PARENT = MinimumLife(_AS_PARENT)
"""The minimum of a session that only serves to obtain another one."""
