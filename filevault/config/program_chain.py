"""The chain of profiles whose programs are running, which bars a program from running itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProfileLoopError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAIN = "FILEVAULT_PROFILE_CHAIN"
"""The variable with the profiles whose programs are running, as one row of CSV."""
_CLI_CHAIN = "_AWS_CLI_PROFILE_CHAIN"
"""The same of the AWS CLI, for `aws configure export-credentials`."""

_DEEPEST = 8  # processes that run each other; the AWS CLI allows 4
_MAX_CHAIN = 8 << 10  # characters


def chained_environment(
    environment: Mapping[str, str], profile: str, setting: str
) -> dict[str, str]:
    """Return the environment for the program that a setting of a profile names.

    The profile is the last of its chain. Raises ProfileLoopError if a program of that profile is
    running already, here or in the AWS CLI, or if too many of them run each other.
    """
    chain = profiles_in(environment)
    if profile in (*chain, *_row(environment.get(_CLI_CHAIN, ""))):
        raise ProfileLoopError(
            f"{setting} of profile {printable(profile)!r} runs itself",
            hint="the program asks for the profile that it serves: let it ask for another one",
        )
    if len(chain) >= _DEEPEST:
        raise ProfileLoopError(f"more than {_DEEPEST} programs of profiles run each other")
    return {**environment, CHAIN: _written([*chain, profile])}


def profiles_in(environment: Mapping[str, str]) -> list[str]:
    """Return the profiles whose programs are running, by the environment of the last one."""
    return _row(environment.get(CHAIN, ""))


def _written(chain: list[str]) -> str:
    """Return profiles as a row of CSV."""
    import csv
    import io

    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(chain)
    return row.getvalue()


def _row(text: str) -> list[str]:
    """Return the profiles in a row of CSV, none for anything else."""
    import csv

    if not text or len(text) > _MAX_CHAIN:
        return []
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []
