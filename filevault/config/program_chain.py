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

_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")

_DEEPEST = 8  # processes that run each other; the AWS CLI allows 4
_MAX_CHAIN = 8 << 10  # characters


def chained_environment(
    environment: Mapping[str, str], profile: str, setting: str
) -> dict[str, str]:
    """Return the environment for the program that a setting of a profile names.

    It has the profile as the last of the chain, and no variable that names one of these profiles.
    Raises ProfileLoopError if a program of that profile is running already, here or in the AWS
    CLI, or if too many of them run each other.
    """
    chain = _longer_chain(environment, profile, setting)
    made = {**environment, CHAIN: _written(chain)}
    for name in _PROFILES:  # the AWS CLI would run the same program again
        if made.get(name) in chain:
            del made[name]
    return made


def _longer_chain(environment: Mapping[str, str], profile: str, setting: str) -> list[str]:
    chain = _row(environment.get(CHAIN, ""))
    if profile in (*chain, *_row(environment.get(_CLI_CHAIN, ""))):
        raise ProfileLoopError(
            f"{setting} of profile {printable(profile)!r} runs itself",
            hint="the program asks for the profile that it serves: let it ask for another one, or "
            "store a key",
        )
    if len(chain) >= _DEEPEST:
        raise ProfileLoopError(f"more than {_DEEPEST} programs of profiles run each other")
    return [*chain, profile]


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
