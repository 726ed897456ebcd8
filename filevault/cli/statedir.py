"""The state directory of a vault: opened, made where it is missing, and looked at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import StorageError
from filevault.files import Folder
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable


def open_state(
    home: str, state_id: str, notice: Callable[[str], None]
) -> tuple[Folder | None, bool]:
    """Open a vault's state directory; tell whether it can be written.

    Args:
        home: the folder of state directories.
        state_id: 32 hex digits that name it.
        notice: hears why nothing can be kept.
    """
    path = f"{home}/{state_id}"
    shown = printable(path)
    try:
        folder = Folder.make(path)
    except (StorageError, FileNotFoundError) as error:
        notice(f"no session is kept and nothing is remembered: {error}")
        return None, False
    if os.fstat(folder.fd).st_uid != os.geteuid():
        folder.close()
        notice(f"no session is kept: {shown} belongs to another user")
        return None, False
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
        notice(f"no session is kept and nothing is remembered: {shown} is read-only")
        return folder, False
    return folder, _is_private(home, notice) and _is_private(path, notice)


def _is_private(path: str, notice: Callable[[str], None]) -> bool:
    """See to it that nobody else can write a state directory; tell whether that is so."""
    try:
        with Folder.open(path) as folder:
            info = os.fstat(folder.fd)
            if not info.st_mode & 0o022:
                return True
            if info.st_uid == os.geteuid():
                os.fchmod(folder.fd, 0o700)
                notice(f"others could write {printable(path)}; its mode is 0700 now")
                return True
    except (OSError, StorageError):
        pass
    notice(f"no session is kept: others can write {printable(path)}")
    return False
