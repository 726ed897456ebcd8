"""IAM's two-key quota: a user with two access keys cannot get a third one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.system.printable import printable, shell_word
from filevault.system.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.aws.iam import ListedKey
    from filevault.rotation.job import Job

_CLOCK_DIFFERENCE = 900
"""Seconds by which the clocks of AWS and this machine may differ, and the call may take."""


def other_key(listed: Sequence[ListedKey], access_key_id: str) -> ListedKey | None:
    """Return the user's second key, which leaves no quota for a new one; None if there is none."""
    return next((each for each in listed if each.access_key_id != access_key_id), None)


def quota_error(job: Job, other: ListedKey, owners: Sequence[str]) -> ProviderError:
    """Return the error for a user who has two keys: it names the second one and what to do.

    Args:
        job: the rotation.
        other: the second key of the user.
        owners: the items that contain the second key.
    """
    current = printable(job.stored.key.access_key_id)
    shown = printable(other.access_key_id)
    if owners:
        named = ", ".join(repr(printable(each)) for each in owners)
        removals = ", ".join(f"filevault remove {shell_word(each)}" for each in owners)
        return ProviderError(
            "the user has two access keys already, which is all that IAM allows, so no "
            f"new one can be made, and both are in the vault: {current} in "
            f"{printable(job.primary)!r}, {shown} in {named}",
            hint=f"one user cannot have two keys rotated: to give up {shown}, {removals}, then "
            f"{job.command} --delete-orphan {shown}",
        )
    created = "" if other.created is None else f", was made at {format_time(other.created)}"
    about = (
        f"{shown} is {'active' if other.active else 'inactive'}{created} and "
        f"{job.keys.last_use_text(other.access_key_id, job.stored.key)}"
    )
    hint = f"if it is not needed: {job.command} --delete-orphan {shown}"
    if is_orphan_of(job, other):
        return ProviderError(
            f"the rotation that was begun at {printable(job.stored.fields.started)} was cut off "
            f"when AWS had made the key {shown}, whose secret is lost, or another machine is "
            f"rotating now; {about}",
            hint=hint,
        )
    return ProviderError(
        "the user has two access keys already, which is all that IAM allows: "
        f"{current} is the one in the vault; {about}",
        hint=hint,
    )


def is_orphan_of(job: Job, other: ListedKey) -> bool:
    """Return whether a key was created by an interrupted rotation that did not store it.

    It must not have existed before, must have been created when the rotation began, as far as IAM
    says, and must never have been used.
    """
    known, started = job.stored.fields.known_keys, job.stored.fields.started
    if known is None or other.access_key_id in known or started is None:
        return False
    try:
        since_start = 0 if other.created is None else other.created - parse_time(started)
    except ValueError:
        return False
    if abs(since_start) > _CLOCK_DIFFERENCE:
        return False
    return job.keys.was_never_used(other.access_key_id, job.stored.key)
