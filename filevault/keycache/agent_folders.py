"""The folders in which an agent of this user, or of this job, may listen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.keycache.cache import job_agent_folder

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET_NAME = "agent.sock"


def agent_folders(get: Callable[[str], str | None], root: str = "") -> list[str]:
    """Return the folders to ask for an agent, likeliest first: the job's alone if there is one.

    Args:
        get: returns an environment variable, or None.
        root: the parent of `/run` and `/tmp`, empty for `/`.
    """
    job = job_agent_folder(get)
    return user_agent_folders(get, root) if job is None else [job]


def user_agent_folders(get: Callable[[str], str | None], root: str = "") -> list[str]:
    """Return the folders in which an agent of this user may listen, likeliest first.

    A login sets `XDG_RUNTIME_DIR`, cron does not; the folder is the same for both. After su and
    sudo the variable may name another user's folder. The last one does not depend on `TMPDIR`,
    or `lock` would miss what another shell has unlocked. Args as `agent_folders`.
    """
    uid = os.geteuid()
    runtime = [get("XDG_RUNTIME_DIR") or "", f"{root}/run/user/{uid}"]
    found = [f"{folder}/filevault" for folder in runtime if _may_be_own(folder, uid)]
    return [*dict.fromkeys(found), f"{root}/tmp/filevault-{uid}"]  # noqa: S108 - both sides check it


def may_have_agent(folder: str) -> bool:
    """Return whether a folder has an agent's socket, or cannot be looked into."""
    try:
        os.lstat(f"{folder}/{SOCKET_NAME}")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _may_be_own(runtime: str, uid: int) -> bool:
    """Return whether a runtime folder belongs to the user, or cannot be checked."""
    if not runtime.startswith("/"):
        return False
    try:
        return os.stat(runtime).st_uid == uid
    except OSError:
        return True  # opening it fails later, with a reason
