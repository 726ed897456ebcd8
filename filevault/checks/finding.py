"""A finding: what a check found, how bad it is, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import (
    BackendError,
    ConfigError,
    FilevaultError,
    IntegrityError,
    LockedError,
    NetworkError,
    NotFoundError,
    PinError,
    ProviderError,
    UsageError,
)
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR, WARNING = "error", "warning"
# The status of a run is that of the first class here of which there is an error.
_ORDER = (
    IntegrityError,
    PinError,
    LockedError,
    BackendError,
    ConfigError,
    NotFoundError,
    ProviderError,
    NetworkError,
    UsageError,
)


class Finding(Record):
    """A finding. `subject` names what was looked at; `check` is a word for programs.

    `status` is the exit status of an error; 0 for a warning.
    """

    subject: str
    check: str
    severity: str
    message: str
    status: int = 0
    hint: str | None = None


def error_finding(subject: str, check: str, error: FilevaultError) -> Finding:
    """Return the finding for an error that using the subject would end with."""
    return Finding(subject, check, ERROR, error.message, error.exit_status, error.hint)


def worst_error(findings: Iterable[Finding]) -> FilevaultError | None:
    """Return the error that a run with these findings ends with, None if there are no errors.

    Its status is that of the worst finding.
    """
    errors = [each for each in findings if each.severity == ERROR]
    if not errors:
        return None
    statuses = {each.status for each in errors}
    kind = next((kind for kind in _ORDER if kind.exit_status in statuses), FilevaultError)
    count = f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
    return kind(f"{count} found; {printable(errors[0].subject)} is the first")
