"""Refuse a loop of profiles, by `source_profile` or `include_profile`, and too long a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.errors import ConfigError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHAIN = 64  # profiles in a row, by source or by inclusion


def refuse_loop(names: Sequence[str], following: str, key: str) -> None:
    """Refuse a loop of profiles, and too many in a row, before one more is followed.

    Raises:
        ProfileLoopError: with the loop.
        ConfigError: beyond MAX_CHAIN profiles.
    """
    if following in names:
        circle = [*names[names.index(following) :], following]
        shown = " -> ".join(printable(name) for name in circle)
        raise errors.ProfileLoopError(
            f"profiles refer to each other in a circle by {key}: {shown}",
            hint=f"take the {key} out of one of them",
        )
    if len(names) >= MAX_CHAIN:
        raise ConfigError(
            f"more than {MAX_CHAIN} profiles follow each other by {key}, beginning with "
            f"{printable(names[0])!r}"
        )
