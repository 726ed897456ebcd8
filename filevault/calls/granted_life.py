"""Check the life that an answer of AWS claims for a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.system.times import format_time

if TYPE_CHECKING:
    from filevault.credentials import Credentials

_SKEW = 900
"""Seconds by which two clocks may differ for AWS to take a signature at all (IAM User Guide)."""


def checked_life(made: Credentials, duration: int, now: float, subject: str) -> Credentials:
    """Return a session that claims no longer life than was asked for.

    Args:
        made: the session as the answer has it.
        duration: seconds that were asked for.
        now: Unix seconds.
        subject: the profile in messages.

    AWS never grants more than was asked for. A later end is cut to what was asked for, so that
    the session is not used when it has long ended. Raises AwsError for one that has ended already.
    Both allow for a clock that differs from AWS's by as much as AWS itself allows.
    """
    if made.expiration is None:
        return made
    if made.expiration <= now - _SKEW:
        raise errors.AwsError(
            f"AWS gave {subject} a session that ended at {format_time(made.expiration)}",
            hint="check the clock of this machine, and endpoint_url: AWS gives no such sessions",
        )
    if made.expiration > now + duration + _SKEW:
        return made._replace(expiration=int(now) + duration)
    return made
