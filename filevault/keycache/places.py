"""Where the socket of an agent may lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_JOB = "FILEVAULT_AGENT_DIR"


def of_job(get: Callable[[str], str | None]) -> str | None:
    """Return the folder of the agent of this job, the only one to be asked, None without one.

    `get` gives a variable of the environment, or None.
    """
    value = get(_OF_JOB)
    return value if value and value.startswith("/") else None


def for_job(folder: str) -> dict[str, str]:
    """Return the variable that leads a job to its agent."""
    return {_OF_JOB: folder}


def folders(get: Callable[[str], str | None]) -> list[str]:
    """Return the folders in which an agent of this user may listen, likeliest first.

    A login sets `XDG_RUNTIME_DIR`, which cron does not; it is the same folder for both.
    """
    job = of_job(get)
    if job is not None:
        return [job]
    uid = os.geteuid()
    runtime = [get("XDG_RUNTIME_DIR") or "", f"/run/user/{uid}"]
    found = [f"{folder}/filevault" for folder in runtime if folder.startswith("/")]
    return [*dict.fromkeys(found), f"{temporary(get)}/filevault-{uid}"]


def temporary(get: Callable[[str], str | None]) -> str:
    """Return `$TMPDIR`, else `/tmp`."""
    value = get("TMPDIR")
    return value.rstrip("/") if value and value.startswith("/") else "/tmp"  # noqa: S108
